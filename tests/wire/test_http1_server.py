"""What L{lanrelay.wire.http1.Http1Server} answers, and how it goes from one request to the next."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.events import BodyPart, EndOfMessage, RequestHead, ResponseHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.http1 import Http1Server

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class SendingTests(SynchronousTestCase):
    def server(self, request: bytes = GET) -> Http1Server:
        server = Http1Server()
        server.receive(request)
        return server

    def answer(
        self, request: bytes, status: int = 200, *fields: tuple[bytes, bytes], body: bytes = b"hello"
    ) -> tuple[bytes, bool]:
        server = self.server(request)
        out = server.send(ResponseHead(status=status, reason=b"R", headers=Headers(fields)))
        if body:
            out += server.send(BodyPart(data=body))
        out += server.send(EndOfMessage())
        return out, server.keep_alive

    def test_framing(self) -> None:
        """RFC 9112 section 6.3, seen from the sender."""
        ten = b"GET / HTTP/1.0\r\n\r\n"
        ten_kept = b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
        head = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
        length, chunked = (b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")
        table: list[tuple[bytes, int, list[tuple[bytes, bytes]], bytes, bool]] = [
            (GET, 200, [length], b"Content-Length: 5\r\n\r\nhello", True),
            (GET, 200, [], b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", True),
            (GET, 200, [chunked], b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", True),
            (GET, 200, [chunked, length], b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", True),
            (ten, 200, [length], b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", False),
            (ten, 200, [chunked], b"Connection: close\r\n\r\nhello", False),
            (ten_kept, 200, [length], b"Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", True),
            (ten_kept, 200, [], b"Connection: close\r\n\r\nhello", False),
            (head, 200, [length], b"Content-Length: 5\r\n\r\n", True),
            (head, 200, [chunked], b"Transfer-Encoding: chunked\r\n\r\n", True),
            (head, 200, [], b"\r\n", True),
            (GET, 304, [length], b"Content-Length: 5\r\n\r\n", True),
            (GET, 304, [], b"\r\n", True),
            (GET, 204, [length], b"\r\n", True),
            (GET, 204, [chunked], b"\r\n", True),
            (ten_kept, 204, [], b"Connection: keep-alive\r\n\r\n", True),
            (
                GET,
                200,
                [length, (b"Connection", b"close")],
                b"Content-Length: 5\r\nConnection: close\r\n\r\nhello",
                False,
            ),
            (
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
                200,
                [length],
                b"Content-Length: 5\r\nConnection: close\r\n\r\nhello",
                False,
            ),
        ]
        for request, status, fields, expected, kept in table:
            out, keep_alive = self.answer(request, status, *fields)
            self.assertEqual((out, keep_alive), (b"HTTP/1.1 %d R\r\n%b" % (status, expected), kept))

    def test_more_or_less_than_announced_is_a_bug(self) -> None:
        server = self.server()
        server.send(ResponseHead(status=200, headers=Headers([(b"Content-Length", b"3")])))
        self.assertRaises(RuntimeError, server.send, BodyPart(data=b"four"))
        server = self.server()
        server.send(ResponseHead(status=200, headers=Headers([(b"Content-Length", b"3")])))
        server.send(BodyPart(data=b"tw"))
        self.assertRaises(RuntimeError, server.send, EndOfMessage())
        self.assertFalse(server.response_complete)

    def test_out_of_order_is_a_bug(self) -> None:
        server = self.server()
        self.assertRaises(RuntimeError, server.send, BodyPart(data=b"x"))
        self.assertRaises(RuntimeError, server.send, EndOfMessage())
        self.assertRaises(RuntimeError, server.start_next_cycle)
        server.send(ResponseHead(status=200))
        self.assertRaises(RuntimeError, server.send, ResponseHead(status=200))
        self.assertRaises(RuntimeError, server.send, ResponseHead(status=100))
        server.send(EndOfMessage())
        self.assertRaises(RuntimeError, server.send, BodyPart(data=b"x"))
        self.assertRaises(RuntimeError, server.send, EndOfMessage())

    def test_trailers_go_where_there_is_room_for_them(self) -> None:
        end = EndOfMessage(trailers=Headers([(b"X-Sum", b"1")]))
        server = self.server()
        server.send(ResponseHead(status=200))
        self.assertEqual(server.send(end), b"0\r\nX-Sum: 1\r\n\r\n")
        server = self.server()
        server.send(ResponseHead(status=200, headers=Headers([(b"Content-Length", b"0")])))
        self.assertEqual(server.send(end), b"")

    def test_interim_heads_pass_but_not_to_http_1_0(self) -> None:
        """RFC 9110 section 15.2."""
        early = ResponseHead(status=103, reason=b"Early Hints", headers=Headers([(b"Link", b"<a>")]))
        server = self.server()
        self.assertEqual(server.send(early), b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")
        self.assertEqual(server.send(ResponseHead(status=100)), b"HTTP/1.1 100 \r\n\r\n")
        self.assertFalse(server.response_begun)
        self.assertEqual(self.server(b"GET / HTTP/1.0\r\n\r\n").send(early), b"")

    def test_an_interim_head_has_no_framing(self) -> None:
        head = ResponseHead(status=100, headers=Headers([(b"Content-Length", b"5")]))
        self.assertEqual(self.server().send(head), b"HTTP/1.1 100 \r\n\r\n")

    def test_an_error_can_be_answered(self) -> None:
        server = Http1Server()
        self.assertRaises(RemoteProtocolError, server.receive, b"nonsense\r\n\r\n")
        out = server.send(ResponseHead(status=400, headers=Headers([(b"Content-Length", b"0")])))
        self.assertEqual(out, b"HTTP/1.1 400 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.assertEqual(server.send(EndOfMessage()), b"")
        self.assertFalse(server.ready_for_next)

    def test_an_error_within_a_request_can_be_answered(self) -> None:
        server = Http1Server()
        server.receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.assertRaises(RemoteProtocolError, server.receive, b"x\r\n")
        out = server.send(ResponseHead(status=400, headers=Headers([(b"Content-Length", b"0")])))
        self.assertIn(b"Connection: close\r\n", out)
        server.send(EndOfMessage())
        self.assertFalse(server.ready_for_next)

    def test_nothing_asked_can_be_answered(self) -> None:
        """A head that did not come in time: 408."""
        server = Http1Server()
        server.receive(b"GET / HT")
        self.assertTrue(server.head_begun)
        out = server.send(ResponseHead(status=408, headers=Headers([(b"Content-Length", b"0")])))
        self.assertIn(b"Connection: close\r\n", out)

    def test_the_caller_can_close(self) -> None:
        server = self.server()
        server.close_after_response()
        out = server.send(ResponseHead(status=200, headers=Headers([(b"Content-Length", b"0")])))
        self.assertIn(b"Connection: close\r\n", out)

    def test_a_split_response_is_refused(self) -> None:
        for head in (
            lambda: ResponseHead(status=200, reason=b"OK\r\nX: y"),
            lambda: ResponseHead(status=200, headers=Headers([(b"X", b"y\r\nZ: 1")])),
            lambda: ResponseHead(status=200, headers=Headers([(b"X\r\nY", b"y")])),
        ):
            self.assertRaises(ValueError, lambda head=head: self.server().send(head()))


class CycleTests(SynchronousTestCase):
    def answered(self, server: Http1Server) -> None:
        server.send(ResponseHead(status=200, headers=Headers([(b"Content-Length", b"0")])))
        server.send(EndOfMessage())

    def test_pipelined_requests_come_one_at_a_time(self) -> None:
        server = Http1Server()
        data = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(5))
        events = server.receive(data)
        for number in range(5):
            head = events[0]
            assert isinstance(head, RequestHead)
            self.assertEqual(head.target, b"/%d" % number)
            self.assertEqual(len(events), 2)
            self.assertEqual(server.buffered, len(data) // 5 * (4 - number))
            self.answered(server)
            self.assertTrue(server.ready_for_next)
            events = server.start_next_cycle()
        self.assertEqual(events, [])

    def test_the_error_of_the_next_request_does_not_spoil_this_one(self) -> None:
        server = Http1Server()
        self.assertEqual(len(server.receive(GET + b"nonsense\r\n\r\n")), 2)
        self.answered(server)
        self.assertRaises(RemoteProtocolError, server.start_next_cycle)

    def test_an_answer_before_the_end_of_the_request_waits_for_it(self) -> None:
        server = Http1Server()
        server.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1")
        self.answered(server)
        self.assertTrue(server.response_complete)
        self.assertFalse(server.ready_for_next)
        server.receive(b"2")
        self.assertTrue(server.ready_for_next)

    def test_the_last_request_is_not_followed(self) -> None:
        server = Http1Server()
        server.receive(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET)
        self.answered(server)
        self.assertFalse(server.ready_for_next)

    def test_each_request_may_have_its_empty_line(self) -> None:
        server = Http1Server()
        server.receive(b"\r\n" + GET + b"\r\n" + GET)
        self.answered(server)
        self.assertEqual(len(server.start_next_cycle()), 2)


class SwitchTests(SynchronousTestCase):
    UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

    def test_101_ends_http(self) -> None:
        server = Http1Server()
        self.assertEqual(len(server.receive(self.UPGRADE + b"early")), 2)
        fields = Headers([(b"Connection", b"upgrade"), (b"Upgrade", b"websocket")])
        out = server.send(ResponseHead(status=101, reason=b"Switching Protocols", headers=fields))
        self.assertEqual(
            out, b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        self.assertTrue(server.switched)
        self.assertEqual(server.receive(GET), [])
        self.assertEqual(server.take_unread(), b"early" + GET)
        self.assertEqual(server.take_unread(), b"")
        self.assertFalse(server.ready_for_next)

    def test_an_upgrade_that_is_refused_goes_on_as_http(self) -> None:
        server = Http1Server()
        server.receive(self.UPGRADE + GET)
        server.send(ResponseHead(status=400, headers=Headers([(b"Content-Length", b"0")])))
        server.send(EndOfMessage())
        self.assertEqual(len(server.start_next_cycle()), 2)

    def test_101_must_have_been_asked_for(self) -> None:
        server = Http1Server()
        server.receive(GET)
        self.assertRaises(RuntimeError, server.send, ResponseHead(status=101))
        server = Http1Server()
        server.receive(b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        self.assertRaises(RuntimeError, server.send, ResponseHead(status=101))

    def test_connect(self) -> None:
        """RFC 9110 section 9.3.6; C{Connection: close} and HTTP/1.0 do not end the tunnel."""
        for request in (
            b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
            b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nConnection: close\r\n\r\n",
            b"CONNECT h:1 HTTP/1.0\r\n\r\n",
        ):
            server = Http1Server()
            server.receive(request + b"\x16\x03\x01")
            fields = Headers([(b"Content-Length", b"0"), (b"Transfer-Encoding", b"chunked")])
            out = server.send(ResponseHead(status=200, reason=b"Connected", headers=fields))
            self.assertEqual(out, b"HTTP/1.1 200 Connected\r\n\r\n")
            self.assertTrue(server.switched)
            self.assertEqual(server.take_unread(), b"\x16\x03\x01")

    def test_a_connect_that_fails_is_the_last_request(self) -> None:
        """What follows was meant for a tunnel, and must never run as a request."""
        server = Http1Server()
        server.receive(b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n" + GET)
        out = server.send(ResponseHead(status=502, headers=Headers([(b"Content-Length", b"0")])))
        server.send(EndOfMessage())
        self.assertIn(b"Connection: close\r\n", out)
        self.assertFalse(server.ready_for_next)
