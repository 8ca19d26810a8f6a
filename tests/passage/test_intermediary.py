"""L{lanrelay.passage.intermediary}"""

from __future__ import annotations

from email.utils import formatdate
from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import HeaderRules, Secret
from lanrelay.passage.intermediary import (
    apply_rules,
    date_field,
    forwarded_fields,
    passed,
    request_to_forward,
    response_to_forward,
    via,
    wanted_upgrade,
    with_date,
)
from lanrelay.wire.events import HTTP_1_0, HTTP_1_1, RequestHead, ResponseHead
from lanrelay.wire.headers import Headers

Pairs = list[tuple[bytes, bytes]]


def forwarded_request(*pairs: tuple[bytes, bytes], version: tuple[int, int] = HTTP_1_1) -> Pairs:
    head = RequestHead(method=b"GET", target=b"/", headers=Headers(pairs), version=version)
    return list(request_to_forward(head))


def forwarded_response(status: int, *pairs: tuple[bytes, bytes]) -> Pairs:
    return list(response_to_forward(ResponseHead(status=status, headers=Headers(pairs))))


class ForwardingTests(SynchronousTestCase):
    def test_end_to_end_fields_are_untouched(self) -> None:
        """What MCP needs, among others."""
        pairs = [
            (b"Host", b"a"),
            (b"mcp-session-id", b"1"),
            (b"MCP-Protocol-Version", b"2025-06-18"),
            (b"Mcp-Param-X", b"y"),
            (b"Last-Event-ID", b"7"),
            (b"Authorization", b"Bearer x"),
            (b"Accept", b"application/json"),
            (b"Accept", b"text/event-stream"),
            (b"traceparent", b"00-1"),
            (b"Expect", b"100-continue"),
            (b"Content-Length", b"5"),
            (b"X_Y", b""),
        ]
        self.assertEqual(forwarded_request(*pairs), pairs)
        self.assertEqual(forwarded_request((b"Connection", b"keep-alive"), *pairs), pairs)
        self.assertEqual(forwarded_response(200, (b"Connection", b"close"), *pairs), pairs)

    def test_unknown_length_stays_unknown(self) -> None:
        expected = [(b"Transfer-Encoding", b"chunked")]
        self.assertEqual(forwarded_request((b"Transfer-Encoding", b"Chunked")), expected)
        self.assertEqual(forwarded_response(200, (b"Transfer-Encoding", b"Chunked")), expected)

    def test_only_trailers_of_te_pass(self) -> None:
        """RFC 9110 section 10.1.4: and TE is then a connection option."""
        expected = [(b"TE", b"trailers"), (b"Connection", b"TE")]
        self.assertEqual(forwarded_request((b"TE", b"trailers"), (b"Connection", b"TE")), expected)
        self.assertEqual(forwarded_request((b"TE", b"gzip;q=0.5, Trailers")), expected)
        self.assertEqual(forwarded_request((b"TE", b"gzip")), [])

    def test_upgrade(self) -> None:
        """RFC 9110 section 7.8."""
        ask = (b"Connection", b"keep-alive, Upgrade")
        for offered, version, wanted in (
            (b"websocket", HTTP_1_1, b"websocket"),
            (b"WebSocket", HTTP_1_1, b"WebSocket"),
            (b"h2c", HTTP_1_1, b""),
            (b"H2C", HTTP_1_1, b""),
            (b"h2c, websocket", HTTP_1_1, b"websocket"),
            (b"websocket,foo/2", HTTP_1_1, b"websocket, foo/2"),
            (b"websocket", HTTP_1_0, b""),
            (b"", HTTP_1_1, b""),
        ):
            pairs = [ask, (b"Upgrade", offered), (b"HTTP2-Settings", b"x")]
            head = RequestHead(method=b"GET", target=b"/", headers=Headers(pairs), version=version)
            self.assertEqual(wanted_upgrade(head), wanted)
            expected = [(b"Connection", b"upgrade"), (b"Upgrade", wanted)] if wanted else []
            self.assertEqual(forwarded_request(*pairs, version=version), expected)

    def test_no_upgrade_goes_on_with_content(self) -> None:
        """Its origin might read the content as the next request."""
        for framing, offered, wanted in (
            ((b"Content-Length", b"1"), b"foo", b""),
            ((b"Content-Length", b"00010"), b"websocket", b""),
            ((b"Content-Length", b"5"), b"h2c, foo", b""),
            ((b"Transfer-Encoding", b"chunked"), b"websocket", b""),
            ((b"Transfer-Encoding", b"Chunked"), b"foo", b""),
            ((b"Content-Length", b"0"), b"websocket", b"websocket"),
            ((b"Content-Length", b"00"), b"websocket", b"websocket"),
        ):
            pairs = [(b"Connection", b"Upgrade"), (b"Upgrade", offered), framing]
            for method in (b"GET", b"POST"):
                head = RequestHead(method=method, target=b"/", headers=Headers(pairs))
                self.assertEqual(wanted_upgrade(head), wanted, pairs)
            names = [name for name, _ in forwarded_request(*pairs)]
            self.assertEqual((b"Upgrade" in names, b"Connection" in names), (bool(wanted),) * 2, pairs)

    def test_upgrade_that_connection_does_not_name_is_none(self) -> None:
        self.assertEqual(forwarded_request((b"Upgrade", b"websocket")), [])
        self.assertEqual(forwarded_request((b"Upgrade", b"websocket"), (b"Connection", b"close")), [])

    def test_upgrade_with_te(self) -> None:
        pairs = forwarded_request(
            (b"Connection", b"upgrade"), (b"Connection", b"te"), (b"Upgrade", b"x"), (b"TE", b"trailers")
        )
        self.assertEqual(pairs, [(b"TE", b"trailers"), (b"Connection", b"upgrade, TE"), (b"Upgrade", b"x")])

    def test_a_switch_keeps_what_it_needs(self) -> None:
        self.assertEqual(
            forwarded_response(
                101, (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", b"x")
            ),
            [(b"Sec-WebSocket-Accept", b"x"), (b"Connection", b"upgrade"), (b"Upgrade", b"websocket")],
        )

    def test_an_offer_of_a_response_goes(self) -> None:
        self.assertEqual(forwarded_response(426, (b"Upgrade", b"h2c"), (b"Connection", b"upgrade")), [])


class ViaTests(SynchronousTestCase):
    def test_building(self) -> None:
        self.assertEqual(via(HTTP_1_1, "lanrelay-1"), b"1.1 lanrelay-1")
        self.assertEqual(via(HTTP_1_0, "lanrelay-1"), b"1.0 lanrelay-1")

    def test_loop(self) -> None:
        """RFC 9110 section 7.6.3."""
        for value, seen in (
            (b"1.1 relay", True),
            (b"1.1 Relay", True),
            (b"1.0 fred, 1.1 relay (lanrelay)", True),
            (b"HTTP/1.1 relay", True),
            (b"1.1\trelay", True),
            (b"1.1 relay2", False),
            (b"1.1 other (a relay)", False),
            (b"relay", False),
            (b"", False),
        ):
            self.assertEqual(passed(Headers([(b"Via", value)]), "relay"), seen, value)
        self.assertTrue(passed(Headers([(b"Via", b"1.1 a"), (b"via", b"1.1 relay")]), "relay"))
        self.assertFalse(passed(Headers(), "relay"))
        self.assertTrue(passed(Headers([(b"Via", via(HTTP_1_1, "a-b.c"))]), "a-b.c"))


class ForwardedTests(SynchronousTestCase):
    def lines(self, style: str, client: str | None, secure: bool, host: bytes) -> list[bytes]:
        address = None if client is None else ip_address(client)
        fields = forwarded_fields(style, client=address, secure=secure, host=host)  # type: ignore[arg-type]
        return [field[3] for field in fields]

    def test_x_forwarded(self) -> None:
        self.assertEqual(
            self.lines("x-forwarded", "127.0.0.1", False, b"localhost:8080"),
            [b"X-Forwarded-For: 127.0.0.1", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: localhost:8080"],
        )
        self.assertEqual(self.lines("x-forwarded", None, True, b""), [b"X-Forwarded-Proto: https"])

    def test_rfc_7239(self) -> None:
        self.assertEqual(
            self.lines("rfc7239", "127.0.0.1", False, b"localhost:8080"),
            [b'Forwarded: for=127.0.0.1;proto=http;host="localhost:8080"'],
        )
        self.assertEqual(self.lines("rfc7239", "::1", True, b""), [b'Forwarded: for="[::1]";proto=https'])
        self.assertEqual(self.lines("rfc7239", None, True, b""), [b"Forwarded: for=unknown;proto=https"])

    def test_none(self) -> None:
        self.assertEqual(self.lines("none", "127.0.0.1", False, b"a"), [])


class DateTests(SynchronousTestCase):
    def test_the_form(self) -> None:
        """RFC 9110 section 5.6.7."""
        self.assertEqual(date_field(784111777.9)[3], b"Date: Sun, 06 Nov 1994 08:49:37 GMT")
        for now in (0, 951782400, 1700000000, 4102444799):
            self.assertEqual(date_field(now)[2].decode(), formatdate(now, usegmt=True))

    def test_it_is_made_once_a_second(self) -> None:
        self.assertIs(date_field(1000.0), date_field(1000.9))
        self.assertIsNot(date_field(1000.9), date_field(1001.0))

    def test_only_a_missing_one_is_added(self) -> None:
        headers = Headers([(b"date", b"x")])
        self.assertIs(with_date(headers, 0), headers)
        self.assertEqual(list(with_date(Headers(), 0)), [(b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT")])


class RulesTests(SynchronousTestCase):
    def test_remove_set_add(self) -> None:
        rules = HeaderRules(
            remove=("X-Gone",),
            set=(("Authorization", Secret("Bearer x")), ("X-New", "caf\u00e9")),
            add=(("X-More", "2"),),
        )
        headers = Headers(
            [(b"x-gone", b"1"), (b"authorization", b"Basic y"), (b"X-More", b"1"), (b"AUTHORIZATION", b"z")]
        )
        self.assertEqual(
            list(apply_rules(headers, rules)),
            [
                (b"Authorization", b"Bearer x"),
                (b"X-More", b"1"),
                (b"X-New", b"caf\xc3\xa9"),
                (b"X-More", b"2"),
            ],
        )

    def test_no_rules(self) -> None:
        headers = Headers([(b"A", b"1")])
        self.assertIs(apply_rules(headers, HeaderRules()), headers)
