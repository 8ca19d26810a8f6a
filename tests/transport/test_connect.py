"""Connecting without waiting, on real sockets of this machine."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SkipTest, TestCase

from lanrelay.transport.connect import _Connecting, connect
from lanrelay.transport.stream import Parked, Stream
from lanrelay.transport.tcp import TcpStream

reactor: Any = _reactor


class ConnectTests(TestCase):
    timeout = 20

    def tearDown(self) -> None:
        watched = reactor.getReaders() + reactor.getWriters()
        self.assertEqual([one for one in watched if isinstance(one, (_Connecting, TcpStream))], [])

    def listen(self, family: int = socket.AF_INET, address: Any = ("127.0.0.1", 0)) -> socket.socket:
        listening = socket.socket(family)
        self.addCleanup(listening.close)
        try:
            listening.bind(address)
        except OSError as error:
            raise SkipTest(f"no such address here: {error}") from None
        listening.listen()
        return listening

    def under_way(self, address: Any) -> _Connecting:
        """As C{connect} leaves it whose socket the kernel has not decided about yet."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(address)
        return _Connecting(reactor, sock, socket.AF_INET, address)

    async def gone(self, stream: Stream) -> None:
        stream.abortConnection()
        turn: Deferred[None] = Deferred()
        reactor.callLater(0, turn.callback, None)
        await turn

    async def test_tcp(self) -> None:
        listening = self.listen()
        stream = await connect(reactor, socket.AF_INET, listening.getsockname())
        self.assertIsInstance(stream.protocol, Parked)
        handle = stream.getHandle()  # type: ignore[attr-defined]
        self.assertTrue(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        peer, address = listening.accept()
        self.assertEqual((stream.getHost().host, stream.getHost().port), address)
        self.assertEqual(stream.getPeer().port, listening.getsockname()[1])
        stream.write(b"hello")
        self.assertEqual(peer.recv(10), b"hello")
        peer.close()
        await self.gone(stream)

    async def test_ipv6(self) -> None:
        listening = self.listen(socket.AF_INET6, ("::1", 0))
        stream = await connect(reactor, socket.AF_INET6, listening.getsockname())
        self.assertEqual(stream.getPeer().host, "::1")
        await self.gone(stream)

    async def test_unix_is_connected_at_once(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "s")
        self.listen(socket.AF_UNIX, path)
        stream = self.successResultOf(connect(reactor, socket.AF_UNIX, path))
        self.assertEqual(stream.getPeer().name, os.fsencode(path))
        await self.gone(stream)

    async def test_an_answer_that_takes_its_time(self) -> None:
        """As from another machine: the kernel's first answer, and its second, is that it is under way."""
        listening = self.listen()
        connecting = self.under_way(listening.getsockname())
        self.assertNoResult(connecting.result)
        await self.gone(await connecting.result)

    async def failed(self, family: int, address: Any) -> int | None:
        try:
            await connect(reactor, family, address)
        except OSError as error:
            return error.errno
        return self.fail("it connected")

    async def test_refused(self) -> None:
        listening = self.listen()
        address = listening.getsockname()
        listening.close()
        self.assertEqual(await self.failed(socket.AF_INET, address), errno.ECONNREFUSED)
        self.assertEqual(await self.failed(socket.AF_UNIX, "/there/is/none"), errno.ENOENT)

    async def test_refused_later(self) -> None:
        listening = self.listen()
        address = listening.getsockname()
        listening.close()
        connecting = self.under_way(address)
        self.assertNoResult(connecting.result)
        with self.assertRaises(OSError):
            await connecting.result

    async def test_a_path_that_is_too_long(self) -> None:
        self.assertEqual(await self.failed(socket.AF_UNIX, "/" + "x" * 500), 0)

    async def test_cancelling_closes(self) -> None:
        connecting = self.under_way(self.listen().getsockname())
        connecting.result.cancel()
        with self.assertRaises(CancelledError):
            await connecting.result
        self.assertEqual(connecting.fileno(), -1)
        connecting.doWrite()
        connecting.connectionLost()

    async def test_the_reactor_s_end(self) -> None:
        connecting = self.under_way(self.listen().getsockname())
        self.patch(connecting, "_look", lambda: None)
        connecting.connectionLost()
        with self.assertRaises(OSError):
            await connecting.result
