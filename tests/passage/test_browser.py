"""L{lanrelay.passage.browser}"""

from __future__ import annotations

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import BrowserGuard
from lanrelay.errors import RequestDenied
from lanrelay.passage.browser import (
    check_browser,
    is_own_origin,
    own_origin,
    preflight_response,
    with_cors,
)
from lanrelay.wire.events import HTTP_1_0, RequestHead, Version
from lanrelay.wire.headers import Headers

LOCALHOST = (b"Host", b"localhost:8080")


def request(
    *pairs: tuple[bytes, bytes], method: bytes = b"GET", target: bytes = b"/", version: Version = (1, 1)
) -> RequestHead:
    return RequestHead(method=method, target=target, headers=Headers(pairs), version=version)


class Case(SynchronousTestCase):
    def denial(
        self,
        head: RequestHead,
        guard: BrowserGuard = BrowserGuard(),  # noqa: B008 (frozen)
        *,
        local: str | None = "127.0.0.1",
        place: str = "listeners.lan-mcp",
        secure: bool = False,
    ) -> RequestDenied | None:
        address = None if local is None else ip_address(local)
        try:
            check_browser(head, guard, address, place=place, secure=secure)
        except RequestDenied as denied:
            return denied
        return None

    def assertPasses(self, head: RequestHead, guard: BrowserGuard | None = None, **more: object) -> None:
        denied = self.denial(head, guard or BrowserGuard(), **more)  # type: ignore[arg-type]
        self.assertIsNone(denied, head.headers.fields)

    def assertDenied(
        self, status: int, head: RequestHead, guard: BrowserGuard | None = None, **more: object
    ) -> RequestDenied:
        denied = self.denial(head, guard or BrowserGuard(), **more)  # type: ignore[arg-type]
        assert denied is not None, head.headers.fields
        self.assertEqual(denied.http_status, status)
        self.assertEqual(denied.proxy_status, "http_request_denied")
        return denied


