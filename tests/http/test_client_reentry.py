"""A client's connection whose stream speaks from within calls to it, as a TLS stream does; in memory."""

from __future__ import annotations

from lanrelay.http.client import PIPELINED_MAX
from tests.http.test_client import GET, OK, POST, HttpTestCase


class ReentryTests(HttpTestCase):
    def test_an_answer_that_ends_while_the_upload_is_held_back_closes_once(self) -> None:
        """The rest of the upload comes from within C{end}."""
        self.stream.receive(POST)
        self.connection.pause_reading()
        self.stream.receive(b"0123456789")
        self.connection.send_head(OK)
        self.connection.send_body(b"ok")
        self.connection.end()
        self.assertIn(b"Connection: close\r\n", self.stream.take())
        self.assertEqual(self.gone, [self.connection])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_answer_that_ends_before_the_upload_lingers_once(self) -> None:
        self.stream.receive(POST)
        self.connection.pause_reading()
        self.stream.receive(b"01234")
        self.connection.send_head(OK)
        self.connection.send_body(b"ok")
        self.connection.end()
        self.assertTrue(self.stream.half_closed)
        self.clock.advance(5.1)  # timeouts.close, not the hour for a client that has not read yet
        self.assertEqual(self.gone, [self.connection])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_ended_while_the_upload_was_held_back_is_closed_once(self) -> None:
        self.stream.receive(POST)
        self.connection.pause_reading()
        self.stream.receive(b"01234")
        self.stream.receive_eof()
        self.connection.send_head(OK)
        self.connection.send_body(b"ok")
        self.connection.end()
        self.assertEqual(self.gone, [self.connection])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_garbage_that_was_held_back_behind_an_early_answer_is_not_answered(self) -> None:
        """There can be no second answer to one request."""
        chunked = b"POST /a HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.stream.receive(chunked)
        self.connection.pause_reading()
        self.stream.receive(b"no chunk at all\r\n")
        self.connection.send_head(OK)
        self.connection.send_body(b"ok")
        self.connection.end()
        self.assertEqual(self.stream.take().count(b"HTTP/1.1"), 1)
        self.assertEqual(self.application.refused, [])
        self.clock.advance(5.1)
        self.assertEqual(self.gone, [self.connection])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_same_when_the_answer_is_made_at_once(self) -> None:
        """A part of the body makes the relay refuse it, and the next part is broken."""
        chunked = b"POST /a HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.stream.receive(chunked)
        request = self.request

        def refuse(data: bytes) -> None:
            self.connection.pause_reading()
            self.stream.protocol.dataReceived(b"no chunk at all\r\n")  # it had decrypted it already
            self.connection.answer(413, OK.headers, b"ok")

        request.body_received = refuse  # type: ignore[method-assign]
        self.stream.receive(b"1\r\nx\r\n")
        self.assertEqual(self.stream.take().count(b"HTTP/1.1"), 1)
        self.clock.advance(5.1)
        self.assertEqual(self.gone, [self.connection])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reading_on_after_too_much_was_pipelined_may_end_the_connection(self) -> None:
        """What was held back is an error; its end must keep its time limit."""
        self.stream.receive(GET)
        self.stream.receive(GET * (PIPELINED_MAX // len(GET)) + b"G")
        self.assertFalse(self.stream.reading)
        self.stream.receive(b"\x00\r\n\r\n")
        while self.application.requests and not self.stream.half_closed:
            self.connection.answer(200, OK.headers, b"ok")
        self.assertTrue(self.stream.half_closed)
        self.clock.advance(5.1)
        self.assertEqual(self.gone, [self.connection])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bytes_that_came_from_within_go_to_the_tunnel(self) -> None:
        self.stream.receive(GET.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"))
        self.connection._dispatching = True
        self.stream.receive(b"early")
        self.connection._dispatching = False
        _, unread = self.connection.take_over()
        self.assertEqual(unread, b"early")
        self.connection.released()


class UnreadAnswerTests(HttpTestCase):
    def answered(self, request: bytes) -> None:
        """A whole answer that the client does not read."""
        self.stream.receive(request)
        self.stream.full = True
        self.connection.answer(200, OK.headers, b"ok")

    def test_a_client_that_never_reads_the_end_of_its_answer_is_not_kept_for_ever(self) -> None:
        for request in (GET, POST + b"0123456789"):
            self.setUp()
            self.answered(request)
            self.clock.advance(3601)  # timeouts.half_closed, as for a connection that is to close
            self.assertEqual(self.gone, [self.connection])
            self.assertTrue(self.stream.aborted)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_reads_slowly_is_then_idle(self) -> None:
        self.answered(GET)
        self.clock.advance(3000)
        self.stream.full = False
        self.clock.advance(74)
        self.assertEqual(self.gone, [])
        self.stream.receive(GET)
        self.assertEqual(len(self.application.requests), 2)
        self.connection.answer(200, OK.headers, b"ok")
        self.clock.advance(76)
        self.assertEqual(self.gone, [self.connection])
        self.assertFalse(self.stream.aborted)


class ExpectTests(HttpTestCase):
    def test_an_http_1_0_client_expects_nothing(self) -> None:
        """RFC 9110 section 10.1.1: its Expect is ignored, so its silence counts."""
        self.stream.receive(
            b"POST /a HTTP/1.0\r\nHost: relay\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        self.clock.advance(60.1)
        self.assertIn(b"408 Request Timeout", self.stream.take())
