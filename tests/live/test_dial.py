"""Dialing over real sockets on this machine."""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase

from lanrelay.cli.authority import Authority
from lanrelay.config.model import Trust
from lanrelay.errors import (
    ConnectionRefused,
    DialError,
    DialForbidden,
    DialTimeout,
    NotTls,
    PeerClosed,
    TlsTimeout,
    UnknownIssuer,
    WrongName,
)
from lanrelay.transport.choice import OWN
from lanrelay.transport.stream import Parked, hand_over
from lanrelay.trust.trust import ClientTls
from lanrelay.upstream.dial import Dialed, Dialer, Target
from lanrelay.upstream.explain import explain
from lanrelay.upstream.resolve import Resolver
from tests.support.ports import free_port
from tests.support.progress import LIMIT

reactor: Any = _reactor
NOBODY = 65534


class Accepted(Protocol):
    """The server's side of one connection."""

    received = b""
    lost = False

    def connectionMade(self) -> None:
        self.factory.connections.append(self)
        self.transport.write(self.factory.greeting)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True


class Server(Factory):
    protocol = Accepted
    noisy = False

    def __init__(self, greeting: bytes = b"hello") -> None:
        self.greeting = greeting
        self.connections: list[Accepted] = []


class Collecting(Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


def blackhole() -> tuple[socket.socket, list[socket.socket]]:
    """
    A port on 127.0.0.1 that answers no SYN: its queue of connections is full and nobody accepts.

    @raise SkipTest: this kernel refuses then (macOS does), or takes any number.
    """
    if sys.platform != "linux":
        raise SkipTest("only Linux drops a SYN when the queue is full")
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    fillers = []
    for _ in range(8):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listening.getsockname())
        fillers.append(filler)
    return listening, fillers


