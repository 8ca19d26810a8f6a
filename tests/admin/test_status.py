from __future__ import annotations

import json
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.exposition import figures
from lanrelay.admin.leads import leads
from lanrelay.admin.status import status, unready
from lanrelay.admin.watched import Reload, WallClock
from lanrelay.config import model
from lanrelay.errors import CheckFailed, ConnectionRefused
from lanrelay.listeners.tcp_forward import TcpForwardService
from lanrelay.trust.certificate import CertificateInfo
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.upstream.dial import Dialed
from tests.admin.support import ANY_PORT, WatchedTestCase, https
from tests.support.listening import accept, tcp_upstreams
from tests.support.memory import MemoryStream
from tests.support.odd_certificates import odd_certificate
from tests.support.tls import authority, server_certificate


class StatusTests(WatchedTestCase):
    def test_it_is_plain_data(self) -> None:
        self.forward("nas.lan")
        self.proxy(("/", https()))
        self.watched.reloaded(Reload(at=1.0, by="SIGHUP"))
        document = status(self.watched)
        self.assertEqual(json.loads(json.dumps(document)), document)

    def test_bars_are_the_same_ones_until_something_is_found(self) -> None:
        self.forward("nas.lan")
        (group,) = self.listeners[0].groups
        (member,) = group.members
        before = status(self.watched)["upstreams"][0]
        self.assertEqual((len(before["minutes"]), len(before["hours"])), (60, 24))
        self.assertIs(status(self.watched)["upstreams"][0]["hours"], before["hours"])
        member.trail.note("down", time.time(), "Nobody listens.", holds=15.0)
        after = status(self.watched)["upstreams"][0]
        self.assertEqual((before["hours"][-1]["state"], after["hours"][-1]["state"]), ("unchecked", "down"))
        self.assertEqual(after["minutes"][-1]["why"], "Nobody listens.")

    def test_upstreams_say_by_which_route_and_where_they_are(self) -> None:
        address = model.TargetAddress(host="192.168.1.20", port=8443)
        self.proxy(("/mcp/", https(address=address)), ("/", https()))
        found = status(self.watched)["upstreams"]
        self.assertEqual(
            [(one["route"], one["url"], one["address"]) for one in found],
            [("/mcp", "https://nas.lan", "192.168.1.20:8443"), ("", "https://nas.lan", "")],
        )

    def test_a_piece_of_a_path_that_looks_like_a_token_is_shown_nowhere(self) -> None:
        """Home Assistant's MCP server and some hosted ones have their token in the path."""
        token = "zctpwlX7ZkIAr7oqdfLPxw01"
        secret = model.UpstreamUrl(scheme="http", host="nas.lan", port=80, path=f"/private_{token}")
        other = secret._replace(path=f"/private_{token[::-1]}")
        members = (model.Upstream(url=secret), model.Upstream(url=other))
        service = self.proxy(("/", members[0]))
        group = UpstreamGroup(
            self.around.clock,
            self.around.environment.dialer,
            model.Upstreams(members=members),
            model.Timeouts(),
        )
        self.assertEqual(
            [one.name for one in group.members], ["http://nas.lan/***", "http://nas.lan/*** (2)"]
        )
        accept(service).receive(b"GET /private_%b/x HTTP/1.1\r\nHost: localhost\r\n\r\n" % token.encode())
        open_now = status(self.watched)
        while self.around.dialer.pending:
            self.around.dialer.fail(ConnectionRefused(target="nas.lan:80"))
            self.around.clock.advance(10)  # longer than it is tried anew
        after = status(self.watched)
        shown = json.dumps([open_now, after, unready(self.watched)]) + figures(self.watched).decode()
        self.assertNotIn(token, shown)
        self.assertEqual(after["upstreams"][0]["url"], "http://nas.lan/***")
        self.assertEqual(after["failures"][0]["path"], "/***/x")

    def test_history_has_the_latest_first(self) -> None:
        service = self.forward("nas.lan", health=model.Health(fall=1, rise=1))
        (upstream,) = service.group.members
        upstream.failed(ConnectionRefused(target="nas.lan:5432"))
        self.around.clock.advance(60)
        upstream.succeeded()
        self.around.clock.advance(60)
        upstream.failed(CheckFailed("status 500", target="nas.lan:5432"))
        (one,) = status(self.watched)["upstreams"]
        self.assertEqual((one["up"], one["checked"]), (False, True))
        self.assertEqual([each["up"] for each in one["history"]], [False, True, False])
        moments = [datetime.fromisoformat(each["at"]) for each in one["history"]]
        self.assertEqual(moments[0] - moments[1], timedelta(seconds=60))
        self.assertIsNone(one["history"][1]["error"])
        self.assertEqual(one["history"][2]["error"]["error"], "connection_refused")
        self.assertTrue(one["history"][2]["error"]["remedy"])

    def test_without_health_checks_it_is_not_checked(self) -> None:
        self.forward("nas.lan")
        (one,) = status(self.watched)["upstreams"]
        self.assertEqual((one["up"], one["checked"]), (None, False))

    def test_before_the_first_check_nothing_is_known(self) -> None:
        service = self.forward("nas.lan", "nas.vpn", health=model.Health())
        first, second = service.group.members
        self.assertEqual([one["up"] for one in status(self.watched)["upstreams"]], [None, None])
        first.judge(ConnectionRefused())
        self.assertEqual([one["up"] for one in status(self.watched)["upstreams"]], [False, None])
        self.assertIn("to-nas.lan: tcp://nas.vpn:5432 is not known yet", unready(self.watched))
        second.judge(None)
        self.assertEqual([one["up"] for one in status(self.watched)["upstreams"]], [False, True])
        self.assertEqual(unready(self.watched), [])

    def test_idle_connections_are_those_of_the_pool(self) -> None:
        service = self.proxy(("/", https()))
        (lead,) = leads(self.listeners)
        self.assertEqual((lead.idle, lead.upstream), (0, service.groups[0].members[0]))

    def test_sessions_are_the_oldest_and_not_without_end(self) -> None:
        for _ in range(5):
            self.around.ledger.open("db", "tcp-forward", "unix")
        document = status(self.watched, sessions=3)
        self.assertEqual([one["id"] for one in document["sessions"]], [1, 2, 3])
        self.assertEqual(document["sessions_open"], 5)

    def test_when_a_session_was_last_active(self) -> None:
        session = self.around.ledger.open("db", "tcp-forward", "unix")
        self.around.clock.advance(10)
        session.last_active = self.around.clock.seconds()
        self.around.clock.advance(5)
        (one,) = status(self.watched)["sessions"]
        self.assertEqual((one["age"], one["silent_for"]), (15.0, 5.0))
        passed = datetime.fromisoformat(one["last_active"]).timestamp() - self.watched.wall.at(0.0)
        self.assertAlmostEqual(passed, 10.0, places=2)

    def test_failures_have_what_happened_and_what_to_do(self) -> None:
        for client in ("127.0.0.1:1", "127.0.0.1:2"):
            session = self.around.ledger.open("db", "reverse-proxy", client, phase="dial")
            session.method, session.path, session.status = "GET", "/x?token=s3cret", 502
            session.failed(ConnectionRefused(), by="upstream", detail="Nobody is there. Start it.")
            self.around.ledger.close(session)
        (one,) = status(self.watched)["failures"]
        self.assertEqual(
            {key: one[key] for key in ("count", "client", "path", "status", "error", "detail", "phase")},
            {
                "count": 2,
                "client": "127.0.0.1:2",
                "path": "/x",
                "status": 502,
                "error": "connection_refused",
                "detail": "Nobody is there. Start it.",
                "phase": "dial",
            },
        )
        self.assertLessEqual(one["first"], one["last"])

    def test_reloads(self) -> None:
        document = status(self.watched)
        self.assertEqual((document["last_reload"], document["reloads"]), (None, []))
        self.watched.reloaded(Reload(at=1_800_000_100.0, by="SIGHUP", changes=("db is new",)))
        self.watched.reloaded(Reload(at=1_800_000_200.0, by="--watch", errors=("line 3", "line 4")))
        document = status(self.watched)
        self.assertEqual(document["last_reload"], document["reloads"][0])
        self.assertEqual(
            [(one["ok"], one["by"], one["errors"], one["changes"]) for one in document["reloads"]],
            [(False, "--watch", ["line 3", "line 4"], []), (True, "SIGHUP", [], ["db is new"])],
        )
        self.assertEqual(self.watched.configured, 1_800_000_100.0)
        for _ in range(100):
            self.watched.reloaded(Reload(at=1_800_000_300.0, by="SIGHUP"))
        self.assertEqual(len(status(self.watched)["reloads"]), 10)

    def test_unready_names_each_upstream_that_is_down(self) -> None:
        service = self.forward("nas.lan", "nas.vpn")
        for member in service.group.members:
            member.up = False
        self.assertEqual(
            unready(self.watched),
            ["to-nas.lan: tcp://nas.lan:5432 is down", "to-nas.lan: tcp://nas.vpn:5432 is down"],
        )


