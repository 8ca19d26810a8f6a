"""What the plain readers take the general ones read in the same way."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.authority import parse_authority
from lanrelay.wire.events import BodyPart, EndOfMessage, RequestHead, ResponseHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.http1 import Http1Client, Http1Server
from lanrelay.wire.limits import Limits
from lanrelay.wire.plain import read_plain_answer, read_plain_request

GET = b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
NOT_PASSED_ON = {b"connection", b"keep-alive"}

# Pieces that mean something, so that what is put together of them is nearly a message.
PIECES = st.sampled_from(
    [
        *(b"GET", b"POST", b"HEAD", b"CONNECT", b" ", b"/", b"/a", b"*", b"http://a/", b" HTTP/1.1"),
        *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b": ", b":", b"\t", b"\0", b"\xff", b",", b"ab", b"0", b"2"),
        *(b"Host: a\r\n", b"host:b\r\n", b"Content-Length: 2\r\n", b"Content-Length: 02\r\n"),
        *(b"X: y\r\n", b"X : y\r\n", b" folded\r\n", b"Expect: 100-continue\r\n", b"Upgrade: x\r\n"),
        *(b"Transfer-Encoding: chunked\r\n", b"Connection: keep-alive\r\n", b"Connection: close\r\n"),
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 N\r\n", b"HTTP/1.0 200 O\r\n", b"HTTP/1.1 304 N\r\n"),
        *(b"HTTP/1.1 100 C\r\n", b"HTTP/1.1 600 X\r\n", b" HTTP/1.0", GET, POST, OK),
    ]
)
MESSAGES = st.lists(PIECES, max_size=8).map(b"".join) | st.tuples(
    st.sampled_from([GET, POST, OK]), st.lists(PIECES, max_size=3), st.integers(0, 80), st.integers(0, 4)
).map(lambda made: made[0][: made[2]] + b"".join(made[1]) + made[0][made[2] + made[3] :])


def kept(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in NOT_PASSED_ON]


class PlainTests(SynchronousTestCase):
    @given(MESSAGES)
    @example(GET)
    @example(POST)
    @example(GET.replace(b"Host: a", b"Host: a b"))
    @example(GET.replace(b"\r\n\r\n", b"\r\nConnection: Keep-Alive\r\n\r\n"))
    def test_a_request_is_read_as_in_general(self, data: bytes) -> None:
        plain = read_plain_request(data)
        if plain is None or b"host" not in plain[2]:
            return
        method, target, index, content = plain
        try:
            parse_authority(index[b"host"][2])
        except ValueError:  # not judged there; whoever goes straight takes the Hosts that were let in before
            self.assertRaises(RemoteProtocolError, Http1Server().receive, data)
            return
        events = Http1Server().receive(data)
        head = events[0]
        assert isinstance(head, RequestHead)
        self.assertEqual((head.method, head.target), (method, target))
        self.assertEqual(kept(head.headers), list(Headers.of_index(index)))
        self.assertEqual(b"".join(e.data for e in events if isinstance(e, BodyPart)), data[content:])
        self.assertEqual(events[-1], EndOfMessage())

    @given(MESSAGES)
    @example(OK)
    def test_an_answer_is_read_as_in_general(self, data: bytes) -> None:
        plain = read_plain_answer(data)
        if plain is None:
            return
        status, reason, index, content = plain
        client = Http1Client()
        client.send_whole(RequestHead(method=b"GET", target=b"/", headers=Headers([(b"Host", b"a")])))
        events = client.receive(data)
        head = events[0]
        assert isinstance(head, ResponseHead)
        self.assertEqual((head.status, head.reason), (int(status), reason))
        self.assertEqual(
            kept(head.headers), [pair for pair in Headers.of_index(index) if pair[0].lower() != b"keep-alive"]
        )
        self.assertEqual(b"".join(e.data for e in events if isinstance(e, BodyPart)), data[content:])
        self.assertEqual(events[-1], EndOfMessage())
        self.assertTrue(client.reusable)

    def test_what_is_plain(self) -> None:
        for request in (GET, POST, GET.replace(b"GET", b"DELETE"), GET.replace(b"\r\n\r", b"\r\nA: b\r\n\r")):
            self.assertIsNotNone(read_plain_request(request), request)
        for status in (b"200 OK", b"201 ", b"226 IM Used", b"301 Moved", b"404 Not Found", b"599 "):
            self.assertIsNotNone(read_plain_answer(OK.replace(b"200 OK", status)), status)

    def test_what_is_not(self) -> None:
        def with_field(message: bytes, field: bytes) -> bytes:
            return message.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n")

        for request in (
            *(GET[:-1], GET + b"x", GET + GET, POST[:-1], POST + b"x", b"\r\n" + GET, b""),
            *(GET.replace(b"GET", b"HEAD"), GET.replace(b"1.1", b"1.0"), GET.replace(b"/a?b", b"http://a/")),
            *(with_field(GET, b"Connection: close"), with_field(GET, b"Connection: keep-alive, x")),
            *(with_field(GET, b"Host: b"), with_field(GET, b"Upgrade: x"), with_field(GET, b"TE: trailers")),
            *(with_field(POST, b"Expect: 100-continue"), with_field(POST, b"Transfer-Encoding: chunked")),
            *(with_field(GET, b"a b: c"), with_field(GET, b" c"), with_field(GET, b"Proxy-Authorization: x")),
            *(POST.replace(b"2\r", b"+2\r"), POST.replace(b"2\r", b"2,2\r")),
        ):
            self.assertIsNone(read_plain_request(request), request)
        for answer in (
            *(
                OK[:-1],
                OK + b"x",
                OK + OK,
                OK.replace(b"1.1", b"1.0"),
                OK.replace(b"Content-Length: 2\r\n", b""),
            ),
            *(
                OK.replace(b"200", status)
                for status in (b"100", b"101", b"103", b"204", b"304", b"600", b"999")
            ),
            *(with_field(OK, b"Connection: close"), with_field(OK, b"Transfer-Encoding: chunked")),
            *(
                with_field(OK, b"Content-Length: 2"),
                with_field(OK, b"Upgrade: x"),
                with_field(OK, b"Trailer: x"),
            ),
        ):
            self.assertIsNone(read_plain_answer(answer), answer)

    def test_limits_are_those_of_the_general_reader(self) -> None:
        for limits in (Limits(head=len(GET) - 5), Limits(fields=0), Limits(target=3)):
            self.assertIsNone(read_plain_request(GET, limits))
        exact = Limits(head=len(GET) - 4, fields=1, target=4)
        self.assertIsNotNone(read_plain_request(GET, exact))
        self.assertEqual(len(Http1Server(exact).receive(GET)), 2)
        self.assertIsNone(read_plain_answer(OK, Limits(fields=0)))
        self.assertIsNone(read_plain_answer(OK, Limits(head=10)))