class LiveCase(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        self.resolver = Resolver(reactor)
        self.addCleanup(self.resolver.stop)
        self.dialer = Dialer(reactor, self.resolver)

    def listen(self, server: Server, interface: str = "127.0.0.1", port: int = 0) -> int:
        listening = reactor.listenTCP(port, server, interface=interface)
        self.addCleanup(listening.stopListening)
        return int(listening.getHost().port)

    def dial(
        self, host: str, port: int, *, connect: float = 5, handshake: float = 5, **more: Any
    ) -> Deferred[Dialed]:
        return Deferred.fromCoroutine(
            self.dialer.dial(Target(host, port), connect_timeout=connect, handshake_timeout=handshake, **more)
        )

    async def failed(self, result: Deferred[Dialed], kind: type[DialError]) -> DialError:
        try:
            dialed = await result
        except DialError as error:
            self.assertIs(type(error), kind, repr(error))
            return error
        dialed.stream.abortConnection()
        raise self.failureException(f"connected to {dialed.address}")

    async def until(self, met: Callable[[], object]) -> None:
        while not met():
            await deferLater(reactor, 0.01)

    async def closed(self, server: Server) -> None:
        """All that the server accepted has ended."""
        await self.until(lambda: server.connections and all(each.lost for each in server.connections))


class AtOnceTests(LiveCase):
    if not OWN:
        skip = "Twisted's transports decide on their next turn"

    def dial_at_once(self, host: str, port: int, **more: Any) -> Dialed | None:
        return self.dialer.dial_at_once(Target(host, port), **more)

    async def test_what_is_on_the_loopback_and_answers(self) -> None:
        server = Server()
        port = self.listen(server)
        asked: list[Any] = []
        for host in ("127.0.0.1", "127.1", "localhost"):
            dialed = self.dial_at_once(host, port, permit=asked.append)
            assert dialed is not None
            self.assertEqual((dialed.address, str(asked.pop())), (f"127.0.0.1:{port}", "127.0.0.1"))
            collecting = Collecting()
            hand_over(dialed.stream, collecting)
            dialed.stream.resumeProducing()
            while not collecting.received:
                await deferLater(reactor, 0.01)
            dialed.stream.loseConnection()
            await collecting.ended

    async def test_all_else_is_for_who_can_wait_or_say_why(self) -> None:
        server = Server()
        port = self.listen(server)
        self.assertIsNone(self.dial_at_once("127.0.0.1", free_port()))
        self.assertIsNone(self.dial_at_once("127.0.0.1", port, permit=lambda _: "denied"))
        self.assertIsNone(self.dial_at_once("localhost", port, fixed={"localhost": ()}))
        for host in ("nas.lan", "192.0.2.1", "0.0.0.0", "x" * 300, ""):
            self.assertIsNone(self.dial_at_once(host, port))
        self.assertIsNone(self.dialer.dial_at_once(Target("", 0, Path("/there/is/none"))))
        self.assertEqual(server.connections, [])

    async def test_one_that_does_not_accept_is_not_waited_for(self) -> None:
        listening, fillers = blackhole()
        for each in (listening, *fillers):
            self.addCleanup(each.close)
        self.assertIsNone(self.dial_at_once(*listening.getsockname()))


class TcpTests(LiveCase):
    async def test_a_connection_is_parked_until_it_is_taken_over(self) -> None:
        server = Server(b"early bytes")
        dialed = await self.dial("127.0.0.1", self.listen(server))
        await deferLater(reactor, 0.05)
        self.assertIsInstance(dialed.stream.protocol, Parked)
        taker = Collecting()
        hand_over(dialed.stream, taker)
        self.assertEqual(taker.received, b"")
        dialed.stream.resumeProducing()
        await self.until(lambda: taker.received == b"early bytes")
        dialed.stream.write(b"answer")
        await self.until(lambda: server.connections[0].received == b"answer")
        dialed.stream.loseConnection()
        await taker.ended
        await self.closed(server)

    async def test_it_is_tuned(self) -> None:
        server = Server()
        dialed = await self.dial("127.0.0.1", self.listen(server))
        handle = dialed.stream.getHandle()  # type: ignore[attr-defined]
        self.assertTrue(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.assertTrue(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        dialed.stream.abortConnection()
        await self.closed(server)

    async def test_odd_spellings_reach_the_address_they_mean(self) -> None:
        server = Server()
        port = self.listen(server)
        for host in ("127.1", "2130706433", "0x7f.0.0.1"):
            dialed = await self.dial(host, port)
            self.assertEqual(dialed.address, f"127.0.0.1:{port}")
            dialed.stream.abortConnection()
        await self.closed(server)

    async def test_localhost_is_both_loopbacks(self) -> None:
        try:
            server = Server()
            port = self.listen(server, "::1")
        except Exception as error:
            raise SkipTest("no IPv6 here") from error
        dialed = await self.dial("localhost", port)
        self.assertEqual(dialed.address, f"[::1]:{port}")
        dialed.stream.abortConnection()
        await self.closed(server)

    async def test_refused(self) -> None:
        port = free_port()
        error = await self.failed(self.dial("127.0.0.1", port), ConnectionRefused)
        self.assertEqual((error.errno, error.address), (errno.ECONNREFUSED, f"127.0.0.1:{port}"))
        self.assertLess(error.elapsed, 4)  # the limit is 5
        self.assertIn(f"listens on port {port} of 127.0.0.1", explain(error).what)

    async def test_no_answer(self) -> None:
        hole, fillers = blackhole()
        try:
            dial = self.dial("127.0.0.1", hole.getsockname()[1], connect=0.3)
            error = await self.failed(dial, DialTimeout)
        finally:
            for sock in (hole, *fillers):
                sock.close()
        self.assertGreater(error.elapsed, 0.25)

    async def test_silence_of_one_address_costs_a_quarter_of_a_second(self) -> None:
        hole, fillers = blackhole()
        server = Server()
        port = hole.getsockname()[1]
        try:
            self.listen(server, "127.0.0.2", port)
            started = reactor.seconds()
            fixed = {"two.test": (ip_address("127.0.0.1"), ip_address("127.0.0.2"))}
            dialed = await self.dial("two.test", port, fixed=fixed)
            took = reactor.seconds() - started
            self.assertEqual(dialed.address, f"127.0.0.2:{port}")
            self.assertTrue(0.2 < took < 2, took)
            dialed.stream.abortConnection()
            await self.closed(server)
        finally:
            for sock in (hole, *fillers):
                sock.close()

    async def test_cancelling_leaves_no_socket(self) -> None:
        hole, fillers = blackhole()
        try:
            await deferLater(reactor, 0)  # the reactor has set up its own readers now
            before = len(reactor.getReaders()) + len(reactor.getWriters())
            dial = self.dial("127.0.0.1", hole.getsockname()[1])
            await deferLater(reactor, 0.05)
            self.assertGreater(len(reactor.getReaders()) + len(reactor.getWriters()), before)
            dial.cancel()
            with self.assertRaises(CancelledError):
                await dial
            self.assertEqual(len(reactor.getReaders()) + len(reactor.getWriters()), before)
        finally:
            for sock in (hole, *fillers):
                sock.close()


class UnixTests(LiveCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()  # the path of a unix socket must be short
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "s"

    def dial_path(self) -> Deferred[Dialed]:
        target = Target("", 0, self.path)
        return Deferred.fromCoroutine(self.dialer.dial(target, connect_timeout=5, handshake_timeout=5))

    async def test_connect(self) -> None:
        server = Server()
        listening = reactor.listenUNIX(str(self.path), server)
        dialed = await self.dial_path()
        self.assertEqual(dialed.address, f"unix:{self.path}")
        taker = Collecting()
        hand_over(dialed.stream, taker)
        dialed.stream.resumeProducing()
        await self.until(lambda: taker.received == b"hello")
        dialed.stream.loseConnection()
        await self.closed(server)
        await listening.stopListening()

    async def test_no_socket_there(self) -> None:
        error = await self.failed(self.dial_path(), ConnectionRefused)
        self.assertEqual(error.errno, errno.ENOENT)

    async def test_nobody_listens(self) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(self.path))
        error = await self.failed(self.dial_path(), ConnectionRefused)
        self.assertEqual(error.errno, errno.ECONNREFUSED)

    async def test_a_queue_that_is_full(self) -> None:
        if sys.platform != "linux":
            raise SkipTest("only Linux says EAGAIN")
        with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as filler:
            sock.bind(str(self.path))
            sock.listen(0)
            filler.connect(str(self.path))
            error = await self.failed(self.dial_path(), DialError)
        self.assertIn("its queue of connections is full", explain(error).what)

    async def test_not_ours_to_open(self) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(self.path))
            sock.listen()
            self.path.chmod(0)
            if os.geteuid() == 0:  # who may open everything, so that somebody else has to try
                self.path.parent.chmod(0o755)
                os.seteuid(NOBODY)
                self.addCleanup(os.seteuid, 0)
            await self.failed(self.dial_path(), DialForbidden)


class TlsTests(LiveCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.authority = Authority(Path(folder.name))

    def serve(self, *names: str) -> tuple[Server, int]:
        issued = self.authority.issue(*names)
        context = DefaultOpenSSLContextFactory(str(issued.key), str(issued.cert))
        server = Server()
        listening = reactor.listenSSL(0, server, context, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        return server, int(listening.getHost().port)

    def trust(self, server_name: str, *, ours: bool = True) -> ClientTls:
        tls = ClientTls(Trust(ca=(self.authority.root,)) if ours else Trust(), server_name)
        tls.load()
        return tls

    async def test_secured(self) -> None:
        server, port = self.serve("nas.test")
        dialed = await self.dial("127.0.0.1", port, tls=self.trust("nas.test"))
        self.assertEqual(dialed.address, f"127.0.0.1:{port}")
        self.assertIsInstance(dialed.stream.protocol, Parked)
        taker = Collecting()
        hand_over(dialed.stream, taker)
        dialed.stream.resumeProducing()
        await self.until(lambda: taker.received == b"hello")
        dialed.stream.write(b"secret")
        await self.until(lambda: server.connections[0].received == b"secret")
        dialed.stream.abortConnection()
        await self.closed(server)

    async def test_an_unknown_ca_is_named(self) -> None:
        server, port = self.serve("nas.test")
        error = await self.failed(
            self.dial("127.0.0.1", port, tls=self.trust("nas.test", ours=False)), UnknownIssuer
        )
        self.assertEqual((error.target, error.address), (f"127.0.0.1:{port}", f"127.0.0.1:{port}"))
        self.assertIn(self.authority.name, explain(error).what)
        await self.closed(server)

    async def test_a_wrong_name(self) -> None:
        server, port = self.serve("other.test")
        error = await self.failed(self.dial("127.0.0.1", port, tls=self.trust("nas.test")), WrongName)
        self.assertIn("is for other.test, and not for nas.test", explain(error).what)
        self.assertIn("`tls.server_name` to other.test", explain(error).remedy)
        await self.closed(server)

    async def test_plain_http_where_tls_was_meant(self) -> None:
        server = Server(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        port = self.listen(server)
        await self.failed(self.dial("127.0.0.1", port, tls=self.trust("nas.test")), NotTls)
        await self.closed(server)

    async def test_a_server_that_says_nothing(self) -> None:
        server = Server(b"")
        port = self.listen(server)
        dial = self.dial("127.0.0.1", port, tls=self.trust("nas.test"), handshake=0.2)
        await self.failed(dial, TlsTimeout)
        await self.closed(server)

    async def test_a_server_that_leaves(self) -> None:
        server = Server(b"")
        port = self.listen(server)
        dial = self.dial("127.0.0.1", port, tls=self.trust("nas.test"))
        await self.until(lambda: server.connections)
        server.connections[0].transport.loseConnection()  # type: ignore[union-attr]
        await self.failed(dial, PeerClosed)
        await self.closed(server)

    async def test_cancelled_in_the_handshake(self) -> None:
        server = Server(b"")
        port = self.listen(server)
        dial = self.dial("127.0.0.1", port, tls=self.trust("nas.test"))
        await self.until(lambda: server.connections and server.connections[0].received)
        dial.cancel()
        with self.assertRaises(CancelledError):
            await dial
        await self.closed(server)