class HostTests(Case):
    def test_loopback_names_with_any_port(self) -> None:
        for host in (
            b"localhost",
            b"localhost:1",
            b"LocalHost.:8080",
            b"mcp.localhost",
            b"a.b.LOCALHOST:80",
            b"127.0.0.1",
            b"127.0.0.1:9",
            b"127.255.255.254",
            b"[::1]",
            b"[::1]:8080",
            b"[0:0:0:0:0:0:0:1]",
        ):
            self.assertPasses(request((b"Host", host)))

    def test_others_are_refused(self) -> None:
        for host in (
            b"evil.example",
            b"evil.example:8080",
            b"localhost.evil.example",
            b"xlocalhost",
            b"127.0.0.1.evil.example",
            b"127.0.0.1.nip.io",
            b"192.168.1.20",
            b"128.0.0.1",
            b"0.0.0.0",
            b"[::]",
            b"[::2]",
            b"2130706433",
            b"0x7f000001",
            b"127.1",
            b"0177.0.0.1",
            b"lan-host",
            b"%6cocalhost",
        ):
            self.assertDenied(421, request((b"Host", host)))

    def test_the_address_on_which_the_connection_came_in(self) -> None:
        head = request((b"Host", b"192.168.1.5:8080"))
        self.assertPasses(head, local="192.168.1.5")
        self.assertPasses(head, local="::ffff:192.168.1.5")
        self.assertDenied(421, head, local="192.168.1.6")
        self.assertDenied(421, head, local=None)
        self.assertPasses(request((b"Host", b"[FD00:0::5]")), local="fd00::5")

    def test_configured_names(self) -> None:
        guard = BrowserGuard(hosts=("relay.lan", "192.168.1.9", "fd00::9"))
        for host in (b"relay.lan", b"RELAY.lan.:8080", b"192.168.1.9:1", b"[fd00:0:0::9]:1", b"localhost"):
            self.assertPasses(request((b"Host", host)), guard)
        for host in (b"x.relay.lan", b"relay.lan.x", b"lan"):
            self.assertDenied(421, request((b"Host", host)), guard)

    def test_any(self) -> None:
        self.assertPasses(request((b"Host", b"evil.example")), BrowserGuard(hosts=None))

    def test_an_absolute_target_wins(self) -> None:
        """RFC 9112 section 3.2.2."""
        self.assertDenied(421, request(LOCALHOST, target=b"http://evil.example/"))
        self.assertPasses(request((b"Host", b"evil.example"), target=b"http://localhost:8080/"))
        self.assertDenied(421, request((b"Host", b"evil.example"), method=b"OPTIONS", target=b"*"))

    def test_http_1_0_may_leave_it_out(self) -> None:
        self.assertPasses(request(version=HTTP_1_0))

    def test_several_or_invalid(self) -> None:
        self.assertDenied(421, request(LOCALHOST, (b"host", b"localhost:8080")))
        for host in (b"", b"localhost/x", b"u@localhost", b"localhost:99999"):
            self.assertDenied(421, request((b"Host", host)))

    def test_the_answer_names_the_value_and_the_key(self) -> None:
        denied = self.assertDenied(421, request((b"Host", b"Evil.example:81")))
        self.assertIn("'evil.example'", str(denied))
        self.assertIn("'evil.example'", denied.remedy)
        self.assertIn("listeners.lan-mcp.hosts", denied.remedy)
        denied = self.assertDenied(421, request((b"Host", b"x")), place="admin")
        self.assertIn("admin.hosts", denied.remedy)

    def test_the_answer_shows_nothing_dangerous(self) -> None:
        denied = self.assertDenied(421, request((b"Host", b"<script>\xff\xe2" + b"x" * 9000)))
        for text in (str(denied), denied.remedy):
            self.assertNotRegex(text, r"[<>&\x00-\x1f\x7f-\uffff]")
            self.assertLess(len(text), 500)


