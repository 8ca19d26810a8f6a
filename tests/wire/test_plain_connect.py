"""A plain CONNECT says what the general reader says; nothing else is plain."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.wire.authority import Authority
from lanrelay.wire.plain_connect import read_plain_connect

HOST = b"Host: nas.lan:22\r\n"
PLAIN = b"CONNECT nas.lan:22 HTTP/1.1\r\n" + HOST + b"\r\n"
BROWSER = (
    b"CONNECT Nas.LAN:22 HTTP/1.1\r\nHost: nas.lan:22\r\nProxy-Connection: keep-alive\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\r\n"
)


def with_field(field: bytes) -> bytes:
    return PLAIN.replace(HOST, HOST + field + b"\r\n")


class PlainConnectTests(SynchronousTestCase):
    def test_where_it_leads(self) -> None:
        for data, authority in (
            (PLAIN, Authority("nas.lan", 22)),
            (BROWSER, Authority("nas.lan", 22)),
            (PLAIN.replace(b"nas.lan", b"[0::1]"), Authority("::1", 22)),
            (PLAIN.replace(HOST, b"").replace(b"1.1", b"1.0"), Authority("nas.lan", 22)),
            (PLAIN.replace(HOST, b""), Authority("nas.lan", 22)),
            (with_field(b"Connection: close"), Authority("nas.lan", 22)),
            (with_field(b"USER-AGENT:  curl/8 "), Authority("nas.lan", 22)),
        ):
            target = read_plain_connect(data)
            assert target is not None, data
            self.assertEqual((target.form, target.authority), ("authority", authority), data)

    def test_what_is_not_plain(self) -> None:
        for data in (
            *(PLAIN[:-1], PLAIN + b"\r\n", PLAIN + b"x", PLAIN + PLAIN, b"\r\n" + PLAIN, b"", b"\r\n\r\n"),
            *(PLAIN.replace(b"CONNECT", method) for method in (b"GET", b"connect", b"CONNECTED")),
            *(PLAIN.replace(b"1.1", version) for version in (b"2.0", b"1.1 ", b"1")),
            *(PLAIN.replace(b"CONNECT nas.lan:22", b"CONNECT " + to) for to in (b"nas.lan", b"/", b"a@b:1")),
            PLAIN.replace(HOST, HOST + HOST),
            PLAIN.replace(HOST, b"Host: a b\r\n"),
            PLAIN.replace(HOST, b"Host : nas.lan:22\r\n"),
            PLAIN.replace(b"\r\nHost", b"\nHost"),
            *(
                with_field(field)
                for field in (
                    *(b"Content-Length: 0", b"Content-Length: 5", b"Transfer-Encoding: chunked"),
                    *(b"Expect: 100-continue", b"Via: 1.1 x", b"Upgrade: websocket", b"X-Other: a"),
                    *(b"Proxy-Authorization: Basic eDp5", b"Authorization: Basic eDp5", b"Cookie: a=b"),
                    *(b" folded", b"User-Agent", b"User-Agent: a\0b", b"User-Agent: " + 500 * b"a"),
                )
            ),
        ):
            self.assertIs(read_plain_connect(data), None, data)
