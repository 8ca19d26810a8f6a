"""Real sockets for live tests: our streams on one end, a blocking socket on the other."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.config.model import ListenAddress, TcpAddress, UnixAddress
from lanrelay.transport.port import Gate, Port, bind
from lanrelay.transport.stream import Stream
from lanrelay.transport.tcp import TcpStream
from tests.support.progress import LIMIT, PATIENCE


class SocketTestCase(TestCase):
    """Gives connected pairs, and resets those that are still open at the end."""

    timeout = LIMIT

    def setUp(self) -> None:
        self._made: list[Stream] = []
        self.addCleanup(self._reset_all)

    async def pair(self, address: ListenAddress | None = None) -> tuple[Stream, socket.socket]:
        """A stream that was accepted by a L{Port}, and the blocking socket of its peer."""
        [bound] = bind(address or TcpAddress(host=ip_address("127.0.0.1"), port=0))
        arrived: Deferred[Stream] = Deferred()
        port = Port(reactor, bound, Gate(10), lambda stream, *_: arrived.callback(stream))
        port.start()
        peer = socket.socket(bound.socket.family)
        self.addCleanup(peer.close)
        peer.settimeout(PATIENCE)
        peer.connect(bound.socket.getsockname())
        stream = await arrived
        port.stop()
        self._made.append(stream)
        return stream, peer

    def unix(self) -> UnixAddress:
        """A path that is short enough."""
        import tempfile

        folder = tempfile.TemporaryDirectory(prefix="lanrelay-")
        self.addCleanup(folder.cleanup)
        return UnixAddress(path=Path(folder.name) / "s")

    async def _reset_all(self) -> None:
        for stream in self._made:
            stream.abortConnection()
        await pause(0)
        await pause(0)


async def pause(seconds: float) -> None:
    """Let the reactor work."""
    done: Deferred[None] = Deferred()
    clock: Any = reactor
    clock.callLater(seconds, done.callback, None)
    await done


def in_thread(function: Any, *arguments: Any) -> Deferred[Any]:
    """Run a blocking peer."""
    return deferToThread(function, *arguments)


def receive_all(peer: Any) -> bytes:
    """Read to the end."""
    parts = []
    while part := peer.recv(65536):
        parts.append(part)
    return b"".join(parts)


def reset(peer: socket.socket) -> None:
    """Close with a RST."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def watch_buffers(case: TestCase, note: Callable[[int], None]) -> None:
    """After each write to any socket C{note} how many bytes wait in its stream."""
    ours, twisteds = TcpStream.write, FileDescriptor.write

    def our_write(stream: TcpStream, data: bytes) -> None:
        ours(stream, data)
        note(stream.unsent)

    def twisted_write(stream: Any, data: bytes) -> None:
        twisteds(stream, data)
        note(len(stream.dataBuffer) - stream.offset + stream._tempDataLen)

    case.patch(TcpStream, "write", our_write)
    case.patch(FileDescriptor, "write", twisted_write)
