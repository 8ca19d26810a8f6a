"""Tests of one request through one upstream, in memory: the whole path of a reverse proxy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.http.upload import HELD_MAX
from lanrelay.listeners.reverse_proxy import ReverseProxyService
from lanrelay.observe.session import Session
from lanrelay.upstream.dial import Dialed
from tests.support.listening import Surroundings, accept
from tests.support.memory import MemoryStream

GET = b"GET /a?secret=1 HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
POST = b"POST /a HTTP/1.1\r\nHost: localhost:8080\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: localhost:8080\r\nTransfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: localhost:8080\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def http_upstreams(*names: str, **keys: Any) -> model.Upstreams:
    members = tuple(
        model.Upstream(url=model.UpstreamUrl(scheme="http", host=name, port=80)) for name in names
    )
    return model.Upstreams(members=members, **keys)


class ExchangeTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.writes: list[tuple[MemoryStream, bytes]] = []
        self.serve()

    def serve(self, *names: str, retry: model.Retry | None = None, **keys: Any) -> None:
        """Begin anew with these keys of the listener."""
        self.around = Surroundings()
        self.clock: Clock = self.around.clock
        upstreams = http_upstreams(*(names or ("nas.lan",)), retry=retry or model.Retry())
        keys.setdefault("routes", (model.Route(upstreams=upstreams),))
        config = model.ReverseProxy(name="web", listen=(model.LocalhostAddress(port=8080),), **keys)
        self.service = ReverseProxyService(self.around.environment, config)
        self.client = accept(self.service)

    def dialed(self) -> MemoryStream:
        """The relay has connected to its upstream."""
        return self.around.dialer.answer("192.0.2.1:80")

    def looked_for_tls(self) -> None:
        """The connection that finds out whether the port speaks TLS is asked for nothing else, and ends."""
        looking = self.dialed()
        self.assertEqual(looking.take()[:2], b"\x16\x03")
        looking.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertTrue(looking.aborted)

    def asked(self, request: bytes) -> MemoryStream:
        """The client has sent C{request}, and the relay has connected."""
        self.client.receive(request)
        return self.dialed()

    @property
    def session(self) -> Session:
        """The one that closed last."""
        return self.around.closed[-1]

    def assertAllOver(self) -> None:
        """Nothing is open: no session, no connection, no timer."""
        self.assertEqual(len(self.around.ledger), 0)
        self.assertEqual(self.service.open_connections, 0)
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StreamingTests(ExchangeTestCase):
    def test_a_request_and_its_answer(self) -> None:
        origin = self.asked(GET)
        sent = origin.take()
        self.assertTrue(
            sent.startswith(b"GET /a?secret=1 HTTP/1.1\r\nHost: nas.lan\r\nVia: 1.1 lanrelay-web-")
        )
        origin.receive(OK)
        answer = self.client.take()
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\nVia: 1.1 "))
        self.assertTrue(answer.endswith(b"\r\n\r\nok"))

    def test_the_session_tells_the_whole_story(self) -> None:
        self.client.receive(POST + b"0123456789")
        self.clock.advance(0.25)
        origin = self.dialed()
        self.clock.advance(0.5)
        origin.receive(OK)
        session = self.session
        self.assertEqual(
            (session.listener, session.kind, session.method, session.path, session.status),
            ("web", "reverse-proxy", "POST", "/a", 200),
        )
        self.assertEqual((session.target, session.address), ("http://nas.lan", "192.0.2.1:80"))
        self.assertEqual((session.dialed, session.first_byte, session.tries), (0.25, 0.75, 1))
        self.assertEqual((session.received, session.sent), (10, 2))
        self.assertEqual((session.phase, session.ended_by, session.error), ("done", "upstream", ""))

    def test_the_query_stays_out_of_the_session(self) -> None:
        self.asked(GET).receive(OK)
        self.assertEqual(self.session.path, "/a")

    def test_each_part_goes_down_the_moment_it_comes(self) -> None:
        origin = self.asked(GET)
        origin.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.assertIn(b"200 OK", self.client.take())
        origin.receive(b"3\r\none\r\n")
        self.assertEqual(self.client.take(), b"3\r\none\r\n")
        origin.receive(b"3\r\ntwo\r\n0\r\nX-Sum: 1\r\n\r\n")
        self.assertEqual(self.client.take(), b"3\r\ntwo\r\n0\r\nX-Sum: 1\r\n\r\n")

    def test_each_part_goes_up_the_moment_it_comes(self) -> None:
        origin = self.asked(CHUNKED)
        self.assertIn(b"Transfer-Encoding: chunked\r\n", origin.take())
        self.client.receive(b"3\r\none\r\n")
        self.assertEqual(origin.take(), b"3\r\none\r\n")
        self.client.receive(b"0\r\n\r\n")
        self.assertEqual(origin.take(), b"0\r\n\r\n")

    def test_what_comes_during_the_dial_is_held_and_bounded(self) -> None:
        self.client.receive(CHUNKED + b"%x\r\n" % (4 * HELD_MAX))
        self.client.receive(b"x" * HELD_MAX)
        self.assertFalse(self.client.reading)
        self.client.receive(b"y" * HELD_MAX)
        origin = self.dialed()
        self.assertTrue(self.client.reading)
        _, first, second = origin.take().split(b"%x\r\n" % HELD_MAX)
        self.assertEqual((first, second), (b"x" * HELD_MAX + b"\r\n", b"y" * HELD_MAX + b"\r\n"))

    def test_what_was_held_goes_to_an_origin_that_does_not_read_and_no_more(self) -> None:
        self.client.receive(CHUNKED + b"%x\r\n" % (4 * HELD_MAX) + b"x" * HELD_MAX)
        self.client.receive(b"y" * HELD_MAX)
        origin = MemoryStream()
        origin.full = True
        self.around.dialer.pending.pop(0).callback(Dialed(stream=origin, address="192.0.2.1:80"))
        self.assertFalse(self.client.reading)
        self.assertNotIn(b"y" * HELD_MAX, origin.buffer)
        origin.full = False
        self.assertTrue(self.client.reading)
        self.assertIn(b"y" * HELD_MAX, origin.take())

    def test_the_end_of_an_upload_that_came_while_it_was_held_is_sent_once(self) -> None:
        self.client.receive(CHUNKED + b"%x\r\n" % HELD_MAX + b"x" * HELD_MAX)
        self.client.receive(b"\r\n0\r\n\r\n")
        origin = self.dialed()
        self.assertTrue(origin.take().endswith(b"x\r\n0\r\n\r\n"))

    def test_a_small_post_leaves_its_client_heard_during_the_dial(self) -> None:
        self.client.receive(POST + b"0123456789")
        self.assertTrue(self.client.reading)
        self.client.receive_eof()
        self.assertEqual(self.around.dialer.cancelled, 1)
        self.assertEqual((self.session.ended_by, self.session.phase), ("downstream", "dial"))
        self.assertAllOver()

    def test_an_answer_before_the_end_of_the_upload_reaches_the_client(self) -> None:
        origin = self.asked(POST + b"01")
        origin.receive(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        answer = self.client.take()
        self.assertIn(b"413 Content Too Large", answer)
        self.assertIn(b"Connection: close", answer)
        self.assertTrue(origin.aborted)
        self.client.receive(b"23456789")
        self.assertTrue(self.client.connected)

    def test_pipelined_requests_share_one_origin_connection(self) -> None:
        origin = self.asked(GET + HEAD)
        self.assertEqual(origin.take().count(b"HTTP/1.1"), 1)
        origin.receive(OK)
        self.assertTrue(origin.take().startswith(b"HEAD /a?secret=1 HTTP/1.1\r\n"))
        self.assertEqual(len(self.around.dialer.asked), 1)

    def test_what_came_together_leaves_together(self) -> None:
        """A head and its content in one packet, either way; each write is a system call."""
        origin = self.asked(POST + b"0123456789")
        for stream in (origin, self.client):
            self.patch(stream, "write", partial(self.noted, stream, stream.write))
        self.assertTrue(origin.take().endswith(b"0123456789"))
        origin.receive(OK)
        self.client.receive(POST + b"0123456789")
        origin.receive(OK)
        self.assertEqual([each for each, _ in self.writes], [self.client, origin, self.client])

    def noted(self, stream: MemoryStream, write: Callable[[bytes], None], data: bytes) -> None:
        self.writes.append((stream, data))
        write(data)

    def test_a_head_request_has_no_body(self) -> None:
        origin = self.asked(HEAD)
        origin.receive(OK[:-2])
        self.assertIn(b"Content-Length: 2\r\n", self.client.take())
        self.client.receive(GET)
        self.assertIn(b"GET ", origin.take())

    def test_what_comes_after_an_answer_without_content_is_no_answer(self) -> None:
        """Some origins send the content that there cannot be: at once, or a moment later."""
        for together in (True, False):
            for request, status in ((HEAD, b"200 OK"), (GET, b"204 No"), (GET, b"304 No")):
                self.serve()
                origin = self.asked(request)
                answer = OK[:-2].replace(b"200 OK", status)
                parts = (answer + OK,) if together else (answer, OK)
                for part in parts:
                    origin.receive(part)
                self.assertFalse(origin.connected)
                self.client.take()
                self.client.receive(GET)
                self.dialed().receive(OK)
                self.assertTrue(self.client.take().endswith(b"\r\n\r\nok"))

    def test_204_and_304_have_no_body(self) -> None:
        for status in (b"204 No Content", b"304 Not Modified"):
            self.serve()
            origin = self.asked(GET)
            origin.receive(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n")
            answer = self.client.take()
            self.assertIn(b"ETag: x\r\n", answer)
            self.assertNotIn(b"chunked", answer)
            self.client.receive(GET)
            self.assertIn(b"GET ", origin.take())

    def test_a_body_that_ends_with_the_connection_is_chunked_for_the_client(self) -> None:
        origin = self.asked(GET)
        origin.receive(b"HTTP/1.0 200 OK\r\n\r\nold")
        origin.receive_eof()
        answer = self.client.take()
        self.assertIn(b"Transfer-Encoding: chunked\r\n", answer)
        self.assertTrue(answer.endswith(b"3\r\nold\r\n0\r\n\r\n"))
        self.assertTrue(self.client.connected)

    def test_an_old_client_gets_no_chunks_and_no_interim_heads(self) -> None:
        origin = self.asked(b"GET /a HTTP/1.0\r\n\r\n")
        self.assertIn(b"HTTP/1.1\r\nHost: nas.lan\r\n", origin.take())
        origin.receive(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        origin.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        answer = self.client.take()
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertTrue(answer.endswith(b"\r\n\r\nok"))
        self.assertTrue(self.client.closed)

    def test_expect_100_continue_is_passed_on(self) -> None:
        origin = self.asked(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        self.assertIn(b"Expect: 100-continue\r\n", origin.take())
        origin.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertTrue(self.client.take().startswith(b"HTTP/1.1 100 Continue\r\n"))
        self.client.receive(b"0123456789")
        self.assertEqual(origin.take(), b"0123456789")
        origin.receive(OK)
        self.assertIn(b"200 OK", self.client.take())

    def test_an_expectation_that_is_refused_needs_no_body(self) -> None:
        origin = self.asked(POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        origin.receive(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        self.assertIn(b"401 Unauthorized", self.client.take())


class PiecesTests(ExchangeTestCase):
    """Whatever the pieces in which both sides send, the same comes out."""

    REQUEST = CHUNKED + b"3\r\none\r\n2\r\ntw\r\n0\r\nX-Sum: 5\r\n\r\n"
    ANSWER = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
        + DATE
        + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\nX-End: 1\r\n\r\n"
    )

    def travelled(self, request: list[bytes], answer: list[bytes]) -> tuple[bytes, bytes]:
        """What reached the origin, and what the client."""
        self.serve()
        for piece in request:
            self.client.receive(piece)
        origin = self.dialed()
        for piece in answer:
            origin.receive(piece)
        sent, received = origin.take(), self.client.take()
        self.assertEqual((self.session.received, self.session.sent), (5, 3))
        via = next(line for line in sent.split(b"\r\n") if line.startswith(b"Via: ")) + b"\r\n"
        return unchunked(sent.replace(via, b"")), unchunked(received.replace(via, b""))

    def test_split_at_every_position_and_one_by_one(self) -> None:
        request, answer = self.REQUEST, self.ANSWER
        expected = self.travelled([request], [answer])
        self.assertTrue(expected[0].endswith(b"onetw X-Sum: 5"), expected)
        self.assertTrue(expected[1].endswith(b"one X-End: 1"), expected)
        for at in range(1, len(request)):
            self.assertEqual(self.travelled([request[:at], request[at:]], [answer]), expected)
        for at in range(1, len(answer)):
            self.assertEqual(self.travelled([request], [answer[:at], answer[at:]]), expected)
        single = self.travelled(
            [request[at : at + 1] for at in range(len(request))],
            [answer[at : at + 1] for at in range(len(answer))],
        )
        self.assertEqual(single, expected)


def unchunked(message: bytes) -> bytes:
    """A message of this module's tests with its chunks joined, for their sizes may differ."""
    head, _, body = message.partition(b"chunked\r\n\r\n")
    content = b""
    while (size := int(body[: body.index(b"\r\n")], 16)) > 0:
        start = body.index(b"\r\n") + 2
        content += body[start : start + size]
        body = body[start + size + 2 :]
    return head + content + b" " + body.removeprefix(b"0\r\n").strip()


