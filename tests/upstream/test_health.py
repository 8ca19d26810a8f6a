"""Background checks."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.errors import CheckFailed, ConnectionRefused, DialTimeout, HostRefused, LocalLimit, PeerClosed
from lanrelay.upstream.health import HealthCheck, request, status_of
from lanrelay.upstream.upstream import Upstream
from tests.support.dialing import FakeDialer, upstreams
from tests.support.memory import MemoryStream


class HealthCase(SynchronousTestCase):
    settings = model.Health(interval=15, down_interval=2, timeout=3, rise=1, fall=2)

    def setUp(self) -> None:
        self.clock = Clock()
        self.dialer = FakeDialer()
        self.chance = 0.0
        self.upstream = Upstream(
            self.clock,
            self.dialer,  # type: ignore[arg-type]
            upstreams("http://nas.lan").members[0],
            model.Timeouts(),
            self.settings,
        )
        self.check = HealthCheck(self.clock, self.upstream, self.settings, rng=lambda: self.chance)
        self.addCleanup(self.check.stop)

    def start(self) -> None:
        self.check.start()
        self.clock.advance(0)

    def refuse(self) -> None:
        self.dialer.fail(ConnectionRefused("refused"))


class ConnectTests(HealthCase):
    def test_the_first_check_comes_a_moment_after_the_start(self) -> None:
        self.chance = 1.0
        self.check.start()
        self.assertEqual(self.dialer.asked, [])
        self.clock.advance(0.5)
        self.assertEqual(self.dialer.asked, ["nas.lan:80"])
        self.assertEqual(self.dialer.limits[0]["connect_timeout"], 3)
        self.assertEqual(self.dialer.limits[0]["handshake_timeout"], 3)

    def test_one_that_two_have_started_ends_with_the_second_stop(self) -> None:
        self.check.start()
        self.check.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.check.stop()
        self.clock.advance(1)
        self.assertEqual(self.dialer.asked, ["nas.lan:80"])
        self.check.stop()
        self.assertEqual((self.dialer.cancelled, self.clock.getDelayedCalls()), (1, []))
        self.assertEqual(self.upstream.observers, [])

    def test_a_connection_is_enough(self) -> None:
        self.start()
        stream = self.dialer.answer()
        self.assertTrue(stream.closing)
        self.assertEqual(stream.take(), b"")
        self.assertTrue(self.upstream.up)

    def test_the_interval_is_counted_from_the_end(self) -> None:
        self.start()
        self.clock.advance(1)
        self.dialer.answer()
        self.clock.advance(14.9)
        self.assertEqual(len(self.dialer.asked), 1)
        self.clock.advance(0.2)
        self.assertEqual(len(self.dialer.asked), 2)

    def test_jitter_makes_an_interval_shorter(self) -> None:
        self.start()
        self.chance = 1.0
        self.dialer.answer()
        self.clock.advance(11.9)
        self.assertEqual(len(self.dialer.asked), 1)
        self.clock.advance(0.2)
        self.assertEqual(len(self.dialer.asked), 2)

    def test_the_first_check_has_the_word_at_once(self) -> None:
        self.start()
        self.assertEqual(self.upstream.state, "not known yet")
        self.refuse()
        self.assertEqual((self.upstream.state, self.upstream.up), ("down", False))
        self.clock.advance(2.1)
        self.dialer.answer()
        self.assertEqual(self.upstream.state, "up")

    def test_a_check_that_says_nothing_about_the_upstream_is_none(self) -> None:
        self.start()
        self.dialer.fail(LocalLimit("no descriptors"))
        self.assertEqual(self.upstream.state, "not known yet")
        self.clock.advance(15.1)
        self.refuse()
        self.assertEqual(self.upstream.state, "down")

    def test_the_first_check_says_that_it_is_up_whatever_dials_have_said(self) -> None:
        self.start()
        for _ in range(2):
            self.upstream.failed(ConnectionRefused())
        self.assertEqual(self.upstream.state, "down")
        self.dialer.answer()
        self.assertEqual(self.upstream.state, "up")

    def test_a_failure_is_looked_into_soon(self) -> None:
        self.start()
        self.dialer.answer()
        self.clock.advance(15.1)
        self.refuse()
        self.assertTrue(self.upstream.up)
        self.clock.advance(2.1)
        self.refuse()
        self.assertFalse(self.upstream.up)

    def test_back_within_one_down_interval(self) -> None:
        self.start()
        self.refuse()
        for _ in range(5):
            self.clock.advance(2.01)
            self.refuse()
        self.assertFalse(self.upstream.up)
        self.clock.advance(2.01)
        self.dialer.answer()
        self.assertTrue(self.upstream.up)
        self.clock.advance(14)
        self.assertEqual(self.dialer.pending, [])

    def test_failing_dials_make_the_next_check_come_sooner(self) -> None:
        self.start()
        self.dialer.answer()
        self.clock.advance(1)
        self.upstream.failed(ConnectionRefused())
        self.clock.advance(2.01)
        self.assertEqual(len(self.dialer.asked), 2)

    def test_many_failing_dials_do_not_put_it_off(self) -> None:
        self.start()
        self.dialer.answer()
        for _ in range(30):
            self.upstream.failed(ConnectionRefused())
            self.clock.advance(0.1)
        self.assertEqual(len(self.dialer.asked), 2)

    def test_stop_while_waiting(self) -> None:
        self.start()
        self.dialer.answer()
        self.check.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.upstream.failed(ConnectionRefused())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_in_a_check(self) -> None:
        self.start()
        self.check.stop()
        self.assertEqual((self.dialer.cancelled, self.clock.getDelayedCalls()), (1, []))
        self.assertIsNone(self.upstream.last_error)

    def test_it_can_be_started_again(self) -> None:
        self.start()
        self.check.stop()
        self.check.stop()
        self.start()
        self.check.start()
        self.assertEqual((len(self.dialer.asked), len(self.upstream.observers)), (2, 1))

    def test_a_bug_is_logged_and_does_not_end_the_checks(self) -> None:
        self.start()
        self.dialer.fail(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(15.1)
        self.assertEqual(len(self.dialer.asked), 2)


class GetTests(HealthCase):
    settings = model.Health(path="/health", interval=15, down_interval=2, timeout=3, rise=1, fall=1)

    def ask(self) -> MemoryStream:
        self.start()
        return self.dialer.answer("10.0.0.7:80")

    def test_the_request(self) -> None:
        stream = self.ask()
        self.assertEqual(
            stream.take(),
            b"GET /health HTTP/1.1\r\nHost: nas.lan\r\nUser-Agent: lanrelay\r\nAccept: */*\r\n"
            b"Connection: close\r\n\r\n",
        )
        self.assertTrue(stream.reading)

    def test_a_status_that_is_accepted(self) -> None:
        for status in (200, 204, 302, 399, 401, 405, 406):
            self.setUp()
            stream = self.ask()
            stream.receive(f"HTTP/1.1 {status} Whatever\r\nContent-Length: 5\r\n\r\nhello".encode())
            self.assertTrue(stream.aborted)
            self.assertTrue(self.upstream.up, status)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_a_status_that_is_not(self) -> None:
        for status in (400, 403, 404, 421, 500, 503):
            self.setUp()
            stream = self.ask()
            stream.receive(f"HTTP/1.0 {status}\r\n".encode())
            self.assertTrue(stream.aborted)
            self.assertFalse(self.upstream.up, status)
            error = self.upstream.last_error
            self.assertEqual(str(error), f"GET /health was answered with status {status}")
            self.assertEqual(isinstance(error, HostRefused), status == 421)
            self.assertEqual((error.target, error.address), ("nas.lan:80", "10.0.0.7:80"))  # type: ignore[union-attr]

    def test_the_host_of_the_route_is_what_it_is_asked_by(self) -> None:
        self.settings = self.settings._replace(host="localhost:8080")
        self.setUp()
        self.assertIn(b"\r\nHost: localhost:8080\r\n", self.ask().take())

    def test_byte_by_byte(self) -> None:
        stream = self.ask()
        for byte in b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r":
            stream.receive(bytes([byte]))
            self.assertFalse(stream.aborted)
        stream.receive(b"\n")
        self.assertTrue(stream.aborted)
        self.assertTrue(self.upstream.up)

    def test_no_answer(self) -> None:
        stream = self.ask()
        self.clock.advance(3.1)
        self.assertTrue(stream.aborted)
        self.assertIsInstance(self.upstream.last_error, CheckFailed)
        self.assertIn("no answer to GET /health within 3 s", str(self.upstream.last_error))

    def test_the_end_before_an_answer(self) -> None:
        self.ask().receive_eof()
        self.assertIsInstance(self.upstream.last_error, PeerClosed)

    def test_a_connection_that_breaks(self) -> None:
        self.ask().lose()
        self.assertIsInstance(self.upstream.last_error, PeerClosed)

    def test_a_large_answer_in_one_read(self) -> None:
        stream = self.ask()
        stream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(300000))
        self.assertIsNone(self.upstream.last_error)

    def test_something_that_is_no_http(self) -> None:
        for answer in (b"SSH-2.0-OpenSSH\r\n", b"HTTP/2 200\r\n", b"x" * 20000, b"HTTP/1.1 2", b"\n"):
            self.setUp()
            stream = self.ask()
            stream.receive(answer)
            if answer == b"HTTP/1.1 2":
                self.assertFalse(stream.aborted)
                stream.receive(b"x" * 2000)
            self.assertTrue(stream.aborted, answer)
            self.assertIsInstance(self.upstream.last_error, CheckFailed)

    def test_endless_interim_answers(self) -> None:
        stream = self.ask()
        for _ in range(2000):
            stream.receive(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        self.assertTrue(stream.aborted)
        self.assertIsInstance(self.upstream.last_error, CheckFailed)

    def test_a_connection_that_fails(self) -> None:
        self.start()
        self.dialer.fail(DialTimeout())
        self.assertIsInstance(self.upstream.last_error, DialTimeout)

    def test_stop_while_the_answer_is_awaited(self) -> None:
        stream = self.ask()
        self.check.stop()
        self.assertTrue(stream.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(self.upstream.last_error)


class TextTests(SynchronousTestCase):
    def test_a_path_cannot_break_out_of_its_line(self) -> None:
        self.assertIn(b"GET /a%20b%0D%0A%C3%BC?x=1 HTTP/1.1\r\n", request("/a b\r\nü?x=1", "nas.lan"))

    def test_status(self) -> None:
        table: list[tuple[bytes, Any]] = [
            (b"", None),
            (b"HTTP", None),
            (b"HTTP/1.1 200 OK\r\n", 200),
            (b"HTTP/1.0 404\n", 404),
            (b"HTTP/1.1 100 Continue\r\n\r\n", None),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oops\r\n", 500),
        ]
        for received, expected in table:
            self.assertEqual(status_of(received), expected, received)
        for wrong in (b"HTTQ", b"HTTP/1.1 20\r\n", b"HTTP/1.1 2000 x\r\n", b"HTTP/1.1  200\r\n", b"<html>"):
            self.assertRaises(CheckFailed, status_of, wrong)
