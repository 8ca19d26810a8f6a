"""A side of a tunnel that breaks off: what it had said reaches the other one, through the real relay."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import socket
import ssl
import struct
import sys
import tempfile
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, NamedTuple

from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.live.test_reverse_proxy import CHUNKED, in_thread, listen
from tests.support.blocking import Peer
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay

SAID = bytes(range(256)) * 800  # what the sockets of both sides hold, so that all of it is acknowledged
MUCH = bytes(range(256)) * 32_000
TCP_CLOSE = 7
UPGRADE = b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"


class Way(NamedTuple):
    """
    A kind of tunnel.

    @ivar secure: the client speaks TLS.
    @ivar secure_upstream: the upstream does.
    """

    listener: str
    secure: bool = False
    secure_upstream: bool = False


WAYS = (
    Way("forward"),
    Way("forward-tls", secure=True),
    Way("to-tls", secure_upstream=True),
    Way("tls-to-tls", secure=True, secure_upstream=True),
    Way("proxy"),
    Way("proxy-tls", secure=True),
    Way("socks"),
    Way("socks-tls", secure=True),
    Way("web"),
    Way("web-to-tls", secure_upstream=True),
)


class CutTestCase(TestCase):
    timeout = LIMIT
    environ: ClassVar[dict[str, str]] = {}

    def setUp(self) -> None:
        if sys.platform != "linux":
            self.skipTest("what is on its way is asked of Linux")
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-test-")
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name))
        issued = authority.issue("localhost", "127.0.0.1")
        self.listening = listen()
        self.addCleanup(self.listening.close)
        self.upstream_port: int = self.listening.getsockname()[1]
        tls = f"tls: {{cert: {issued.cert}, key: {issued.key}}}"
        plain = f'upstream: "tcp://127.0.0.1:{self.upstream_port}"'
        secured = (
            f'upstream: {{url: "SCHEME://127.0.0.1:{self.upstream_port}", tls: {{ca: {authority.root}}}}}'
        )
        common = "listen: 127.0.0.1:0, timeouts: {close: 10s}"
        forward, web = f"type: tcp-forward, {common}", f"type: reverse-proxy, health: off, {common}"
        self.relay = Relay(
            f"""
            listeners:
              forward: {{{forward}, {plain}}}
              impatient: {{{forward.replace("10s", "500ms")}, {plain}}}
              forward-tls: {{{forward}, {plain}, {tls}}}
              to-tls: {{{forward}, {secured.replace("SCHEME", "tls")}}}
              tls-to-tls: {{{forward}, {secured.replace("SCHEME", "tls")}, {tls}}}
              proxy: {{type: connect-proxy, {common}, allow: loopback}}
              proxy-tls: {{type: connect-proxy, {common}, allow: loopback, {tls}}}
              socks: {{type: socks-proxy, {common}, allow: loopback}}
              socks-tls: {{type: socks-proxy, {common}, allow: loopback, {tls}}}
              web: {{{web}, {plain.replace("tcp:", "http:")}}}
              web-tls: {{{web}, {plain.replace("tcp:", "http:")}, {tls}}}
              web-to-tls: {{{web}, {secured.replace("SCHEME", "https")}}}
            """,
            environ=self.environ,
        ).start()
        self.addCleanup(self.relay.stop)
        self.trust = ssl.create_default_context(cafile=str(authority.root))
        self.serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.serving.load_cert_chain(issued.cert, issued.key)
        self.threads = ThreadPoolExecutor(4)
        self.addCleanup(self.threads.shutdown)

    def joined(self, way: Way, *, room: int = 0) -> tuple[Peer, Peer]:
        """
        Both ends of a tunnel.

        @param room: what their sockets hold for a reader who is late; 0 for the usual.
        """
        if room:
            self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        accepting = self.threads.submit(self.accept, way)
        client = self.client(way, room)
        if way.listener.startswith("proxy"):
            target = b"127.0.0.1:%d" % self.upstream_port
            client.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, target))
            self.assertIn(b" 200 ", client.head())
        elif way.listener.startswith("socks"):
            client.send(b"\x05\x01\x00")
            self.assertEqual(client.exactly(2), b"\x05\x00")
            client.send(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + struct.pack(">H", self.upstream_port))
            self.assertEqual(client.exactly(10)[:2], b"\x05\x00")
        elif way.listener.startswith("web"):
            client.send(UPGRADE)
        upstream = accepting.result()
        if way.listener.startswith("web"):
            upstream.head()
            upstream.send(SWITCHED)
            self.assertIn(b" 101 ", client.head())
        client.send(b"ping")
        self.assertEqual(upstream.exactly(4), b"ping")
        upstream.send(b"pong")
        self.assertEqual(client.exactly(4), b"pong")
        return client, upstream

    def client(self, way: Way, room: int = 0) -> Peer:
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.settimeout(PATIENCE)
        if room:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        sock.connect(("127.0.0.1", self.relay.port(way.listener)))
        if way.secure:
            sock = self.trust.wrap_socket(sock, server_hostname="localhost", suppress_ragged_eofs=False)
            self.addCleanup(sock.close)
        return Peer(sock)

    def accept(self, way: Way) -> Peer:
        sock = self.listening.accept()[0]
        self.addCleanup(sock.close)
        sock.settimeout(PATIENCE)
        if way.secure_upstream:
            sock = self.serving.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
            self.addCleanup(sock.close)
        return Peer(sock)

    def descriptors(self) -> int:
        """How many the relay has open."""
        return len(os.listdir(f"/proc/{self.relay.process.pid}/fd"))

    def wait_for_descriptors(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.descriptors() > count:
            self.assertLess(time.monotonic(), deadline, "the relay does not notice the end")
            time.sleep(0.005)

    def heard(self, peer: Peer) -> tuple[bytes, bool]:
        """All that comes, and whether a reset ends it."""
        parts = []
        try:
            while part := peer.socket.recv(65536):
                parts.append(part)
        except (ConnectionResetError, ssl.SSLEOFError):  # the latter is Python's for a reset on TLS, too
            pass
        state = peer.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return b"".join(parts), state == TCP_CLOSE

    def heard_slowly(self, peer: Peer) -> tuple[bytes, bool]:
        """The same, with pauses at first."""
        parts = []
        for _ in range(20):
            parts.append(peer.socket.recv(65536))
            time.sleep(0.01)
        data, reset = self.heard(peer)
        return b"".join(parts) + data, reset

    def check(self, way: Way, heard: tuple[bytes, bool], said: bytes, how: str) -> None:
        data, reset = heard
        self.assertEqual(len(data), len(said), f"{way}, {how}")
        self.assertEqual(data, said)
        self.assertTrue(reset, f"{way}, {how}")


def acknowledged(peer: Peer) -> None:
    """Returns when the relay's kernel has all that was sent."""
    waiting = array.array("i", [1])
    deadline = time.monotonic() + PATIENCE
    while waiting[0]:
        fcntl.ioctl(peer.socket.fileno(), termios.TIOCOUTQ, waiting)
        assert time.monotonic() < deadline, waiting
        time.sleep(0.001)


