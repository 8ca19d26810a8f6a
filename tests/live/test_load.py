"""Many connections, slow ones, and bodies that nobody reads: what they leave behind in the real relay."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, TestCase

from lanrelay.cli.authority import Authority
from tests.live.test_reverse_proxy import in_thread, listen
from tests.support.blocking import Peer
from tests.support.desync import Recorder
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay

GET = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
MB = 1_000_000


def descriptors(relay: Relay) -> int:
    return len(os.listdir(f"/proc/{relay.process.pid}/fd"))


class ManyConnectionsTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        if not sys.platform.startswith("linux"):
            raise SkipTest("descriptors are counted in /proc")
        self.origin = Recorder()
        self.addCleanup(self.origin.close)
        self.relay = Relay(
            f"""
            log: {{access: false}}
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: http://127.0.0.1:{self.origin.port}
                health: off
                timeouts: {{head: 3s}}
              db:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream: tcp://127.0.0.1:{self.origin.port}
              proxy:
                type: connect-proxy
                listen: 127.0.0.1:0
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def connect(self, listener: str = "web") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[listener]), timeout=PATIENCE)

    @in_thread
    def test_ten_thousand_short_ones_leave_nothing(self) -> None:
        self.ports = {name: self.relay.port(name) for name in ("web", "db", "proxy")}
        kinds: list[Callable[[], None]] = [
            self.asks,
            self.asks_through_tunnel,
            self.asks_through_forward,
            self.leaves_at_once,
            self.resets_at_once,
            self.resets_in_its_head,
            self.leaves_before_its_answer,
            self.resets_with_a_dial_under_way,
            self.is_refused,
            self.is_denied,
        ]
        self.run_all(kinds, 1000)
        self.settle()
        before, count = self.relay.rss, descriptors(self.relay)
        self.run_all(kinds, 10_000)
        self.settle(count)
        self.assertLessEqual(descriptors(self.relay), count)
        self.assertLess(self.relay.rss - before, 4 * MB)
        self.assertEqual(self.origin.broken, [])

    def run_all(self, kinds: list[Callable[[], None]], total: int) -> None:
        failures: list[BaseException] = []

        def some(share: int) -> None:
            try:
                for number in range(share):
                    kinds[number % len(kinds)]()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=some, args=(total // 4,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def settle(self, count: int = 0) -> None:
        """Until idle origin connections have gone (pool.idle), and what ends late."""
        deadline = time.monotonic() + PATIENCE
        time.sleep(4.5)
        while count and descriptors(self.relay) > count and time.monotonic() < deadline:
            time.sleep(0.2)

    def said(self, peer: socket.socket, data: bytes) -> bytes:
        with peer:
            peer.sendall(data)
            answer = b""
            while more := peer.recv(65536):
                answer += more
        return answer

    def asks(self) -> None:
        self.assertTrue(self.said(self.connect(), LAST).endswith(b"you asked for /a"))

    def asks_through_forward(self) -> None:
        with self.connect("db") as peer:
            peer.sendall(GET)
            self.assertIn(b"200 OK", peer.recv(65536))

    def asks_through_tunnel(self) -> None:
        with self.connect("proxy") as peer:
            target = b"127.0.0.1:%d" % self.origin.port
            peer.sendall(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, target) + GET)
            answer = b""
            while not answer.endswith(b"/a"):
                answer += peer.recv(65536)

    def leaves_at_once(self) -> None:
        self.connect().close()

    def resets_at_once(self) -> None:
        self.reset(self.connect())

    def resets_in_its_head(self) -> None:
        peer = self.connect()
        peer.sendall(GET[:20])
        self.reset(peer)

    def leaves_before_its_answer(self) -> None:
        peer = self.connect()
        peer.sendall(GET)
        peer.close()

    def resets_with_a_dial_under_way(self) -> None:
        self.reset(self.connect("db"))

    def is_refused(self) -> None:
        self.assertIn(b" 400 ", self.said(self.connect(), b"GET /a HTTP/1.1\r\n\r\n"))

    def is_denied(self) -> None:
        self.assertIn(b" 421 ", self.said(self.connect(), LAST.replace(b"localhost", b"evil.example")))

    @staticmethod
    def reset(peer: socket.socket) -> None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

    @in_thread
    def test_five_hundred_slow_ones_do_not_stop_the_next(self) -> None:
        self.ports = {"web": self.relay.port("web")}
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < 2000:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(2000, hard), hard))
        slow = [self.connect() for _ in range(500)]
        try:
            for peer in slow:
                peer.sendall(GET[:20])
            for _ in range(20):
                for peer in slow[::25]:
                    with contextlib.suppress(OSError):
                        peer.sendall(b"x")
                self.asks()
            for peer in slow:  # and each of them is told
                self.assertIn(b" 408 ", peer.recv(65536))
            self.asks()
        finally:
            for peer in slow:
                peer.close()


