"""Tests for L{lanrelay.upstream.scheme}."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.upstream.dial import Dialed
from lanrelay.upstream.scheme import Schemes
from tests.support.memory import MemoryStream

NAS = "192.168.1.20:443"


class SchemesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.schemes = Schemes(Clock())
        self.streams: list[MemoryStream] = []

    def ask(self) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.schemes.speaks_tls(NAS, self.connect))

    async def connect(self) -> Dialed:
        self.streams.append(MemoryStream())
        return Dialed(self.streams[-1], NAS)

    def test_it_is_found_out_once(self) -> None:
        asking = self.ask()
        self.streams[0].receive(b"\x15\x03\x01\x00\x02\x02\x46")
        self.assertIs(self.successResultOf(asking), True)
        self.assertIs(self.successResultOf(self.ask()), True)
        self.assertEqual(len(self.streams), 1)

    def test_who_leaves_before_that_has_found_out_nothing(self) -> None:
        asking = self.ask()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        asking = self.ask()
        self.streams[1].receive(b"\x15\x03\x01\x00\x02\x02\x46")
        self.assertIs(self.successResultOf(asking), True)
