"""What a reload hands on inside of one process, without a client."""

from __future__ import annotations

import errno
import gc
import shutil
import socket
import tempfile
import weakref
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.status import status
from lanrelay.admin.watched import Reload
from lanrelay.config import model
from lanrelay.config.load import load
from lanrelay.errors import ConnectionRefused
from lanrelay.listeners.reverse_proxy import ReverseProxyService
from lanrelay.listeners.service import ListenerService
from lanrelay.service import RelayService

WEB = """
  web:
    type: reverse-proxy
    listen: 127.0.0.1:0
    upstream: http://192.0.2.1:8000
"""


class Idle:
    """A connection that has nothing under way and does not end by itself."""

    def __init__(self, listener: ListenerService) -> None:
        self.listener = listener
        self.calls: list[str] = []
        listener._gate.enter()
        listener._connections.add(self)

    def drain(self) -> None:
        self.calls.append("drain")

    def retire(self) -> None:
        self.calls.append("retire")

    def abort(self) -> None:
        self.calls.append("abort")
        self.end()

    def end(self) -> None:
        self.listener.gone(self)


class RelayCase(SynchronousTestCase):
    """A relay with a configuration file, on a reactor in memory."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "relay.yaml"
        self.reactor: Any = MemoryReactorClock()

    def start(self, listeners: str, *, top: str = "control: off") -> RelayService:
        self.write(listeners, top=top)
        relay = RelayService(self.reactor, load(self.file))
        self.assertEqual(relay.open(), [])
        relay.startService()
        self.addCleanup(self.stop, relay)
        return relay

    def write(self, listeners: str, *, top: str = "control: off") -> None:
        self.file.write_text(f"{top}\nlisteners:\n{listeners}")

    def stop(self, relay: RelayService) -> None:
        relay.end_now()
        relay.stopService()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def reload(self, relay: RelayService, listeners: str, *, top: str = "control: off") -> Reload:
        self.write(listeners, top=top)
        outcome = relay.reload("test")
        self.assertEqual(outcome.errors, ())
        return outcome

    def web(self, relay: RelayService) -> ReverseProxyService:
        (found,) = [one for one in relay.listeners if isinstance(one, ReverseProxyService)]
        return found


class ChangeTests(RelayCase):
    # --- upstreams ---

    def test_equal_upstreams_keep_state_health_check_and_pool(self) -> None:
        relay = self.start(WEB)
        old = self.web(relay)
        (group,) = old.groups
        (upstream,) = group.members
        upstream.up = False
        check, (pool,) = group.checks[upstream], old.routes[0].origins.pools
        timers = len(self.reactor.getDelayedCalls())
        self.reload(relay, WEB.replace("web:", "renamed:") + "    sse_keepalive: 20s\n")
        new = self.web(relay)
        self.assertIsNot(new, old)
        self.assertEqual(new.bound[0].socket.fileno() != -1, True)
        self.assertIs(new.groups[0].members[0], upstream)
        self.assertIs(new.groups[0].checks[upstream], check)
        self.assertEqual(new.routes[0].origins.pools, [pool])
        self.assertEqual(len(self.reactor.getDelayedCalls()), timers, "the check goes on, once")
        self.assertFalse(pool._closed)
        self.assertEqual(len(upstream.observers), 2, "the check, and the pools of the new listener alone")

    def test_what_is_remembered_outlives_another_record_and_goes_with_the_listener(self) -> None:
        relay = self.start(WEB)
        upstream = self.web(relay).groups[0].members[0]
        upstream.judge(ConnectionRefused(target="192.0.2.1:8000"))
        session = relay.ledger.open("web", "reverse-proxy", "unix")
        session.method, session.status, session.first_byte = "GET", 502, 0.25
        relay.ledger.close(session)
        began = round(relay.watched.pulses.of("web").since, 3)
        self.reload(relay, WEB + "    max_body: 1MB\n    timeouts: {connect: 1s}\n")
        self.assertIsNot(self.web(relay).groups[0].members[0], upstream)
        document = status(relay.watched)
        (after,), (bars,) = document["listeners"], document["upstreams"]
        self.assertEqual(sum(after["hour"]["errors"]), 1)
        self.assertEqual((after["first_byte_ms"], after["since"]), (250.0, began))
        self.assertIn("down", [cell["state"] for cell in bars["minutes"]])
        self.assertIn("down", [cell["state"] for cell in bars["hours"]])
        self.assertEqual(
            [one["kind"] for one in document["events"]], ["started", "down", "reloaded"], document["events"]
        )
        other = WEB.replace("web:", "other:").replace("192.0.2.1", "192.0.2.2")
        self.reload(relay, other)
        self.reload(relay, WEB)
        document = status(relay.watched)
        self.assertEqual(sum(document["listeners"][0]["hour"]["requests"]), 0)
        self.assertIsNone(document["listeners"][0]["first_byte_ms"])
        self.assertEqual({cell["state"] for cell in document["upstreams"][0]["minutes"]}, {"unchecked"})
        self.assertEqual(document["counters"]["web"]["requests"], {"502": 1})

    def test_a_reload_that_is_refused_leaves_what_is_remembered(self) -> None:
        relay = self.start(WEB)
        upstream = self.web(relay).groups[0].members[0]
        upstream.judge(ConnectionRefused(target="192.0.2.1:8000"))
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        self.write(WEB.replace("127.0.0.1:0", f"127.0.0.1:{port}") + "    timeouts: {connect: 1s}\n")
        self.assertFalse(relay.reload("test").ok)
        self.write("  web: {type: nonsense}\n")
        self.assertFalse(relay.reload("test").ok)
        document = status(relay.watched)
        self.assertEqual(
            [one["kind"] for one in document["events"]], ["started", "down", "refused", "refused"]
        )
        self.assertIn("down", [cell["state"] for cell in document["upstreams"][0]["minutes"]])

    def test_mcp_sessions_are_handed_on_where_the_urls_are_the_same(self) -> None:
        for change, kept in (
            ("    hosts: a.lan\n", True),
            ("    timeouts: {connect: 1s}\n", True),
            ("    session_recovery: off\n", False),
        ):
            relay = self.start(WEB)
            old = self.web(relay).routes[0]
            old.session_began(b"x", b'{"method": "initialize"}')
            self.reload(relay, WEB + change)
            new = self.web(relay).routes[0]
            self.assertEqual(new.sessions is old.sessions, kept, change)
            if kept:
                assert new.sessions is not None
                self.assertIsNotNone(new.sessions.find(b"x"))  # although the old listener has ended
                self.reload(relay, WEB.replace("192.0.2.1", "192.0.2.2"))
                self.assertIsNone(self.web(relay).routes[0].sessions)
                self.assertEqual(len(new.sessions), 0)
            relay.end_now()
            relay.stopService()

    def test_what_is_different_gets_upstreams_of_its_own(self) -> None:
        for change in (
            "    timeouts: {connect: 1s}\n",
            "    health: {interval: 1s}\n",
            "    host: preserve\n",
        ):
            relay = self.start(WEB)
            old = self.web(relay)
            upstream = old.groups[0].members[0]
            self.reload(relay, WEB + change)
            new = self.web(relay).groups[0].members[0]
            self.assertEqual(new is upstream, "host" in change, change)
            relay.end_now()
            relay.stopService()

    def test_another_pool_size_is_another_pool_to_the_same_upstream(self) -> None:
        relay = self.start(WEB)
        old = self.web(relay)
        (pool,) = old.routes[0].origins.pools
        self.reload(relay, WEB + "    pool: {size: 1}\n")
        new = self.web(relay)
        self.assertIs(new.groups[0].members[0], old.groups[0].members[0])
        self.assertTrue(pool._closed)
        self.assertEqual([one.config.size for one in new.routes[0].origins.pools], [1])

    def test_old_connections_keep_their_upstreams_checked_until_the_last_has_ended(self) -> None:
        relay = self.start(WEB)
        old = self.web(relay)
        client = Idle(old)
        self.reload(relay, WEB.replace("192.0.2.1", "192.0.2.2"))
        self.assertEqual(client.calls, ["retire"])
        check = old.groups[0].checks[old.groups[0].members[0]]
        self.assertIsNotNone(check._timer)
        self.assertEqual(relay.draining, [old])
        client.end()
        self.assertIsNone(check._timer)
        self.assertEqual(relay.draining, [])
        self.assertTrue(old.routes[0].origins.pools[0]._closed)

    def test_a_reload_that_fails_leaves_no_trace_on_what_it_would_have_shared(self) -> None:
        relay = self.start(WEB)
        old = self.web(relay)
        upstream, (pool,) = old.groups[0].members[0], old.routes[0].origins.pools
        before = (list(upstream.observers), list(self.reactor.readers), old.bound[:])
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        other = f"  other: {{type: tcp-forward, listen: '127.0.0.1:{port}', upstream: 'tcp://h:1'}}\n"
        page = "control: off\nadmin: {listen: '127.0.0.1:0'}"
        self.write(WEB + "    sse_keepalive: 20s\n" + other, top=page)
        outcome = relay.reload("test")
        self.assertEqual(len(outcome.errors), 1)
        self.assertEqual((list(upstream.observers), list(self.reactor.readers), old.bound[:]), before)
        self.assertFalse(pool._closed)
        self.assertIs(self.web(relay), old)
        self.assertTrue(old.running)

    # --- connections ---

    def test_connections_of_old_count_for_the_limit(self) -> None:
        relay = self.start(WEB + "    max_connections: 2\n")
        old = self.web(relay)
        clients = [Idle(old), Idle(old)]
        self.reload(relay, WEB + "    max_connections: 2\n    host: preserve\n")
        new = self.web(relay)
        self.assertTrue(new._gate.full)
        clients[0].end()
        self.assertFalse(new._gate.full)
        self.reload(relay, WEB + "    max_connections: 1\n    host: preserve\n")
        self.assertTrue(self.web(relay)._gate.full)

    def test_what_an_earlier_reload_left_drains_when_the_rules_change_or_the_listener_goes(self) -> None:
        for last in (
            WEB + "    clients: 127.0.0.2\n",
            WEB.replace("web:", "other:").replace("reverse-proxy", "tcp-forward").replace("http:", "tcp:"),
        ):
            relay = self.start(WEB)
            client = Idle(self.web(relay))
            self.reload(relay, WEB + "    host: preserve\n")
            self.reload(relay, WEB + "    host: preserve\n    sse_keepalive: 20s\n")
            self.assertEqual(client.calls, ["retire"])
            self.reload(relay, last)
            self.assertEqual(client.calls, ["retire", "drain"])
            self.reactor.advance(3.1)
            self.assertEqual(client.calls, ["retire", "drain", "abort"])
            self.assertEqual(relay.draining, [])
            relay.end_now()
            relay.stopService()

    def test_a_stop_drains_what_a_reload_left(self) -> None:
        relay = self.start(WEB)
        client = Idle(self.web(relay))
        self.reload(relay, WEB + "    host: preserve\n")
        stopping = relay.stopService()
        self.assertEqual(client.calls, ["retire", "drain"])
        self.assertNoResult(stopping)
        client.end()
        self.successResultOf(stopping)
        self.assertEqual(relay.reload("test").errors, ("the relay is stopping",))

    def test_what_is_over_is_forgotten(self) -> None:
        relay = self.start(WEB, top="control: off\nadmin: {listen: '127.0.0.1:0'}")
        first = weakref.ref(self.web(relay))
        pool = weakref.ref(self.web(relay).routes[0].origins)
        for number in range(1, 4):
            self.reload(relay, f"{WEB}    sse_keepalive: {number}s\n", top="control: off")
        gc.collect()
        self.assertIsNone(first())
        self.assertIsNone(pool())

    # --- what is told ---

    def test_who_looks_on_is_told(self) -> None:
        relay = self.start(WEB)
        heard: list[str] = []
        relay.observers.append(heard.append)
        client = Idle(self.web(relay))
        outcome = self.reload(relay, WEB.replace("web:", "renamed:"))
        self.assertEqual(outcome.changes, ("renamed stands for web",))
        document = status(relay.watched)
        self.assertEqual(
            [(one["name"], one["listening"], one["draining"]) for one in document["listeners"]],
            [("renamed", True, False), ("web", False, True)],
        )
        self.assertEqual(document["unready"], ["renamed: http://192.0.2.1:8000 is not known yet"])
        self.assertEqual(document["last_reload"]["by"], "test")
        self.file.write_text("listeners: {")
        self.assertFalse(relay.reload("test").ok)
        self.assertEqual(heard, ["reloading", "reloaded"] * 2)
        client.end()
        relay.stopService()
        self.assertEqual(heard[4:], ["stopping"])

    def test_a_bug_leaves_everything_as_it_was(self) -> None:
        relay = self.start(WEB)
        old = self.web(relay)

        def broken(*arguments: object) -> None:
            raise RuntimeError("broken")

        self.patch(ReverseProxyService, "load", broken)
        self.write(WEB + "    host: preserve\n")
        outcome = relay.reload("test")
        self.assertEqual(outcome.errors, ("a fault in the relay itself; its log has more",))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertIs(self.web(relay), old)

    def test_other_settings_of_the_log_are_put_in_force_last(self) -> None:
        relay = self.start(WEB)
        made: list[tuple[model.Log, model.Log]] = []
        put: list[model.Log] = []

        def prepare(before: model.Log, log: model.Log) -> Any:
            if log.level == "error":
                raise OSError(13, "Permission denied", "/log")
            made.append((before, log))
            return lambda: put.append(log)

        relay.prepare_log = prepare
        self.write(WEB, top="control: off\nlog: {level: error}")
        errors = relay.reload("test").errors
        self.assertEqual(errors, ("log.file: /log cannot be opened: Permission denied",))
        outcome = self.reload(relay, WEB, top="control: off\nlog: {level: debug}")
        self.assertEqual(made, [(model.Log(), model.Log(level="debug"))])
        self.assertEqual(put, [model.Log(level="debug")])
        self.assertEqual(outcome.changes, ("log has changed",))

    def test_the_access_log_follows(self) -> None:
        relay = self.start(WEB + "    access_log: false\n")
        self.assertEqual(relay._access_log.listeners, frozenset())
        Idle(self.web(relay))
        self.reload(relay, WEB.replace("web:", "renamed:"))
        self.assertEqual(relay._access_log.listeners, {"renamed"})
        self.reload(relay, WEB)
        self.assertEqual(relay._access_log.listeners, {"web"})


class WithoutIPv6(socket.socket):
    """What a machine without IPv6 has."""

    def __init__(self, family: int = socket.AF_INET, *more: Any, **named: Any) -> None:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no such family")
        super().__init__(family, *more, **named)


class FamilyTests(RelayCase):
    """Of a list of addresses those are passed over whose family the machine lacks, as long as one is left."""

    BOTH = WEB.replace("127.0.0.1:0", '["127.0.0.1:0", "[::1]:0"]')

    def setUp(self) -> None:
        super().setUp()
        self.patch(socket, "socket", WithoutIPv6)

    def test_at_a_start(self) -> None:
        relay = self.start(self.BOTH)
        [bound] = relay.listeners[0].bound
        self.assertTrue(bound.name.startswith("127.0.0.1:"))
        self.assertIn("[::1]:0 is skipped", "".join(relay.warnings()))

    def test_at_a_reload(self) -> None:
        relay = self.start(WEB)
        for text in (self.BOTH, self.BOTH.replace(":8000", ":8001")):
            self.assertEqual(self.reload(relay, text).errors, ())
            self.assertEqual(len(relay.listeners[0].bound), 1)

    def test_a_listener_that_would_have_none_is_refused(self) -> None:
        relay = self.start(WEB)
        self.write(WEB.replace("127.0.0.1:0", '"[::1]:0"'))
        self.assertIn("no IPv6", str(relay.reload("test").errors))
        self.assertEqual(len(relay.listeners[0].bound), 1)