class UnreadTests(TestCase):
    """500 MB for somebody who does not read: neither kernel buffers nor ours grow with it."""

    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-test-")
        self.addCleanup(folder.cleanup)
        self.authority = Authority(Path(folder.name))
        issued = self.authority.issue("localhost", "127.0.0.1")
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(issued.cert, issued.key)
        self.listening = listen()
        self.addCleanup(self.listening.close)
        port = self.listening.getsockname()[1]
        tls = f"tls: {{cert: {issued.cert}, key: {issued.key}}}"
        plain, secure = (
            f"http://127.0.0.1:{port}",
            f'{{url: "https://127.0.0.1:{port}", tls: {{ca: {self.authority.root}}}}}',
        )
        kinds = {
            "web": ("reverse-proxy", plain, "health: off"),
            "web-tls": ("reverse-proxy", plain, f"health: off\n                {tls}"),
            "web-to-tls": ("reverse-proxy", secure, "health: off"),
            "web-tls-to-tls": ("reverse-proxy", secure, f"health: off\n                {tls}"),
            "db": ("tcp-forward", plain.replace("http", "tcp"), ""),
            "db-tls": ("tcp-forward", plain.replace("http", "tcp"), tls),
            "db-to-tls": ("tcp-forward", secure.replace("https", "tls"), ""),
        }
        text = "listeners:\n"
        for name, (kind, upstream, more) in kinds.items():
            text += f"""
              {name}:
                type: {kind}
                listen: 127.0.0.1:0
                upstream: {upstream}
                {more}
            """
        self.relay = Relay("            " + text).start()
        self.addCleanup(self.relay.stop)

    def pair(self, listener: str, request: bytes) -> tuple[Peer, Peer]:
        """A client that has sent C{request}, and the origin that has read it."""
        raw: Any = socket.create_connection(("127.0.0.1", self.relay.port(listener)), timeout=PATIENCE)
        if "-tls" in listener.replace("-to-tls", ""):
            context = ssl.create_default_context(cafile=str(self.authority.root))
            raw = context.wrap_socket(raw, server_hostname="localhost")
        client = Peer(raw)
        self.addCleanup(client.close)
        client.send(request)
        accepted: Any = self.listening.accept()[0]
        if listener.endswith("-to-tls"):
            accepted = self.server.wrap_socket(accepted, server_side=True)
        origin = Peer(accepted)
        self.addCleanup(origin.close)
        origin.head()
        return client, origin

    def flat(self, listener: str, sender: Peer) -> None:
        """It can send until the kernels' buffers are full, and no more."""
        before, sent, block = self.relay.rss, 0, b"x" * 65536
        sender.socket.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while sent < 500 * MB:
                sender.socket.sendall(block)
                sent += len(block)
        self.assertLess(sent, 60 * MB, listener)
        self.assertLess(self.relay.rss - before, 8 * MB, listener)

    def listeners(self) -> list[str]:
        return ["web", "web-tls", "web-to-tls", "web-tls-to-tls", "db", "db-tls", "db-to-tls"]

    @in_thread
    def test_an_answer_that_nobody_reads(self) -> None:
        for listener in self.listeners():
            client, origin = self.pair(listener, GET)
            origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n")
            client.head()
            self.flat(listener, origin)
            self.assertEqual(len(client.exactly(MB)), MB)  # and it goes on

    @in_thread
    def test_an_upload_that_nobody_reads(self) -> None:
        for listener in self.listeners():
            client, origin = self.pair(
                listener, b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000000\r\n\r\n"
            )
            self.flat(listener, client)
            self.assertEqual(len(origin.exactly(MB)), MB)

    @in_thread
    def test_tiny_chunks_that_nobody_reads(self) -> None:
        """Six bytes on the wire for each byte of content: what is kept must not be more than what came."""
        client, origin = self.pair("web", GET)
        origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.head()
        before, sent, block = self.relay.rss, 0, b"1\r\nx\r\n" * 10000
        origin.socket.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while sent < 100 * MB:
                sent += origin.socket.send(block)
        self.assertLess(self.relay.rss - before, 8 * MB)
