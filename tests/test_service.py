from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.application.service import Application, IServiceCollection
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lanrelay import process as process_module
from lanrelay.config import model
from lanrelay.config.risks import risks
from lanrelay.listeners.service import ListenerService
from lanrelay.service import RelayService
from lanrelay.version import __version__
from tests.support.listening import tcp_upstreams
from tests.support.progress import PATIENCE

ANY_PORT = model.TcpAddress(host=ip_address("127.0.0.1"), port=0)


class Reactor(MemoryReactorClock):
    """Remembers that it was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1


def forward(name: str = "forward", **keys: Any) -> model.TcpForward:
    upstreams = keys.pop("upstreams", None) or tcp_upstreams(("nas.lan", 5432))
    return model.TcpForward(**{"name": name, "listen": (ANY_PORT,), "upstreams": upstreams, **keys})


class Busy:
    """A connection that has always something under way."""

    def __init__(self, listener: ListenerService) -> None:
        self.listener = listener
        self.aborted = False
        listener._gate.enter()
        listener._connections.add(self)

    def drain(self) -> None: ...
    def retire(self) -> None: ...

    def abort(self) -> None:
        self.aborted = True
        self.listener.gone(self)


class ServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.events: list[LogEvent] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.granted = 1_000_000
        self.patch(process_module, "raise_descriptor_limit", self.raise_limit)
        self.needed: list[int] = []

    def raise_limit(self, needed: int, *, most: int | None) -> int:
        self.needed.append(needed)
        return self.granted

    def relay(self, *listeners: model.Listener, **keys: Any) -> RelayService:
        config = model.Config(path=Path("/etc/relay.yaml"), listeners=listeners, **keys)
        relay = RelayService(self.reactor, config)
        self.addCleanup(relay.close)
        return relay

    def started(self, *listeners: model.Listener, **keys: Any) -> RelayService:
        relay = self.relay(*listeners, **keys)
        self.assertEqual(relay.open(), [])
        relay.startService()
        return relay

    def logged(self) -> list[str]:
        return [formatEvent(event) for event in self.events if event["log_namespace"].startswith("lanrelay")]

    def port(self, relay: RelayService, index: int = 0) -> int:
        port: int = relay.listeners[index].bound[0].socket.getsockname()[1]
        return port

    # --- opening ---

    def test_ports_are_open_before_anything_runs(self) -> None:
        relay = self.relay(forward())
        relay.open()
        socket.create_connection(("127.0.0.1", self.port(relay)), timeout=PATIENCE).close()
        self.assertEqual(self.reactor.readers, set())

    def test_a_disabled_listener_is_not_built(self) -> None:
        relay = self.started(forward("off", enabled=False), forward("on"))
        self.assertEqual([one.config.name for one in relay.listeners], ["on"])
        self.assertIn("off is not enabled", self.logged())

    def test_everything_that_is_wrong_is_reported_and_nothing_stays_open(self) -> None:
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        busy = model.TcpAddress(host=ip_address("127.0.0.1"), port=taken.getsockname()[1])
        nowhere = Path("/nowhere")
        relay = self.relay(
            forward("good"),
            forward("busy", listen=(busy,)),
            forward("secure", tls=model.ServerTls(cert=nowhere / "cert.pem", key=nowhere / "key.pem")),
            admin=model.Admin(listen=(busy,)),
        )
        errors = relay.open()
        self.assertEqual([error.listener for error in errors], ["busy", "secure", ""])
        self.assertTrue(str(errors[2]).startswith("admin.listen: "), errors[2])
        self.assertTrue(all(error.remedy for error in errors))
        self.assertEqual([one.bound for one in relay.listeners], [[], [], [], []])

    # --- starting ---

    def test_the_log_says_what_listens_where_and_leads_to_what(self) -> None:
        relay = self.started(forward(), admin=model.Admin(listen=(ANY_PORT,)))
        logged = self.logged()
        self.assertIn(f"lanrelay {__version__} with /etc/relay.yaml", logged)
        self.assertIn(
            f"forward (tcp-forward) listens on 127.0.0.1:{self.port(relay)} and leads to tcp://nas.lan:5432",
            logged,
        )
        self.assertIn(
            f"admin (admin) listens on 127.0.0.1:{self.port(relay, 1)} and leads to "
            "/, /healthz, /readyz, /status.json, /requests.json, /metrics",
            logged,
        )
        self.assertFalse(any(line.startswith("ready in ") for line in logged))
        (running,) = self.reactor.whenRunningHooks
        running[0]()
        self.assertRegex(self.logged()[-1], r"^ready in \d+ ms$")

    def test_what_is_not_verified_is_warned_of_in_plain_words(self) -> None:
        careless = model.Upstream(
            url=model.UpstreamUrl(scheme="tls", host="nas.lan", port=5432), trust=model.Trust(verify=False)
        )
        self.started(
            forward(upstreams=model.Upstreams(members=(careless,))), warnings=("others can read token.txt",)
        )
        warned = [formatEvent(event) for event in self.events if event["log_level"].name == "warn"]
        self.assertIn("others can read token.txt", warned)
        self.assertTrue(any("tls://nas.lan:5432 is NOT verified" in line for line in warned), warned)

    def test_old_versions_of_tls_are_warned_of(self) -> None:
        old = model.Upstream(
            url=model.UpstreamUrl(scheme="tls", host="nas.lan", port=5432),
            trust=model.Trust(min_version="1.0"),
        )
        self.started(forward(upstreams=model.Upstreams(members=(old,))))
        warned = [formatEvent(event) for event in self.events if event["log_level"].name == "warn"]
        self.assertTrue(any("tls://nas.lan:5432 may use TLS 1.0" in line for line in warned), warned)

    def test_check_warns_of_the_same(self) -> None:
        old = model.Trust(min_version="1.0", verify=False)
        url = model.UpstreamUrl(scheme="tls", host="nas.lan", port=1)
        upstreams = model.Upstreams(members=(model.Upstream(url=url, trust=old),))
        relay = self.started(forward("a", upstreams=upstreams), forward("b"), warnings=("mind the gap",))
        warned = list(relay.warnings())
        self.assertEqual(len(warned), 3)
        self.assertEqual(warned, list(risks(relay.config)))

    def test_the_descriptor_limit_is_raised_for_all_connections(self) -> None:
        self.started(forward("one", max_connections=1000), forward("two", max_connections=500))
        self.assertEqual(self.needed, [3256])
        self.assertFalse(any("open files" in line for line in self.logged()))

    def test_too_few_descriptors_are_warned_of(self) -> None:
        self.granted = 1024  # room for 384
        self.started(forward())
        self.assertEqual(self.told(), ["warn"])

    def told(self) -> list[str]:
        """The levels at which few descriptors were told of."""
        told = [event for event in self.events if "open files" in formatEvent(event)]
        return [event["log_level"].name for event in told]

    def test_what_nobody_reaches_is_no_warning(self) -> None:
        """The default of thousands for each listener is more than most systems grant."""
        self.granted = 20_000  # room for 9872
        self.started(*(forward(str(number)) for number in range(5)))
        self.assertEqual(self.told(), ["debug"])

    def test_who_set_more_himself_is_told(self) -> None:
        self.granted = 2048  # room for 896
        self.started(forward(max_connections=1000))
        self.assertEqual(self.told(), ["warn"])
        self.events.clear()
        self.started(forward(max_connections=800))
        self.assertEqual(self.told(), [])

    def test_connections_that_have_no_descriptors_wait_but_the_admin_page_is_there(self) -> None:
        self.granted = 64  # room for 16
        relay = self.started(forward(), admin=model.Admin(listen=(ANY_PORT,)))
        one, admin = relay.listeners
        for _ in range(16):
            Busy(one)
        self.assertTrue(one._gate.full)
        self.assertFalse(admin._gate.full)

    def test_a_start_that_fails_closes_everything(self) -> None:
        relay = self.relay(forward("one"), forward("two"))
        relay.open()
        port = self.port(relay)
        self.patch(relay.listeners[1], "startService", lambda: 1 / 0)
        self.assertRaises(ZeroDivisionError, relay.startService)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port), 5)
        self.assertEqual(self.reactor.readers, set())

    def test_the_application_is_given_the_log_observer(self) -> None:
        @implementer(ILogObserver)
        def observer(event: LogEvent) -> None: ...

        relay = self.relay(forward())
        relay.log_observer = observer
        application = Application("lanrelay")
        relay.setServiceParent(application)
        self.assertIs(application.getComponent(ILogObserver), observer)
        self.assertEqual(list(IServiceCollection(application)), [relay])

    # --- what proxies may not reach ---

    def test_the_admin_page_and_forward_proxies_are_forbidden_and_other_listeners_are_not(self) -> None:
        proxy = model.ConnectProxy(
            name="proxy", listen=(ANY_PORT,), allow=(model.DestinationRule(word="any"),)
        )
        relay = self.relay(forward(), proxy, admin=model.Admin(listen=(ANY_PORT,)))
        relay.open()
        forbidden = relay.listeners[0].environment.forbidden
        loopback = ip_address("127.0.0.1")
        self.assertIsNone(forbidden(loopback, self.port(relay, 0)))
        self.assertIn("forward proxy proxy", forbidden(loopback, self.port(relay, 1)) or "")
        self.assertIn("admin page", forbidden(loopback, self.port(relay, 2)) or "")

    # --- ending ---

    def busy(self, relay: RelayService) -> Busy:
        """A client whose connection does not end by itself."""
        return Busy(relay.listeners[0])

    def test_nothing_under_way_nothing_to_wait_for(self) -> None:
        relay = self.started(forward(), admin=model.Admin(listen=(ANY_PORT,)))
        port = self.port(relay)
        self.successResultOf(relay.stopService())
        self.assertRaises(ConnectionRefusedError, socket.create_connection, ("127.0.0.1", port), 5)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.logged()[-1], "stopped")

    def test_what_is_under_way_has_until_the_drain_timeout(self) -> None:
        relay = self.started(forward(timeouts=model.Timeouts(drain=7.0)))
        client = self.busy(relay)
        stopping = relay.stopService()
        self.assertIn("stopped listening; connections given time to end: 1", self.logged())
        self.reactor.advance(6.9)
        self.assertNoResult(stopping)
        self.assertFalse(client.aborted)
        self.reactor.advance(0.2)
        self.successResultOf(stopping)
        self.assertTrue(client.aborted)

    def test_a_second_signal_does_not_wait(self) -> None:
        relay = self.started(forward(timeouts=model.Timeouts(drain=3600.0)))
        client = self.busy(relay)
        relay._signalled("SIGTERM")
        self.assertEqual(self.reactor.stops, 1)
        stopping = relay.stopService()
        self.assertNoResult(stopping)
        relay._signalled_again("SIGINT")
        self.successResultOf(stopping)
        self.assertTrue(client.aborted)

    def test_a_second_signal_before_the_stop_has_begun(self) -> None:
        relay = self.started(forward(timeouts=model.Timeouts(drain=3600.0)))
        client = self.busy(relay)
        relay._signalled("SIGTERM")
        relay._signalled_again("SIGTERM")
        self.successResultOf(relay.stopService())
        self.assertTrue(client.aborted)

    def test_stopping_twice_is_stopping_once(self) -> None:
        relay = self.started(forward())
        self.assertIs(relay.stopService(), relay.stopService())

    # --- sleep ---

    def awaiting_sleep(self) -> tuple[RelayService, list[str]]:
        """A relay that is ready, and who was told that the machine slept."""
        relay = self.started(forward())
        self.reactor.running = True
        relay._ready()
        woken: list[str] = []
        (group,) = relay.listeners[0].groups
        group.sleepers.append(lambda: woken.append("group"))
        self.patch(relay._resolver, "renew", lambda: woken.append("resolver"))
        return relay, woken

    def test_after_sleep_names_are_asked_anew_and_upstreams_checked_until_it_stops(self) -> None:
        relay, woken = self.awaiting_sleep()
        client = self.busy(relay)
        self.reactor.advance(2)
        self.assertEqual(woken, [])
        self.reactor.advance(60)
        self.assertEqual(woken, ["resolver", "group"])
        client.abort()
        relay.stopService()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        relay._ready()  # the reactor had it in its queue
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_what_goes_wrong_with_that_does_not_cost_the_client(self) -> None:
        relay, _ = self.awaiting_sleep()
        self.reactor.advance(62)
        self.reactor.advance(62)
        self.patch(relay._minutely, "_turned", lambda: 1 // 0)
        self.busy(relay)
        self.assertEqual(relay.listeners[0].open_connections, 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_an_idle_relay_does_not_wake_and_hears_of_sleep_when_the_first_connection_comes(self) -> None:
        relay, woken = self.awaiting_sleep()
        ahead = 0.0
        self.patch(relay._wakeup, "_clocks", [lambda: ahead])
        relay._wakeup._ahead = [ahead]
        self.reactor.advance(2)
        self.reactor.advance(60)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        ahead = 3600.0
        self.assertEqual(woken, [])
        self.busy(relay)
        self.assertEqual(woken, ["resolver", "group"])
