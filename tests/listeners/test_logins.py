"""Tests for L{lanrelay.listeners.logins}."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.addresses import IPAddress
from lanrelay.config import model
from lanrelay.errors import RequestDenied
from lanrelay.listeners.logins import FREE, QUEUE, REFUSED_FOR, Logins
from lanrelay.policy.credentials import Credentials
from tests.support.dialing import ThreadClock

CLIENT = ip_address("192.0.2.7")


class Costly:
    """An entry whose password is C{secret}."""

    costly = True

    def __init__(self) -> None:
        self.tried: list[bytes] = []

    def matches(self, password: bytes) -> bool:
        self.tried.append(password)
        return password == b"secret"


class LoginsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = ThreadClock()
        self.threads: list[Callable[[], None]] = []
        self.logins = Logins(self.clock, start=self.threads.append)
        self.costly, self.cheap = self.users(), self.users()
        self.entry = Costly()
        self.costly._entries[b"alice"] = self.entry

    def users(self) -> Credentials:
        made = Credentials(model.Auth(users={"alice": model.Secret("secret")}))
        made.load()
        return made

    def check(self, password: str, address: IPAddress | None = CLIENT) -> bool | Deferred[bool]:
        return self.logins.check(self.costly, "alice", password, address)

    def later(self, password: str, address: IPAddress | None = CLIENT) -> Deferred[bool]:
        checking = self.check(password, address)
        assert isinstance(checking, Deferred)
        return checking

    def run_thread(self) -> None:
        [thread] = self.threads
        self.threads.clear()
        thread()

    def guess(self, count: int, address: IPAddress | None = CLIENT) -> None:
        """So many wrong ones, each of them new; cheap ones, so at once."""
        for number in range(count):
            wrong = f"{address} {number} {self.clock.seconds()}"
            self.assertIs(self.logins.check(self.cheap, "alice", wrong, address), False)

    def test_cheap_ones_are_known_at_once(self) -> None:
        self.assertIs(self.logins.check(self.cheap, "alice", "secret", CLIENT), True)
        self.assertIs(self.logins.check(self.cheap, "alice", "wrong", CLIENT), False)
        self.assertEqual(self.threads, [])

    def test_costly_ones_are_checked_one_by_one_in_a_thread(self) -> None:
        first, second = self.later("one"), self.later("secret")
        self.assertEqual(self.entry.tried, [])
        self.run_thread()
        self.assertIs(self.successResultOf(first), False)
        self.assertNoResult(second)
        self.run_thread()
        self.assertIs(self.successResultOf(second), True)
        self.assertEqual((self.entry.tried, self.threads), ([b"one", b"secret"], []))

    def test_what_was_right_is_known_to_be(self) -> None:
        checking = self.later("secret")
        self.run_thread()
        self.successResultOf(checking)
        self.assertIs(self.check("secret"), True)

    def test_what_was_wrong_is_known_to_be_for_some_seconds(self) -> None:
        checking = self.later("wrong")
        self.run_thread()
        self.successResultOf(checking)
        self.clock.advance(REFUSED_FOR - 1)
        self.assertIs(self.check("wrong"), False)
        self.clock.advance(2)
        self.later("wrong")

    def test_another_file_is_another_matter(self) -> None:
        checking = self.later("wrong")
        self.run_thread()
        self.successResultOf(checking)
        self.costly.load()
        self.costly._entries[b"alice"] = self.entry
        self.later("wrong")

    def test_who_asks_the_same_shares_the_answer(self) -> None:
        several = [self.later("secret") for _ in range(50)]
        self.run_thread()
        self.assertEqual([self.successResultOf(each) for each in several], [True] * 50)
        self.assertEqual(self.entry.tried, [b"secret"])

    def test_the_queue_is_short(self) -> None:
        waiting = [self.later(f"{number}") for number in range(QUEUE + 1)]
        error = self.failureResultOf(self.later("one more"), RequestDenied).value
        self.assertEqual(error.http_status, 503)
        for _ in waiting:
            self.run_thread()
        self.assertEqual([self.successResultOf(each) for each in waiting], [False] * (QUEUE + 1))

    def test_who_leaves_is_not_checked_for(self) -> None:
        first, second, third = self.later("one"), self.later("two"), self.later("three")
        for each in (first, second):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.run_thread()
        self.run_thread()
        self.assertIs(self.successResultOf(third), False)
        self.assertEqual(self.entry.tried, [b"one", b"three"])

    def test_who_goes_on_guessing_waits_longer_each_time(self) -> None:
        self.guess(FREE + 1)
        pauses = []
        for number in range(7):
            checking = self.logins.check(self.cheap, "alice", f"guess {number}", CLIENT)
            assert isinstance(checking, Deferred)
            before = self.clock.seconds()
            while not checking.called:
                self.clock.advance(0.25)
            self.assertIs(self.successResultOf(checking), False)
            pauses.append(self.clock.seconds() - before)
        self.assertEqual(pauses, [0.5, 1, 2, 4, 8, 8, 8])

    def test_those_of_one_address_wait_one_after_another_and_not_many(self) -> None:
        self.guess(FREE + 1)
        waiting = [self.logins.check(self.cheap, "alice", f"{number}", CLIENT) for number in range(5)]
        last = waiting.pop()
        assert isinstance(last, Deferred)
        self.failureResultOf(last, RequestDenied)
        done = []
        for _ in range(4):
            self.clock.advance(0.5)
            done.append(sum(each.called for each in waiting if isinstance(each, Deferred)))
        self.assertEqual(done, [1, 2, 3, 4])

    def test_those_who_leave_make_nobody_wait_longer(self) -> None:
        self.guess(FREE + 1)
        for number in range(1000):
            left = self.logins.check(self.cheap, "alice", f"left {number}", CLIENT)
            assert isinstance(left, Deferred)
            left.cancel()
            self.failureResultOf(left, CancelledError)
        checking = self.logins.check(self.cheap, "alice", "secret", CLIENT)
        assert isinstance(checking, Deferred)
        self.clock.advance(5)  # of four who wait the last one has two seconds
        self.assertIs(self.successResultOf(checking), True)

    def test_others_do_not_wait(self) -> None:
        self.guess(FREE + 1)
        for address in (ip_address("192.0.2.8"), ip_address("2001:db8::1"), None):
            self.assertIs(self.logins.check(self.cheap, "alice", "secret", address), True)

    def test_a_host_of_ipv6_has_many_addresses(self) -> None:
        self.guess(FREE + 1, ip_address("2001:db8::1"))
        other = self.logins.check(self.cheap, "alice", "secret", ip_address("2001:db8::ffff"))
        self.assertIsInstance(other, Deferred)
        self.assertIs(self.logins.check(self.cheap, "alice", "x", ip_address("2001:db8:0:1::1")), False)

    def test_who_was_let_in_does_not_wait_with_those_who_guess(self) -> None:
        self.assertIs(self.logins.check(self.cheap, "alice", "secret", CLIENT), True)
        self.guess(FREE + 1)
        self.assertIs(self.logins.check(self.cheap, "alice", "secret", CLIENT), True)

    def test_the_same_again_is_no_guess(self) -> None:
        for _ in range(20):
            self.assertIs(self.logins.check(self.cheap, "alice", "old password", CLIENT), False)
        self.assertIs(self.logins.check(self.cheap, "alice", "secret", CLIENT), True)

    def test_after_a_while_it_is_forgotten(self) -> None:
        self.guess(FREE + 1)
        self.clock.advance(61)
        self.guess(FREE)

    def test_a_bug_is_raised_where_somebody_waits_and_the_next_goes_on(self) -> None:
        def broken(password: bytes) -> bool:
            raise ZeroDivisionError

        first, second = self.later("one"), self.later("secret")
        self.patch(self.entry, "matches", broken)
        self.run_thread()
        self.failureResultOf(first, ZeroDivisionError)
        self.assertEqual(len(self.threads), 1)
        second.cancel()
        self.failureResultOf(second, CancelledError)

    def test_where_there_is_no_thread_it_is_too_much(self) -> None:
        def refuse(run: Callable[[], None]) -> None:
            raise RuntimeError("can't start new thread")

        self.logins = Logins(self.clock, start=refuse)
        self.failureResultOf(self.later("one"), RequestDenied)
        self.failureResultOf(self.later("two"), RequestDenied)
