"""One upstream: how it is dialed, and its state."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.errors import AddressDenied, CheckFailed, ConnectionRefused, LocalLimit
from lanrelay.upstream.dial import Dialed
from lanrelay.upstream.upstream import HISTORY, Upstream
from tests.support.dialing import FakeDialer, upstreams

PLAIN = upstreams("http://nas.lan:8000").members[0]
HTTPS = model.Upstream(url=model.UpstreamUrl(scheme="https", host="nas.lan", port=443))


class UpstreamCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.dialer = FakeDialer()

    def upstream(self, config: model.Upstream = PLAIN, health: model.Health | None = None) -> Upstream:
        timeouts = model.Timeouts(connect=4, handshake=9)
        return Upstream(self.clock, self.dialer, config, timeouts, health)  # type: ignore[arg-type]


class UpstreamTests(UpstreamCase):
    def test_what_is_dialed(self) -> None:
        self.assertEqual(self.upstream().name, "http://nas.lan:8000")
        result = Deferred.fromCoroutine(self.upstream().dial())
        self.dialer.answer()
        self.assertIsInstance(self.successResultOf(result), Dialed)
        self.assertEqual(self.dialer.asked, ["nas.lan:8000"])
        limits = self.dialer.limits[0]
        self.assertEqual(
            (limits["connect_timeout"], limits["handshake_timeout"], limits["tls"], limits["permit"]),
            (4, 9, None, None),
        )

    def test_address_is_dialed_and_the_url_is_named(self) -> None:
        config = PLAIN._replace(address=model.TargetAddress(host="10.0.0.7", port=80))
        upstream = self.upstream(config)
        result = Deferred.fromCoroutine(upstream.dial())
        self.dialer.fail(ConnectionRefused("refused", target="10.0.0.7:80", address="10.0.0.7:80"))
        error = self.failureResultOf(result, ConnectionRefused).value
        self.assertEqual(self.dialer.asked, ["10.0.0.7:80"])
        self.assertEqual((error.target, error.address), ("nas.lan:8000", "10.0.0.7:80"))

    def test_permit_is_passed_on(self) -> None:
        Deferred.fromCoroutine(self.upstream().dial(permit=lambda _: "no"))
        self.assertIsNotNone(self.dialer.limits[0]["permit"])

    def test_one_that_was_given_up_has_a_second(self) -> None:
        upstream = self.upstream(health=model.Health(fall=1))
        upstream.failed(ConnectionRefused())
        self.assertFalse(upstream.given_up(3))
        self.clock.advance(3)
        self.assertTrue(upstream.given_up(3))
        Deferred.fromCoroutine(upstream.dial(brief=True))
        limits = self.dialer.limits[0]
        self.assertEqual((limits["connect_timeout"], limits["handshake_timeout"]), (1, 9))
        self.dialer.answer()
        self.clock.advance(100)
        self.assertFalse(upstream.given_up(3))

    def test_trust(self) -> None:
        self.assertIsNone(self.upstream().tls)
        self.assertFalse(self.upstream().insecure)
        secure = self.upstream(HTTPS)
        self.assertFalse(secure.insecure)
        secure.load()
        Deferred.fromCoroutine(secure.dial())
        self.assertIs(self.dialer.limits[0]["tls"], secure.tls)
        self.assertTrue(self.upstream(HTTPS._replace(trust=model.Trust(verify=False))).insecure)

    def test_a_cancelled_dial_counts_for_nothing(self) -> None:
        upstream = self.upstream(health=model.Health(fall=1))
        result = Deferred.fromCoroutine(upstream.dial())
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual((upstream.up, upstream.last_error, self.dialer.cancelled), (True, None, 1))


class StateTests(UpstreamCase):
    def setUp(self) -> None:
        super().setUp()
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def logged(self) -> list[tuple[str, str]]:
        return [
            (event["log_level"].name, event.get("what", "up"))
            for event in self.events
            if event.get("log_namespace", "").startswith("lanrelay.upstream")
        ]

    def test_fall_and_rise(self) -> None:
        upstream = self.upstream(health=model.Health(fall=2, rise=2))
        upstream.failed(ConnectionRefused())
        self.assertTrue(upstream.up and upstream.doubtful)
        upstream.succeeded()
        self.assertFalse(upstream.doubtful)
        upstream.failed(ConnectionRefused())
        self.clock.advance(1)
        upstream.failed(ConnectionRefused(target="nas.lan:8000", address="10.0.0.7:8000"))
        self.assertFalse(upstream.up)
        upstream.succeeded()
        self.assertFalse(upstream.up)
        upstream.failed(ConnectionRefused())
        upstream.succeeded()
        self.assertFalse(upstream.up)
        self.clock.advance(1)
        upstream.succeeded()
        self.assertTrue(upstream.up)
        self.assertIsNone(upstream.last_error)
        self.assertEqual([(each.at, each.up) for each in upstream.history], [(1, False), (2, True)])
        self.assertIsInstance(upstream.history[0].error, ConnectionRefused)

    def test_a_change_is_logged_once_with_its_sentence(self) -> None:
        upstream = self.upstream(health=model.Health(fall=2))
        for _ in range(5):
            upstream.failed(ConnectionRefused(target="nas.lan:8000", address="10.0.0.7:8000"))
        for _ in range(5):
            upstream.succeeded()
        self.assertEqual(
            self.logged(),
            [
                ("warn", "10.0.0.7 is there, but nothing listens on its port 8000 (nas.lan:8000)."),
                ("info", "up"),
            ],
        )

    def test_dials_feed_the_same_state(self) -> None:
        upstream = self.upstream(health=model.Health(fall=1))
        result = Deferred.fromCoroutine(upstream.dial())
        self.dialer.fail(ConnectionRefused())
        self.failureResultOf(result, ConnectionRefused)
        self.assertFalse(upstream.up)
        Deferred.fromCoroutine(upstream.dial())
        self.dialer.answer()
        self.assertTrue(upstream.up)

    def test_a_mere_connection_does_not_disprove_a_failed_check(self) -> None:
        upstream = self.upstream(health=model.Health(path="/health", fall=2))
        for _ in range(2):
            upstream.failed(CheckFailed())
            Deferred.fromCoroutine(upstream.dial())
            self.dialer.answer()
        self.assertFalse(upstream.up)

    def test_what_is_not_its_doing_changes_nothing(self) -> None:
        upstream = self.upstream(health=model.Health(fall=1))
        upstream.failed(AddressDenied())
        upstream.failed(LocalLimit())
        self.assertEqual((upstream.up, upstream.last_error), (True, None))

    def test_without_health_it_stays_up(self) -> None:
        upstream = self.upstream()
        for _ in range(5):
            upstream.failed(ConnectionRefused())
        self.assertTrue(upstream.up)
        self.assertIsInstance(upstream.last_error, ConnectionRefused)
        self.assertEqual(self.logged(), [])

    def test_the_history_is_bounded(self) -> None:
        upstream = self.upstream(health=model.Health(fall=1))
        for _ in range(HISTORY):
            upstream.failed(ConnectionRefused())
            upstream.succeeded()
        self.assertEqual(len(upstream.history), HISTORY)
