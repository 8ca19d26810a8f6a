"""Tests of the reverse proxy in memory: what it makes of the fields of requests and answers."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from lanrelay.config import model
from tests.http.test_exchange import OK
from tests.listeners.test_reverse_proxy import ReverseProxyTestCase, get


class FieldTests(ReverseProxyTestCase):
    def test_host(self) -> None:
        for host, expected in (
            ("upstream", b"Host: nas.lan:8443\r\n"),
            ("preserve", b"Host: localhost:8080\r\n"),
            ("virtual.lan", b"Host: virtual.lan\r\n"),
        ):
            self.serve(routes=(self.route("http://nas.lan:8443", host=host),))
            self.assertIn(expected, self.sent(get()))

    def test_a_unix_socket_is_localhost(self) -> None:
        url = model.UpstreamUrl(scheme="http", unix_path=Path("/run/app.sock"))
        upstreams = model.Upstreams(members=(model.Upstream(url=url),))
        self.serve(routes=(model.Route(upstreams=upstreams),))
        self.assertIn(b"Host: localhost\r\n", self.sent(get()))

    def test_end_to_end_fields_pass_in_order_and_case(self) -> None:
        sent = self.sent(get("/", "X-b: 1", "x-A_c: 2", "Mcp-Session-Id: s", "X-b: 3", "Authorization: t"))
        self.assertIn(b"X-b: 1\r\nx-A_c: 2\r\nMcp-Session-Id: s\r\nX-b: 3\r\nAuthorization: t\r\n", sent)

    def test_hop_by_hop_fields_do_not(self) -> None:
        sent = self.sent(get("/", "Connection: x-mine, keep-alive", "X-Mine: 1", "Keep-Alive: 5", "TE: gzip"))
        for name in (b"X-Mine", b"Keep-Alive", b"TE:", b"Connection"):
            self.assertNotIn(name, sent)

    def test_forwarded(self) -> None:
        for style, expected in (
            ("none", b""),
            (
                "x-forwarded",
                b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
                b"X-Forwarded-Host: localhost:8080\r\n",
            ),
            ("rfc7239", b'Forwarded: for=127.0.0.1;proto=http;host="localhost:8080"\r\n'),
        ):
            self.serve(forwarded=style)
            sent = self.sent(get("/", "X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6"))
            self.assertNotIn(b"6.6.6.6", sent)
            self.assertIn(expected, sent)
            self.assertEqual(b"orwarded" in sent, bool(expected))

    def test_forwarded_with_underscores_is_the_same_to_wsgi(self) -> None:
        names = [
            f"X{first}Forwarded{second}{what}"
            for first, second, what in product("-_", "-_", ("For", "PROTO", "host"))
        ]
        passing = "X_Forwarded_Port: 1\r\nX_Real_IP: 2\r\nMy_Own-Field: 3\r\n"
        for style, count in (("none", 0), ("x-forwarded", 3), ("rfc7239", 0)):
            self.serve(forwarded=style)
            self.answered()
            for _ in range(3):  # these may go the plain way
                self.client.receive(get("/", *[f"{name}: 6.6.6.6" for name in names], passing.strip()))
                sent = self.origin.take()
                self.origin.receive(OK)
                self.client.take()
                self.assertNotIn(b"6.6.6.6", sent)
                found = re.findall(rb"(?i)x[-_]forwarded[-_](?:for|proto|host)", sent)
                self.assertEqual(len(found), count, sent)
                self.assertIn(passing.encode(), sent)

    def test_a_switch_of_protocols_obeys_the_rules_as_any_answer(self) -> None:
        rules = model.HeaderRules(set=(("Server", "relay"),), add=(("X-Tag", "b"),), remove=("x-old",))
        for tag in ("200 OK", "101 Switching Protocols"):
            self.serve(routes=(self.route("http://nas.lan", response_headers=rules),))
            upgrade = ("Connection: Upgrade", "Upgrade: websocket")
            answer = self.answered(
                *(upgrade if tag.startswith("101") else ()),
                "Set-Cookie: a=1; Domain=nas.lan; Secure; HttpOnly",
                "Strict-Transport-Security: max-age=1",
                "Location: http://nas.lan/x",
                "Server: old",
                "X-Old: 1",
                status=tag,
                request=get("/", *upgrade),
            )
            self.assertIn(b"Set-Cookie: a=1; HttpOnly\r\n", answer)
            self.assertIn(b"Location: http://localhost:8080/x\r\n", answer)
            self.assertIn(b"Server: relay\r\n", answer)
            self.assertIn(b"X-Tag: b\r\n", answer)
            for name in (b"Strict-Transport", b"X-Old", b"Server: old"):
                self.assertNotIn(name, answer)
            self.assertEqual(b"Upgrade: websocket\r\n" in answer, tag.startswith("101"))

    def test_interim_heads_lose_what_is_removed(self) -> None:
        rules = model.HeaderRules(set=(("Server", "relay"),), remove=("x-old",))
        self.serve(routes=(self.route("http://nas.lan", response_headers=rules),))
        answer = self.answered("X-Old: 1", "Link: </a>", status="103 Early Hints")
        self.assertIn(b"Link: </a>\r\n", answer)
        self.assertNotIn(b"X-Old", answer)
        self.assertNotIn(b"Server", answer)

    def test_header_rules(self) -> None:
        rules = model.HeaderRules(
            set=(("Authorization", "Bearer x"),), add=(("X-Tag", "b"),), remove=("x-old",)
        )
        self.serve(routes=(self.route("http://nas.lan", request_headers=rules, response_headers=rules),))
        fields = ("Authorization: mine", "X-Tag: a", "X-Old: 1")
        sent, answer = self.sent(get("/", *fields)), b""
        self.origin.receive(OK.replace(b"Content-Length", "\r\n".join((*fields, "Content-Length")).encode()))
        answer = self.client.take()
        for message in (sent, answer):
            self.assertIn(b"Authorization: Bearer x\r\n", message)
            self.assertNotIn(b"mine", message)
            self.assertIn(b"X-Tag: a\r\n", message)
            self.assertIn(b"X-Tag: b\r\n", message)
            self.assertNotIn(b"X-Old", message)

    def test_header_rules_hold_for_trailers(self) -> None:
        rules = model.HeaderRules(set=(("X-User", "relay"),), add=(("X-Tag", "b"),), remove=("x-old",))
        trailers = b"X-User: me\r\nX-OLD: 1\r\nX_Forwarded_For: 6.6.6.6\r\nX-Tag: a\r\n"
        chunked = b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + trailers + b"\r\n"
        request = b"POST / HTTP/1.1\r\nHost: localhost\r\n" + chunked
        answer = b"HTTP/1.1 200 OK\r\n" + chunked
        for at in (len(request), request.index(b"2\r\n"), request.index(b"me\r\n")):
            self.serve(routes=(self.route("http://nas.lan", request_headers=rules, response_headers=rules),))
            self.client.receive(request[:at])
            self.origin = self.dialed()
            self.client.receive(request[at:])
            behind = len(request) - at
            sent = self.origin.take()
            self.origin.receive(answer[: len(answer) - behind])
            self.origin.receive(answer[len(answer) - behind :])
            for message in (sent, self.client.take()):
                head, _, content = message.partition(b"\r\n\r\n")
                self.assertIn(b"\r\nX-User: relay", head)
                self.assertEqual(content, b"2\r\nok\r\n0\r\nX-Tag: a\r\n\r\n")

    def test_date_is_added_when_missing(self) -> None:
        self.assertEqual(self.answered().count(b"Date: "), 1)

    def test_redirects_lead_to_the_relay(self) -> None:
        for location, expected in (
            (b"http://nas.lan/x", b"http://localhost:8080/x"),
            (b"http://nas.lan:80/x", b"http://localhost:8080/x"),
            (b"https://elsewhere.example/x", b"https://elsewhere.example/x"),
        ):
            self.serve()
            answer = self.answered(f"Location: {location.decode()}", status="307 Temporary Redirect")
            self.assertIn(b"Location: " + expected + b"\r\n", answer)

    def test_redirects_under_a_stripped_prefix(self) -> None:
        self.serve(routes=(self.route("http://nas.lan", "/nas", strip_prefix=True),))
        answer = self.answered("Location: /mcp/", status="307 T", request=get("/nas/mcp"))
        self.assertIn(b"Location: /nas/mcp/\r\n", answer)

    def test_cookies_fit_the_relay(self) -> None:
        answer = self.answered("Set-Cookie: a=1; Domain=nas.lan; Secure; HttpOnly")
        self.assertIn(b"Set-Cookie: a=1; HttpOnly\r\n", answer)

    def test_rewriting_can_be_switched_off(self) -> None:
        self.serve(rewrite=frozenset())
        answer = self.answered("Location: http://nas.lan/x", "Set-Cookie: a=1; Secure")
        self.assertIn(b"Location: http://nas.lan/x\r\n", answer)
        self.assertIn(b"Set-Cookie: a=1; Secure\r\n", answer)

    def test_what_the_upstream_is_called_is_the_host_that_it_is_sent(self) -> None:
        here = "http://localhost:8080/x"
        for host, there in (
            ("virtual.lan", "https://virtual.lan/x"),
            ("preserve", "https://localhost:8080/x"),
        ):
            for name in (there, "https://192.0.2.7:9000/x"):
                self.serve(routes=(self.route("https://192.0.2.7:9000", host=host),))
                sent = self.sent(get("/", f"Referer: {here}", f"Destination: {here}", method="COPY"))
                self.assertIn(f"Referer: {there}\r\nDestination: {there}\r\n".encode(), sent)
                self.origin.receive(
                    f"HTTP/1.1 302 F\r\nLocation: {name}\r\nContent-Length: 0\r\n\r\n".encode()
                )
                self.assertIn(f"Location: {here}\r\n".encode(), self.client.take())

    def test_referer_is_rewritten_the_other_way(self) -> None:
        sent = self.sent(get("/", "Referer: http://localhost:8080/page"))
        self.assertIn(b"Referer: http://nas.lan/page\r\n", sent)