def ends(secure: bool) -> tuple[str, ...]:
    return ("reset", "no close_notify") if secure else ("reset",)


def leave(peer: Peer, how: str) -> None:
    """Without a word, by RST or by a FIN that on TLS is none of its own."""
    if how == "reset":
        peer.reset()
    else:
        peer.close()


class CutTests(CutTestCase):
    @in_thread
    def test_who_reads_at_once_gets_all_that_was_said(self) -> None:
        for way in WAYS:
            for up in (False, True):
                for how in ends(way.secure if up else way.secure_upstream):
                    for _ in range(3):
                        client, upstream = self.joined(way)
                        speaker, listener = (client, upstream) if up else (upstream, client)
                        hearing = self.threads.submit(self.heard, listener)
                        speaker.send(SAID)
                        acknowledged(speaker)
                        leave(speaker, how)
                        self.check(way, hearing.result(), SAID, f"{up=}, {how}")

    @in_thread
    def test_who_reads_late_gets_all_that_was_said(self) -> None:
        for way in WAYS:
            for up in (False, True):
                for how in ends(way.secure if up else way.secure_upstream):
                    before = self.descriptors()
                    client, upstream = self.joined(way, room=8192)
                    speaker, listener = (client, upstream) if up else (upstream, client)
                    speaker.send(SAID)
                    acknowledged(speaker)
                    leave(speaker, how)
                    self.wait_for_descriptors(before + 1)
                    self.check(way, self.heard(listener), SAID, f"{up=}, {how}")
                    self.wait_for_descriptors(before)

    @in_thread
    def test_more_than_all_buffers_hold_reaches_a_slow_reader(self) -> None:
        for way in WAYS:
            for up in (False, True):
                client, upstream = self.joined(way)
                speaker, listener = (client, upstream) if up else (upstream, client)
                hearing = self.threads.submit(self.heard_slowly, listener)
                speaker.send(MUCH)
                acknowledged(speaker)
                speaker.reset()
                self.check(way, hearing.result(), MUCH, f"{up=}")

    @in_thread
    def test_who_is_still_spoken_to_when_it_leaves_was_heard_all_the_same(self) -> None:
        """What is said to it finds the connection broken, while the last that it said waits in the kernel."""
        for way in WAYS[:4]:
            for up in (False, True):
                client, upstream = self.joined(way, room=8192)
                speaker, listener = (client, upstream) if up else (upstream, client)
                listener.socket.settimeout(0.2)
                try:
                    while True:
                        listener.socket.sendall(bytes(65536))
                except TimeoutError:
                    listener.socket.settimeout(PATIENCE)
                speaker.send(SAID)
                acknowledged(speaker)
                speaker.reset()
                self.check(way, self.heard(listener), SAID, f"{up=}")

    @in_thread
    def test_more_than_all_buffers_hold_of_who_is_still_spoken_to(self) -> None:
        for way in WAYS[:4]:
            for up in (False, True):
                client, upstream = self.joined(way)
                speaker, listener = (client, upstream) if up else (upstream, client)
                listener.socket.settimeout(0.2)
                try:
                    while True:
                        listener.socket.sendall(bytes(65536))
                except TimeoutError:
                    listener.socket.settimeout(PATIENCE)
                hearing = self.threads.submit(self.heard_slowly, listener)
                speaker.send(MUCH)
                acknowledged(speaker)
                speaker.reset()
                self.check(way, hearing.result(), MUCH, f"{up=}")

    @in_thread
    def test_who_never_reads_is_let_go(self) -> None:
        """C{timeouts.close} counts from the last byte that it took."""
        client, upstream = self.joined(Way("impatient"), room=8192)
        upstream.send(SAID)
        acknowledged(upstream)
        upstream.reset()
        self.relay.wait_for(r"\[access\] impatient [^\n]*end=upstream")
        self.assertTrue(self.heard(client)[1])

    @in_thread
    def test_an_answer_to_a_client_of_1_0_that_is_cut_arrives_before_the_cut(self) -> None:
        """It has no framing, so that its end has to be a reset."""
        said = bytes(range(256)) * 16384
        for listener in ("web", "web-tls"):
            for hear in (self.heard, self.heard_slowly):
                way = Way(listener, secure=listener == "web-tls")
                accepting = self.threads.submit(self.accept, way)
                client = self.client(way).send(b"GET /a HTTP/1.0\r\n\r\n")
                upstream = accepting.result()
                upstream.head()
                upstream.send(CHUNKED + b"400000\r\n")
                self.assertIn(b" 200 ", client.head())
                hearing = self.threads.submit(hear, client)
                upstream.send(said)
                acknowledged(upstream)
                upstream.reset()
                self.check(way, hearing.result(), said, hear.__name__)


