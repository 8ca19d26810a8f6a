"""Tests of the reverse proxy's routes and upstreams in memory: which one a request takes, and how."""

from __future__ import annotations

from lanrelay.config import model
from tests.http.test_exchange import OK, POST, http_upstreams
from tests.listeners.test_reverse_proxy import ReverseProxyTestCase, get
from tests.support.listening import accept


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
