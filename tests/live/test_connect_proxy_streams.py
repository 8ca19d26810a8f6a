"""A binary protocol in which both sides speak at once, as with SSH, through forward and tunnel."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.live.test_connect_proxy import ESTABLISHED
from tests.support.blocking import Peer
from tests.support.progress import LIMIT
from tests.support.relay import Relay
from tests.support.servers import TcpServer
from tests.support.tcp_program import PACKETS_BANNER


def packet(peer: Peer) -> bytes:
    """The next packet of the server."""
    (length,) = struct.unpack(">I", peer.exactly(4))
    return peer.exactly(length)


def talk(peer: Peer) -> None:
    """The server speaks first; then packets both ways at once, and a half-close before the last word."""
    assert peer.exactly(len(PACKETS_BANNER)) == PACKETS_BANNER
    peer.send(b"PACKETS-1.0 client\r\n")
    packets = [os.urandom(size) for size in (1, 10, 1000, 65536, 1_000_000, 3)]
    for number, data in enumerate(packets, 1):
        peer.send(struct.pack(">I", len(data)) + data)
        assert packet(peer) == b"tick %d" % number
        assert packet(peer) == data[::-1]
    peer.send(struct.pack(">I", 0)).end()
    assert packet(peer) == b"packets %d" % len(packets)
    assert peer.rest() == b""


class StreamTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        self.packets = TcpServer("packets").start()
        self.addCleanup(self.packets.stop)
        self.echo = TcpServer("echo").start()
        self.addCleanup(self.echo.stop)
        self.relay = Relay(
            f"""
            listeners:
              packets: {{type: tcp-forward, listen: "localhost:0", upstream: "tcp://{self.packets.address}"}}
              echo: {{type: tcp-forward, listen: "127.0.0.1:0", upstream: "tcp://{self.echo.address}"}}
              proxy: {{type: connect-proxy, listen: "127.0.0.1:0", allow: loopback}}
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def peer(self, listener: str) -> Peer:
        peer = Peer.to(self.relay.port(listener))
        self.addCleanup(peer.socket.close)
        return peer

    def tunnel(self) -> Peer:
        peer = self.peer("proxy")
        peer.send(b"CONNECT 127.0.0.1:%d HTTP/1.0\r\n\r\n" % self.packets.port)
        assert peer.head() == ESTABLISHED
        return peer

    def several(self, connect: Callable[[], Peer]) -> None:
        for _ in range(5):
            talk(connect())

    def test_tcp_forward(self) -> Deferred[None]:
        return deferToThread(self.several, lambda: self.peer("packets"))

    def test_connect(self) -> Deferred[None]:
        return deferToThread(self.several, self.tunnel)

    def test_a_hundred_at_once(self) -> Deferred[None]:
        def run() -> None:
            peers = [self.peer("echo") for _ in range(100)]
            for number, peer in enumerate(peers):
                peer.send(b"%04d" % number)
            for number, peer in enumerate(peers):
                self.assertEqual(peer.exactly(4), b"%04d" % number)
                peer.end()
            for peer in peers:
                self.assertEqual(peer.rest(), b"")

        return deferToThread(run)

    def test_an_upstream_that_crashes_resets_the_client(self) -> Deferred[None]:
        def run() -> None:
            peer = self.peer("echo").send(b"hello")
            self.assertEqual(peer.exactly(5), b"hello")
            self.echo.freeze()
            peer.send(b"never read")  # so that the kernel resets, and does not end, what the crash leaves
            time.sleep(0.2)  # until the bytes are there
            self.echo.kill()
            with self.assertRaises(ConnectionResetError):
                peer.rest()

        return deferToThread(run)
