"""The order in which several upstreams are tried."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.errors import ConnectionRefused
from lanrelay.upstream.balance import UpstreamGroup
from tests.support.dialing import FakeDialer, upstreams

HEALTH = model.Health(fall=1)


class BalanceTests(SynchronousTestCase):
    def group(self, *urls: str, **settings: Any) -> UpstreamGroup:
        settings.setdefault("health", HEALTH)
        self.clock = Clock()
        config = upstreams(*(urls or ("tcp://a:1", "tcp://b:1", "tcp://c:1")), **settings)
        self.dialer = FakeDialer()
        return UpstreamGroup(self.clock, self.dialer, config, model.Timeouts())  # type: ignore[arg-type]

    def order(self, group: UpstreamGroup) -> str:
        return "".join(upstream.config.url.host for upstream in group.candidates())

    def test_first_keeps_the_configured_order(self) -> None:
        group = self.group()
        self.assertEqual([self.order(group) for _ in range(3)], ["abc", "abc", "abc"])
        group.members[0].failed(ConnectionRefused())
        self.assertEqual(self.order(group), "bc")
        group.members[0].succeeded()
        self.assertEqual(self.order(group), "abc")

    def test_round_robin(self) -> None:
        group = self.group(balance="round-robin")
        self.assertEqual([self.order(group) for _ in range(4)], ["abc", "bca", "cab", "abc"])

    def test_round_robin_is_even_when_one_is_down(self) -> None:
        group = self.group(balance="round-robin")
        group.members[1].failed(ConnectionRefused())
        firsts = [self.order(group)[0] for _ in range(12)]
        self.assertEqual((firsts.count("a"), firsts.count("c")), (6, 6))

    def test_least_connections(self) -> None:
        group = self.group(balance="least-connections")
        for member, connections in zip(group.members, (2, 1, 1), strict=True):
            member.open = connections
        self.assertEqual(self.order(group), "bca")

    def test_all_down(self) -> None:
        group = self.group()
        for member in group.members:
            member.failed(ConnectionRefused())
        self.assertEqual(group.candidates(), [])

    def test_a_single_one_is_always_tried(self) -> None:
        group = self.group("tcp://a:1")
        group.members[0].failed(ConnectionRefused())
        self.assertFalse(group.members[0].up)
        self.assertEqual(self.order(group), "a")

    def test_start_and_stop(self) -> None:
        group = self.group()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        group.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 3)
        group.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_health_nothing_is_checked(self) -> None:
        group = self.group(health=None)
        group.start()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        group.stop()

    def test_load_loads_all(self) -> None:
        self.group().load()

    def test_after_sleep_all_are_checked_at_once_and_pools_hear_of_it_before(self) -> None:
        group = self.group()
        heard: list[int] = []
        group.sleepers.append(lambda: heard.append(len(self.dialer.asked)))
        group.woken()
        self.assertEqual(self.clock.getDelayedCalls(), [])  # it was not started
        group.start()
        self.clock.advance(1)
        for _ in range(3):
            self.dialer.answer()
        self.assertEqual(len(self.dialer.asked), 3)
        self.clock.advance(1)
        group.woken()
        self.clock.advance(1)
        self.assertEqual(len(self.dialer.asked), 6)
        self.assertEqual(heard, [0, 3])
        group.woken()  # while checks are under way
        self.assertEqual(self.dialer.cancelled, 3)
        self.clock.advance(1)
        self.assertEqual(len(self.dialer.asked), 9)
        self.assertTrue(all(member.up for member in group.members))
        group.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