class OriginTests(Case):
    def test_loopback_origins(self) -> None:
        for origin in (
            b"http://localhost:6274",
            b"https://localhost",
            b"http://app.localhost:1",
            b"http://127.0.0.1:3000",
            b"http://127.9.9.9",
            b"https://[::1]:3000",
            b"HTTP://LOCALHOST:1",
        ):
            self.assertPasses(request(LOCALHOST, (b"Origin", origin), method=b"POST"))

    def test_others_are_refused(self) -> None:
        for origin in (
            b"https://evil.example",
            b"http://localhost.evil.example",
            b"http://127.0.0.1.nip.io",
            b"null",
            b"NULL",
            b"",
            b"file://",
            b"chrome-extension://abcdef",
            b"ws://localhost",
            b"http://localhost/",
            b"http://localhost/x",
            b"http://localhost@evil.example",
            b"http://user@localhost",
            b"http://localhost http://evil.example",
            b"http://localhost, http://evil.example",
            b"http://localhost:x",
            b"localhost",
            b"http://",
            b"http://192.168.1.20",
            b"http://0.0.0.0:8080",
        ):
            head = request(LOCALHOST, (b"Origin", origin), method=b"POST")
            self.assertDenied(403, head)

    def test_configured_origins(self) -> None:
        guard = BrowserGuard(
            origins=("https://app.example", "http://b.example:81", "null", "moz-extension://x")
        )
        for origin in (
            b"https://app.example",
            b"https://APP.example:443",
            b"http://b.example:81",
            b"null",
            b"moz-extension://x",
        ):
            self.assertPasses(request(LOCALHOST, (b"Origin", origin)), guard)
        for origin in (
            b"http://app.example",
            b"https://app.example:8443",
            b"https://x.app.example",
            b"http://b.example",
            b"moz-extension://y",
        ):
            self.assertDenied(403, request(LOCALHOST, (b"Origin", origin)), guard)

    def test_any(self) -> None:
        guard = BrowserGuard(origins=None)
        self.assertPasses(request(LOCALHOST, (b"Origin", b"https://evil.example")), guard)
        self.assertPasses(request(LOCALHOST, (b"Sec-Fetch-Site", b"cross-site"), method=b"POST"), guard)

    def test_the_relays_own_page(self) -> None:
        """On an address beside loopback its pages send it with every POST; its Host was accepted before."""
        host = (b"Host", b"192.168.1.5:8080")
        own = request(host, (b"Origin", b"http://192.168.1.5:8080"))
        self.assertPasses(own, local="192.168.1.5")
        self.assertDenied(403, own, local="192.168.1.5", secure=True)
        self.assertDenied(403, request(host, (b"Origin", b"http://192.168.1.5:81")), local="192.168.1.5")
        tls = request((b"Host", b"relay.lan"), (b"Origin", b"https://relay.lan"))
        self.assertPasses(tls, BrowserGuard(hosts=("relay.lan",)), secure=True)

    def test_with_any_host_the_own_page_can_be_anybodys(self) -> None:
        head = request((b"Host", b"evil.example"), (b"Origin", b"http://evil.example"))
        self.assertDenied(403, head, BrowserGuard(hosts=None))

    def test_several(self) -> None:
        origin = (b"Origin", b"http://localhost")
        self.assertDenied(403, request(LOCALHOST, origin, origin))

    def test_no_origin(self) -> None:
        self.assertPasses(request(LOCALHOST, method=b"POST"))
        for site in (b"same-origin", b"same-site", b"none"):
            self.assertPasses(request(LOCALHOST, (b"Sec-Fetch-Site", site), method=b"POST"))

    def test_from_another_site_only_a_link_is_followed(self) -> None:
        """Fetch Metadata Request Headers, section 2."""
        site, link = (b"Sec-Fetch-Site", b"cross-site"), (b"Sec-Fetch-Mode", b"navigate")
        self.assertPasses(request(LOCALHOST, site, link))
        self.assertDenied(403, request(LOCALHOST, site, link, method=b"POST"))
        self.assertDenied(403, request(LOCALHOST, site, link, method=b"HEAD"))
        self.assertDenied(403, request(LOCALHOST, site))
        for mode in (b"no-cors", b"cors", b"websocket", b"nested-navigate"):
            self.assertDenied(403, request(LOCALHOST, site, (b"Sec-Fetch-Mode", mode)))
        self.assertDenied(403, request(LOCALHOST, site, link, (b"Sec-Fetch-Mode", b"no-cors")))
        self.assertDenied(403, request(LOCALHOST, (b"Sec-Fetch-Site", b"none"), site))

    def test_an_accepted_origin_decides_alone(self) -> None:
        head = request(LOCALHOST, (b"Origin", b"http://localhost:1"), (b"Sec-Fetch-Site", b"cross-site"))
        self.assertPasses(head)

    def test_the_answer_names_the_value_and_the_key(self) -> None:
        denied = self.assertDenied(403, request(LOCALHOST, (b"Origin", b"https://evil.example")))
        self.assertIn("'https://evil.example'", str(denied))
        self.assertIn("add 'https://evil.example' to listeners.lan-mcp.origins", denied.remedy)
        denied = self.assertDenied(403, request(LOCALHOST, (b"Origin", b"x")), place="admin")
        self.assertNotIn("origins", denied.remedy)


