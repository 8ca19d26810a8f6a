"""How a client connection is drained, retired, and taken over."""

from __future__ import annotations

from lanrelay.observe.ledger import Ledger
from lanrelay.transport.pump import PumpLimits
from lanrelay.wire.events import ResponseHead
from tests.http.test_client import GET, OK, HttpTestCase
from tests.support.memory import MemoryStream


class DrainTests(HttpTestCase):
    def test_an_idle_connection_closes_at_once(self) -> None:
        self.connection.drain()
        self.assertFalse(self.stream.aborted)
        self.assertEnded()

    def test_an_answer_under_way_is_the_last_one(self) -> None:
        self.stream.receive(GET)
        self.connection.drain()
        self.assertTrue(self.stream.connected)
        self.answer()
        self.assertIn(b"Connection: close", self.stream.take())
        self.assertTrue(self.stream.half_closed)
        self.stream.receive_eof()
        self.assertEnded()

    def test_an_answer_whose_head_was_sent_is_the_last_one(self) -> None:
        self.stream.receive(GET + GET)
        self.connection.send_head(OK)
        self.connection.drain()
        self.connection.send_body(b"ok")
        self.connection.end()
        self.assertEqual(len(self.application.requests), 1)
        self.assertTrue(self.stream.half_closed)

    def test_an_abort_by_the_listener_is_told_to_the_sink(self) -> None:
        self.stream.receive(GET)
        self.connection.abort()
        self.assertEqual(self.request.gone, [None])
        self.assertTrue(self.connection.aborted)
        self.assertEnded()


class RetireTests(HttpTestCase):
    """There are newer settings: the client is told to come again, and loses nothing."""

    def test_the_next_answer_is_the_last_and_says_so(self) -> None:
        self.stream.receive(GET)
        self.answer()
        self.stream.take()
        self.connection.retire()
        self.assertTrue(self.stream.connected)
        self.stream.receive(GET)
        self.answer()
        self.assertIn(b"Connection: close\r\n", self.stream.take())
        self.assertEnded()

    def test_an_answer_under_way_is_not_the_last(self) -> None:
        self.stream.receive(GET)
        self.connection.send_head(OK)
        self.connection.retire()
        self.connection.send_body(b"ok")
        self.connection.end()
        self.assertNotIn(b"close", self.stream.take())
        self.assertTrue(self.stream.connected)
        self.stream.receive(GET)
        self.answer()
        self.assertIn(b"Connection: close\r\n", self.stream.take())
        self.assertEnded()

    def test_an_idle_client_goes_when_it_has_been_idle_for_long(self) -> None:
        self.stream.receive(GET)
        self.answer()
        self.connection.retire()
        self.clock.advance(76)
        self.assertEnded()


class TakeOverTests(HttpTestCase):
    CONNECT = b"CONNECT nas.lan:22 HTTP/1.1\r\nHost: nas.lan:22\r\n\r\n"

    def test_the_taker_gets_the_stream_and_what_was_not_read(self) -> None:
        self.stream.receive(self.CONNECT + b"early")
        self.connection.send_head(ResponseHead(status=200, reason=b"OK"))
        stream, unread = self.connection.take_over()
        self.assertIs(stream, self.stream)
        self.assertEqual(unread, b"early")
        self.assertFalse(self.stream.reading)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.gone, [])
        self.connection.released()
        self.assertEqual(self.gone, [self.connection])

    def test_joined_streams_carry_bytes_and_end_together(self) -> None:
        self.stream.receive(self.CONNECT + b"early")
        self.connection.send_head(ResponseHead(status=200, reason=b"OK"))
        upstream = MemoryStream()
        session = Ledger(self.clock).open("proxy", "connect-proxy", "test")
        limits = PumpLimits(idle=None, half_closed=None, close=5)
        self.connection.join(upstream, session=session, limits=limits, to_downstream=b"hello")
        self.assertEqual(upstream.take(), b"early")
        self.assertTrue(self.stream.take().endswith(b"\r\n\r\nhello"))
        self.connection.drain()
        self.assertTrue(self.stream.connected)
        self.connection.abort()
        self.assertTrue(upstream.aborted)
        self.assertEnded()
