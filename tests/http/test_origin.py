"""Tests of a connection to an origin, in memory."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.errors import (
    RelayError,
    ResponseIncomplete,
    ResponseMalformed,
    ResponseTimeout,
    StreamError,
    StreamTimeout,
    TlsTruncated,
)
from lanrelay.http.origin import OriginConnection
from lanrelay.transport.stream import hand_over
from lanrelay.wire.events import RequestHead, ResponseHead
from lanrelay.wire.headers import Headers
from tests.support.memory import MemoryStream

GET = RequestHead(method=b"GET", target=b"/", headers=Headers([(b"Host", b"origin")]))
POST = RequestHead(
    method=b"POST", target=b"/", headers=Headers([(b"Host", b"origin"), (b"Content-Length", b"4")])
)
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Receiver:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.heads: list[ResponseHead] = []
        self.body = b""
        self.ended = 0
        self.error: RelayError | None = None
        self.upload_paused = False
        self.corks = 0
        self.keeps = True
        self.kept: list[OriginConnection] = []

    def response_head_received(self, head: ResponseHead) -> None:
        self.heads.append(head)

    def response_body_received(self, data: bytes) -> None:
        self.body += data

    def response_ended(self, trailers: Headers) -> None:
        self.ended += 1

    def response_received(self, head: ResponseHead, content: bytes, trailers: Headers) -> None:
        self.response_head_received(head)
        self.response_body_received(content)
        self.response_ended(trailers)

    def origin_failed(self, error: RelayError) -> None:
        assert self.error is None
        self.error = error

    def keep(self, origin: OriginConnection) -> bool:
        self.kept.append(origin)
        return self.keeps

    def pause_upload(self) -> None:
        self.upload_paused = True

    def resume_upload(self) -> None:
        self.upload_paused = False

    def cork(self) -> None:
        self.corks += 1

    def uncork(self) -> None:
        self.corks -= 1


class Home:
    """A pool that takes everything."""

    def __init__(self) -> None:
        self.idle: list[OriginConnection] = []
        self.ended_ones: list[OriginConnection] = []
        self.wanted = True

    def put(self, connection: OriginConnection) -> bool:
        if self.wanted:
            self.idle.append(connection)
        return self.wanted

    def ended(self, connection: OriginConnection) -> None:
        self.ended_ones.append(connection)


class OriginTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.home = Home()
        self.receiver = Receiver()
        self.open()

    def open(self, **timeouts: float) -> None:
        self.stream = MemoryStream()
        self.stream.pauseProducing()
        self.origin = OriginConnection(self.clock, model.Timeouts(**timeouts), home=self.home)
        hand_over(self.stream, self.origin)

    def get(self) -> None:
        self.origin.start(GET, self.receiver, whole=True)

    def assertOver(self) -> None:
        """The connection is closed, said so once, and left nothing behind."""
        self.assertFalse(self.stream.connected)
        self.assertEqual(self.home.ended_ones, [self.origin])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class OriginTests(OriginTestCase):
    def test_a_request_goes_out_and_its_answer_comes_back(self) -> None:
        self.get()
        self.assertEqual(self.stream.take(), b"GET / HTTP/1.1\r\nHost: origin\r\n\r\n")
        self.stream.receive(WHOLE)
        self.assertEqual([head.status for head in self.receiver.heads], [200])
        self.assertEqual((self.receiver.body, self.receiver.ended), (b"ok", 1))
        self.assertEqual(self.receiver.corks, 0)

    def test_a_complete_exchange_takes_it_home_before_the_receiver_hears_of_the_end(self) -> None:
        seen: list[int] = []
        self.receiver.response_ended = lambda trailers: seen.append(  # type: ignore[method-assign]
            len(self.home.idle)
        )
        self.get()
        self.stream.receive(WHOLE)
        self.assertEqual(seen, [1])
        self.assertTrue(self.stream.connected)

    def test_it_serves_one_request_after_another(self) -> None:
        for reused in (False, True, True):
            self.get()
            self.assertEqual(self.origin.reused, reused)
            self.stream.receive(WHOLE)
        self.assertEqual(self.receiver.ended, 3)

    def test_one_that_is_not_wanted_at_home_closes(self) -> None:
        self.home.wanted = False
        self.get()
        self.stream.receive(WHOLE)
        self.assertFalse(self.stream.aborted)
        self.assertOver()

    def test_one_on_which_somebody_may_be_logged_in_never_goes_home(self) -> None:
        login = RequestHead(
            method=b"GET",
            target=b"/",
            headers=Headers([(b"Host", b"o"), (b"Authorization", b"negotiate YII")]),
        )
        challenge = WHOLE.replace(b"200 OK", b"401 No").replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n")
        for head, answer in (
            (login, WHOLE),
            (GET, challenge % b"WWW-Authenticate: NTLM"),
            (GET, challenge % b"WWW-Authenticate: Basic realm=x\r\nWWW-Authenticate: Bearer, NEGOTIATE"),
        ):
            for keeps in (True, False):
                self.open()
                self.receiver = Receiver()
                self.receiver.keeps = keeps
                self.origin.start(head, self.receiver, whole=True)
                self.stream.receive(answer)
                self.assertEqual((self.origin.kept, self.stream.connected), (keeps, keeps))
                if keeps:
                    self.assertEqual(self.receiver.kept, [self.origin])
                    self.get()
                    self.stream.receive(WHOLE)  # from now on that is so
                    self.assertEqual((self.receiver.kept, self.receiver.ended), ([self.origin] * 2, 2))
        self.assertEqual(self.home.idle, [])

    def test_other_schemes_log_in_requests(self) -> None:
        for scheme in (b"Basic x", b"Bearer ntlm", b"Digest x", b"AWS4-HMAC-SHA256 Credential=negotiate"):
            headers = Headers([(b"Host", b"o"), (b"Authorization", scheme)])
            self.open()
            self.origin.start(RequestHead(method=b"GET", target=b"/", headers=headers), self.receiver)
            self.origin.end_request()
            self.stream.receive(WHOLE)
        self.assertEqual(len(self.home.idle), 4)

    def test_connection_close_is_heeded(self) -> None:
        self.get()
        self.stream.receive(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.receiver.ended, 1)
        self.assertEqual(self.home.idle, [])
        self.assertOver()

    def test_bytes_after_a_complete_response_poison_the_connection(self) -> None:
        self.get()
        self.stream.receive(WHOLE + b"HTTP/1.1 200 OK\r\n")
        self.assertEqual(self.receiver.ended, 1)
        self.assertEqual(self.home.idle, [])
        self.assertOver()

    def test_bytes_while_nothing_was_asked_end_it(self) -> None:
        self.get()
        self.stream.receive(WHOLE)
        self.stream.receive(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        self.assertTrue(self.stream.aborted)
        self.assertOver()

    def test_an_end_while_nothing_was_asked_takes_it_from_the_pool(self) -> None:
        self.get()
        self.stream.receive(WHOLE)
        self.stream.receive_eof()
        self.assertEqual(self.receiver.error, None)
        self.assertOver()

    def test_an_end_leaves_the_pool_at_once_though_its_close_takes_long(self) -> None:
        self.open(close=5)
        self.get()
        self.stream.receive(WHOLE)
        self.stream.loseConnection = lambda: None  # type: ignore[method-assign]
        self.stream.receive_eof()
        self.assertEqual(self.home.ended_ones, [self.origin])
        self.assertTrue(self.stream.connected)
        self.clock.advance(5.1)
        self.assertTrue(self.stream.aborted)
        self.assertOver()

    def test_an_upload_that_is_not_read_does_not_hold_the_end_back(self) -> None:
        self.origin.start(POST, self.receiver)
        self.stream.full = True
        self.origin.send_body(b"half")
        self.stream.receive(b"HTTP/1.1 200 OK\r\n\r\nsome")
        self.stream.receive_eof()
        self.assertEqual((self.receiver.body, self.receiver.ended), (b"some", 1))
        self.assertOver()

    def test_a_missing_close_notify_after_a_complete_response_is_harmless(self) -> None:
        self.get()
        self.stream.receive(WHOLE)
        self.stream.lose(TlsTruncated())
        self.assertEqual((self.receiver.ended, self.receiver.error), (1, None))

    def test_the_end_of_the_connection_ends_a_body_without_length(self) -> None:
        self.get()
        self.stream.receive(b"HTTP/1.1 200 OK\r\n\r\nsome")
        self.assertEqual(self.receiver.ended, 0)
        self.stream.receive_eof()
        self.assertEqual((self.receiver.body, self.receiver.ended), (b"some", 1))
        self.assertOver()

    def test_a_missing_close_notify_at_the_end_of_a_body_without_length_is_a_cut(self) -> None:
        self.get()
        self.stream.receive(b"HTTP/1.1 200 OK\r\n\r\nsome")
        self.stream.lose(TlsTruncated())
        self.assertEqual(self.receiver.ended, 0)
        self.assertIsInstance(self.receiver.error, TlsTruncated)
        self.assertOver()

    def test_a_reset_at_the_end_of_a_body_without_length_is_a_cut(self) -> None:
        self.get()
        self.stream.receive(b"HTTP/1.1 200 OK\r\n\r\nsome")
        self.stream.lose()
        self.assertIsInstance(self.receiver.error, ResponseIncomplete)

    def test_an_end_inside_a_body_of_known_length_is_a_cut(self) -> None:
        self.get()
        self.stream.receive(WHOLE[:-1])
        self.stream.receive_eof()
        self.assertIsInstance(self.receiver.error, ResponseIncomplete)
        self.assertTrue(self.origin.answered)
        self.assertOver()

    def test_an_end_before_the_first_byte_says_so(self) -> None:
        self.get()
        self.stream.receive_eof()
        self.assertIsInstance(self.receiver.error, StreamError)
        self.assertTrue(self.origin.sent)
        self.assertFalse(self.origin.answered)
        self.assertOver()

    def test_what_was_lost_before_the_request_sent_nothing(self) -> None:
        self.stream.lose(ConnectionDone())
        self.get()
        self.assertIsInstance(self.receiver.error, StreamError)
        self.assertFalse(self.origin.sent)

    def test_what_is_no_http_is_malformed(self) -> None:
        self.get()
        self.stream.receive(b"SSH-2.0-OpenSSH_9.6\r\n")
        self.assertIsInstance(self.receiver.error, ResponseMalformed)
        self.assertTrue(self.stream.aborted)
        self.assertOver()

    def test_an_abort_resets_and_tells_nobody(self) -> None:
        self.get()
        self.origin.abort()
        self.assertTrue(self.stream.aborted)
        self.assertIsNone(self.receiver.error)
        self.assertOver()

    def test_a_body_goes_out_in_parts(self) -> None:
        self.origin.start(POST, self.receiver)
        self.origin.send_body(b"01")
        self.origin.send_body(b"23")
        self.origin.end_request()
        self.assertTrue(self.stream.take().endswith(b"\r\n\r\n0123"))
        self.stream.receive(WHOLE)
        self.assertEqual(self.home.idle, [self.origin])

    def test_an_answer_before_the_end_of_the_request_ends_the_connection(self) -> None:
        self.origin.start(POST, self.receiver)
        self.origin.send_body(b"01")
        self.stream.receive(WHOLE)
        self.assertEqual((self.receiver.ended, self.home.idle), (1, []))
        self.assertTrue(self.stream.aborted)
        self.origin.send_body(b"23")  # harmless: the exchange may not know yet
        self.assertOver()

    def test_an_origin_that_does_not_read_pauses_the_upload(self) -> None:
        self.origin.start(POST, self.receiver)
        self.stream.full = True
        self.origin.send_body(b"01")
        self.assertTrue(self.receiver.upload_paused)
        self.stream.full = False
        self.assertFalse(self.receiver.upload_paused)

    def test_the_receiver_holds_the_response_back(self) -> None:
        self.get()
        self.origin.pause_reading()
        self.stream.receive(WHOLE)
        self.assertFalse(self.stream.reading)
        self.assertEqual(self.receiver.heads, [])
        self.origin.resume_reading()
        self.assertEqual(self.receiver.ended, 1)

    def test_one_that_was_paused_reads_again_in_the_pool(self) -> None:
        self.get()
        self.receiver.response_head_received = lambda head: (  # type: ignore[method-assign]
            self.origin.pause_reading()
        )
        self.stream.receive(b"HTTP/1.1 103 Early Hints\r\n\r\n" + WHOLE)
        self.assertEqual(self.home.idle, [self.origin])
        self.assertTrue(self.stream.reading)

    def test_a_head_waits_for_content_that_is_at_hand(self) -> None:
        self.origin.start(POST, self.receiver, content_follows=True)
        self.assertEqual(self.stream.take(), b"")
        self.origin.send_body(b"abcd")
        self.assertEqual(
            self.stream.take(), b"POST / HTTP/1.1\r\nHost: origin\r\nContent-Length: 4\r\n\r\nabcd"
        )

    def test_who_has_heard_the_end_pauses_nothing(self) -> None:
        self.get()
        self.receiver.response_received = lambda *whole: (  # type: ignore[method-assign]
            self.origin.pause_reading()
        )
        self.stream.receive(WHOLE)
        self.assertEqual(self.home.idle, [self.origin])
        self.assertTrue(self.stream.reading)

    def test_a_protocol_switch_gives_the_stream_away(self) -> None:
        head = RequestHead(
            method=b"GET",
            target=b"/",
            headers=Headers([(b"Host", b"o"), (b"Connection", b"upgrade"), (b"Upgrade", b"websocket")]),
        )
        self.origin.start(head, self.receiver, whole=True)
        self.stream.receive(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nframe"
        )
        self.assertEqual(self.receiver.heads[0].status, 101)
        stream, unread = self.origin.take_over()
        self.assertIs(stream, self.stream)
        self.assertEqual(unread, b"frame")
        self.assertFalse(self.stream.reading)
        self.assertEqual(self.home.ended_ones, [])
        self.origin.released()
        self.assertEqual(self.home.ended_ones, [self.origin])

    def test_interim_heads_come_before_the_final_one(self) -> None:
        self.get()
        self.stream.receive(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + WHOLE)
        self.assertEqual([head.status for head in self.receiver.heads], [103, 200])


class TimeoutTests(OriginTestCase):
    def test_no_head_in_time_is_a_response_timeout(self) -> None:
        self.open(response=30)
        self.origin.start(POST, self.receiver)
        self.clock.advance(100)  # the request is not whole: nothing runs
        self.origin.send_body(b"0123")
        self.origin.end_request()
        self.clock.advance(29)
        self.assertIsNone(self.receiver.error)
        self.clock.advance(2)
        self.assertIsInstance(self.receiver.error, ResponseTimeout)
        self.assertOver()

    def test_a_head_ends_the_response_timeout(self) -> None:
        self.open(response=30)
        self.get()
        self.stream.receive(WHOLE[:-1])
        self.clock.advance(100)
        self.assertIsNone(self.receiver.error)

    def test_silence_in_a_body_is_a_stream_timeout(self) -> None:
        self.open(stream=30)
        self.get()
        self.stream.receive(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(3):
            self.clock.advance(29)
            self.stream.receive(b"x")
        self.assertIsNone(self.receiver.error)
        self.clock.advance(31)
        self.assertIsInstance(self.receiver.error, StreamTimeout)
        self.assertOver()

    def test_a_body_that_we_do_not_read_is_not_silent(self) -> None:
        self.open(stream=30)
        self.get()
        self.stream.receive(b"HTTP/1.1 200 OK\r\n\r\n")
        self.origin.pause_reading()
        self.clock.advance(1000)
        self.origin.resume_reading()
        self.clock.advance(29)
        self.assertIsNone(self.receiver.error)

    def test_without_limits_there_is_no_timer(self) -> None:
        self.get()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.stream.receive(WHOLE)
        self.assertEqual(self.clock.getDelayedCalls(), [])
