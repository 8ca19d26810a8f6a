"""L{lanrelay.passage.places}"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.passage.places import (
    Places,
    Site,
    answer_rules,
    cookie_to_relay,
    move_path,
    rewrite_request,
)
from lanrelay.passage.rule import Asked, Rules, changed
from lanrelay.wire.headers import Headers


def places(
    upstream: str = "https://lan-host",
    relay: str = "http://localhost:8080",
    *,
    under: bytes = b"",
    at: bytes = b"",
    aliases: tuple[str, ...] = (),
) -> Places:
    def site(url: str, prefix: bytes = b"") -> Site:
        scheme, _, authority = url.partition("://")
        return Site.at(scheme, authority, prefix)

    return Places(
        upstream=site(upstream, under), relay=site(relay, at), aliases=tuple(site(url) for url in aliases)
    )


class LocationTests(SynchronousTestCase):
    def test_what_names_the_upstream_names_the_relay(self) -> None:
        relay = b"http://localhost:8080"
        for url, expected in (
            (b"https://lan-host/a?b#c", relay + b"/a?b#c"),
            (b"https://lan-host", relay),
            (b"https://lan-host?x", relay + b"?x"),
            (b"https://lan-host:443/a", relay + b"/a"),
            (b"HTTPS://LAN-Host./a", relay + b"/a"),
            (b"http://lan-host/a", relay + b"/a"),
            (b"http://lan-host:80/a", relay + b"/a"),
            (b"http://lan-host:443/a", relay + b"/a"),
            (b"//lan-host/a", b"//localhost:8080/a"),
            (b"//lan-host:443/a", b"//localhost:8080/a"),
        ):
            self.assertEqual(places().to_relay(url), expected, url)

    def test_what_does_not_is_byte_identical(self) -> None:
        for url in (
            b"/a",
            b"/a//b?https://lan-host/",
            b"a/b",
            b"",
            b"?x",
            b"https://other/a",
            b"https://lan-host.evil/a",
            b"https://lan-host:444/a",
            b"http://lan-host:8080/a",
            b"//lan-host:80/a",
            b"https://user@lan-host/a",
            b"https:/lan-host/a",
            b"https:lan-host",
            b"ws://lan-host/a",
            b"https://lan-host:x/",
            b"https://[::1/",
            b"mailto:x@lan-host",
            b"https://\xff/",
        ):
            self.assertEqual(places().to_relay(url), url)

    def test_other_ports_and_addresses(self) -> None:
        self.assertEqual(
            places("https://nas:8443").to_relay(b"https://nas:8443/a"), b"http://localhost:8080/a"
        )
        self.assertEqual(
            places("https://nas:8443").to_relay(b"http://nas:8443/a"), b"http://localhost:8080/a"
        )
        self.assertEqual(places("https://nas:8443").to_relay(b"http://nas/a"), b"http://nas/a")
        self.assertEqual(
            places("http://[fd00::1]:80").to_relay(b"http://[FD00:0::1]/a"), b"http://localhost:8080/a"
        )
        self.assertEqual(
            places(relay="https://[::1]:443").to_relay(b"https://lan-host/a"), b"https://[::1]/a"
        )

    def test_https_is_not_taken_for_http(self) -> None:
        """It would be another server; and a redirect to it would come back for ever."""
        self.assertEqual(places("http://nas").to_relay(b"https://nas/a"), b"https://nas/a")

    def test_mcp_with_and_without_slash(self) -> None:
        self.assertEqual(places().to_relay(b"http://lan-host/mcp/"), b"http://localhost:8080/mcp/")
        self.assertEqual(places().to_relay(b"/mcp/"), b"/mcp/")

    def test_the_upstream_under_a_prefix(self) -> None:
        there = places(under=b"/v1")
        for url, expected in (
            (b"https://lan-host/v1/a?b", b"http://localhost:8080/a?b"),
            (b"https://lan-host/v1", b"http://localhost:8080/"),
            (b"https://lan-host/v1?x", b"http://localhost:8080/?x"),
            (b"/v1/a", b"/a"),
            (b"/v1", b"/"),
            (b"/v1#f", b"/#f"),
            (b"/v10/a", b"/v10/a"),
            (b"/other", b"/other"),
            (b"https://lan-host/v10", b"https://lan-host/v10"),
        ):
            self.assertEqual(there.to_relay(url), expected, url)

    def test_the_relay_under_a_prefix(self) -> None:
        there = places(at=b"/nas")
        for url, expected in (
            (b"https://lan-host/a", b"http://localhost:8080/nas/a"),
            (b"https://lan-host", b"http://localhost:8080/nas"),
            (b"/a?b", b"/nas/a?b"),
            (b"/", b"/nas/"),
        ):
            self.assertEqual(there.to_relay(url), expected, url)

    def test_both(self) -> None:
        self.assertEqual(places(under=b"/v1", at=b"/nas").to_relay(b"/v1/a"), b"/nas/a")
        self.assertEqual(places(under=b"/v1", at=b"/v1").to_relay(b"/v1/a"), b"/v1/a")

    def test_the_other_names_of_the_upstream(self) -> None:
        there = places(aliases=("https://app.example",))
        self.assertEqual(there.to_relay(b"https://app.example/a"), b"http://localhost:8080/a")
        self.assertEqual(there.to_relay(b"https://lan-host/a"), b"http://localhost:8080/a")

    def test_the_other_way(self) -> None:
        there = places(under=b"/v1", at=b"/nas")
        for url, expected in (
            (b"http://localhost:8080/nas/a", b"https://lan-host/v1/a"),
            (b"/nas/a", b"/v1/a"),
            (b"http://localhost:8080/other", b"http://localhost:8080/other"),
            (b"http://localhost:6274/", b"http://localhost:6274/"),
            (b"https://lan-host/v1/a", b"https://lan-host/v1/a"),
        ):
            self.assertEqual(there.to_upstream(url), expected, url)

    def test_there_and_back(self) -> None:
        there = places("https://nas:8443", "https://localhost", under=b"/v1", at=b"/nas")
        for path in (b"/v1/a?b=/v1#/v1", b"/v1/", b"/v1//x"):
            url = b"https://nas:8443" + path
            self.assertEqual(there.to_upstream(there.to_relay(url)), url)


class PathTests(SynchronousTestCase):
    def test_segment_borders(self) -> None:
        for path, prefix, to, expected in (
            (b"/a/b", b"/a", b"", b"/b"),
            (b"/a", b"/a", b"", b"/"),
            (b"/a/", b"/a", b"", b"/"),
            (b"/ab", b"/a", b"", None),
            (b"/", b"", b"/a", b"/a/"),
            (b"/b", b"", b"/a", b"/a/b"),
            (b"", b"", b"", b""),
        ):
            self.assertEqual(move_path(path, prefix, to), expected)


class CookieTests(SynchronousTestCase):
    def test_on_a_plain_listener(self) -> None:
        for value, expected in (
            (b"a=b", b"a=b"),
            (b"a=b; Path=/; HttpOnly", b"a=b; Path=/; HttpOnly"),
            (b"a=b; Domain=lan-host; Path=/", b"a=b; Path=/"),
            (b"a=b;domain=.lan-host;Path=/", b"a=b;Path=/"),
            (b"a=b; Secure; HttpOnly", b"a=b; HttpOnly"),
            (b"a=b; SameSite=None; Secure", b"a=b"),
            (b"a=b; SameSite=Lax; secure", b"a=b; SameSite=Lax"),
            (b"a=b; samesite = none ; Secure; Partitioned", b"a=b"),
            (b"__Host-a=b; Secure; Path=/; SameSite=None", b"__Host-a=b; Secure; Path=/; SameSite=None"),
            (b"__Secure-a=b; Secure; Domain=lan-host", b"__Secure-a=b; Secure"),
            (b"__host-a=b; Secure; Path=/", b"__host-a=b; Secure; Path=/"),
            (b"a=Secure; X-Secure", b"a=Secure; X-Secure"),
            (b'a="Domain=x"', b'a="Domain=x"'),
            (b"", b""),
        ):
            self.assertEqual(cookie_to_relay(value, places()), expected)

    def test_on_a_tls_listener(self) -> None:
        value = b"a=b; Secure; SameSite=None; Partitioned; Domain=lan-host"
        self.assertEqual(
            cookie_to_relay(value, places(relay="https://localhost:8443")),
            b"a=b; Secure; SameSite=None; Partitioned",
        )

    def test_the_path_under_a_prefix(self) -> None:
        for value, under, at, expected in (
            (b"a=b; Path=/v1/x; HttpOnly", b"/v1", b"", b"a=b; Path=/x; HttpOnly"),
            (b"a=b; Path=/v1", b"/v1", b"", b"a=b; Path=/"),
            (b"a=b; Path=/", b"/v1", b"", b"a=b; Path=/"),
            (b"a=b; Path=/", b"", b"/nas", b"a=b; Path=/nas"),
            (b"a=b; path=/x", b"", b"/nas", b"a=b; path=/nas/x"),
            (b"a=b; Path=", b"", b"/nas", b"a=b; Path="),
            (b"a=b; Path=/v1/", b"/v1", b"/nas", b"a=b; Path=/nas"),
            (b"__Host-a=b; Secure; Path=/", b"", b"/nas", b"__Host-a=b; Secure; Path=/"),
            (b"__HOST-a=b; path=/; Secure", b"/v1", b"/nas", b"__HOST-a=b; path=/; Secure"),
            (b"__Secure-a=b; Secure; Path=/", b"", b"/nas", b"__Secure-a=b; Secure; Path=/nas"),
        ):
            self.assertEqual(cookie_to_relay(value, places(under=under, at=at)), expected)


def rewrite_response(headers: Headers, known: Places, words: set[str]) -> Headers:
    """As an exchange has it done, by the rules that such a head concerns."""
    asked = Asked(method=b"GET", target=b"/", status=200, places=known)
    return changed(Rules(*answer_rules(words)).concerned(headers, 200), headers, asked)


class FieldsTests(SynchronousTestCase):
    HEADERS = Headers(
        [
            (b"location", b"https://lan-host/a"),
            (b"Content-Location", b"https://lan-host/b"),
            (b"Set-Cookie", b"a=1; Secure"),
            (b"Set-Cookie", b"b=2; Domain=lan-host"),
            (b"Strict-Transport-Security", b"max-age=1"),
            (b"Alt-Svc", b'h3=":443"'),
            (b"X-Location", b"https://lan-host/c"),
        ]
    )

    def test_response(self) -> None:
        self.assertEqual(
            list(rewrite_response(self.HEADERS, places(), {"location", "cookies"})),
            [
                (b"location", b"http://localhost:8080/a"),
                (b"Content-Location", b"http://localhost:8080/b"),
                (b"Set-Cookie", b"a=1"),
                (b"Set-Cookie", b"b=2"),
                (b"X-Location", b"https://lan-host/c"),
            ],
        )

    def test_what_is_not_asked_for_is_left(self) -> None:
        self.assertEqual(rewrite_response(self.HEADERS, places(), {"endpoint"}), self.HEADERS)
        cookies = rewrite_response(self.HEADERS, places(), {"cookies"})
        self.assertEqual(cookies.get(b"location"), b"https://lan-host/a")
        location = rewrite_response(self.HEADERS, places(), {"location"})
        self.assertEqual(location.get(b"set-cookie"), b"a=1; Secure")
        self.assertIn(b"alt-svc", location)

    def test_a_tls_listener_keeps_hsts(self) -> None:
        secure = places(relay="https://localhost:8443")
        self.assertIn(b"strict-transport-security", rewrite_response(self.HEADERS, secure, {"cookies"}))

    def test_nothing_to_do_costs_nothing(self) -> None:
        headers = Headers([(b"A", b"1")])
        self.assertIs(rewrite_response(headers, places(), {"location", "cookies"}), headers)
        self.assertIs(rewrite_request(headers, places(), {"location"}), headers)

    def test_request(self) -> None:
        headers = Headers(
            [
                (b"Referer", b"http://localhost:8080/a"),
                (b"Destination", b"http://localhost:8080/b"),
                (b"Origin", b"http://localhost:8080"),
            ]
        )
        self.assertEqual(
            list(rewrite_request(headers, places(), {"location"})),
            [
                (b"Referer", b"https://lan-host/a"),
                (b"Destination", b"https://lan-host/b"),
                (b"Origin", b"http://localhost:8080"),
            ],
        )
        self.assertIs(rewrite_request(headers, places(), {"cookies"}), headers)
