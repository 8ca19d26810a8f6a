"""Tests of a client's HTTP connection, in memory."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import Timeouts
from lanrelay.errors import RelayError, RemoteProtocolError
from lanrelay.http.answers import Answer
from lanrelay.http.client import PIPELINED_MAX, TURN_MAX, HttpConnection
from lanrelay.transport.stream import hand_over
from lanrelay.wire.events import RequestHead, ResponseHead
from lanrelay.wire.headers import Headers
from tests.support.memory import MemoryStream

GET = b"GET /a HTTP/1.1\r\nHost: relay\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: relay\r\nContent-Length: 10\r\n\r\n"
OK = ResponseHead(status=200, reason=b"OK", headers=Headers([(b"Content-Length", b"2")]))


class Request:
    """A sink that remembers."""

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        self.body = b""
        self.whole = False
        self.gone: list[RelayError | None] = []
        self.paused = False

    def body_received(self, data: bytes) -> None:
        self.body += data

    def body_ended(self, trailers: Headers) -> None:
        self.whole = True

    def client_gone(self, error: RelayError | None) -> None:
        self.gone.append(error)

    def pause_sending(self) -> None:
        self.paused = True

    def resume_sending(self) -> None:
        self.paused = False


class Application:
    """Remembers requests; answers C{/now} at once."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.refused: list[RemoteProtocolError] = []

    def request_received(self, connection: HttpConnection, head: RequestHead) -> Request:
        request = Request(head)
        self.requests.append(request)
        if head.target == b"/now":
            connection.answer(200, Headers(), b"ok")
        return request

    def request_refused(self, connection: HttpConnection, error: RemoteProtocolError, answer: Answer) -> None:
        self.refused.append(error)


class HttpTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.application = Application()
        self.gone: list[HttpConnection] = []
        self.stream = MemoryStream()
        self.stream.pauseProducing()
        self.connection = HttpConnection(self.clock, Timeouts(), self.application, self.gone.append)
        hand_over(self.stream, self.connection)

    @property
    def request(self) -> Request:
        return self.application.requests[-1]

    def answer(self, body: bytes = b"ok") -> None:
        self.connection.send_head(OK)
        self.connection.send_body(body)
        self.connection.end()

    def assertEnded(self) -> None:
        """The stream is gone, said so once, and left nothing behind."""
        self.assertFalse(self.stream.connected)
        self.assertEqual(self.gone, [self.connection])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class OrderTests(HttpTestCase):
    def test_a_request_reaches_the_application_and_its_answer_the_client(self) -> None:
        self.stream.receive(GET)
        self.assertEqual(self.request.head.target, b"/a")
        self.assertTrue(self.request.whole)
        self.answer()
        self.assertEqual(self.stream.take(), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self.assertTrue(self.stream.connected)

    def test_body_parts_come_as_they_are_sent(self) -> None:
        self.stream.receive(POST + b"01234")
        self.assertEqual((self.request.body, self.request.whole), (b"01234", False))
        self.stream.receive(b"56789")
        self.assertEqual((self.request.body, self.request.whole), (b"0123456789", True))

    def test_pipelined_requests_are_answered_in_order_one_at_a_time(self) -> None:
        self.stream.receive(GET + GET.replace(b"/a", b"/b") + GET.replace(b"/a", b"/c"))
        for target in (b"/a", b"/b", b"/c"):
            self.assertEqual(self.request.head.target, target)
            self.answer()
        self.assertEqual(len(self.application.requests), 3)
        self.assertEqual(self.stream.take().count(b"200 OK"), 3)

    def test_answers_made_at_once_need_no_recursion(self) -> None:
        self.stream.receive(GET.replace(b"/a", b"/now") * 2000)
        self.clock.advance(0)
        self.assertEqual(len(self.application.requests), 2000)
        self.assertEqual(self.stream.take().count(b"200 OK"), 2000)

    def test_of_many_answers_made_at_once_others_have_their_turn_in_between(self) -> None:
        self.stream.receive(GET.replace(b"/a", b"/now") * 3 * TURN_MAX)
        turns = 1
        while self.clock.getDelayedCalls()[0].getTime() <= self.clock.seconds():
            self.assertLessEqual(len(self.application.requests), turns * TURN_MAX)
            self.clock.calls.pop(0).func()  # `advance` would call all that follow from it, too
            turns += 1
        self.assertEqual((len(self.application.requests), turns), (3 * TURN_MAX, 3))
        self.stream.receive(GET)
        self.answer()
        self.assertEqual(self.stream.take().count(b"200 OK"), 3 * TURN_MAX + 1)

    def test_what_comes_before_the_next_turn_waits_behind_what_was_pipelined(self) -> None:
        self.stream.receive(GET.replace(b"/a", b"/now") * 2 * TURN_MAX)
        self.stream.receive(GET)
        self.clock.advance(0)
        targets = [request.head.target for request in self.application.requests]
        self.assertEqual(targets, [b"/now"] * 2 * TURN_MAX + [b"/a"])

    def test_a_client_that_leaves_before_the_next_turn_leaves_nothing(self) -> None:
        self.stream.receive(GET.replace(b"/a", b"/now") * 2 * TURN_MAX)
        self.stream.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertLess(len(self.application.requests), 2 * TURN_MAX)

    def test_an_answer_made_at_once_to_a_whole_post_keeps_the_connection(self) -> None:
        self.stream.receive(POST.replace(b"/a", b"/now") + b"0123456789")
        self.assertNotIn(b"close", self.stream.take())
        self.stream.receive(GET)
        self.assertEqual(self.request.head.target, b"/a")
        self.assertEqual(self.application.requests[0].body, b"")

    def test_too_much_that_is_pipelined_is_not_read(self) -> None:
        self.stream.receive(GET)
        self.stream.receive(b"POST /b HTTP/1.1\r\nHost: relay\r\nContent-Length: 200000\r\n\r\n")
        self.assertTrue(self.stream.reading)
        self.stream.receive(b"x" * PIPELINED_MAX)
        self.assertFalse(self.stream.reading)
        self.answer()
        self.assertTrue(self.stream.reading)
        self.assertEqual(len(self.request.body), PIPELINED_MAX)

    def test_a_client_that_pipelines_and_does_not_read_waits(self) -> None:
        self.stream.full = True
        self.stream.receive(GET * 3)
        self.answer()
        self.assertEqual(len(self.application.requests), 1)
        self.stream.full = False
        self.assertEqual(len(self.application.requests), 2)

    def test_what_is_corked_leaves_in_one_write(self) -> None:
        self.stream.receive(GET)
        writes: list[bytes] = []
        self.stream.write = writes.append  # type: ignore[method-assign, assignment]
        self.connection.cork()
        self.answer()
        self.assertEqual(writes, [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])

    def test_http_1_0_is_answered_and_closed(self) -> None:
        self.stream.receive(b"GET /a HTTP/1.0\r\n\r\n")
        self.connection.send_head(ResponseHead(status=200, reason=b"OK"))
        self.connection.send_body(b"part")
        self.assertEqual(self.stream.take(), b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart")
        self.connection.end()
        self.assertEnded()

    def test_a_stream_that_delivers_while_it_resumes_keeps_the_order(self) -> None:
        self.stream.receive(POST + b"0")
        self.connection.pause_reading()
        for digit in b"123456789":
            self.stream.receive(bytes([digit]))
        self.stream.receive(GET)
        self.connection.resume_reading()
        self.assertEqual(self.application.requests[0].body, b"0123456789")


class BackpressureTests(HttpTestCase):
    def test_a_client_that_does_not_read_pauses_the_sink(self) -> None:
        self.stream.receive(GET)
        self.stream.full = True
        self.connection.send_head(OK)
        self.assertTrue(self.request.paused)
        self.stream.full = False
        self.assertFalse(self.request.paused)

    def test_the_sink_pauses_the_client(self) -> None:
        self.stream.receive(POST)
        self.connection.pause_reading()
        self.stream.receive(b"01234")
        self.assertEqual(self.request.body, b"")
        self.assertFalse(self.stream.reading)
        self.connection.resume_reading()
        self.assertEqual(self.request.body, b"01234")

    def test_a_pause_ends_with_the_answer(self) -> None:
        self.stream.receive(POST + b"0123456789")
        self.connection.pause_reading()
        self.answer()
        self.stream.receive(GET)
        self.assertEqual(len(self.application.requests), 2)


class LeavingTests(HttpTestCase):
    def test_a_client_that_ends_its_side_while_its_answer_is_pending_has_gone(self) -> None:
        self.stream.receive(GET)
        self.stream.receive_eof()
        self.assertEqual(self.request.gone, [None])
        self.assertEnded()

    def test_a_client_that_ends_its_side_inside_an_answer_sees_it_cut(self) -> None:
        self.stream.receive(GET)
        self.connection.send_head(OK)
        self.stream.receive_eof()
        self.assertEqual(self.request.gone, [None])
        self.assertTrue(self.stream.aborted)
        self.assertEnded()

    def test_a_client_that_breaks_is_heard_once(self) -> None:
        self.stream.receive(GET)
        self.stream.lose()
        self.assertEqual(self.request.gone, [None])
        self.assertEnded()

    def test_an_idle_client_may_leave(self) -> None:
        self.stream.receive(GET)
        self.answer()
        self.stream.receive_eof()
        self.assertEqual(self.request.gone, [])
        self.assertFalse(self.stream.aborted)
        self.assertEnded()

    def test_a_cut_answer_looks_cut(self) -> None:
        self.stream.receive(GET)
        self.connection.send_head(OK)
        self.connection.abort()
        self.assertTrue(self.stream.aborted)
        self.assertEnded()

    def test_a_stream_that_was_lost_before_it_was_handed_over_is_gone(self) -> None:
        stream = MemoryStream()
        stream.lose()
        gone: list[HttpConnection] = []
        connection = HttpConnection(self.clock, Timeouts(head=None), self.application, gone.append)
        hand_over(stream, connection)
        self.assertEqual(gone, [connection])


class EarlyAnswerTests(HttpTestCase):
    def test_an_answer_before_the_end_of_the_upload_says_that_the_connection_closes(self) -> None:
        self.stream.receive(POST + b"01")
        self.answer()
        self.assertIn(b"Connection: close", self.stream.take())

    def test_after_an_early_answer_the_rest_is_read_and_thrown_away(self) -> None:
        self.stream.receive(POST + b"01")
        self.answer()
        self.assertTrue(self.stream.half_closed)
        self.assertTrue(self.stream.connected)
        self.stream.receive(b"23456789" + GET)
        self.assertEqual(len(self.application.requests), 1)
        self.assertEqual(self.request.body, b"01")
        self.stream.receive_eof()
        self.assertFalse(self.stream.aborted)
        self.assertEnded()

    def test_lingering_ends_after_the_close_timeout(self) -> None:
        self.stream.receive(POST + b"01")
        self.answer()
        self.clock.advance(4.9)
        self.assertTrue(self.stream.connected)
        self.clock.advance(0.2)
        self.assertTrue(self.stream.aborted)
        self.assertEnded()

    def test_a_client_that_was_paused_is_read_again(self) -> None:
        self.stream.receive(POST + b"01")
        self.connection.pause_reading()
        self.answer()
        self.assertTrue(self.stream.reading)

    def test_a_slow_reader_gets_the_whole_early_answer(self) -> None:
        self.stream.receive(POST + b"01")
        self.stream.full = True
        self.answer()
        self.clock.advance(60)
        self.assertTrue(self.stream.connected)
        self.stream.full = False
        self.assertTrue(self.stream.take().endswith(b"ok"))


class RefusalTests(HttpTestCase):
    def test_what_is_no_request_is_answered_and_closed(self) -> None:
        self.stream.receive(b"GET /a HTTP/1.1\r\nHost: relay\r\nBad Name: x\r\n\r\n")
        self.assertTrue(self.stream.take().startswith(b"HTTP/1.1 400 Bad Request\r\n"))
        self.assertEqual([error.http_status for error in self.application.refused], [400])
        self.assertTrue(self.stream.half_closed)
        self.stream.receive_eof()
        self.assertEnded()

    def test_a_pipelined_fault_is_answered_after_the_answers_before_it(self) -> None:
        self.stream.receive(GET + b"BAD\r\n\r\n")
        self.assertEqual(self.application.refused, [])
        self.answer()
        sent = self.stream.take()
        self.assertLess(sent.index(b"200 OK"), sent.index(b"400 Bad Request"))
        self.assertEqual(len(self.application.refused), 1)

    def test_a_fault_inside_a_body_ends_the_request(self) -> None:
        self.stream.receive(b"POST /a HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.stream.receive(b"zz\r\n")
        [error] = self.request.gone
        assert error is not None
        self.assertEqual(error.http_status, 400)
        self.assertIn(b"400 Bad Request", self.stream.take())
        self.assertEqual(self.application.refused, [])

    def test_a_fault_inside_a_body_whose_answer_has_begun_cuts_it(self) -> None:
        self.stream.receive(b"POST /a HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.connection.send_head(OK)
        self.stream.receive(b"zz\r\n")
        self.assertEqual(len(self.request.gone), 1)
        self.assertTrue(self.stream.aborted)
        self.assertEnded()


class TimeoutTests(HttpTestCase):
    def test_a_client_that_sends_nothing_is_closed_without_a_word(self) -> None:
        self.clock.advance(9.9)
        self.assertTrue(self.stream.connected)
        self.clock.advance(0.2)
        self.assertEqual(self.stream.take(), b"")
        self.assertEnded()

    def test_the_first_head_has_its_time_from_accept(self) -> None:
        self.clock.advance(9)
        self.stream.receive(b"GET /a HT")
        self.clock.advance(1.1)
        self.assertIn(b"408 Request Timeout", self.stream.take())
        self.assertEqual([error.http_status for error in self.application.refused], [408])

    def test_a_later_head_has_its_time_from_its_first_byte(self) -> None:
        self.stream.receive(GET)
        self.answer()
        self.stream.take()
        self.clock.advance(70)
        self.stream.receive(b"GET /a")
        self.clock.advance(9)
        self.stream.receive(b" HTTP")
        self.assertEqual(self.stream.take(), b"")
        self.clock.advance(1.1)
        self.assertIn(b"408", self.stream.take())

    def test_an_idle_connection_is_closed_after_keepalive(self) -> None:
        self.stream.receive(GET)
        self.answer()
        self.clock.advance(74)
        self.assertTrue(self.stream.connected)
        self.clock.advance(2)
        self.assertNotIn(b"408", self.stream.take())
        self.assertEnded()

    def test_an_answer_may_take_any_time(self) -> None:
        self.stream.receive(GET)
        self.clock.advance(1e6)
        self.assertTrue(self.stream.connected)
        self.answer()
        self.assertIn(b"200 OK", self.stream.take())

    def test_a_silent_body_is_a_408(self) -> None:
        self.stream.receive(POST)
        self.clock.advance(59)
        self.stream.receive(b"0")
        self.clock.advance(59)
        self.assertEqual(self.stream.take(), b"")
        self.clock.advance(2)
        self.assertIn(b"408", self.stream.take())
        [error] = self.request.gone
        assert error is not None
        self.assertEqual(error.http_status, 408)

    def test_a_body_that_we_do_not_read_is_not_silent(self) -> None:
        self.stream.receive(POST)
        self.connection.pause_reading()
        self.clock.advance(1000)
        self.connection.resume_reading()
        self.clock.advance(59)
        self.assertEqual(self.request.gone, [])

    def test_a_client_that_waits_for_a_100_is_as_silent(self) -> None:
        """It should not wait without end (RFC 9110 section 10.1.1); some origins never send any."""
        self.stream.receive(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        self.clock.advance(59)
        self.connection.send_head(ResponseHead(status=100, reason=b"Continue"))
        self.assertEqual(self.stream.take(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.clock.advance(59)
        self.assertEqual(self.request.gone, [])
        self.clock.advance(2)
        self.assertEqual(len(self.request.gone), 1)
        self.setUp()
        self.stream.receive(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        self.clock.advance(61)
        self.assertIn(b"408 Request Timeout", self.stream.take())

    def test_a_client_that_reads_slowly_is_not_idle(self) -> None:
        self.stream.receive(GET)
        self.stream.full = True
        self.answer()
        self.clock.advance(1000)
        self.assertTrue(self.stream.connected)
        self.stream.full = False
        self.clock.advance(76)
        self.assertEnded()

    def test_one_timer_serves_a_connection(self) -> None:
        for _ in range(5):
            self.stream.receive(GET)
            self.answer()
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
