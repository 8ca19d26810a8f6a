"""What the plain readers take the general ones read in the same way."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire import plain
from lanrelay.wire.authority import parse_authority
from lanrelay.wire.events import BodyPart, EndOfMessage, RequestHead, ResponseHead
from lanrelay.wire.headers import Field, Headers
from lanrelay.wire.http1 import Http1Client, Http1Server
from lanrelay.wire.limits import LIMITS, Limits
from lanrelay.wire.plain import PlainFields
from tests.support.properties import example, given

GET = b"GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
NOT_PASSED_ON = {b"connection", b"keep-alive"}

REQUESTS = PlainFields(noted={b"host"}, unusual={b"via"})
ANSWERS = PlainFields(noted={b"date"}, unusual={b"via"}, dropped={b"keep-alive"})


def read_plain_request(
    data: bytes, limits: Limits = LIMITS
) -> tuple[str, str, list[bytes], dict[bytes, Field], int] | None:
    return plain.read_plain_request(data, REQUESTS, limits)


def read_plain_answer(
    data: bytes, limits: Limits = LIMITS
) -> tuple[int, list[bytes], dict[bytes, Field], int] | None:
    return plain.read_plain_answer(data, ANSWERS, limits)


def sorts(fields: PlainFields, line: bytes) -> bool:
    """Whether a head with this line may be plain."""
    return fields.sort([b"GET / HTTP/1.1", line, b"", b""]) is not None


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


def kept(head: RequestHead | ResponseHead) -> list[bytes]:
    """Its field lines that go on."""
    return [b"%b: %b" % field for field in head.headers if field[0].lower() not in NOT_PASSED_ON]


class FieldTests(SynchronousTestCase):
    def test_who_minds_a_field_has_the_last_word(self) -> None:
        self.assertFalse(sorts(PlainFields(noted={b"x"}, unusual={b"x"}), b"X: a"))
        for name in (b"connection", b"keep-alive", b"content-length"):
            fields = PlainFields(noted=(), unusual={name}, dropped={b"keep-alive"})
            self.assertFalse(sorts(fields, name + b": keep-alive"))

    def test_what_is_dropped_is_shown_to_nobody(self) -> None:
        for name in (b"connection", b"keep-alive"):
            line = name + b": keep-alive"
            self.assertTrue(sorts(PlainFields(noted=(), unusual=(), dropped={b"keep-alive"}), line))
            self.assertFalse(sorts(PlainFields(noted={name}, unusual=(), dropped={b"keep-alive"}), line))


class PlainTests(SynchronousTestCase):
    @given(MESSAGES)
    @example(GET)
    @example(POST)
    @example(GET.replace(b"Host: a", b"Host: a b"))
    @example(GET.replace(b"\r\n\r\n", b"\r\nConnection: Keep-Alive\r\n\r\n"))
    def test_a_request_is_read_as_in_general(self, data: bytes) -> None:
        plain = read_plain_request(data)
        if plain is None or b"host" not in plain[3]:
            return
        method, target, lines, noted, content = plain
        try:
            parse_authority(noted[b"host"][2])
        except (
            ValueError
        ):  # not judged there; whoever goes the plain way takes the Hosts that were let in before
            self.assertRaises(RemoteProtocolError, Http1Server().receive, data)
            return
        events = Http1Server().receive(data)
        head = events[0]
        assert isinstance(head, RequestHead)
        self.assertEqual((head.method, head.target), (method.encode(), target.encode("latin-1")))
        self.assertEqual(lines[0], b"%b %b HTTP/1.1" % (head.method, head.target))
        self.assertEqual([*kept(head), b"", b""], lines[1:])
        self.assertEqual(noted[b"host"][2], head.headers.get(b"host"))
        self.assertEqual(b"".join(e.data for e in events if isinstance(e, BodyPart)), data[content:])
        self.assertEqual(events[-1], EndOfMessage())

    @given(MESSAGES)
    @example(OK)
    def test_an_answer_is_read_as_in_general(self, data: bytes) -> None:
        plain = read_plain_answer(data)
        if plain is None:
            return
        status, lines, noted, content = plain
        client = Http1Client()
        client.send_whole(RequestHead(method=b"GET", target=b"/", headers=Headers([(b"Host", b"a")])))
        events = client.receive(data)
        head = events[0]
        assert isinstance(head, ResponseHead)
        self.assertEqual((head.status, lines[0]), (status, b"HTTP/1.1 %d %b" % (status, head.reason)))
        self.assertEqual([*kept(head), b"", b""], lines[1:])
        self.assertEqual(b"date" in noted, b"date" in head.headers)
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
            *(
                with_field(GET, b"Via: x"),
                with_field(GET, b"X:y"),
                with_field(GET, b"X:  y"),
                with_field(GET, b"X: "),
            ),
            *(with_field(GET, b"X: a\x7f"), with_field(GET, b"X: a\x01b"), with_field(GET, b"X\0: a")),
            *(with_field(GET, b"X: y "), with_field(GET, b"X: \ty"), with_field(GET, b"User-Agent: a\x0b")),
            *(with_field(GET, b"Content-Length: 0 "), with_field(GET, b"Content-Length: \xb2")),
            *(with_field(GET, b"X: a\0"), with_field(GET, b"X: a\rb"), with_field(GET, b"X: a\nb")),
            *(
                GET.replace(b"/a?b", b"/a#b"),
                GET.replace(b"/a?b", b"/a\tb"),
                GET.replace(b"/a?b", b"/a\x01"),
                GET.replace(b"/a?b", b"/a b"),
            ),
            *(GET.replace(b"/a?b", b"/a\x7f"), GET.replace(b" HTTP", b"  HTTP"), GET.replace(b"GET", b"get")),
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

    def test_fields_that_nobody_looks_at_may_come_twice(self) -> None:
        twice = b"A: b\r\nAccept-Language: x\r\na: c\r\nAccept-Language: x\r\n\r\n"
        read = read_plain_request(GET[:-2] + twice)
        assert read is not None
        self.assertEqual(b"\r\n".join(read[2][2:]), twice)

    def test_what_is_remembered_has_its_bounds(self) -> None:
        fields = PlainFields(noted={b"accept"}, unusual=())
        for number in range(5000):
            for line in (b"Accept: %d", b"Server: %d", b"X-%d: a", b"Cookie: %d", b"Server: %01000d"):
                lines = [b"GET / HTTP/1.1", line % number, b"", b""]
                noted = fields.sort(lines)
                self.assertEqual(bool(noted), line.startswith(b"Accept"))
        self.assertIn(b"", fields._passing)
        kept = [*fields._known, *(fields._passing - {b""})]
        self.assertLessEqual(len(kept), 1024)
        self.assertLessEqual(len(fields._names), 1024)
        self.assertEqual({line.partition(b":")[0] for line in kept}, {b"Accept", b"Server"})
        self.assertLessEqual(max(map(len, kept)), 256)
        for number in range(1000):
            plain.read_plain_answer(OK.replace(b"OK", b"%d" % number), ANSWERS)
        self.assertLessEqual(len(plain._statuses), 256)

    def test_what_is_remembered_is_the_same(self) -> None:
        message = GET.replace(b"\r\n\r", b"\r\nServer: a\r\nConnection: keep-alive\r\nX: y\r\n\r")
        self.assertEqual(read_plain_request(message), read_plain_request(message))
