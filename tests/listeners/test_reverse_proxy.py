"""Tests of the reverse proxy in memory: who gets in, where it leads, and what is made of the fields."""

from __future__ import annotations

import re
from typing import Any

from lanrelay.config import model
from lanrelay.listeners.reverse_proxy import ReverseProxyService
from tests.http.test_exchange import OK, POST, ExchangeTestCase
from tests.support.listening import Surroundings, accept
from tests.support.memory import MemoryStream


def get(path: str = "/", *fields: str, host: str = "localhost:8080", method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def upstream(url: str, **keys: Any) -> model.Upstreams:
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host, _, port = authority.partition(":")
    parsed = model.UpstreamUrl(
        scheme=scheme,  # type: ignore[arg-type]
        host=host,
        port=int(port or {"http": 80, "https": 443}[scheme]),
        path=(slash + path).rstrip("/"),
        slash=bool(path) and path.endswith("/"),
    )
    return model.Upstreams(members=(model.Upstream(url=parsed),), **keys)


class ReverseProxyTestCase(ExchangeTestCase):
    def route(self, url: str, path: str = "/", **keys: Any) -> model.Route:
        return model.Route(path=path, upstreams=upstream(url), **keys)

    def sent(self, request: bytes) -> bytes:
        """What the origin is sent for C{request}."""
        self.origin = self.asked(request)
        return self.origin.take()

    def answered(self, *fields: str, status: str = "200 OK", request: bytes = b"") -> bytes:
        """What the client is sent for an answer with these fields."""
        self.sent(request or get())
        lines = [f"HTTP/1.1 {status}", "Content-Length: 0", *fields, "", ""]
        self.origin.receive("\r\n".join(lines).encode())
        return self.client.take()

    def refused(self, request: bytes) -> bytes:
        """What the relay answers itself."""
        self.client.receive(request)
        self.assertEqual(self.around.dialer.asked, [])
        return self.client.take()


class GuardTests(ReverseProxyTestCase):
    def test_a_strange_host_is_a_421_that_names_the_key(self) -> None:
        answer = self.refused(get(host="evil.example"))
        self.assertTrue(answer.startswith(b"HTTP/1.1 421 Host is not one of this relay\r\n"))
        self.assertIn(b"'evil.example'", answer)
        self.assertIn(b"listeners.web.hosts", answer)
        self.assertNotIn(b"Connection: close", answer)
        session = self.session
        self.assertEqual((session.status, session.error), (421, "http_request_denied"))
        self.assertEqual((session.ended_by, session.phase), ("relay", "policy"))

    def test_a_strange_page_is_a_403_that_names_the_key(self) -> None:
        answer = self.refused(get("/", "Origin: https://evil.example"))
        self.assertTrue(answer.startswith(b"HTTP/1.1 403 Origin may not use this relay\r\n"))
        self.assertIn(b"listeners.web.origins", answer)
        self.assertNotIn(b"Access-Control", answer)

    def test_a_refused_post_with_its_body_keeps_the_connection(self) -> None:
        self.refused(POST.replace(b"localhost:8080", b"evil.example") + b"0123456789")
        self.assertIn(b"GET /", self.sent(get()))

    def test_listed_hosts_get_in(self) -> None:
        self.serve(guard=model.BrowserGuard(hosts=("relay.home",)))
        self.assertIn(b"GET /", self.sent(get(host="relay.home:8080")))

    def test_an_absolute_target_wins_over_host(self) -> None:
        sent = self.sent(get("http://localhost:8080/a?b", host="evil.example"))
        self.assertTrue(sent.startswith(b"GET /a?b HTTP/1.1\r\nHost: nas.lan\r\n"))
        self.client.lose()
        self.serve()
        self.assertIn(b" 421 ", self.refused(get("http://evil.example/a")))

    def test_what_a_proxy_gets_is_told_of_the_proxy(self) -> None:
        answer = self.refused(get("http://nas.lan/a", host="nas.lan"))
        self.assertTrue(answer.startswith(b"HTTP/1.1 421 No proxy for other hosts\r\n"))
        self.assertIn(b"A request for 'nas.lan' as a proxy gets it, and this is none.", answer)
        self.assertIn(b"a listener of the type connect-proxy", answer)
        self.client.receive(get("*", host="nas.lan", method="OPTIONS"))
        self.assertIn(b"listeners.web.hosts", self.client.take())

    def test_what_is_another_protocol_is_called_by_its_name(self) -> None:
        for greeting, name, remedy in (
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"TLS", b"`http://` for `https://`"),
            (b"\x16", b"TLS", b"(`tls`)"),
            (b"\r\n\x16\x03", b"TLS", b"(`tls`)"),
            (b"\x05\x01\0", b"SOCKS", b"of the type socks-proxy"),
        ):
            self.serve()
            answer = self.refused(greeting)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"))
            self.assertIn(b"the client speaks " + name, answer)
            self.assertIn(remedy, answer)
            self.assertIn("the client speaks " + name.decode(), self.session.detail)

    def test_a_host_that_was_let_in_once_opens_no_other_door(self) -> None:
        self.answered()
        for request, status in (
            (get("/", "Origin: https://evil.example"), b" 403 "),
            (get("/", "Sec-Fetch-Site: cross-site"), b" 403 "),
            (get("http://evil.example/"), b" 421 "),
            (get(host="evil.example"), b" 421 "),
        ):
            self.client.receive(request)
            self.assertIn(status, self.client.take())

    def test_an_absolute_target_lets_no_host_in(self) -> None:
        self.answered(request=get("http://localhost:8080/", host="evil.example"))
        self.client.receive(get(host="evil.example"))
        self.assertIn(b" 421 ", self.client.take())

    def test_a_bug_ends_the_session_and_keeps_the_connection(self) -> None:
        def fault(*arguments: object) -> None:
            raise ZeroDivisionError

        self.answered()
        self.service.routes[0].request_head = fault  # type: ignore[method-assign, assignment]
        self.client.receive(get("/", "Via: 1.1 somebody"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn(b"502 Bad Gateway", self.client.take())
        self.assertEqual((self.session.status, self.session.ended_by), (502, "relay"))
        self.assertEqual(len(self.around.ledger), 0)
        self.assertFalse(self.origin.connected)

    def test_a_tunnel_is_refused(self) -> None:
        answer = self.refused(get("nas.lan:22", host="nas.lan:22", method="CONNECT"))
        self.assertIn(b"405 Method Not Allowed", answer)
        self.assertIn(b"Allow: GET, ", answer)
        self.assertTrue(self.client.closed)

    def test_options_of_the_server_itself(self) -> None:
        self.assertTrue(self.sent(get("*", method="OPTIONS")).startswith(b"OPTIONS * HTTP/1.1\r\n"))

    def test_what_is_no_request_has_a_session_too(self) -> None:
        self.refused(b"GET /\r\n\r\n")
        self.assertEqual((self.session.status, self.session.phase), (400, "head"))
        self.assertEqual(self.session.ended_by, "downstream")

    def test_a_request_that_was_here_before_is_a_loop(self) -> None:
        sent = self.sent(get())
        line = next(line for line in sent.split(b"\r\n") if line.startswith(b"Via: "))
        other = accept(self.service)
        other.receive(get("/", line.decode()))
        answer = other.take()
        self.assertIn(b"502 Bad Gateway", answer)
        self.assertIn(b"error=proxy_loop_detected", answer)


class CorsTests(ReverseProxyTestCase):
    PAGE = "Origin: http://localhost:6274"

    def test_the_relay_answers_a_preflight(self) -> None:
        answer = self.refused(
            get(
                "/mcp",
                self.PAGE,
                "Access-Control-Request-Method: POST",
                "Access-Control-Request-Headers: mcp-protocol-version",
                method="OPTIONS",
            )
        )
        self.assertTrue(answer.startswith(b"HTTP/1.1 204 No Content\r\n"))
        self.assertIn(b"Access-Control-Allow-Origin: http://localhost:6274\r\n", answer)
        self.assertIn(b"Access-Control-Allow-Headers: mcp-protocol-version\r\n", answer)
        self.assertNotIn(b"Content-Length", answer)
        self.assertNotIn(b"Connection: close", answer)

    def test_the_page_may_read_the_answer_and_the_origin_is_stripped(self) -> None:
        sent = self.sent(get("/", self.PAGE))
        self.assertNotIn(b"Origin", sent)
        self.origin.receive(OK.replace(b"Content-Length", b"Vary: Accept\r\nContent-Length"))
        answer = self.client.take()
        self.assertIn(b"Access-Control-Allow-Origin: http://localhost:6274\r\n", answer)
        self.assertIn(b"Access-Control-Expose-Headers: Mcp-Session-Id, ", answer)
        self.assertIn(b"Vary: Origin\r\n", answer)

    def test_the_page_may_read_the_relays_own_failures(self) -> None:
        self.client.receive(get("/", self.PAGE))
        self.around.dialer.fail(ValueError("a bug"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        answer = self.client.take()
        self.assertIn(b"502 Bad Gateway", answer)
        self.assertIn(b"Access-Control-Allow-Origin: http://localhost:6274\r\n", answer)

    def test_the_relays_own_page_needs_none_of_it(self) -> None:
        answer = self.answered(request=get("/", "Origin: http://localhost:8080"))
        self.assertNotIn(b"Access-Control", answer)

    def test_the_relays_own_page_is_the_upstreams_own_page(self) -> None:
        upgrade = ("Connection: Upgrade", "Upgrade: websocket")
        for url, keys, path, expected in (
            ("http://nas.lan", {}, "/", b"http://nas.lan"),
            ("https://nas.lan:8443", {}, "/", b"https://nas.lan:8443"),
            ("https://nas.lan:8443/app/", {}, "/", b"https://nas.lan:8443"),
            ("http://nas.lan", {"strip_prefix": True}, "/nas", b"http://nas.lan"),
            ("https://192.0.2.7:9000", {"host": "nas.lan"}, "/", b"https://nas.lan"),
            ("http://nas.lan", {"host": "preserve"}, "/", b"http://LOCALHOST:8080"),
        ):
            for more in ((), upgrade):
                self.serve(routes=(self.route(url, path, **keys),))
                own = "Origin: http://LOCALHOST:8080"
                sent = self.sent(get(path, own, *more, "Access-Control-Request-Method: GET"))
                self.assertEqual(re.findall(rb"Origin: (.*)\r\n", sent), [expected])
                self.client.lose()

    def test_a_preflight_of_the_relays_own_page_is_the_upstreams(self) -> None:
        preflight = get(
            "/", "Origin: http://localhost:8080", "Access-Control-Request-Method: PUT", method="OPTIONS"
        )
        self.assertIn(b"Origin: http://nas.lan\r\n", self.sent(preflight))

    def test_strip_strips_the_relays_own_too(self) -> None:
        self.serve(origin="strip")
        self.assertNotIn(b"Origin", self.sent(get("/", "Origin: http://localhost:8080")))

    def test_another_page_is_stripped_where_host_is_preserved_too(self) -> None:
        self.serve(routes=(self.route("http://nas.lan", host="preserve"),))
        self.assertNotIn(b"Origin", self.sent(get("/", self.PAGE)))

    def test_nobodys_page_passes_for_the_upstreams(self) -> None:
        self.serve(guard=model.BrowserGuard(hosts=None, origins=None))
        self.assertNotIn(b"Origin", self.sent(get("/", "Origin: http://evil.example", host="evil.example")))

    def test_whether_it_may_read_what_cookies_gave_the_upstream_says(self) -> None:
        credentials = "Access-Control-Allow-Credentials: true"
        for fields in ((credentials,), ()):
            self.serve()
            answer = self.answered(*fields, "Access-Control-Allow-Origin: *", request=get("/", self.PAGE))
            self.assertIn(b"Access-Control-Allow-Origin: http://localhost:6274\r\n", answer)
            self.assertEqual(credentials.encode() in answer, bool(fields))

    def test_keep_passes_the_origin_and_its_preflights(self) -> None:
        self.serve(origin="keep")
        request = get("/", self.PAGE, "Access-Control-Request-Method: POST", method="OPTIONS")
        sent = self.sent(request)
        self.assertIn(b"OPTIONS / ", sent)
        self.assertIn(b"Origin: http://localhost:6274\r\n", sent)

    def test_upstream_names_the_upstreams_own(self) -> None:
        self.serve(origin="upstream", routes=(self.route("https://nas.lan:8443"),))
        # The trust of an https upstream is not asked in memory: the dialer is a fake.
        self.assertIn(b"Origin: https://nas.lan:8443\r\n", self.sent(get("/", self.PAGE)))


class EventStreamTests(ReverseProxyTestCase):
    HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    def stream(self, head: bytes = HEAD, **keys: Any) -> MemoryStream:
        self.serve(**keys)
        self.sent(get("/sse", "Accept: text/event-stream", "Accept-Encoding: gzip"))
        self.origin.receive(head)
        self.client.take()
        return self.origin

    def test_an_event_never_waits_for_the_next(self) -> None:
        origin = self.stream()
        origin.receive(b"9\r\ndata: 1\n\n\r\n")
        self.assertEqual(self.client.take(), b"9\r\ndata: 1\n\n\r\n")

    def test_silence_is_broken(self) -> None:
        origin = self.stream()
        origin.receive(b"9\r\ndata: 1\n\n\r\n")
        self.client.take()
        self.clock.advance(15)
        self.assertEqual(self.client.take(), b"2\r\n:\n\r\n")
        origin.receive(b"0\r\n\r\n")
        self.assertEqual(self.client.take(), b"0\r\n\r\n")
        self.assertEqual(self.session.sent, 11)
        self.client.receive_eof()
        self.assertAllOver()

    def test_silence_of_what_is_encoded_or_counted_is_not(self) -> None:
        for extra in (b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked", b"Content-Length: 100"):
            self.stream(self.HEAD.replace(b"Transfer-Encoding: chunked", extra))
            self.clock.pump([20, 20])
            self.assertEqual(self.client.take(), b"")

    def test_it_can_be_switched_off(self) -> None:
        self.stream(sse_keepalive=None)
        self.clock.pump([1000, 1000])
        self.assertEqual(self.client.take(), b"")

    def test_the_endpoint_leads_to_the_relay(self) -> None:
        origin = self.stream()
        event = b"event: endpoint\ndata: http://nas.lan/messages?s=1\n\n"
        origin.receive(b"%x\r\n%b\r\n" % (len(event), event))
        self.assertIn(b"data: http://localhost:8080/messages?s=1\n\n", self.client.take())

    def test_what_may_be_rewritten_is_asked_for_unencoded(self) -> None:
        for keys, expected in (({}, b"identity"), ({"rewrite": frozenset({"location"})}, b"gzip")):
            self.serve(**keys)  # type: ignore[arg-type]
            sent = self.sent(get("/sse", "Accept: text/event-stream", "Accept-Encoding: gzip"))
            self.assertIn(b"Accept-Encoding: " + expected + b"\r\n", sent)


class ServiceTests(ReverseProxyTestCase):
    def test_a_bug_ends_the_session_and_is_not_hidden(self) -> None:
        def faulty(*arguments: object) -> None:
            raise ZeroDivisionError

        self.patch(self.service, "_route", faulty)
        self.assertRaises(ZeroDivisionError, self.client.receive, get())
        self.assertEqual(len(self.around.ledger), 0)
        self.assertEqual((self.session.error, self.session.ended_by), ("proxy_internal_error", "relay"))
        self.client.lose()  # as a transport does whose protocol raised
        self.assertAllOver()

    def test_it_says_where_it_leads(self) -> None:
        around = Surroundings()
        routes = (self.route("http://nas.lan/x", "/nas"), self.route("http://rest.lan"))
        config = model.ReverseProxy(name="web", listen=(), routes=routes)
        service = ReverseProxyService(around.environment, config)
        self.assertEqual(service.leads_to(), "/nas to http://nas.lan/x; http://rest.lan")
        self.assertEqual(len(service.groups), 2)
        service.load()
