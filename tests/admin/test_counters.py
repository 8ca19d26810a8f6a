from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.counters import Count, Counters
from lanrelay.errors import ConnectionRefused, DialTimeout
from lanrelay.observe.ledger import Ledger


class CountersTests(SynchronousTestCase):
    def test_sessions_are_counted_when_they_close(self) -> None:
        ledger, counters = Ledger(Clock()), Counters()
        ledger.observers.append(counters)
        for error in (None, ConnectionRefused(), DialTimeout(), ConnectionRefused()):
            session = ledger.open("db", "tcp-forward", "unix")
            session.received, session.sent = 10, 100
            if error is not None:
                session.failed(error, by="upstream")
            ledger.close(session)
        ledger.open("db", "tcp-forward", "unix")
        self.assertEqual(
            counters.listeners,
            {
                "db": Count(
                    sessions=4,
                    failed=3,
                    received=40,
                    sent=400,
                    errors={"connection_refused": 2, "connection_timeout": 1},
                )
            },
        )
