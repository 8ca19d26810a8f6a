"""Tests of the reverse proxy in memory: who gets in, where it leads, and what is made of the fields."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

from lanrelay.config import model
from lanrelay.listeners.reverse_proxy import ReverseProxyService
from tests.http.test_exchange import OK, POST, ExchangeTestCase, http_upstreams
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


class RouteTests(ReverseProxyTestCase):
    def test_the_longest_prefix_wins_at_segment_borders(self) -> None:
        routes = (
            self.route("http://deep.lan", "/nas/deep"),
            self.route("http://nas.lan", "/nas"),
            self.route("http://rest.lan"),
        )
        for path, host in (
            ("/nas/deep/x", b"deep.lan"),
            ("/nas/deeper", b"nas.lan"),
            ("/nas?x", b"nas.lan"),
            ("/nasty", b"rest.lan"),
            ("/", b"rest.lan"),
        ):
            self.serve(routes=routes)
            self.assertIn(b"Host: " + host + b"\r\n", self.sent(get(path)), path)

    def test_no_route_is_a_502_but_404_where_metadata_is_looked_for(self) -> None:
        for path, status in (("/x", b"502"), ("/.well-known/oauth-authorization-server", b"404")):
            self.serve(routes=(self.route("http://nas.lan", "/nas"),))
            answer = self.refused(get(path))
            self.assertTrue(answer.startswith(b"HTTP/1.1 " + status), answer)
            self.assertIn(b"error=destination_not_found", answer)
            self.assertIn(b"listeners.web.routes", answer)

    def test_the_upstreams_path_is_put_before(self) -> None:
        for url, path, strip, asked, expected in (
            ("http://nas.lan", "/", False, "/a/b?c", b"/a/b?c"),
            ("http://nas.lan/up", "/", False, "/a", b"/up/a"),
            ("http://nas.lan/up", "/nas", False, "/nas/a", b"/up/nas/a"),
            ("http://nas.lan", "/nas", True, "/nas/a", b"/a"),
            ("http://nas.lan", "/nas", True, "/nas", b"/"),
            ("http://nas.lan", "/nas", True, "/nas?q=/x", b"/?q=/x"),
            ("http://nas.lan/mcp", "/nas", True, "/nas", b"/mcp"),
            ("http://nas.lan/mcp", "/nas", True, "/nas?q", b"/mcp?q"),
            ("http://nas.lan/mcp", "/nas", True, "/nas/", b"/mcp/"),
            ("http://nas.lan/mcp/", "/nas", True, "/nas", b"/mcp/"),
            ("http://nas.lan/mcp/", "/nas", True, "/nas/a", b"/mcp/a"),
            ("http://nas.lan/mcp/", "/nas", False, "/nas", b"/mcp/nas"),
            ("http://nas.lan/mcp", "/", False, "/", b"/mcp"),
            ("http://nas.lan/mcp", "/", False, "/?q=/", b"/mcp?q=/"),
            ("http://nas.lan/mcp", "/", True, "/", b"/mcp"),
            ("http://nas.lan/mcp/", "/", False, "/", b"/mcp/"),
            ("http://nas.lan/mcp/", "/", False, "/?q", b"/mcp/?q"),
            ("http://nas.lan/mcp/", "/", False, "/a/", b"/mcp/a/"),
            ("http://nas.lan/", "/", False, "/", b"/"),
        ):
            self.serve(routes=(self.route(url, path, strip_prefix=strip),))
            self.assertEqual(self.sent(get(asked)).split(b" ")[1], expected)

    def redirected(self, request: bytes, status: str, location: str, *fields: str) -> tuple[bytes, bytes]:
        """The target that the upstream was asked for, and what the client was sent for such an answer."""
        self.client.receive(request)
        if self.around.dialer.pending:
            self.origin = self.around.dialer.answer("192.0.2.1:80")
        asked = self.origin.take().split(b" ")[1]
        lines = [f"HTTP/1.1 {status} R", f"Location: {location}", *fields, "Content-Length: 4", "", "gone"]
        self.origin.receive("\r\n".join(lines).encode())
        return asked, self.client.take()

    def answered_again(self, request: bytes = b"") -> bytes:
        """The request as it was made again, after its good answer."""
        if request:
            self.client.receive(request)
        else:
            self.origin = self.dialed()
        again = self.origin.take()
        self.origin.receive(OK)
        self.assertIn(b"200 OK", self.client.take())
        return again

    def test_a_redirect_to_the_other_spelling_is_followed_and_remembered(self) -> None:
        for url, path, status, location, asked, other in (
            ("http://nas.lan/mcp", "/", 307, "http://nas.lan/mcp/", b"/mcp", b"/mcp/"),
            ("http://nas.lan/mcp/", "/", 308, "http://nas.lan/mcp", b"/mcp/", b"/mcp"),
            ("http://nas.lan/mcp/", "/", 301, "/mcp", b"/mcp/", b"/mcp"),
            ("http://nas.lan/a/mcp", "/", 302, "mcp/", b"/a/mcp", b"/a/mcp/"),
            ("http://nas.lan/mcp/", "/", 303, "//nas.lan/mcp#top", b"/mcp/", b"/mcp"),
            ("https://nas.lan/mcp/", "/", 307, "http://nas.lan/mcp", b"/mcp/", b"/mcp"),
            ("http://nas.lan/mcp/", "/nas", 307, "http://nas.lan/mcp", b"/mcp/", b"/mcp"),
        ):
            self.serve(routes=(self.route(url, path, strip_prefix=path != "/"),))
            self.assertEqual(self.redirected(get(path), str(status), location), (asked, b""))
            self.assertIn(other, self.answered_again().split(b" ")[1:2])
            self.assertIn(other, self.answered_again(get(path)).split(b" ")[1:2])
            self.assertEqual(self.around.closed[-2].status, 200)
            self.client.lose()

    def test_content_goes_with_it(self) -> None:
        post = POST.replace(b"POST /a", b"POST /?q")
        self.serve(routes=(self.route("http://nas.lan/mcp/"),))
        for at in (0, 4, 10):
            self.client.receive(post + b"0123456789"[:at])
            if self.around.dialer.pending:
                self.origin = self.dialed()
            self.client.receive(b"0123456789"[at:])
            sent = self.origin.take()
            self.assertTrue(sent.endswith(b"0123456789"), sent)
            if at == 0:
                self.assertTrue(sent.startswith(b"POST /mcp/?q "))
                lines = b"HTTP/1.1 307 T\r\nLocation: http://nas.lan/mcp?q\r\nContent-Length: 0\r\n\r\n"
                self.origin.receive(lines)
                self.assertEqual(self.client.take(), b"")
                self.origin = self.dialed()
                sent = self.origin.take()
            self.assertTrue(sent.startswith(b"POST /mcp?q "))
            self.assertTrue(sent.endswith(b"\r\n\r\n0123456789"), sent)
            self.origin.receive(OK)
            self.assertIn(b"200 OK", self.client.take())

    def test_what_is_too_long_to_send_again_is_the_clients_to_repeat(self) -> None:
        self.serve(routes=(self.route("http://nas.lan/mcp/"),))
        size = 1024 * 1024 + 1
        self.client.receive(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size)
        self.origin = self.dialed()
        self.client.receive(b"x" * size)
        self.origin.receive(b"HTTP/1.1 307 T\r\nLocation: /mcp\r\nContent-Length: 0\r\n\r\n")
        self.assertIn(b"Location: /\r\n", self.client.take())
        self.origin.take()
        self.assertTrue(self.answered_again(get("/")).startswith(b"GET /mcp "))

    def test_it_is_asked_for_once(self) -> None:
        self.serve(routes=(self.route("http://nas.lan/mcp"),))
        self.redirected(get("/"), "307", "/mcp/")
        self.origin = self.dialed()
        self.assertTrue(self.origin.take().startswith(b"GET /mcp/ "))
        self.origin.receive(b"HTTP/1.1 307 T\r\nLocation: /mcp\r\nContent-Length: 0\r\n\r\n")
        self.assertIn(b"Location: /\r\n", self.client.take())

    def test_other_redirects_are_the_clients(self) -> None:
        post = POST.replace(b"POST /a", b"POST /") + b"0123456789"
        for request, status, location, expected in (
            (post, "302", "/mcp/", b"/"),  # what came of the request
            (post, "303", "/mcp/", b"/"),
            (get("/"), "302", "/mcp", b"/"),  # the same spelling
            (get("/"), "302", "/mcp/?x", b"/?x"),
            (get("/"), "302", "/mcp/a", b"/a"),
            (get("/"), "302", "http://nas.lan:8080/mcp/", b"http://nas.lan:8080/mcp/"),
            (get("/"), "302", "http://other.lan/mcp/", b"http://other.lan/mcp/"),
            (get("/"), "302", "http://[/mcp/", b"http://[/mcp/"),
            (get("/a"), "302", "/mcp/a/", b"/a/"),
        ):
            self.serve(routes=(self.route("http://nas.lan/mcp"),))
            answer = self.redirected(request, status, location)[1]
            self.assertIn(b"Location: " + expected + b"\r\n", answer)
            self.client.lose()

    def test_a_redirect_with_a_cookie_is_remembered_and_the_clients(self) -> None:
        self.serve(routes=(self.route("http://nas.lan/mcp"),))
        answer = self.redirected(get("/"), "302", "/mcp/", "Set-Cookie: a=1")[1]
        self.assertIn(b"Set-Cookie: a=1\r\n", answer)
        self.assertTrue(self.answered_again(get("/")).startswith(b"GET /mcp/ "))

    def test_no_path_leads_out_of_its_route(self) -> None:
        within = (self.route("http://nas.lan/app", "/pub", strip_prefix=True),)
        below = (self.route("http://nas.lan/app"),)
        for routes, path in (
            (within, "/pub/../admin"),
            (within, "/pub/%2e%2E/admin"),
            (within, "/pub/x/..%2fadmin"),
            (within, "/pub/.."),
            (within, "/pub/..;x/admin"),
            (within, "/pub/./a"),
            (below, "/../admin"),
        ):
            self.serve(routes=routes)
            self.assertTrue(self.refused(get(path)).startswith(b"HTTP/1.1 400 "), path)

    def test_dots_that_are_no_segment_and_a_route_for_all_pass(self) -> None:
        for routes, path in (
            ((self.route("http://nas.lan", "/pub"),), "/pub/..a/b../.well/..."),
            ((self.route("http://nas.lan"),), "/a/../b"),
        ):
            self.serve(routes=routes)
            self.assertEqual(self.sent(get(path)).split(b" ")[1], path.encode())

    def test_letters_in_escapes_are_the_same_letters(self) -> None:
        routes = (
            self.route("http://deep.lan", "/pub/priv", strip_prefix=True),
            self.route("http://nas.lan", "/pub", strip_prefix=True),
        )
        for path, host, target in (
            ("/pub/%70riv/1", b"deep.lan", b"/1"),
            ("/%70ub/a?%70", b"nas.lan", b"/a?%70"),
            ("/pub/%C3%A9%7e", b"nas.lan", b"/%C3%A9%7e"),
        ):
            self.serve(routes=routes)
            sent = self.sent(get(path))
            self.assertIn(b"Host: " + host + b"\r\n", sent, path)
            self.assertEqual(sent.split(b" ")[1], target)

    def test_two_upstreams_are_tried_in_turn(self) -> None:
        self.serve(
            routes=(model.Route(upstreams=http_upstreams("a.lan", "b.lan", balance="round-robin")),),
        )
        hosts = []
        for _ in range(4):
            origin = self.asked(get())
            hosts.append(origin.take().split(b"\r\n")[1])
            origin.receive(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(hosts, [b"Host: a.lan", b"Host: b.lan"] * 2)

    def test_several_upstreams_have_a_pool_each(self) -> None:
        self.serve(
            routes=(model.Route(upstreams=http_upstreams("a.lan", "b.lan", balance="round-robin")),),
        )
        for _ in range(2):
            self.asked(get()).receive(OK)
        self.client.take()
        dialed = len(self.around.dialer.asked)
        for _ in range(2):
            self.client.receive(get())
            self.assertEqual(len(self.around.dialer.asked), dialed)
            self.service.abort()
            self.client = accept(self.service)


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
