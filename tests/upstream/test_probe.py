from __future__ import annotations

import errno
from ipaddress import ip_address
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.errors import ConnectionRefused, NameTimeout, NoSuchName, StartError
from lanrelay.upstream.dial import Dialer
from lanrelay.upstream.probe import Probed, Step, probe
from tests.support.dialing import FakeConnect, FakeResolver, ThreadClock, upstreams


class ProbeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = ThreadClock()
        self.resolver = FakeResolver()
        self.connect = FakeConnect()
        self.dialer = Dialer(self.clock, self.resolver, connect=self.connect)  # type: ignore[arg-type]
        self.steps: list[Step] = []

    def begin(
        self, where: str = "http://nas.lan:8000", health: model.Health | None = None, **changes: object
    ) -> Deferred[Probed]:
        (config,) = upstreams(where).members
        config = config._replace(**changes)  # type: ignore[arg-type]
        timeouts = model.Timeouts(connect=4)
        return Deferred.fromCoroutine(
            probe(self.clock, self.dialer, config, timeouts, health, self.steps.append)
        )

    def names(self) -> list[tuple[str, bool, float]]:
        return [(step.name, step.ok, round(step.seconds, 3)) for step in self.steps]

    def test_each_step_with_its_time(self) -> None:
        probing = self.begin(health=model.Health(path="/health"))
        self.clock.advance(0.5)
        self.resolver.answer("nas.lan", ip_address("192.0.2.1"), ip_address("192.0.2.2"))
        self.clock.advance(0.125)
        stream = self.connect.answer("192.0.2.1:8000")
        self.assertIn(b"GET /health HTTP/1.1\r\n", stream.take())
        self.clock.advance(2)
        stream.receive(b"HTTP/1.1 204 No Content\r\n\r\n")
        probed = self.successResultOf(probing)
        self.assertEqual((probed.seconds, probed.error), (2.625, None))
        self.assertEqual(self.names(), [("name", True, 0.5), ("connect", True, 0.125), ("health", True, 2.0)])
        self.assertEqual(self.steps[0].said, "nas.lan is 192.0.2.1, 192.0.2.2")
        self.assertEqual(self.steps[1].said, "connected to 192.0.2.1:8000")
        self.assertTrue(stream.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_literal_address_needs_no_name_and_no_health_is_asked_for_without_a_path(self) -> None:
        probing = self.begin("tcp://192.0.2.9:22", health=model.Health())
        stream = self.connect.answer("192.0.2.9:22")
        self.assertIsNone(self.successResultOf(probing).error)
        self.assertEqual(self.names(), [("connect", True, 0.0)])
        self.assertTrue(stream.closed)

    def test_the_step_that_failed_says_why(self) -> None:
        probing = self.begin()
        self.resolver.fail("nas.lan", NoSuchName("none"))
        error = self.successResultOf(probing).error
        self.assertIsInstance(error, NoSuchName)
        self.assertEqual(self.names(), [("name", False, 0.0)])
        self.assertIn("no host named nas.lan", self.steps[0].said)

    def test_a_name_that_hangs(self) -> None:
        probing = self.begin()
        self.clock.advance(4)
        self.assertIsInstance(self.successResultOf(probing).error, NameTimeout)
        self.assertEqual(self.names(), [("name", False, 4.0)])

    def test_a_refused_connection(self) -> None:
        probing = self.begin("tcp://192.0.2.9:22")
        self.connect.fail("192.0.2.9:22", errno.ECONNREFUSED)
        self.assertIsInstance(self.successResultOf(probing).error, ConnectionRefused)
        self.assertEqual(self.names(), [("connect", False, 0.0)])

    def test_a_bad_answer_to_the_health_check(self) -> None:
        probing = self.begin("http://192.0.2.9:80", health=model.Health(path="/h"))
        self.connect.answer("192.0.2.9:80").receive(b"HTTP/1.1 500 Oh\r\n\r\n")
        self.assertIsNotNone(self.successResultOf(probing).error)
        self.assertEqual(self.names(), [("connect", True, 0.0), ("health", False, 0.0)])

    def test_through_a_parent_it_is_the_parent_that_is_looked_up(self) -> None:
        parent = model.ParentProxy(scheme="http", host="proxy.lan", port=3128)
        probing = self.begin("tcp://nas.lan:22", via=parent)
        self.resolver.answer("proxy.lan", ip_address("192.0.2.3"))
        stream = self.connect.answer("192.0.2.3:3128")
        self.assertIn(b"CONNECT nas.lan:22 ", stream.take())
        self.clock.advance(1)
        stream.receive(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.assertIsNone(self.successResultOf(probing).error)
        self.assertEqual(self.names(), [("name", True, 0.0), ("connect", True, 0.0), ("proxy", True, 1.0)])
        self.assertEqual(self.steps[2].said, "http://proxy.lan:3128 opened the way to nas.lan:22")

    def test_a_parent_that_refuses(self) -> None:
        parent = model.ParentProxy(scheme="http", host="192.0.2.3", port=3128)
        probing = self.begin("tcp://nas.lan:22", via=parent)
        self.connect.answer("192.0.2.3:3128").receive(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        self.assertIsNotNone(self.successResultOf(probing).error)
        self.assertEqual(self.names(), [("connect", True, 0.0), ("proxy", False, 0.0)])

    def test_files_that_cannot_be_read(self) -> None:
        trust = model.Trust(ca=(Path("/nowhere/ca.pem"),))
        url = model.UpstreamUrl(scheme="tls", host="192.0.2.9", port=443)
        probed = self.successResultOf(self.begin("tcp://192.0.2.9:443", url=url, trust=trust))
        self.assertIsInstance(probed.error, StartError)
        self.assertEqual(self.names(), [("files", False, 0.0)])
        self.assertIn("/nowhere/ca.pem", self.steps[0].said)

    def test_whoever_looked_on_has_gone(self) -> None:
        probing = self.begin("tcp://192.0.2.9:22")
        probing.cancel()
        self.failureResultOf(probing, CancelledError)
        self.assertEqual(self.connect.cancelled, ["192.0.2.9:22"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
