"""The reverse proxy of the real relay between a client and an origin that the test plays byte by byte."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.blocking import Peer
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay

GET = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def listen(port: int = 0) -> socket.socket:
    listening = socket.create_server(("127.0.0.1", port))
    listening.settimeout(PATIENCE)
    return listening


class ReverseProxyTestCase(TestCase):
    timeout = LIMIT
    keys: ClassVar[str] = ""

    def setUp(self) -> None:
        self.listening = listen()
        self.addCleanup(lambda: self.listening.close())
        self.relay = Relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: http://127.0.0.1:{self.listening.getsockname()[1]}
                health: off
                retry: {{for: 2s, backoff: 50ms}}
                {self.keys}
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def client(self) -> Peer:
        peer = Peer(socket.create_connection(("127.0.0.1", self.relay.port("web")), timeout=PATIENCE))
        self.addCleanup(peer.close)
        return peer

    def origin(self) -> Peer:
        """The connection that the relay makes next."""
        peer = Peer(self.listening.accept()[0])
        self.addCleanup(peer.close)
        return peer

    def pair(self, request: bytes = GET) -> tuple[Peer, Peer]:
        """A client that has sent C{request}, and the origin that has its head."""
        client = self.client().send(request)
        origin = self.origin()
        self.origin_head = origin.head()
        return client, origin


def in_thread(method: Any) -> Any:
    """The test blocks, so it runs beside the reactor."""

    def test(self: Any) -> Deferred[None]:
        return deferToThread(method, self)

    test.__name__ = method.__name__
    test.__doc__ = method.__doc__
    return test


class StreamingTests(ReverseProxyTestCase):
    @in_thread
    def test_parts_go_both_ways_at_once(self) -> None:
        client, origin = self.pair(POST)
        origin.send(CHUNKED)
        self.assertIn(b"200 OK", client.head())
        for word in (b"one", b"two", b"six"):
            part = b"3\r\n" + word + b"\r\n"
            client.send(part)
            self.assertEqual(origin.exactly(len(part)), part)
            origin.send(part)
            self.assertEqual(client.exactly(len(part)), part)
        client.send(b"0\r\n\r\n")
        self.assertEqual(origin.exactly(5), b"0\r\n\r\n")
        origin.send(b"0\r\nX-Sum: 9\r\n\r\n")
        self.assertEqual(client.exactly(15), b"0\r\nX-Sum: 9\r\n\r\n"[:15])

    @in_thread
    def test_connections_are_kept_on_both_sides(self) -> None:
        client, origin = self.pair()
        for _ in range(3):
            origin.send(OK)
            client.head()
            self.assertEqual(client.exactly(2), b"ok")
            client.send(GET)
            self.assertTrue(origin.head().startswith(b"GET /a HTTP/1.1\r\n"))

    @in_thread
    def test_pipelined_requests_are_answered_in_order(self) -> None:
        client, origin = self.pair(GET + GET.replace(b"/a", b"/b") + GET.replace(b"/a", b"/c"))
        heads = [self.origin_head]
        for number in range(3):
            self.assertTrue(origin.is_quiet())
            origin.send(OK.replace(b"ok", b"%02d" % number))
            if number < 2:
                heads.append(origin.head())
        self.assertEqual([head.split(b" ")[1] for head in heads], [b"/a", b"/b", b"/c"])
        for number in range(3):
            client.head()
            self.assertEqual(client.exactly(2), b"%02d" % number)

    @in_thread
    def test_an_http_1_0_client_gets_a_plain_body_and_the_end(self) -> None:
        client, origin = self.pair(b"GET /a HTTP/1.0\r\n\r\n")
        self.assertIn(b"GET /a HTTP/1.1\r\nHost: 127.0.0.1:", self.origin_head)
        origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + CHUNKED + b"2\r\nok\r\n0\r\n\r\n")
        self.assertTrue(client.rest().endswith(b"\r\n\r\nok"))

    @in_thread
    def test_a_client_waits_for_100_continue(self) -> None:
        head = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
        client, origin = self.pair(head)
        self.assertIn(b"Expect: 100-continue\r\n", self.origin_head)
        self.assertTrue(client.is_quiet())
        origin.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertTrue(client.head().startswith(b"HTTP/1.1 100 Continue\r\n"))
        client.send(b"2\r\nup\r\n0\r\n\r\n")
        self.assertEqual(origin.exactly(12), b"2\r\nup\r\n0\r\n\r\n")
        origin.send(OK)
        self.assertIn(b"200 OK", client.head())

    @in_thread
    def test_an_early_answer_reaches_a_client_that_goes_on_sending(self) -> None:
        """Its kernel must not throw the answer away because we closed while it was still sending."""
        client, origin = self.pair(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000000\r\n\r\n")
        origin.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        block = b"x" * 65536
        with contextlib.suppress(BrokenPipeError):
            for _ in range(300):
                client.send(block)
        self.assertIn(b"413 Content Too Large", client.head())
        self.assertEqual(client.rest(), b"no")

    @in_thread
    def test_an_upgrade_becomes_a_tunnel_with_half_close(self) -> None:
        client, origin = self.pair(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst"
        )
        origin.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
        self.assertEqual(origin.exactly(5), b"first")
        self.assertIn(b"Upgrade: echo\r\n", client.head())
        self.assertEqual(client.exactly(5), b"hello")
        client.send(b"last words")
        client.end()
        self.assertEqual(origin.rest(), b"last words")
        origin.send(b"and mine")
        origin.close()
        self.assertEqual(client.rest(), b"and mine")


class EndTests(ReverseProxyTestCase):
    @in_thread
    def test_a_reset_inside_a_body_breaks_the_answer(self) -> None:
        chunk = b"4\r\npart\r\n"
        for head, part in (
            (CHUNKED + chunk, chunk),
            (OK[:-1], b"o"),
            (b"HTTP/1.1 200 OK\r\n\r\npart", chunk),
        ):
            client, origin = self.pair()
            origin.send(head)
            client.head()
            self.assertEqual(client.exactly(len(part)), part)
            origin.reset()
            self.assertEqual(client.rest(), b"")  # neither a last chunk nor the rest of the length

    @in_thread
    def test_an_end_inside_a_body_breaks_the_answer_and_loses_none_of_it(self) -> None:
        for head, part in ((CHUNKED + b"4\r\npart\r\n", b"4\r\npart\r\n"), (OK[:-1], b"o")):
            client, origin = self.pair()
            origin.send(head)
            origin.close()
            client.head()
            self.assertEqual(client.rest(), part)

    @in_thread
    def test_a_cut_answer_to_a_client_of_1_0_is_reset(self) -> None:
        client, origin = self.pair(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        origin.send(CHUNKED + b"4\r\npart\r\n")
        client.head()
        self.assertEqual(client.exactly(4), b"part")
        origin.close()
        self.assertRaises(ConnectionResetError, client.rest)

    @in_thread
    def test_the_client_gone_is_noticed_by_the_origin(self) -> None:
        for leave in ("end", "close", "reset"):
            for started in (b"", CHUNKED):
                client, origin = self.pair()
                if started:
                    origin.send(started)
                    client.head()
                getattr(client, leave)()
                self.assertTrue(origin.has_ended(), leave)

    @in_thread
    def test_a_stale_connection_costs_a_get_nothing(self) -> None:
        client, origin = self.pair()
        origin.send(OK)
        client.head()
        client.exactly(2)
        client.send(GET)
        origin.head()
        origin.close()  # it closed while the request was on its way
        again = self.origin()
        again.head()
        again.send(OK)
        self.assertIn(b"200 OK", client.head())

    @in_thread
    def test_a_post_on_a_stale_connection_is_not_sent_twice(self) -> None:
        client, origin = self.pair()
        origin.send(OK)
        client.head()
        client.exactly(2)
        client.send(POST + b"0\r\n\r\n")
        origin.head()
        origin.exactly(5)
        origin.reset()
        self.assertIn(b"HTTP/1.1 502 Connection to 127.0.0.1 broke\r\n", client.head())

    @in_thread
    def test_an_idle_connection_that_the_origin_closes_is_not_used(self) -> None:
        client, origin = self.pair()
        origin.send(OK)
        client.head()
        client.exactly(2)
        origin.close()
        time.sleep(0.1)
        client.send(POST + b"0\r\n\r\n")
        fresh = self.origin()
        self.assertTrue(fresh.head().startswith(b"POST "))
        fresh.send(OK)
        self.assertIn(b"200 OK", client.head())


class BackpressureTests(ReverseProxyTestCase):
    @in_thread
    def test_a_client_that_does_not_read_costs_no_memory(self) -> None:
        client, origin = self.pair()
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        client.head()
        self.assertMemoryFlat(origin)
        self.assertEqual(len(client.exactly(1 << 20)), 1 << 20)

    @in_thread
    def test_an_origin_that_does_not_read_costs_no_memory(self) -> None:
        client, _ = self.pair(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
        self.assertMemoryFlat(client)

    @in_thread
    def test_a_client_that_pipelines_and_does_not_read_costs_no_memory(self) -> None:
        client = self.client()
        self.assertMemoryFlat(client, b"GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n" * 1000)

    def assertMemoryFlat(self, sender: Peer, block: bytes = b"x" * 65536) -> None:
        """It can send until all the kernels' buffers are full, and no more."""
        before = self.relay.rss
        sent = 0
        sender.socket.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while sent < 200_000_000:
                sent += sender.socket.send(block)
        self.assertLess(sent, 60_000_000)
        self.assertLess(self.relay.rss - before, 8_000_000)