class CertificateTests(WatchedTestCase):
    def test_what_an_upstream_showed_last(self) -> None:
        service = self.proxy(("/", https()))
        self.assertEqual(status(self.watched)["certificates"], [])
        (upstream,) = service.groups[0].members
        connecting = Deferred.fromCoroutine(upstream.connect())
        stream = MemoryStream()
        until = datetime.now(timezone.utc) + timedelta(days=3, hours=1)
        # A file of its own: the authority is that of all tests, and others read nas.lan.pem again.
        issued = authority().issue("nas.lan", "192.0.2.9", not_after=until, file_name="shown")
        stream.shown = _shown(issued.cert.read_bytes())
        self.around.dialer.pending.pop(0).callback(Dialed(stream=stream, address="192.0.2.9:443"))
        self.successResultOf(connecting)
        (one,) = status(self.watched)["certificates"]
        self.assertEqual(
            {key: one[key] for key in ("listener", "upstream", "names", "issuer", "days_left")},
            {
                "listener": "web",
                "upstream": "https://nas.lan",
                "names": ["nas.lan", "192.0.2.9"],
                "issuer": "CN=Home CA",
                "days_left": 3,
            },
        )
        self.assertIs(upstream.certificate, upstream.certificate)  # parsed once

    def test_what_is_soon_depends_on_how_long_it_lives(self) -> None:
        service = self.proxy(("/", https()))
        (upstream,) = service.groups[0].members
        now = datetime.now(timezone.utc)
        for lived, left, soon in (
            (timedelta(days=360), timedelta(days=15), False),
            (timedelta(days=360), timedelta(days=13), True),
            (timedelta(hours=6), timedelta(hours=6), False),
            (timedelta(hours=10), timedelta(hours=2), True),
            (timedelta(days=10), -timedelta(seconds=1), True),
        ):
            upstream._shown = shown = object()
            info = CertificateInfo(
                subject="CN=a", issuer="CN=b", names=(), not_before=now - lived, not_after=now + left
            )
            upstream._certificate = (shown, info)
            (one,) = status(self.watched)["certificates"]
            self.assertEqual(one["ends_soon"], soon, (lived, left))

    def test_an_unreadable_one_is_none(self) -> None:
        service = self.proxy(("/", https()))
        (upstream,) = service.groups[0].members
        upstream._shown = odd_certificate(dates=b"20270101000000X").x509
        self.assertIsNone(upstream.certificate)
        self.assertEqual(status(self.watched)["certificates"], [])

    def test_a_listeners_own_is_read_again_when_it_changes(self) -> None:
        first, second = server_certificate(), authority().issue("other.lan", "192.0.2.6")
        file = Path(self.mktemp())
        config = model.TcpForward(
            name="db",
            listen=(ANY_PORT,),
            tls=model.ServerTls(cert=file, key=first.key),
            upstreams=tcp_upstreams(("nas.lan", 1)),
        )
        file.write_bytes(first.cert.read_bytes())
        self._started(TcpForwardService(self.around.environment, config))
        (one,) = status(self.watched)["certificates"]
        self.assertEqual((one["listener"], one["upstream"]), ("db", None))
        self.assertEqual(one["names"], ["nas.lan", "192.0.2.5"])
        file.write_bytes(b"half of")
        self.assertEqual(status(self.watched)["certificates"], [one])  # what is in force is not gone
        file.unlink()
        self.assertEqual(status(self.watched)["certificates"], [one])
        file.write_bytes(second.cert.read_bytes())
        self.assertEqual(status(self.watched)["certificates"][0]["names"], ["other.lan", "192.0.2.6"])


def _shown(pem: bytes) -> Any:
    from OpenSSL import crypto

    return crypto.load_certificate(crypto.FILETYPE_PEM, pem)


class WallClockTests(SynchronousTestCase):
    def test_the_same_second_is_the_same_moment_until_the_machine_sleeps(self) -> None:
        clock, wall = Clock(), SimpleNamespace(now=1_800_000_000.0)
        moments = WallClock(clock.seconds, lambda: wall.now)
        self.assertEqual(moments.at(10.0), 1_800_000_010.0)
        clock.advance(5)
        wall.now += 5.0004  # never quite the same
        self.assertEqual(moments.at(10.0), 1_800_000_010.0)
        wall.now += 3600
        self.assertAlmostEqual(moments.at(clock.seconds()), wall.now)
