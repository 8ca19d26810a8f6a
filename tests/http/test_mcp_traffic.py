"""Tests of what an MCP client, or a page, sends through the reverse proxy, in memory."""

from __future__ import annotations

import json
from typing import Any

from lanrelay.config import model
from lanrelay.errors import ConnectionRefused
from tests.listeners.test_oauth import RESOURCE, form
from tests.listeners.test_reverse_proxy import ReverseProxyTestCase, get
from tests.support.listening import accept


class PageTests(ReverseProxyTestCase):
    """Who gets in: MCP Inspector's page, an entry of C{origins}, a link, a redirect; and who does not."""

    INSPECTOR = "Origin: http://localhost:6274"
    CROSS = "Sec-Fetch-Site: cross-site"

    def test_the_inspectors_page(self) -> None:
        for request in (
            get("/mcp", self.INSPECTOR, "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors"),
            get(RESOURCE, self.INSPECTOR, self.CROSS),
            form(b"a=b", self.INSPECTOR, self.CROSS),
        ):
            self.serve()
            self.sent(request)
            self.origin.receive(b"HTTP/1.1 401 U\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n")
            answer = self.client.take()
            self.assertIn(b"Access-Control-Allow-Origin: http://localhost:6274\r\n", answer)
            self.assertIn(b"WWW-Authenticate\r\n", answer)
        answer = self.preflight(self.INSPECTOR)
        self.assertIn(b"HTTP/1.1 204 ", answer)
        self.assertIn(b"Access-Control-Allow-Headers: authorization,mcp-protocol-version\r\n", answer)

    def test_an_entry_of_origins(self) -> None:
        guard = model.BrowserGuard(origins=("https://app.example",))
        self.serve(guard=guard)
        answer = self.answered(request=get("/mcp", "Origin: https://app.example", self.CROSS))
        self.assertIn(b"Access-Control-Allow-Origin: https://app.example\r\n", answer)
        self.serve(guard=guard)
        self.assertIn(b"HTTP/1.1 204 ", self.preflight("Origin: https://app.example"))

    def test_a_link_and_a_redirect_of_a_login(self) -> None:
        for path in ("/", "/authorize?client_id=x", "/callback?code=x&state=y"):
            self.serve()
            fields = (self.CROSS, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
            self.assertIn(f"GET {path} ".encode(), self.sent(get(path, *fields)))

    def test_the_relays_own_login_page_may_post(self) -> None:
        fields = ("Origin: http://localhost:8080", "Sec-Fetch-Site: same-origin")
        self.assertIn(b"POST /token ", self.sent(form(b"user=x", *fields)))

    def test_the_web_does_not(self) -> None:
        for request, status in (
            (get("/mcp", host="rebound.example"), b" 421 "),
            (get("/mcp", "Origin: http://rebound.example", host="rebound.example"), b" 421 "),
            (get("/mcp", "Origin: https://evil.example"), b" 403 "),
            (get("/mcp", "Origin: null"), b" 403 "),
            (form(b"a=b", self.CROSS, "Sec-Fetch-Mode: navigate"), b" 403 "),
            (form(b"a=b", "Origin: https://evil.example", self.CROSS, "Sec-Fetch-Mode: navigate"), b" 403 "),
            (get("/mcp", self.CROSS, "Sec-Fetch-Mode: no-cors"), b" 403 "),
            (get("/authorize", self.CROSS, "Sec-Fetch-Mode: navigate", method="POST"), b" 403 "),
        ):
            self.serve()
            answer = self.refused(request)
            self.assertIn(status, answer)
            self.assertNotIn(b"Access-Control", answer)
        answer = self.preflight("Origin: https://evil.example")
        self.assertIn(b" 403 ", answer)
        self.assertNotIn(b"Access-Control", answer)

    def preflight(self, origin: str) -> bytes:
        self.client = accept(self.service)
        self.around.dialer.asked.clear()
        return self.refused(
            get(
                "/mcp",
                origin,
                self.CROSS,
                "Access-Control-Request-Method: POST",
                "Access-Control-Request-Headers: authorization,mcp-protocol-version",
                method="OPTIONS",
            )
        )


class EndToEndTests(ReverseProxyTestCase):
    FIELDS = (
        "Accept: application/json, text/event-stream",
        "Accept-Language: de",
        "Authorization: Bearer abc.def",
        "Mcp-Session-Id: 7f3c",
        "MCP-Protocol-Version: 2025-11-25",
        "mcp-method: tools/call",
        "Mcp-Name: get_weather",
        "Mcp-Param-City: =?utf-8?Q?K=C3=B6ln?=",
        "Last-Event-ID: s/41",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate: a=1,b=2",
        "Baggage: x=y",
        "User-Agent: x/1",
        "Cookie: a=1; b=2",
    )

    def test_what_is_for_the_other_end_is_untouched(self) -> None:
        for recovers in (False, True):
            self.serve(session_recovery=recovers)
            content = b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}'
            request = "\r\n".join(
                [
                    "POST /mcp HTTP/1.1",
                    "Host: localhost:8080",
                    *self.FIELDS,
                    "Content-Type: application/json",
                    f"Content-Length: {len(content)}",
                    "",
                    "",
                ]
            )
            sent = self.sent(request.encode() + content)
            lines = sent.partition(b"\r\n\r\n")[0].decode().split("\r\n")
            self.assertEqual(
                lines[2:-1],
                [*self.FIELDS, "Content-Type: application/json", f"Content-Length: {len(content)}"],
            )
            self.assertTrue(sent.endswith(b"\r\n\r\n" + content))

    def test_so_is_what_comes_back(self) -> None:
        fields = (
            "Mcp-Session-Id: 7f3c",
            "MCP-Protocol-Version: 2025-11-25",
            "X-Accel-Buffering: no",
            "Cache-Control: no-cache, no-transform",
            "traceresponse: 00-x",
            "Content-Type: text/event-stream",
            "Server: x",
        )
        answer = self.answered(*fields, request=get("/mcp", "Accept: text/event-stream"))
        lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        self.assertEqual([line for line in lines if line in fields], list(fields))


