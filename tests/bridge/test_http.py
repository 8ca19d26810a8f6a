"""An answer, and a stream of events, as a client reads them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.bridge import http
from lanrelay.bridge.http import END, EventParser, Head, Malformed, Response
from lanrelay.bridge.messages import Event

SIZED = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'
CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\n\r\n"
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n3;x=y\r\n:1}\r\n0\r\nT: x\r\n\r\n'
)


def read(data: bytes, step: int, method: str = "POST") -> tuple[Head | None, bytes, bool]:
    """The head, the body, and whether it came to its end."""
    response = Response(method)
    parts: list[Head | bytes | http.End] = []
    for at in range(0, len(data), step):
        parts += response.feed(data[at : at + step])
    head = next((part for part in parts if isinstance(part, Head)), None)
    return head, b"".join(part for part in parts if isinstance(part, bytes)), END in parts


class ResponseTests(SynchronousTestCase):
    def test_however_the_bytes_come_they_mean_the_same(self) -> None:
        for data in (SIZED, CHUNKED):
            for step in (1, 2, 3, 7, len(data)):
                head, body, ended = read(data, step)
                assert head is not None
                self.assertEqual((head.status, head.reason, head.stays), (200, "OK", True))
                self.assertEqual(body, b'{"a":1}')
                self.assertTrue(ended)

    def test_what_has_no_length_ends_with_the_connection(self) -> None:
        response = Response("POST")
        parts = response.feed(b"HTTP/1.1 200 OK\r\n\r\nab")
        parts += response.feed(b"c")
        self.assertEqual(parts[1:], [b"ab", b"c"])
        self.assertIsInstance(parts[0], Head)
        self.assertFalse(parts[0].stays)  # type: ignore[union-attr]
        self.assertEqual(response.ended(), [END])

    def test_an_end_in_the_middle_is_no_end(self) -> None:
        for data in (SIZED, CHUNKED):
            for at in range(len(data)):
                response = Response("POST")
                response.feed(data[:at])
                self.assertRaises(Malformed, response.ended)

    def test_answers_without_a_body(self) -> None:
        for head, method in (
            (b"HTTP/1.1 204 No Content", "DELETE"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9", "HEAD"),
        ):
            self.assertTrue(read(head + b"\r\n\r\n", 1, method)[2])
        self.assertTrue(read(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 1)[2])

    def test_whether_the_connection_stays(self) -> None:
        for head, stays in (
            (b"HTTP/1.1 202 Accepted\r\nConnection: close", False),
            (b"HTTP/1.0 202 Accepted", False),
            (b"HTTP/1.0 202 Accepted\r\nConnection: Keep-Alive", True),
        ):
            found, _, _ = read(head + b"\r\nContent-Length: 0\r\n\r\n", 1)
            assert found is not None
            self.assertEqual(found.stays, stays)

    def test_what_is_no_http_is_refused(self) -> None:
        for data in (
            b"\x15\x03\x03\x00\x02\x02\x0a",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 \xb2\xb9\xb3 OK\r\n\r\n",
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 200 OK\r\nno field\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20000,
        ):
            self.assertRaises(Malformed, Response("GET").feed, data)


STREAM = (
    b"\xef\xbb\xbf: hello\n\n"
    b"id: 1\nretry: 500\ndata:\n\n"
    b"event: endpoint\ndata: /messages?x=1\n\n"
    b"data: one\ndata: two\nid: 2\n\n"
    b"id: 3\n\n"
    b"data: not whole"
)
EVENTS = [
    Event("message", b"", "1", 500),
    Event("endpoint", b"/messages?x=1", "1", None),
    Event("message", b"one\ntwo", "2", None),
    Event("message", b"", "3", None),
]


class EventTests(SynchronousTestCase):
    def test_however_lines_end_and_bytes_come(self) -> None:
        for end in (b"\n", b"\r\n", b"\r"):
            data = STREAM.replace(b"\n", end)
            for step in (1, 2, 3, 5, len(data)):
                parser = EventParser()
                found = []
                for at in range(0, len(data), step):
                    found += parser.feed(data[at : at + step])
                self.assertEqual(found, EVENTS, (end, step))

    def test_an_event_of_sixty_four_megabytes_passes_and_a_larger_one_does_not(self) -> None:
        parser = EventParser()
        piece = b"x" * (1 << 20)
        self.assertEqual(parser.feed(b"data: "), [])
        for _ in range(64):
            self.assertEqual(parser.feed(piece), [])
        [event] = parser.feed(b"\n\n")
        self.assertEqual(len(event.data), 64 << 20)

        def more() -> None:
            for _ in range(67):
                parser.feed(piece)

        self.assertRaises(Malformed, more)
