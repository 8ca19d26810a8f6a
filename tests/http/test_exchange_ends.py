"""How exchanges end: answers that are cut, clients that leave, failures and timeouts."""

from __future__ import annotations

from lanrelay.config import model
from lanrelay.errors import CertificateExpired, ConnectionRefused, DialTimeout, TlsTruncated
from tests.http.test_exchange import CHUNKED, GET, OK, POST, ExchangeTestCase


class EndTests(ExchangeTestCase):
    def test_the_client_gone_aborts_the_origin_at_once(self) -> None:
        for leave in ("receive_eof", "lose"):
            self.serve()
            origin = self.asked(GET)
            getattr(self.client, leave)()
            self.assertTrue(origin.aborted)
            self.assertEqual((self.session.ended_by, self.session.error), ("downstream", ""))
            self.assertEqual(self.session.phase, "response")
            self.assertAllOver()

    def test_the_client_gone_inside_a_body_aborts_the_origin_at_once(self) -> None:
        origin = self.asked(GET)
        origin.receive(OK[:-1])
        self.client.lose()
        self.assertTrue(origin.aborted)
        self.assertEqual((self.session.ended_by, self.session.phase), ("downstream", "body"))
        self.assertAllOver()

    def test_an_answer_that_is_cut_looks_cut(self) -> None:
        for length in (b"Content-Length: 4", b"Transfer-Encoding: chunked", b"X: close-delimited"):
            self.serve()
            origin = self.asked(GET)
            origin.receive(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n")
            origin.lose()
            self.assertTrue(self.client.closed, length)
            self.assertFalse(self.client.take().endswith(b"0\r\n\r\n"), length)
            self.assertEqual((self.session.status, self.session.phase), (200, "body"))
            self.assertEqual(self.session.error, "http_response_incomplete")
            self.assertEqual(self.session.ended_by, "upstream")
            self.assertAllOver()

    def test_a_body_without_length_and_without_close_notify_is_cut(self) -> None:
        origin = self.asked(GET)
        origin.receive(b"HTTP/1.1 200 OK\r\n\r\nsome")
        origin.lose(TlsTruncated())
        self.assertTrue(self.client.closed)
        self.assertTrue(self.client.take().endswith(b"\r\n\r\n4\r\nsome\r\n"))  # and no last chunk

    def test_a_cut_answer_whose_end_is_that_of_the_connection_is_reset(self) -> None:
        origin = self.asked(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        origin.receive(b"HTTP/1.1 200 OK\r\n\r\nsome")
        origin.lose(TlsTruncated())
        self.assertTrue(self.client.aborted)

    def test_a_slow_client_gets_all_of_a_cut_answer(self) -> None:
        origin = self.asked(GET)
        self.client.full = True
        origin.receive(OK[:-1])
        origin.lose()
        self.assertFalse(self.client.closed)
        self.client.full = False
        self.assertTrue(self.client.take().endswith(b"\r\n\r\no"))
        self.assertTrue(self.client.closed)
        self.assertAllOver()

    def test_an_abort_of_the_listener_is_the_relays_doing(self) -> None:
        origin = self.asked(GET)
        self.service.abort()
        self.assertTrue(origin.aborted)
        self.assertEqual(self.session.ended_by, "relay")

    def test_a_fault_in_the_request_body_aborts_the_origin(self) -> None:
        origin = self.asked(CHUNKED)
        self.client.receive(b"zz\r\n")
        self.assertTrue(origin.aborted)
        self.assertIn(b"400 Bad Request", self.client.take())
        self.assertEqual((self.session.status, self.session.ended_by), (400, "downstream"))

    def test_a_stop_lets_the_answer_end(self) -> None:
        origin = self.asked(GET)
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        origin.receive(OK)
        self.assertIn(b"Connection: close\r\n", self.client.take())
        self.client.receive_eof()
        self.successResultOf(stopped)
        self.assertFalse(origin.connected)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FailureTests(ExchangeTestCase):
    def test_a_bug_with_an_answer_in_one_piece_ends_the_session(self) -> None:
        origin = self.asked(GET)
        self.service.routes[0].response_head = None  # type: ignore[method-assign, assignment]
        origin.receive(OK)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertIn(b"502 Bad Gateway", self.client.take())
        self.assertFalse(origin.connected)
        self.assertEqual(self.session.status, 502)
        self.client.lose()
        self.assertAllOver()

    def failing(self, error: Exception, request: bytes = GET) -> bytes:
        self.serve(retry=model.Retry(duration=0, backoff=0.1))
        self.client.receive(request)
        self.around.dialer.fail(error)
        return self.client.take()

    def test_the_reason_phrase_says_what_failed(self) -> None:
        dead = DialTimeout("no answer within 5 s", target="nas.lan:80")
        self.assertTrue(self.failing(dead).startswith(b"HTTP/1.1 504 No answer from nas.lan\r\n"))
        self.client.lose()
        self.serve()
        self.asked(GET).receive(b"220 ready\r\n")
        self.assertTrue(
            self.client.take().startswith(b"HTTP/1.1 502 Answer of nas.lan is not valid HTTP\r\n")
        )
        self.asked(POST + b"0123456789").lose()
        self.assertTrue(self.client.take().startswith(b"HTTP/1.1 502 Connection to nas.lan broke\r\n"))

    def test_no_connection_is_explained(self) -> None:
        for error, status, word in (
            (ConnectionRefused("refused", target="nas.lan:80"), b"502", b"connection_refused"),
            (DialTimeout("too late", target="nas.lan:80"), b"504", b"connection_timeout"),
            (CertificateExpired("expired"), b"502", b"tls_certificate_error"),
        ):
            answer = self.failing(error)
            self.assertTrue(answer.startswith(b"HTTP/1.1 " + status), answer)
            self.assertIn(b"Proxy-Status: lanrelay; error=" + word + b'; details="', answer)
            self.assertEqual((self.session.status, self.session.phase), (int(status), "dial"))
            self.assertEqual(self.session.error, word.decode())
            self.assertTrue(self.client.connected)

    def test_it_is_tried_again_while_retry_lasts(self) -> None:
        self.client.receive(POST + b"0123456789")
        self.around.dialer.fail(ConnectionRefused("refused"))
        self.assertEqual(self.client.take(), b"")
        self.clock.advance(0.2)
        origin = self.dialed()
        self.assertTrue(origin.take().endswith(b"0123456789"))
        origin.receive(OK)
        self.assertEqual((self.session.status, self.session.tries), (200, 2))

    def test_the_next_request_finds_the_connection_open(self) -> None:
        self.failing(ConnectionRefused("refused"))
        self.asked(GET).receive(OK)
        self.assertIn(b"200 OK", self.client.take())

    def test_a_failed_upload_is_answered_and_closed(self) -> None:
        answer = self.failing(ConnectionRefused("refused"), POST + b"01")
        self.assertIn(b"502 Bad Gateway", answer)
        self.assertIn(b"Connection: close", answer)
        self.assertTrue(self.client.half_closed)

    def test_an_answer_that_is_not_http_is_a_502(self) -> None:
        self.asked(GET).receive(b"SSH-2.0-OpenSSH\r\n")
        answer = self.client.take()
        self.assertIn(b"502 Bad Gateway", answer)
        self.assertIn(b"error=http_protocol_error", answer)

    def test_no_answer_in_time_is_a_504(self) -> None:
        self.serve(timeouts=model.Timeouts(response=30))
        origin = self.asked(GET)
        self.clock.advance(31)
        self.assertIn(b"error=http_response_timeout", self.client.take())
        self.assertEqual(self.session.status, 504)
        self.assertTrue(origin.aborted)

    def test_silence_inside_an_answer_cuts_it(self) -> None:
        self.serve(timeouts=model.Timeouts(stream=30))
        origin = self.asked(GET)
        origin.receive(OK[:-1])
        self.clock.advance(31)
        self.assertTrue(origin.aborted)
        self.assertTrue(self.client.closed)
        self.assertTrue(self.client.take().endswith(b"\r\n\r\no"))
        self.assertEqual(self.session.error, "connection_read_timeout")

    def test_too_long_a_body_is_refused_before_it_is_read(self) -> None:
        self.serve(max_body=9)
        self.client.receive(POST)
        self.assertIn(b"413 Content Too Large", self.client.take())
        self.assertEqual(self.around.dialer.asked, [])
        self.assertEqual((self.session.status, self.session.ended_by), (413, "downstream"))

    def test_too_long_a_body_of_unknown_length_is_refused_when_it_shows(self) -> None:
        self.serve(max_body=4)
        origin = self.asked(CHUNKED + b"4\r\n0123\r\n")
        self.assertTrue(origin.connected)
        self.client.receive(b"1\r\n4\r\n")
        self.assertIn(b"413 Content Too Large", self.client.take())
        self.assertTrue(origin.aborted)