class HopsTests(ReverseProxyTestCase):
    """RFC 9110 section 7.6.2."""

    def test_it_is_counted_down(self) -> None:
        for method in ("OPTIONS", "TRACE"):
            for value, expected in (("7", b"6"), ("1", b"0"), ("007", b"6"), ("x", b"x"), ("-1", b"-1")):
                self.serve()
                sent = self.sent(get("/a", f"Max-Forwards: {value}", method=method))
                self.assertIn(b"Max-Forwards: " + expected + b"\r\n", sent)

    def test_for_other_methods_it_means_nothing(self) -> None:
        for value in ("0", "7"):
            self.serve()
            self.assertIn(
                f"Max-Forwards: {value}\r\n".encode(), self.sent(get("/a", f"Max-Forwards: {value}"))
            )

    def test_at_nought_it_goes_no_further(self) -> None:
        answer = self.refused(get("*", "Max-Forwards: 0", method="OPTIONS"))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\nAllow: GET, HEAD, "))
        self.assertIn(b"Content-Length: 0\r\n", answer)
        self.assertEqual(
            (self.session.status, self.session.phase, self.session.ended_by), (200, "done", "relay")
        )

    def test_trace_shows_what_came_and_no_secrets(self) -> None:
        answer = self.refused(
            get("/a?b", "Max-Forwards: 0", "X-One: 1", "Cookie: a", "Authorization: b", method="TRACE")
        )
        self.assertIn(b"Content-Type: message/http\r\n", answer)
        self.assertTrue(
            answer.endswith(
                b"\r\n\r\nTRACE /a?b HTTP/1.1\r\nHost: localhost:8080\r\nMax-Forwards: 0\r\nX-One: 1\r\n\r\n"
            )
        )

    def test_options_of_a_whole_server(self) -> None:
        sent = self.sent(get("http://localhost:8080", method="OPTIONS"))
        self.assertTrue(sent.startswith(b"OPTIONS * HTTP/1.1\r\nHost: nas.lan\r\n"))


class ErrorTests(ReverseProxyTestCase):
    CONTENT = b'{"jsonrpc":"2.0","id":"a\xc3\xbc","method":"tools/list"}'

    def post(self, content: bytes, whole: bool = True) -> bytes:
        request = (
            b"POST /mcp HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
        )
        return request if whole else request[:-1]

    def failed(self, request: bytes) -> dict[str, Any]:
        self.serve(retry=model.Retry(duration=0))
        self.client.receive(request)
        self.around.dialer.fail(ConnectionRefused("refused"))
        head, _, body = self.client.take().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 502 "))
        found: dict[str, Any] = json.loads(body)
        self.assertLessEqual(-32019, found["error"]["code"])
        self.assertLessEqual(found["error"]["code"], -32000)
        return found

    def test_it_bears_the_id_of_a_request_that_is_at_hand(self) -> None:
        self.assertEqual(self.failed(self.post(self.CONTENT))["id"], "a\u00fc")
        self.assertEqual(self.failed(self.post(b'{"id":7,"method":"x"}'))["id"], 7)

    def test_and_none_of_any_other(self) -> None:
        for content in (
            b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
            b'{"jsonrpc":"2.0","id":1,"result":{}}',
            b'{"id":true,"method":"x"}',
            b'{"id":{},"method":"x"}',
            b'{"id":1.5,"method":"x"}',
            b'[{"id":1,"method":"x"}]',
            b'{"id":1,"method":"x"',
            b"[" * 10_000,
            b"\xff",
        ):
            self.assertIsNone(self.failed(self.post(content))["id"])
        self.assertIsNone(self.failed(self.post(self.CONTENT, whole=False))["id"])
