from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import ConnectionRefused
from lanrelay.observe.accesslog import AccessLog, as_fields, as_line, duration_text
from lanrelay.observe.ledger import Ledger
from lanrelay.observe.session import Session


def session(**known: Any) -> Session:
    basis: dict[str, Any] = {
        "id": 1,
        "listener": "lan-mcp",
        "kind": "reverse-proxy",
        "client": "127.0.0.1:50123",
        "started": 1_800_000_000.25,
        "opened": 10.0,
    }
    return Session(**{**basis, **known})


class LineTests(SynchronousTestCase):
    def test_an_exchange(self) -> None:
        done = session(
            method="POST",
            path="/mcp",
            status=200,
            received=512,
            sent=2048,
            target="https://lan-host",
            address="192.168.1.20:443",
            dialed=0.003,
            first_byte=0.0121,
            tries=1,
            ended_by="upstream",
            phase="done",
        )
        self.assertEqual(
            as_line(done, 1.2034),
            'lan-mcp 127.0.0.1:50123 "POST /mcp" 200 in=512 out=2048 to=https://lan-host '
            "addr=192.168.1.20:443 dial=3ms first=12ms total=1.203s end=upstream phase=done",
        )

    def test_a_forward_that_never_reached_its_upstream(self) -> None:
        failed = session(
            listener="nas-db", kind="tcp-forward", target="tcp://nas.lan:5432", tries=4, phase="dial"
        )
        failed.failed(ConnectionRefused("nothing listens"), by="upstream", detail='"nas.lan" refused.')
        self.assertEqual(
            as_line(failed, 3.1),
            'nas-db 127.0.0.1:50123 "tcp-forward" - in=0 out=0 to=tcp://nas.lan:5432 tries=4 total=3.100s '
            'end=upstream phase=dial error=connection_refused detail="\\"nas.lan\\" refused."',
        )

    def test_a_tunnel_names_its_target(self) -> None:
        tunnel = session(kind="connect-proxy", method="CONNECT", target="lan-host:443", status=200)
        self.assertIn(' "CONNECT lan-host:443" 200 ', as_line(tunnel, 1))

    def test_a_query_never_gets_into_it(self) -> None:
        leaky = session(method="GET", path="/callback?code=s3cret#s3cret")
        self.assertNotIn("s3cret", as_line(leaky, 0))
        self.assertNotIn("s3cret", json.dumps(as_fields(leaky, 0)))

    def test_a_token_in_a_path_never_gets_into_it(self) -> None:
        token = "Zx9kQ27LmTq8vR4bW1yN"
        secret = session(method="GET", path=f"/mcp/{token}/sse")
        self.assertIn('"GET /mcp/***/sse"', as_line(secret, 0))
        self.assertEqual(as_fields(secret, 0)["path"], "/mcp/***/sse")
        plain = session(method="GET", path="/.well-known/oauth-protected-resource/mcp")
        self.assertIn('"GET /.well-known/oauth-protected-resource/mcp"', as_line(plain, 0))

    def test_no_field_can_forge_a_line_or_a_field(self) -> None:
        evil = session(
            method="GET",
            path='/" 200 in=0\r\n2026-11-20 forged\x1b[2J',
            target="a b\nc",
            detail="\u2028x\x00",
        )
        line = as_line(evil, 0)
        self.assertEqual(len(line.splitlines()), 1)
        self.assertTrue(line.isprintable(), line)
        self.assertIn('"GET /\\" 200 in=0\\r\\n2026-11-20 forged\\x1b[2J" - in=0 ', line)
        self.assertIn('to="a b\\nc"', line)

    def test_durations(self) -> None:
        for seconds, text in (
            (0, "0ms"),
            (0.0004, "0ms"),
            (0.9994, "999ms"),
            (0.9996, "1.000s"),
            (9.9999, "10.000s"),
            (75, "75.0s"),
            (600, "10m00s"),
            (3599, "59m59s"),
            (7380, "2h03m"),
        ):
            self.assertEqual(duration_text(seconds), text)

    def test_json_leaves_out_what_is_not_known(self) -> None:
        fields = as_fields(session(phase="dial"), 0.5)
        self.assertEqual(
            set(fields),
            {"id", "listener", "kind", "client", "started", "duration", "received", "sent", "phase"},
        )
        self.assertEqual(fields["duration"], 0.5)


class AccessLogTests(SynchronousTestCase):
    def test_each_session_of_a_wanted_listener_is_one_event(self) -> None:
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, events.append)  # type: ignore[arg-type]
        ledger = Ledger(Clock())
        ledger.observers.append(AccessLog({"wanted"}).note)
        for name in ("wanted", "silent", "wanted"):
            ledger.close(ledger.open(name, "tcp-forward", "unix"))
        ours = [event for event in events if event["log_namespace"] == "lanrelay.access"]
        self.assertEqual([event["record"].fields()["id"] for event in ours], [1, 3])
