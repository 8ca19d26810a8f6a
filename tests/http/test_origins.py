"""The pools of a group of upstreams, when one of them goes down and when the machine has slept."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.errors import ConnectionRefused
from lanrelay.http.origin import OriginConnection
from lanrelay.http.origins import Origins
from lanrelay.transport.stream import hand_over
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.upstream.upstream import Upstream
from tests.support.dialing import FakeDialer, upstreams
from tests.support.memory import MemoryStream


class OriginsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        config = upstreams("http://a", "http://b", health=model.Health(fall=2))
        self.group = UpstreamGroup(self.clock, FakeDialer(), config, model.Timeouts())  # type: ignore[arg-type]
        self.origins = Origins(self.clock, self.group, model.Pool(), model.Timeouts())

    def idle(self, upstream: Upstream) -> MemoryStream:
        pool = self.origins._pools[upstream]
        stream = MemoryStream()
        connection = OriginConnection(self.clock, model.Timeouts(), home=pool, upstream=upstream)
        pool.adopt(connection)
        hand_over(stream, connection)
        self.assertTrue(pool.put(connection))
        return stream

    def test_when_an_upstream_goes_down_its_idle_connections_are_of_no_more_use(self) -> None:
        first, second = self.group.members
        of_first, of_second = self.idle(first), self.idle(second)
        first.failed(ConnectionRefused())
        self.assertFalse(of_first.closed)
        first.failed(ConnectionRefused())
        self.assertTrue(of_first.closed)
        self.assertFalse(of_second.closed)
        later = self.idle(first)
        first.failed(ConnectionRefused())
        self.assertFalse(later.closed)  # it was down already: checks and requests need not agree
        first.succeeded()
        for _ in range(2):
            first.failed(ConnectionRefused())
        self.assertTrue(later.closed)

    def test_after_sleep_all_idle_connections_are_dropped(self) -> None:
        streams = [self.idle(member) for member in self.group.members]
        self.group.woken()
        self.assertTrue(all(stream.closed for stream in streams))
        self.assertFalse(self.idle(self.group.members[0]).closed)
