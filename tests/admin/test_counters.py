from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.counters import Count, Counters
from lanrelay.admin.failures import Failures
from lanrelay.errors import ConnectionRefused, DialTimeout, RelayError, ResponseTimeout
from lanrelay.observe.ledger import Ledger
from lanrelay.observe.session import Session


class CountersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.ledger, self.counters = Ledger(self.clock), Counters()
        self.ledger.observers.append(self.counters.note)

    def closed(
        self, error: RelayError | None = None, *, lasting: float = 0.0, listener: str = "db", **values: Any
    ) -> Count:
        """One session more; what its listener has come to."""
        session = self.ledger.open(listener, "kind", "unix")
        for name, value in values.items():
            setattr(session, name, value)
        if error is not None:
            session.failed(error, by="upstream")
        self.clock.advance(lasting)
        self.ledger.close(session)
        return self.counters.listeners[listener]

    def test_sessions_are_counted_when_they_close(self) -> None:
        self.assertEqual(self.counters.listeners, {})
        for error in (None, ConnectionRefused(), DialTimeout(), ConnectionRefused()):
            count = self.closed(error, received=10, sent=100)
        self.ledger.open("db", "kind", "unix")
        self.assertEqual((count.sessions, count.failed, count.received, count.sent), (4, 3, 40, 400))
        self.assertEqual(count.errors, {"connection_refused": 2, "connection_timeout": 1})
        self.assertEqual(list(self.counters.listeners), ["db"])

    def test_a_failed_dial_is_one_that_ended_in_the_dial(self) -> None:
        self.closed(ConnectionRefused(), phase="dial")
        count = self.closed(ResponseTimeout(), phase="response")
        self.assertEqual(count.dial_failures, {"connection_refused": 1})
        self.assertEqual(count.errors, {"connection_refused": 1, "http_response_timeout": 1})

    def test_requests_are_counted_by_their_answer(self) -> None:
        self.closed(method="GET", status=200)
        self.closed(method="GET", status=200)
        self.closed(method="POST", status=502)
        count = self.closed(method="GET")  # the client went before there was one
        self.assertEqual(count.codes, {200: 2, 502: 1, 0: 1})
        self.assertEqual(self.closed(listener="forward").codes, {})

    def test_the_time_of_a_tunnel_is_not_that_of_a_request(self) -> None:
        count = self.closed(method="GET", status=200, lasting=0.3, first_byte=0.2)
        self.closed(method="GET", status=101, lasting=1000.0, first_byte=0.1)
        self.closed(method="CONNECT", status=200, lasting=1000.0, dialed=0.02)
        self.closed(lasting=1000.0, dialed=0.02)
        self.assertEqual((count.duration.count, count.duration.sum), (1, 0.3))
        self.assertEqual((count.answered.count, count.answered.sum), (1, 0.2))
        self.assertEqual((count.dialed.count, count.dialed.sum), (2, 0.04))


class FailuresTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ledger = Ledger(Clock())

    def failed(self, detail: str, client: str = "unix") -> Session:
        session = self.ledger.open("db", "kind", client)
        session.failed(ConnectionRefused(detail), by="upstream")
        return session

    def test_the_latest_come_first_and_there_is_an_end(self) -> None:
        failures = Failures(limit=3)
        for number in range(5):
            failures.note(self.failed(f"reason {number}"))
        self.assertEqual([one.session.detail for one in failures], ["reason 4", "reason 3", "reason 2"])
        self.assertEqual(len(failures), 3)

    def test_equal_ones_are_one_that_came_again(self) -> None:
        failures = Failures()
        failures.note(self.failed("a", "127.0.0.1:1"))
        failures.note(self.failed("b"))
        failures.note(self.failed("a", "127.0.0.1:2"))
        first, second = failures
        self.assertEqual((first.session.detail, first.count, first.session.client), ("a", 2, "127.0.0.1:2"))
        self.assertEqual((second.session.detail, second.count), ("b", 1))
        self.assertLessEqual(first.first, first.last)

    def test_counters_keep_them(self) -> None:
        counters = Counters()
        counters.note(self.failed("a"), 1.0)
        counters.note(self.ledger.open("db", "kind", "unix"), 1.0)
        self.assertEqual(len(counters.failures), 1)