class RestartTests(ReverseProxyTestCase):
    @in_thread
    def test_an_upstream_that_restarts_is_waited_for(self) -> None:
        client, origin = self.pair()
        origin.send(OK)
        client.head()
        client.exactly(2)
        port = self.listening.getsockname()[1]
        origin.close()
        self.listening.close()
        client.send(GET)
        time.sleep(0.5)
        self.listening = listen(port)
        fresh = self.origin()
        fresh.head()
        fresh.send(OK)
        self.assertIn(b"200 OK", client.head())

    @in_thread
    def test_an_upstream_that_stays_away_is_explained(self) -> None:
        port = self.listening.getsockname()[1]
        self.listening.close()
        try:
            client = self.client().send(GET)
            head = client.head()
        finally:
            self.listening = listen(port)
        self.assertIn(b"HTTP/1.1 502 Nothing listens on 127.0.0.1:%d\r\n" % port, head)
        self.assertIn(b"Proxy-Status: lanrelay; error=connection_refused;", head)


class TimeoutTests(ReverseProxyTestCase):
    keys = "timeouts: {head: 300ms, body: 300ms, response: 300ms, stream: 300ms, keepalive: 300ms, close: 1s}"

    @in_thread
    def test_a_slow_head_is_a_408(self) -> None:
        self.assertIn(b"408 Request Timeout", self.client().send(b"GET /a HT").rest())

    @in_thread
    def test_a_silent_client_is_closed(self) -> None:
        self.assertEqual(self.client().rest(), b"")

    @in_thread
    def test_a_silent_upload_is_a_408(self) -> None:
        client, origin = self.pair(POST)
        self.assertIn(b"408 Request Timeout", client.rest())
        self.assertTrue(origin.has_ended())

    @in_thread
    def test_no_answer_is_a_504(self) -> None:
        client, origin = self.pair()
        self.assertIn(b"HTTP/1.1 504 No answer from 127.0.0.1 in time\r\n", client.head())
        self.assertTrue(origin.has_ended())

    @in_thread
    def test_a_silent_answer_is_cut(self) -> None:
        client, origin = self.pair()
        origin.send(CHUNKED)
        self.assertIn(b"200 OK", client.head())
        self.assertEqual(client.rest(), b"")
        self.assertTrue(origin.has_ended())

    @in_thread
    def test_an_idle_client_is_closed(self) -> None:
        client, origin = self.pair()
        origin.send(OK)
        self.assertTrue(client.rest().endswith(b"ok"))
