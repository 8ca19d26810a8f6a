from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address

from lanrelay.admin.endpoints import PLACES, AdminService
from lanrelay.config import model
from lanrelay.errors import ConnectionRefused, StartError
from tests.admin.support import ANY_PORT, WatchedTestCase
from tests.support.listening import accept
from tests.support.memory import MemoryStream


class AdminTests(WatchedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.admin = self.build()

    def build(self, **keys: Any) -> AdminService:
        config = model.Admin(listen=(ANY_PORT,), **keys)
        return AdminService(self.around.environment, config, self.watched)

    def ask(self, request: str, *, stream: MemoryStream | None = None) -> tuple[int, dict[str, str], bytes]:
        """Status, fields and body of the answer to a request whose lines C{request} holds."""
        stream = accept(self.admin, stream)
        stream.receive(request.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
        while any(
            call.getTime() <= self.around.clock.seconds() for call in self.around.clock.getDelayedCalls()
        ):
            self.around.clock.advance(0)  # a long answer is made in portions
        head, _, body = stream.take().partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines)
        return int(first.split()[1]), fields, body

    def get(self, path: str) -> tuple[int, Any]:
        status, _, body = self.ask(f"GET {path} HTTP/1.1\nHost: localhost:28081")
        return status, json.loads(body)

    # --- what is answered ---

    def test_health_is_that_it_answers(self) -> None:
        self.assertEqual(self.get("/healthz"), (200, {"status": "ok", "version": "1.2.3"}))

    def test_ready_when_every_listener_listens_and_nothing_is_known_to_be_down(self) -> None:
        self.forward("nas.lan")
        self.assertEqual(
            self.get("/readyz"),
            (200, {"status": "ready", "not_checked": ["to-nas.lan: tcp://nas.lan:5432 is not checked"]}),
        )

    def test_not_ready_before_the_first_check(self) -> None:
        service = self.forward("nas.lan", health=model.Health())
        reason = "to-nas.lan: tcp://nas.lan:5432 is not known yet"
        self.assertEqual(self.get("/readyz"), (503, {"status": "not ready", "reasons": [reason]}))
        service.group.members[0].judge(None)
        self.assertEqual(self.get("/readyz"), (200, {"status": "ready"}))

    def test_one_upstream_of_several_is_enough(self) -> None:
        service = self.forward("nas.lan", "nas.vpn")
        service.group.members[0].up = False
        self.assertEqual(self.get("/readyz")[0], 200)

    def test_not_ready_says_which_upstream_is_down_and_why(self) -> None:
        service = self.forward("nas.lan")
        service.group.members[0].up = False
        service.group.members[0].last_error = ConnectionRefused(
            target="nas.lan:5432", address="192.0.2.1:5432"
        )
        status, content = self.get("/readyz")
        self.assertEqual((status, content["status"]), (503, "not ready"))
        (reason,) = content["reasons"]
        self.assertTrue(
            reason.startswith("to-nas.lan: tcp://nas.lan:5432 is down (connection_refused): "), reason
        )

    def test_not_ready_when_a_listener_has_stopped(self) -> None:
        service = self.forward("nas.lan")
        service.stopService()
        self.assertEqual(
            self.get("/readyz"), (503, {"status": "not ready", "reasons": ["to-nas.lan does not listen"]})
        )

    def test_the_status_names_all_there_is(self) -> None:
        service = self.forward("nas.lan")
        self.listeners.append(self.admin)
        service.group.members[0].last_error = ConnectionRefused(target="nas.lan:5432")
        session = self.around.ledger.open("to-nas.lan", "tcp-forward", "127.0.0.1:50000", phase="tunnel")
        session.target, session.received, session.path = "tcp://nas.lan:5432", 7, "/x?token=s3cret"
        self.around.clock.advance(2.5)
        self.around.ledger.close(self.around.ledger.open("to-nas.lan", "tcp-forward", "unix"))
        status, content = self.get("/status.json")
        self.assertEqual(status, 200)
        self.assertEqual(content["version"], "1.2.3")
        self.assertEqual(content["warnings"], ["mind the gap"])
        first = content["listeners"][0]
        self.assertEqual(
            {key: first[key] for key in list(first)[:10]},
            {
                "name": "to-nas.lan",
                "kind": "tcp-forward",
                "addresses": ["127.0.0.1:5432"],
                "listening": True,
                "draining": False,
                "tls": False,
                "mcp": None,
                "leads_to": "tcp://nas.lan:5432",
                "open_connections": 0,
                "max_connections": 4096,
            },
        )
        self.assertEqual((first["url"], first["open"]), ("tcp://127.0.0.1:5432", 0))
        self.assertEqual((first["hour"]["requests"][-1], sum(first["hour"]["errors"])), (1, 0))
        self.assertEqual(first["problem"]["cause"], "refused")
        self.assertEqual(content["reachable"], {"up": 0, "of": 1})
        self.assertEqual(content["listeners"][1]["name"], "admin")
        (upstream,) = content["upstreams"]
        self.assertEqual(
            (upstream["url"], upstream["up"], upstream["insecure"]), ("tcp://nas.lan:5432", None, False)
        )
        self.assertEqual(upstream["last_error"]["error"], "connection_refused")
        self.assertTrue(upstream["last_error"]["what"])
        self.assertTrue(upstream["last_error"]["remedy"])
        (open_session,) = content["sessions"]
        self.assertEqual((open_session["age"], open_session["silent_for"]), (2.5, 2.5))
        self.assertEqual((open_session["received"], open_session["phase"]), (7, "tunnel"))
        self.assertEqual(content["counters"]["to-nas.lan"]["sessions"], 1)
        self.assertNotIn("s3cret", json.dumps(content))

    def test_the_page_is_html_under_a_strict_policy(self) -> None:
        self.forward("nas.lan")
        status, fields, body = self.ask("GET / HTTP/1.1\nHost: localhost:28081")
        self.assertEqual((status, fields["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertTrue(fields["content-security-policy"].startswith("default-src 'none'; "))
        self.assertIn(b"<h3>to-nas.lan</h3>", body)

    def test_metrics_are_text_for_prometheus(self) -> None:
        status, fields, body = self.ask("GET /metrics HTTP/1.1\nHost: localhost")
        self.assertEqual((status, fields["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertIn(b"\nlanrelay_build_info{", body)

    # --- requests ---

    def test_the_last_requests_are_told_without_what_was_asked_for(self) -> None:
        self.forward("nas.lan")
        self.forward("nas.vpn")
        for number in range(150):
            session = self.around.ledger.open("to-nas.lan", "reverse-proxy", "127.0.0.1:50000")
            session.method, session.path, session.status = "POST", "/s3cret", 200 + number
            session.received, session.sent, session.first_byte = 5, 7, 0.01
            self.around.clock.advance(0.25)
            self.around.ledger.close(session)
        self.around.ledger.close(self.around.ledger.open("to-nas.vpn", "tcp-forward", "unix"))
        status, content = self.get("/requests.json?listener=to-nas.lan")
        self.assertEqual(status, 200)
        found = content["requests"]
        self.assertEqual([one["status"] for one in found], list(range(250, 350)))
        self.assertIsInstance(found[0].pop("at"), float)
        self.assertEqual(
            found[0],
            {
                "listener": "to-nas.lan",
                "method": "POST",
                "rpc": None,
                "status": 250,
                "seconds": 0.25,
                "first_byte": 0.01,
                "received": 5,
                "bytes": 7,
                "error": None,
            },
        )
        self.assertNotIn("s3cret", json.dumps(content))
        every = self.get("/requests.json")[1]["requests"]
        self.assertEqual({one["listener"] for one in every}, {"to-nas.lan", "to-nas.vpn"})
        self.assertEqual(self.get("/requests.json?listener=printer")[0], 404)

    # --- events ---

    def test_events_go_on_until_the_client_leaves(self) -> None:
        self.forward("nas.lan")
        stream = accept(self.admin)
        stream.receive(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head, _, body = stream.take().partition(b"\r\n\r\n")
        self.assertIn(b"Content-Type: text/event-stream", head)
        self.assertIn(b"Cache-Control: no-store", head)
        self.assertIn(b"data: {", body)
        self.around.clock.advance(1)
        self.assertEqual(stream.take(), b"")
        self.around.ledger.open("to-nas.lan", "tcp-forward", "unix")
        self.around.clock.advance(1)
        self.assertIn(b'"sessions": ', stream.take())
        stream.lose()
        self.around.clock.advance(1)
        self.assertEqual(self.around.clock.getDelayedCalls(), [])
        self.assertEqual(self.admin.open_connections, 0)

    def test_a_stop_ends_them_at_once(self) -> None:
        stream = accept(self.admin)
        stream.receive(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.admin.startService()
        stopped = self.admin.stopService()
        self.successResultOf(stopped)
        self.assertTrue(stream.closed)
        self.assertFalse(stream.aborted)
        self.assertTrue(stream.take().endswith(b"0\r\n\r\n"))
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_a_page_that_was_replaced_sends_its_readers_to_the_new_one(self) -> None:
        stream = accept(self.admin)
        stream.receive(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(b"retry: 1000\n\n", stream.take())
        self.admin.startService()
        self.successResultOf(self.admin.retire())
        self.assertTrue(stream.closed)
        self.assertFalse(stream.aborted)

    def test_one_too_many_is_503(self) -> None:
        for _ in range(16):
            accept(self.admin).receive(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, fields, _ = self.ask("GET /events HTTP/1.1\nHost: localhost")
        self.assertEqual((status, fields["retry-after"]), (503, "10"))
        self.assertEqual(self.get("/healthz")[0], 200)

    def test_head_of_events_is_no_stream(self) -> None:
        status, fields, body = self.ask("HEAD /events HTTP/1.1\nHost: localhost")
        self.assertEqual((status, fields["content-type"], body), (200, "text/event-stream", b""))
        self.assertEqual(len(self.around.clock.getDelayedCalls()), 1)  # the client's keep-alive

    # --- how ---

    def test_nothing_is_for_caches_or_other_pages(self) -> None:
        for path in ("/", "/healthz", "/readyz", "/status.json", "/metrics", "/nowhere"):
            _, fields, body = self.ask(f"GET {path} HTTP/1.1\nHost: localhost")
            self.assertEqual(fields["cache-control"], "no-store")
            self.assertEqual(fields["cross-origin-resource-policy"], "same-origin")
            self.assertEqual(fields["x-content-type-options"], "nosniff")
            self.assertEqual(fields["content-length"], str(len(body)))

    def test_answers_are_json_that_nobody_keeps(self) -> None:
        for path in ("/healthz", "/nowhere"):
            _, fields, body = self.ask(f"GET {path} HTTP/1.1\nHost: localhost")
            self.assertEqual(fields["content-type"], "application/json")
            self.assertEqual(fields["cache-control"], "no-store")
            self.assertEqual(fields["content-length"], str(len(body)))
            self.assertIn("date", fields)

    def test_head_is_a_get_without_the_body(self) -> None:
        status, fields, body = self.ask("HEAD /healthz HTTP/1.1\nHost: localhost")
        self.assertEqual((status, body), (200, b""))
        self.assertGreater(int(fields["content-length"]), 0)

    def test_other_methods_are_405_with_allow(self) -> None:
        for method in ("POST", "DELETE", "OPTIONS"):
            status, fields, _ = self.ask(
                f"{method} /status.json HTTP/1.1\nHost: localhost\nContent-Length: 0"
            )
            self.assertEqual((status, fields["allow"]), (405, "get, head"))
            status, _, _ = self.ask(f"{method} /events HTTP/1.1\nHost: localhost\nContent-Length: 0")
            self.assertEqual(status, 405)

    def test_elsewhere_is_404_with_what_there_is(self) -> None:
        for path in ("/status", "/healthz/", "/HEALTHZ", "/index.html"):
            status, content = self.get(path)
            self.assertEqual(status, 404)
            self.assertEqual(
                content["paths"],
                ["/", "/healthz", "/readyz", "/status.json", "/requests.json", "/metrics", "/events"],
            )

    def test_a_query_and_an_absolute_target_change_nothing(self) -> None:
        self.assertEqual(self.get("/healthz?verbose")[0], 200)
        self.assertEqual(self.get("http://localhost:28081/healthz")[0], 200)

    def test_the_connection_is_kept_for_the_next_request(self) -> None:
        stream = accept(self.admin)
        for _ in range(3):
            stream.receive(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 200 OK\r\n", stream.take())
        self.assertEqual(self.admin.open_connections, 1)
        self.admin.stopService()
        self.assertTrue(stream.closed)
        self.assertEqual(self.admin.open_connections, 0)
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_those_who_ask_on_and_do_not_read_make_room(self) -> None:
        class Deaf(MemoryStream):
            def holds_unread(self) -> bool:
                return True  # there is always another request

        self.admin.startService()
        for _ in range(PLACES):
            stream = Deaf()
            stream.full = True
            accept(self.admin, stream)
            stream.receive(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
        self.around.clock.pump([0.1] * 20)
        self.assertLess(self.admin.open_connections, PLACES)
        self.assertEqual(self.ask("GET /healthz HTTP/1.1\nHost: localhost")[0], 200)
        self.admin.stopService()

    # --- who ---

    def test_a_foreign_host_is_421(self) -> None:
        for path in ("/", "/events", "/healthz", "/metrics", "/status.json"):
            status, _, body = self.ask(f"GET {path} HTTP/1.1\nHost: evil.example")
            self.assertEqual(status, 421)
            self.assertIn(b"admin.hosts", body)

    def test_a_page_from_elsewhere_is_403(self) -> None:
        for path in ("/", "/events", "/healthz", "/metrics", "/status.json"):
            for origin in ("https://evil.example", "null"):
                status, _, body = self.ask(f"GET {path} HTTP/1.1\nHost: localhost\nOrigin: {origin}")
                self.assertEqual(status, 403)
                self.assertNotIn(b"admin.origins", body)

    def test_hosts_lets_further_names_in(self) -> None:
        self.admin = self.build(hosts=("relay.lan",))
        self.assertEqual(self.ask("GET /healthz HTTP/1.1\nHost: relay.lan")[0], 200)

    def test_clients_are_loopback_unless_said(self) -> None:
        stranger = MemoryStream(peer=IPv4Address("TCP", "192.168.1.9", 50000))
        stream = accept(self.admin, stranger)
        self.assertTrue(stream.aborted)
        self.admin = self.build(clients=(model.ClientRule(word="private"),))
        request = "GET /healthz HTTP/1.1\nHost: localhost"
        stranger = MemoryStream(peer=IPv4Address("TCP", "192.168.1.9", 50000))
        self.assertEqual(self.ask(request, stream=stranger)[0], 200)

    def test_a_start_error_names_its_key(self) -> None:
        error = self.admin.start_error(StartError("it is in use", remedy="end it"))
        self.assertEqual(str(error), "admin.listen: it is in use; end it")