class CorsTests(SynchronousTestCase):
    def test_own_origin(self) -> None:
        for host, secure, origin in (
            (b"localhost:8080", False, b"http://localhost:8080"),
            (b"LOCALHOST.:80", False, b"http://localhost"),
            (b"localhost:443", True, b"https://localhost"),
            (b"[::1]:8080", False, b"http://[::1]:8080"),
        ):
            head = request((b"Host", host), (b"Origin", origin))
            self.assertEqual(own_origin(head, secure=secure), origin)
            self.assertTrue(is_own_origin(head, secure=secure))
            self.assertFalse(is_own_origin(head, secure=not secure))
        self.assertFalse(is_own_origin(request(LOCALHOST), secure=False))
        self.assertFalse(is_own_origin(request(LOCALHOST, (b"Origin", b"null")), secure=False))
        self.assertFalse(is_own_origin(request((b"Origin", b"null"), version=HTTP_1_0), secure=False))

    def test_what_is_equal_is_not_ones_own_where_anything_is_let_in(self) -> None:
        everybody = BrowserGuard(hosts=None, origins=None)
        for guard, host, own in (
            (BrowserGuard(hosts=("relay.home",)), b"relay.home", True),
            (BrowserGuard(hosts=None), b"relay.home", True),  # that Origin was listed
            (everybody, b"relay.home", False),
            (everybody, b"localhost:8080", True),
        ):
            head = request((b"Host", host), (b"Origin", b"http://" + host))
            self.assertEqual(is_own_origin(head, guard, secure=False), own)

    def test_preflight(self) -> None:
        """Fetch, section 3.2.2."""
        head = request(
            LOCALHOST,
            (b"Origin", b"http://localhost:6274"),
            (b"Access-Control-Request-Method", b"POST"),
            (b"Access-Control-Request-Headers", b"content-type,mcp-session-id"),
            method=b"OPTIONS",
        )
        answer = preflight_response(head)
        assert answer is not None
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.headers.get(b"access-control-allow-origin"), b"http://localhost:6274")
        self.assertEqual(answer.headers.get(b"access-control-allow-methods"), b"POST")
        self.assertEqual(answer.headers.get(b"access-control-allow-headers"), b"content-type,mcp-session-id")
        self.assertIn(b"origin", answer.headers.tokens(b"vary"))
        self.assertNotIn(b"access-control-allow-private-network", answer.headers)

    def test_preflight_to_a_private_network(self) -> None:
        head = request(
            LOCALHOST,
            (b"Origin", b"https://app.example"),
            (b"Access-Control-Request-Method", b"GET"),
            (b"Access-Control-Request-Private-Network", b"true"),
            method=b"OPTIONS",
        )
        answer = preflight_response(head)
        assert answer is not None
        self.assertEqual(answer.headers.get(b"access-control-allow-private-network"), b"true")

    def test_what_is_no_preflight(self) -> None:
        origin, method = (b"Origin", b"http://localhost"), (b"Access-Control-Request-Method", b"POST")
        self.assertIsNone(preflight_response(request(LOCALHOST, origin, method, method=b"GET")))
        self.assertIsNone(preflight_response(request(LOCALHOST, origin, method=b"OPTIONS")))
        self.assertIsNone(preflight_response(request(LOCALHOST, method, method=b"OPTIONS")))

    def test_response(self) -> None:
        headers = Headers(
            [
                (b"access-control-allow-origin", b"*"),
                (b"Access-Control-Expose-Headers", b"X-Mine"),
                (b"Access-Control-Allow-Credentials", b"true"),
                (b"Vary", b"Accept"),
                (b"A", b"1"),
            ]
        )
        self.assertEqual(
            list(with_cors(headers, b"http://localhost:6274")),
            [
                (b"Access-Control-Allow-Credentials", b"true"),
                (b"Vary", b"Accept"),
                (b"A", b"1"),
                (b"Access-Control-Allow-Origin", b"http://localhost:6274"),
                (
                    b"Access-Control-Expose-Headers",
                    b"Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, X-Mine",
                ),
                (b"Vary", b"Origin"),
            ],
        )

    def test_vary_is_not_said_twice(self) -> None:
        for vary in (b"Accept, origin", b"*"):
            self.assertEqual(with_cors(Headers([(b"Vary", vary)]), b"null").all(b"vary"), [vary])