class BackpressureTests(ExchangeTestCase):
    def test_a_client_that_does_not_read_pauses_the_origin(self) -> None:
        origin = self.asked(GET)
        self.client.full = True
        origin.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        self.assertFalse(origin.reading)
        origin.receive(b"x" * 500)
        self.assertNotIn(b"x", bytes(self.client.buffer))
        self.client.full = False
        self.assertTrue(origin.reading)
        self.assertIn(b"x" * 500, self.client.take())

    def test_a_client_that_does_not_read_during_the_dial_pauses_the_origin(self) -> None:
        self.client.receive(GET)
        self.client.producer.pauseProducing()
        origin = self.dialed()
        origin.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
        self.assertFalse(origin.reading)
        self.assertEqual(self.client.take(), b"")
        self.client.producer.resumeProducing()
        self.assertIn(b"x" * 500, self.client.take())

    def test_an_origin_that_does_not_read_pauses_the_client(self) -> None:
        origin = self.asked(POST + b"0")
        origin.take()
        origin.full = True
        self.client.receive(b"1")
        self.assertFalse(self.client.reading)
        self.client.receive(b"2")
        self.assertEqual(bytes(origin.buffer), b"1")
        origin.full = False
        self.assertTrue(self.client.reading)
        self.assertEqual(origin.take(), b"12")

    def test_a_client_that_pipelines_and_does_not_read_causes_no_further_dial(self) -> None:
        self.client.receive(GET + GET)
        first = self.dialed()
        self.client.full = True
        first.receive(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        self.assertEqual(len(self.around.dialer.pending), 0)
        self.client.full = False
        self.assertEqual(len(self.around.dialer.pending), 1)


class UpgradeTests(ExchangeTestCase):
    def test_an_upgrade_becomes_a_tunnel(self) -> None:
        origin = self.asked(UPGRADE)
        sent = origin.take()
        self.assertIn(b"Connection: upgrade\r\nUpgrade: websocket\r\n", sent)
        self.client.receive(b"early")
        origin.receive(SWITCH + b"hello")
        self.assertEqual(origin.take(), b"early")
        answer = self.client.take()
        self.assertIn(b"Connection: upgrade\r\nUpgrade: websocket\r\n", answer)
        self.assertTrue(answer.endswith(b"\r\n\r\nhello"))
        [upstream] = self.service.groups[0].members
        self.assertEqual(upstream.open, 1)
        self.client.receive(b"ping")
        origin.receive(b"pong")
        self.assertEqual((origin.take(), self.client.take()), (b"ping", b"pong"))
        origin.receive_eof()
        self.client.receive_eof()
        self.assertEqual((self.session.status, self.session.phase), (101, "done"))
        self.assertEqual((self.session.received, self.session.sent), (9, 9))
        self.assertEqual(upstream.open, 0)
        self.assertAllOver()

    def test_a_refused_upgrade_is_an_ordinary_answer_and_the_last_of_its_origin_connection(self) -> None:
        origin = self.asked(UPGRADE)
        origin.receive(OK)
        self.assertIn(b"200 OK", self.client.take())
        self.assertTrue(origin.closed)
        self.client.receive(GET)
        self.assertIn(b"GET /a", self.dialed().take())

    def test_a_switch_that_was_not_asked_for_is_a_502(self) -> None:
        origin = self.asked(GET)
        origin.receive(SWITCH)
        self.assertIn(b"502 Bad Gateway", self.client.take())
        self.assertTrue(origin.aborted)

    def test_content_goes_on_without_its_upgrade(self) -> None:
        request = UPGRADE.replace(b"\r\n\r\n", b"\r\nContent-Length: 10\r\n\r\n")
        origin = self.asked(request + b"0123456789")
        sent = origin.take()
        self.assertNotIn(b"pgrade", sent)
        self.assertTrue(sent.endswith(b"\r\n\r\n0123456789"))
        origin.receive(SWITCH)
        self.assertIn(b"502 Bad Gateway", self.client.take())

    def test_h2c_is_never_offered(self) -> None:
        origin = self.asked(UPGRADE.replace(b"websocket", b"h2c"))
        self.assertNotIn(b"pgrade", origin.take())

    def test_silence_on_an_upgraded_connection_is_limited_by_stream(self) -> None:
        self.serve(timeouts=model.Timeouts(stream=30))
        origin = self.asked(UPGRADE)
        origin.receive(SWITCH)
        self.clock.advance(31)
        self.assertTrue(self.client.aborted)
        self.assertTrue(origin.aborted)
