"""What L{lanrelay.wire.http1.Http1Server} takes from a client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.events import HTTP_1_0, HTTP_1_1, BodyPart
from lanrelay.wire.http1 import Http1Server
from tests.wire.feeding import outcome, told

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

# What is refused, with the status and the section of RFC 9112 (or 9110 where it says so).
REFUSED: list[tuple[str, int, bytes]] = [
    # 2.2, message parsing
    ("two empty lines first", 400, b"\r\n\r\n" + GET),
    ("bare LF as an empty line", 400, b"\n" + GET),
    ("bare LF after the request line", 400, b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    ("bare LF everywhere", 400, b"GET / HTTP/1.1\nHost: a\n\n"),
    ("bare LF in a field line", 400, b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    ("bare CR in a field value", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n"),
    ("bare CR in the request line", 400, b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("white space before the first field", 400, b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n"),
    ("a TLS ClientHello", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 20),
    # 2.3, version
    ("HTTP/0.9", 400, b"GET /\r\n"),
    ("HTTP/0.9 with its version", 505, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    ("the preface of HTTP/2", 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("HTTP/3", 505, b"GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
    ("a version in lower case", 400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    ("a version with two digits", 400, b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    ("no version number", 400, b"GET / HTTP/\r\nHost: a\r\n\r\n"),
    # 3, request line
    ("two spaces", 400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a tab", 400, b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a space at the end", 400, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    ("a space in the target", 400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a space at the start", 400, b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a method that is no token", 400, b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a method over its limit", 501, b"A" * 65 + b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a method without end", 501, b"A" * 70),
    ("a line of one word, which is no method", 400, b"A" * 30 + b"\x00" + b"A" * 70 + b"\r\n\r\n"),
    # 3.2, target
    ("a fragment", 400, b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("NUL in the target", 400, b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("DEL in the target", 400, b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a control byte in the target", 400, b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a target of no form", 400, b"GET foo HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("* for GET", 400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a scheme that is not ours", 400, b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("user information in the target", 400, b"GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("no host in the target", 400, b"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("CONNECT without a port", 400, b"CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("CONNECT with a path", 400, b"CONNECT /x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("CONNECT with a URL", 400, b"CONNECT http://h:1/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("CONNECT to port 0", 400, b"CONNECT h:0 HTTP/1.1\r\nHost: h:0\r\n\r\n"),
    ("CONNECT to port 65536", 400, b"CONNECT h:65536 HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("CONNECT with user information", 400, b"CONNECT u@h:1 HTTP/1.1\r\nHost: h\r\n\r\n"),
    # 3.2, Host
    ("no Host", 400, b"GET / HTTP/1.1\r\nX: y\r\n\r\n"),
    ("no field at all", 400, b"GET / HTTP/1.1\r\n\r\n"),
    ("no Host with an absolute target", 400, b"GET http://h/ HTTP/1.1\r\n\r\n"),
    ("two Hosts", 400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("two equal Hosts", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: a\r\n\r\n"),
    ("two Hosts in HTTP/1.0", 400, b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
    ("an empty Host", 400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    ("a Host with user information", 400, b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ("a Host with a path", 400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("a Host with a space", 400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("a Host with a list", 400, b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    ("a Host with a port too high", 400, b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
    ("a Host with a port of letters", 400, b"GET / HTTP/1.1\r\nHost: a:http\r\n\r\n"),
    ("a Host with two ports", 400, b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"),
    ("a Host with IPv6 without brackets", 400, b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"),
    ("a Host with half a bracket", 400, b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    ("a Host outside ASCII", 400, b"GET / HTTP/1.1\r\nHost: b\xc3\xbccher\r\n\r\n"),
    ("a wrong Host in HTTP/1.0", 400, b"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n"),
    # 5, field lines
    ("a folded line", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
    ("a folded line with a tab", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n"),
    ("a space before the colon", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"),
    ("a space before the colon of Host", 400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    ("a tab before the colon", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX\t: y\r\n\r\n"),
    ("an empty name", 400, b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n"),
    ("no colon", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
    ("a name with a bracket", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX(: y\r\n\r\n"),
    ("a name with NUL", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX\x00: y\r\n\r\n"),
    ("a name with obs-text", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX\xff: y\r\n\r\n"),
    ("NUL in a value", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x00z\r\n\r\n"),
    ("ESC in a value", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[0m\r\n\r\n"),
    ("DEL in a value", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n"),
    ("vertical tab in a value", 400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n"),
    # 6.1, Transfer-Encoding
    ("both", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (
        "both, the other way",
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    ),
    ("HTTP/1.0 chunked", 400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
    *(
        (
            f"Transfer-Encoding: {coding!r}",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %b\r\n\r\n" % coding,
        )
        for coding in (
            b"",
            b"identity",
            b"gzip",
            b"chunked, chunked",
            b"chunked, gzip",
            b"chunked, gzip, chunked",
            b"a b, chunked",
            b", gzip, chunked",
            b"chunked, identity",
            b"chunked,",
            b", chunked",
            b"chunked;q=1",
            b"xchunked",
            b"chunkedx",
            b'"chunked"',
            b"chunked\x0b",
        )
    ),
    *(
        (
            f"Transfer-Encoding: {coding!r}",
            501,  # RFC 9112 section 6.1
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: %b\r\n\r\n" % coding,
        )
        for coding in (
            b"gzip, chunked",
            b"identity,Chunked",
            b"a, b;c=d ,chunked",
            b"x\r\nTransfer-Encoding: chunked",
        )
    ),
    (
        "two Transfer-Encodings",
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    # 6.2 and 6.3, Content-Length
    *(
        (
            f"Content-Length: {length!r}",
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n" % length,
        )
        for length in (
            b"",
            b"+5",
            b"-5",
            b"5, 5",
            b"5,5",
            b"5 5",
            b"0x5",
            b"5.0",
            b"5e1",
            b"five",
            b"1_000",
            b"5;",
            b"9" * 19,
            b"9" * 400,
            b"\xb2",
        )
    ),
    ("two lengths", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    (
        "two equal lengths",
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    ),
    # RFC 9110 section 9.3.6
    ("CONNECT with a length", 400, b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 5\r\n\r\nhello"),
    (
        "CONNECT chunked",
        400,
        b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    # RFC 9110 section 10.1.1
    ("an unknown expectation", 417, b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n"),
    ("an expectation too many", 417, b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n\r\n"),
    ("two Expects", 417, b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: y\r\n\r\n"),
]

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_HEAD = (b"POST", b"/", HTTP_1_1, [(b"Host", b"a"), (b"Transfer-Encoding", b"chunked")])

# RFC 9112 section 7.1: what follows the head, and the content that was read before the fault.
BAD_CHUNKS: list[tuple[str, bytes, bytes]] = [
    ("a sign", b"+5\r\nhello\r\n0\r\n\r\n", b""),
    ("a minus", b"-5\r\nhello\r\n0\r\n\r\n", b""),
    ("0x", b"0x5\r\nhello\r\n0\r\n\r\n", b""),
    ("a space before", b" 5\r\nhello\r\n0\r\n\r\n", b""),
    ("a space after", b"5 \r\nhello\r\n0\r\n\r\n", b""),
    ("a tab after", b"5\t\r\nhello\r\n0\r\n\r\n", b""),
    ("a space before an extension", b"5 ;x\r\nhello\r\n0\r\n\r\n", b""),
    ("an underscore", b"1_0\r\nhello\r\n0\r\n\r\n", b""),
    ("no digit", b"\r\nhello\r\n0\r\n\r\n", b""),
    ("an extension alone", b";x\r\nhello\r\n0\r\n\r\n", b""),
    ("letters", b"xyz\r\nhello\r\n0\r\n\r\n", b""),
    ("16 digits", b"0000000000000005\r\nhello\r\n0\r\n\r\n", b""),
    ("an overflow", b"ffffffffffffffff5\r\nhello\r\n", b""),
    ("bare LF after the size", b"5\nhello\r\n0\r\n\r\n", b""),
    ("bare CR after the size", b"5\rhello\r\n0\r\n\r\n", b""),
    ("bare LF in an extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n", b""),
    ("a control byte in an extension", b"5;a\x00b\r\nhello\r\n0\r\n\r\n", b""),
    ("bare LF after the chunk", b"5\r\nhello\n0\r\n\r\n", b"hello"),
    ("bare CR after the chunk", b"5\r\nhello\rx0\r\n\r\n", b"hello"),
    ("a chunk that is longer than it says", b"5\r\nhelloworld\r\n0\r\n\r\n", b"hello"),
    ("a chunk that is shorter than it says", b"5\r\nhel\r\n0\r\n\r\n", b"hel\r\n"),
    ("bare LF at the end", b"5\r\nhello\r\n0\r\n\n", b"hello"),
    ("a folded trailer", b"0\r\nX: y\r\n z\r\n\r\n", b""),
    ("a trailer with a space before the colon", b"0\r\nX : y\r\n\r\n", b""),
    ("a trailer with a bare LF", b"0\r\nX: y\nZ: 1\r\n\r\n", b""),
    ("a trailer without a colon", b"0\r\nX\r\n\r\n", b""),
    ("NUL in a trailer", b"0\r\nX: \x00\r\n\r\n", b""),
    ("a request instead of a trailer", b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
]

# What is understood, and how.
ACCEPTED: list[tuple[str, bytes, tuple[object, ...]]] = [
    ("the least", GET, ((b"GET", b"/", HTTP_1_1, [(b"Host", b"a")]), "end")),
    ("one empty line first", b"\r\n" + GET, ((b"GET", b"/", HTTP_1_1, [(b"Host", b"a")]), "end")),
    ("HTTP/1.0 without Host", b"GET / HTTP/1.0\r\n\r\n", ((b"GET", b"/", HTTP_1_0, []), "end")),
    (
        "a higher minor version",  # RFC 9110 section 2.5
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        ((b"GET", b"/", HTTP_1_1, [(b"Host", b"a")]), "end"),
    ),
    (
        "an unknown method",
        b"M-SEARCH!x /%20?a=b HTTP/1.1\r\nHost: a\r\n\r\n",
        ((b"M-SEARCH!x", b"/%20?a=b", HTTP_1_1, [(b"Host", b"a")]), "end"),
    ),
    (
        "order, case, duplicates and white space",
        b"GET / HTTP/1.1\r\nx-B: 1\r\nHOST:a\r\nX-a: \t 2 3\t \r\nX-B:1\r\nEmpty:\r\n\r\n",
        (
            (
                b"GET",
                b"/",
                HTTP_1_1,
                [(b"x-B", b"1"), (b"HOST", b"a"), (b"X-a", b"2 3"), (b"X-B", b"1"), (b"Empty", b"")],
            ),
            "end",
        ),
    ),
    (
        "obs-text",
        b"GET /\xc3\xbc HTTP/1.1\r\nHost: a\r\nX: \xff\x80\r\n\r\n",
        ((b"GET", b"/\xc3\xbc", HTTP_1_1, [(b"Host", b"a"), (b"X", b"\xff\x80")]), "end"),
    ),
    (
        "names with underscores",
        b"GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\n\r\n",
        ((b"GET", b"/", HTTP_1_1, [(b"Host", b"a"), (b"X_Y", b"1")]), "end"),
    ),
    (
        "IPv6 and a port",
        b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        ((b"GET", b"/", HTTP_1_1, [(b"Host", b"[::1]:8080")]), "end"),
    ),
    (
        "an absolute target",
        b"GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
        ((b"GET", b"http://b:81/x?y", HTTP_1_1, [(b"Host", b"a")]), "end"),
    ),
    (
        "OPTIONS *",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        ((b"OPTIONS", b"*", HTTP_1_1, [(b"Host", b"a")]), "end"),
    ),
    (
        "CONNECT",
        b"CONNECT [fd00::1]:443 HTTP/1.1\r\nHost: [fd00::1]:443\r\n\r\n",
        ((b"CONNECT", b"[fd00::1]:443", HTTP_1_1, [(b"Host", b"[fd00::1]:443")]), "end"),
    ),
    (
        "CONNECT without Host",
        b"CONNECT h:443 HTTP/1.1\r\n\r\n",
        ((b"CONNECT", b"h:443", HTTP_1_1, []), "end"),
    ),
    (
        "an expectation without content",
        b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        ((b"PUT", b"/", HTTP_1_1, [(b"Host", b"a"), (b"Content-Length", b"0")]), "end"),
    ),
    (
        "CONNECT of HTTP/1.0 without Host",
        b"CONNECT h:443 HTTP/1.0\r\n\r\n",
        ((b"CONNECT", b"h:443", HTTP_1_0, []), "end"),
    ),
    (
        "content",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        ((b"POST", b"/", HTTP_1_1, [(b"Host", b"a"), (b"Content-Length", b"5")]), b"hello", "end"),
    ),
    (
        "content of no length",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n",
        ((b"POST", b"/", HTTP_1_1, [(b"Host", b"a"), (b"Content-Length", b"00")]), "end"),
    ),
    (
        "chunks, extensions and a trailer",
        CHUNKED + b'5\r\nhello\r\n00000A;a="b c";\xff\r\n, world\r\n!\r\n0;x\r\nX-Sum: 1\r\n\r\n',
        (CHUNKED_HEAD, b"hello, world\r\n!", ("end", [(b"X-Sum", b"1")])),
    ),
    ("no chunk", CHUNKED + b"000\r\n\r\n", (CHUNKED_HEAD, "end")),
    (
        "chunked in any case",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKed \r\n\r\n0\r\n\r\n",
        ((b"POST", b"/", HTTP_1_1, [(b"Host", b"a"), (b"Transfer-Encoding", b"CHUNKed")]), "end"),
    ),
    (
        "trailers that could frame, route or authenticate are dropped",  # RFC 9110 section 6.5.1
        CHUNKED + b"0\r\nContent-Length: 5\r\nHost: b\r\nAuthorization: x\r\nCookie: c\r\nX: y\r\n"
        b"Transfer-Encoding: gzip\r\nConnection: x\r\nSet-Cookie: d\r\n\r\n",
        (CHUNKED_HEAD, ("end", [(b"X", b"y")])),
    ),
    (
        "an expectation",
        b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n1",
        (
            (
                b"PUT",
                b"/",
                HTTP_1_1,
                [(b"Host", b"a"), (b"Expect", b"100-Continue"), (b"Content-Length", b"1")],
            ),
            b"1",
            "end",
        ),
    ),
    (
        "an expectation of HTTP/1.0 is none",  # RFC 9110 section 10.1.1
        b"GET / HTTP/1.0\r\nExpect: x\r\n\r\n",
        ((b"GET", b"/", HTTP_1_0, []), "end"),
    ),
]


class ReceivingTests(SynchronousTestCase):
    def test_what_is_refused(self) -> None:
        for what, status, data in REFUSED:
            result = outcome(Http1Server, data)
            self.assertEqual((result.error, result.events), (status, ()), what)

    def test_what_is_refused_is_never_forwarded_with_a_request_behind_it(self) -> None:
        """A fault must not leave a second reader something to read."""
        for what, status, data in REFUSED:
            if b"\r\n" in data and data.endswith(b"\r\n"):
                server = Http1Server()
                with self.assertRaises(RemoteProtocolError, msg=what) as caught:
                    server.receive(data + GET)
                self.assertEqual(caught.exception.http_status, status, what)
                self.assertEqual(server.receive(GET), [])
                self.assertEqual(server.take_unread(), b"")

    def test_bad_chunks(self) -> None:
        for what, data, content in BAD_CHUNKS:
            result = outcome(Http1Server, CHUNKED + data)
            expected = (CHUNKED_HEAD, content) if content else (CHUNKED_HEAD,)
            self.assertEqual((result.error, result.events), (400, expected), what)

    def test_what_is_understood(self) -> None:
        for what, data, events in ACCEPTED:
            result = outcome(Http1Server, data)
            self.assertEqual((result.error, result.events, result.unread), (None, events, b""), what)

    def test_nothing_is_read_past_a_request(self) -> None:
        for what, data, events in ACCEPTED:
            result = outcome(Http1Server, data + b"anything\x00at all")
            self.assertEqual((result.events, result.unread), (events, b"anything\x00at all"), what)

    def test_end_within_a_request(self) -> None:
        data = CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"
        for position in range(1, len(data)):
            server = Http1Server()
            server.receive(data[:position])
            self.assertRaises(RemoteProtocolError, server.receive_eof)
            self.assertEqual(server.receive_eof(), [])

    def test_end_between_requests(self) -> None:
        self.assertEqual(outcome(Http1Server, GET, eof=True).events[-1], "closed")
        self.assertEqual(outcome(Http1Server, b"\r\n", eof=True).events, ("closed",))
        self.assertEqual(told(Http1Server().receive_eof()), ("closed",))

    def test_content_comes_the_moment_it_is_there(self) -> None:
        server = Http1Server()
        server.receive(CHUNKED + b"10\r\n")
        self.assertEqual(server.receive(b"abc"), [BodyPart(data=b"abc")])
        self.assertEqual(server.receive(b"d"), [BodyPart(data=b"d")])

    def test_content_that_comes_alone_is_not_copied(self) -> None:
        data = b"x" * 1000
        for head in (b"Content-Length: 5000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n1000\r\n"):
            server = Http1Server()
            server.receive(b"POST / HTTP/1.1\r\nHost: a\r\n" + head)
            (event,) = server.receive(data)
            assert isinstance(event, BodyPart)
            self.assertIs(event.data, data)

    def test_chunks_that_come_together_go_on_together(self) -> None:
        server = Http1Server()
        server.receive(CHUNKED)
        self.assertEqual(server.receive(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n"), [BodyPart(data=b"abc")])


class LimitTests(SynchronousTestCase):
    def refused(self, *parts: bytes) -> int:
        server = Http1Server()
        try:
            for part in parts:
                server.receive(part)
        except RemoteProtocolError as error:
            return error.http_status
        return 0

    def both_ways(self, data: bytes) -> int:
        whole = self.refused(data)
        self.assertEqual(whole, self.refused(*[data[at : at + 999] for at in range(0, len(data), 999)]))
        return whole

    def test_head(self) -> None:
        start = b"GET / HTTP/1.1\r\nHost: a\r\n"
        line = b"X: " + b"y" * 1019 + b"\r\n"
        self.assertEqual(self.both_ways(start + line * 63 + b"\r\n"), 0)
        self.assertEqual(self.both_ways(start + line * 64 + b"\r\n"), 431)
        self.assertEqual(self.both_ways(start + b"X: " + b"y" * 70000), 431)

    def test_fields(self) -> None:
        self.assertEqual(self.both_ways(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 199 + b"\r\n"), 0)
        self.assertEqual(self.both_ways(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n"), 431)

    def test_target(self) -> None:
        end = b" HTTP/1.1\r\nHost: a\r\n\r\n"
        self.assertEqual(self.both_ways(b"GET /" + b"x" * 16383 + end), 0)
        self.assertEqual(self.both_ways(b"GET /" + b"x" * 16384 + end), 414)
        self.assertEqual(self.both_ways(b"GET /" + b"x" * 100000), 414)
        self.assertEqual(self.both_ways(b"GET /" + b"x" * 100000 + end), 414)

    def test_chunk_extensions_are_bounded(self) -> None:
        self.assertEqual(self.both_ways(CHUNKED + b"1;" + b"x" * 4000 + b"\r\na\r\n0\r\n\r\n"), 0)
        self.assertEqual(self.both_ways(CHUNKED + b"1;" + b"x" * 5000 + b"\r\na\r\n"), 400)
        self.assertEqual(self.both_ways(CHUNKED + b"1;" + b"x" * 5000), 400)
        self.assertEqual(self.both_ways(CHUNKED + (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 17), 400)

    def test_trailers_are_bounded(self) -> None:
        self.assertEqual(self.both_ways(CHUNKED + b"0\r\nX: " + b"y" * 16000 + b"\r\n\r\n"), 0)
        self.assertEqual(self.both_ways(CHUNKED + b"0\r\nX: " + b"y" * 17000), 431)
        self.assertEqual(self.both_ways(CHUNKED + b"0\r\n" + b"X: y\r\n" * 201 + b"\r\n"), 431)

    def test_a_head_byte_by_byte_costs_no_more_than_its_length(self) -> None:
        """Looks at each byte a bounded number of times; quadratic, this would take minutes."""
        server = Http1Server()
        head = b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"y" * 8000 + b"\r\n") * 8
        for position in range(len(head)):
            server.receive(head[position : position + 1])
        self.assertEqual(len(server.receive(b"\r\n")), 2)