class EarlyAnswerTests(CutTestCase):
    @in_thread
    def test_an_answer_to_an_upload_that_is_refused_arrives_whole(self) -> None:
        """The origin reads no more of it; its kernel resets what still comes, before the answer is read."""
        said = SAID[:100_000]
        for listener in ("web", "web-tls", "web-to-tls"):
            way = Way(listener, secure=listener == "web-tls", secure_upstream=listener == "web-to-tls")
            for _ in range(2):
                self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                accepting = self.threads.submit(self.accept, way)
                client = self.client(way)
                client.send(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000000\r\n\r\n")
                upstream = accepting.result()
                upstream.head()
                client.socket.settimeout(0.2)
                try:
                    while True:
                        client.socket.sendall(bytes(65536))
                except TimeoutError:
                    client.socket.settimeout(PATIENCE)
                self.relay.process.send_signal(signal.SIGSTOP)
                upstream.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 100000\r\n\r\n" + said)
                acknowledged(upstream)
                upstream.reset()
                self.relay.process.send_signal(signal.SIGCONT)
                self.assertIn(b" 413 ", client.head())
                self.assertEqual(client.exactly(100_000), said)


class TwistedCutTests(CutTests):
    environ: ClassVar[dict[str, str]] = {"LANRELAY_TRANSPORT": "twisted"}


class TwistedEarlyAnswerTests(EarlyAnswerTests):
    environ: ClassVar[dict[str, str]] = {"LANRELAY_TRANSPORT": "twisted"}
