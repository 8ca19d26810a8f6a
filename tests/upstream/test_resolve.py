"""Names to addresses."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.addresses import IPAddress
from lanrelay.errors import LocalLimit, NameServerFailed, NoSuchName
from lanrelay.upstream.look_ups import LookUps
from lanrelay.upstream.resolve import FRESH, Resolver
from tests.support.dialing import ThreadClock


def row(address: str, scope: int = 0) -> tuple[Any, ...]:
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, 0, 0, scope))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))


class ResolverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = ThreadClock()
        self.threads: list[Callable[[], None]] = []
        self.asked: list[str] = []
        self.answer: list[tuple[Any, ...]] | Exception = [row("10.0.0.1")]
        self.resolver = Resolver(self.clock, getaddrinfo=self.getaddrinfo, start=self.threads.append)

    def getaddrinfo(self, host: str, port: None, **hints: int) -> list[tuple[Any, ...]]:
        self.assertEqual(hints["type"], socket.SOCK_STREAM)
        self.asked.append(host)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def resolve(self, host: str) -> Deferred[tuple[IPAddress, ...]]:
        return Deferred.fromCoroutine(self.resolver.resolve(host))

    def run_threads(self) -> None:
        threads, self.threads[:] = list(self.threads), []
        for thread in threads:
            thread()

    def test_a_name_is_asked_for_in_a_thread(self) -> None:
        result = self.resolve("NAS.lan.")
        self.assertNoResult(result)
        self.run_threads()
        self.assertEqual(self.successResultOf(result), (ip_address("10.0.0.1"),))
        self.assertEqual(self.asked, ["nas.lan"])

    def test_the_system_s_order_stays_and_none_comes_twice(self) -> None:
        self.answer = [row("fd00::2"), row("10.0.0.1"), row("10.0.0.1"), row("fe80::1", 3)]
        result = self.resolve("nas.lan")
        self.run_threads()
        texts = [str(address) for address in self.successResultOf(result)]
        self.assertEqual(texts, ["fd00::2", "10.0.0.1", "fe80::1%3"])

    def test_addresses_need_no_thread(self) -> None:
        for text, expected in (
            ("10.0.0.1", "10.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("::1", "::1"),
        ):
            self.assertEqual(self.successResultOf(self.resolve(text)), (ip_address(expected),))
        self.assertEqual(self.threads, [])

    def test_localhost_is_not_asked_for(self) -> None:
        for name in ("localhost", "LOCALHOST.", "app.localhost", "a.b.localhost"):
            found = self.successResultOf(self.resolve(name))
            self.assertEqual([str(address) for address in found], ["127.0.0.1", "::1"], name)
        self.assertEqual(self.threads, [])

    def test_what_can_be_no_name_is_not_asked_for(self) -> None:
        for name in (
            "",
            "a..b",
            "x" * 64,
            "a b",
            "256.1.1.1",
            "1.2.3.4.5",
            "a\r\nb",
            ".".join(["x" * 60] * 5),
        ):
            self.failureResultOf(self.resolve(name), NoSuchName)
        self.assertEqual(self.threads, [])

    def test_names_in_other_scripts_are_asked_for_in_ascii(self) -> None:
        self.resolve("bücher.example")
        self.run_threads()
        self.assertEqual(self.asked, ["xn--bcher-kva.example"])

    def test_errors(self) -> None:
        for error, expected in (
            (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), NoSuchName),
            (socket.gaierror(socket.EAI_NODATA, "No address"), NoSuchName),
            (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), NameServerFailed),
            (socket.gaierror(socket.EAI_FAIL, "Non-recoverable"), NameServerFailed),
            (socket.gaierror(socket.EAI_SYSTEM, "System error"), NameServerFailed),
            (socket.gaierror(socket.EAI_MEMORY, "Memory"), LocalLimit),
            (OSError(24, "Too many open files"), LocalLimit),
            (UnicodeError("label too long"), NoSuchName),
            (ZeroDivisionError("a bug"), ZeroDivisionError),
        ):
            self.answer = error
            result = self.resolve("nas.lan")
            self.run_threads()
            self.failureResultOf(result, expected)

    def test_without_descriptors_no_name_is_said_not_to_exist(self) -> None:
        """glibc reads no hosts file then, asks nobody, and says EAI_NONAME."""

        def refuses(*arguments: object) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(os, "open", refuses)
        for answer in (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            OSError(errno.EMFILE, "Too many open files"),
        ):
            self.answer = answer
            result = self.resolve("nas.lan")
            self.run_threads()
            error = self.failureResultOf(result, LocalLimit).value
            self.assertEqual(error.detail, "Too many open files")

    def test_a_name_without_address(self) -> None:
        self.answer = []
        result = self.resolve("nas.lan")
        self.run_threads()
        self.failureResultOf(result, NoSuchName)

    def test_equal_look_ups_are_shared(self) -> None:
        results = [self.resolve("nas.lan"), self.resolve("NAS.LAN"), self.resolve("nas.lan.")]
        self.assertEqual(len(self.threads), 1)
        self.run_threads()
        for result in results:
            self.successResultOf(result)
        self.assertEqual(self.asked, ["nas.lan"])

    def test_nothing_is_kept(self) -> None:
        for _ in range(2):
            self.resolve("nas.lan")
            self.run_threads()
        self.assertEqual(self.asked, ["nas.lan", "nas.lan"])
        self.assertEqual(self.resolver.running, 0)

    def test_each_waiter_has_an_error_of_its_own(self) -> None:
        self.answer = socket.gaierror(socket.EAI_NONAME, "no")
        results = [self.resolve("nas.lan"), self.resolve("nas.lan")]
        self.run_threads()
        first, second = (self.failureResultOf(result, NoSuchName).value for result in results)
        self.assertIsNot(first, second)

    def test_cancelling_one_waiter_leaves_the_others(self) -> None:
        first, second = self.resolve("nas.lan"), self.resolve("nas.lan")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.run_threads()
        self.successResultOf(second)

    def test_a_look_up_that_nobody_waits_for_ends_quietly(self) -> None:
        self.failureResultOf(self._cancelled("nas.lan"), CancelledError)
        self.assertEqual(self.resolver.running, 1)
        again = self.resolve("nas.lan")
        self.run_threads()
        self.successResultOf(again)
        self.assertEqual((self.resolver.running, self.asked), (0, ["nas.lan"]))

    def _cancelled(self, name: str) -> Deferred[tuple[IPAddress, ...]]:
        result = self.resolve(name)
        result.cancel()
        return result

    def test_a_name_that_hangs_delays_no_other(self) -> None:
        hung = self.resolve("hung.lan")
        self.threads.pop()
        other = self.resolve("nas.lan")
        self.run_threads()
        self.successResultOf(other)
        self.assertNoResult(hung)

    def test_a_look_up_that_hangs_is_not_shared_for_ever(self) -> None:
        """It may have begun on another network; but one name does not take all the places."""
        self.resolve("hung.lan")
        for seconds, threads in ((FRESH - 1, 1), (2, 2), (FRESH + 1, 2), (60, 2)):
            self.clock.advance(seconds)
            self.resolve("hung.lan")
            self.assertEqual(len(self.threads), threads)

    def test_what_the_configuration_names_is_never_refused(self) -> None:
        results = [self.resolve(f"host{number}.lan") for number in range(200)]
        self.assertEqual(len(self.threads), 200)
        self.run_threads()
        for result in results:
            self.successResultOf(result)

    def test_what_clients_choose_is_counted_until_its_thread_ends(self) -> None:
        budget = LookUps()
        waiting = [
            Deferred.fromCoroutine(self.resolver.resolve("hung.lan", budget)),
            Deferred.fromCoroutine(self.resolver.resolve("hung.lan", budget)),
            Deferred.fromCoroutine(self.resolver.resolve("nas.lan", budget)),
        ]
        self.assertEqual(budget.threads, 2)
        for each in waiting:
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.assertEqual(budget.threads, 2)
        self.run_threads()
        self.assertEqual(budget.threads, 0)

    def test_nobody_waits_for_what_another_s_client_asked(self) -> None:
        self.resolver.resolve("hung.lan", LookUps()).send(None)
        hung = self.threads.pop()
        for look_ups in (None, LookUps()):
            other = Deferred.fromCoroutine(self.resolver.resolve("hung.lan", look_ups))
            self.run_threads()
            self.successResultOf(other)
        hung()

    def test_a_thread_that_cannot_start_is_our_limit(self) -> None:
        def refuse(_: Callable[[], None]) -> None:
            raise RuntimeError("can't start new thread")

        self.resolver = Resolver(self.clock, getaddrinfo=self.getaddrinfo, start=refuse)
        self.failureResultOf(self.resolve("nas.lan"), LocalLimit)
        self.assertEqual(self.resolver.running, 0)

    def test_after_the_stop_nobody_is_answered(self) -> None:
        waiting = self.resolve("nas.lan")
        self.resolver.stop()
        self.failureResultOf(waiting, CancelledError)
        self.patch(self.clock, "callFromThread", None)  # would raise if it were called
        self.run_threads()
        self.failureResultOf(self.resolve("nas.lan"), NameServerFailed)

    def test_a_reactor_that_is_gone_does_not_disturb_the_thread(self) -> None:
        def closed(*_: object) -> None:
            raise OSError(9, "Bad file descriptor")

        self.resolve("nas.lan")
        self.patch(self.clock, "callFromThread", closed)
        self.run_threads()

    def test_after_a_change_of_network_everything_is_asked_anew_and_who_waits_goes_on_waiting(self) -> None:
        first, second, gone = self.resolve("nas.lan"), self.resolve("nas.lan"), self.resolve("old.lan")
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        old, self.threads[:] = list(self.threads), []
        self.resolver.renew()
        self.assertEqual(len(self.threads), 1)  # nobody waits for the other
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.answer = [row("10.9.9.9")]
        for thread in old:
            thread()
        self.assertNoResult(first)  # that was yesterday's answer
        self.run_threads()
        self.assertEqual(self.successResultOf(first), (ip_address("10.9.9.9"),))
        self.assertEqual(self.resolver.running, 0)

    def test_no_thread_is_left_to_ask_anew_with(self) -> None:
        waiting = [self.resolve(f"{number}.lan") for number in range(4)]

        def refuse(_: Callable[[], None]) -> None:
            raise RuntimeError("can't start new thread")

        self.patch(self.resolver, "_start", refuse)
        self.resolver.renew()
        for each in waiting:
            self.failureResultOf(each, LocalLimit)
