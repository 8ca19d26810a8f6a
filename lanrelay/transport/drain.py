"""Waits, before a stream is ended, until what was written to it has arrived, as far as this side can know."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from lanrelay.transport.abilities import abilities_of
from lanrelay.transport.stream import handle_of

# Seconds. A peer that reads acknowledges within 40 ms at most, so the first look comes after 2 ms; each
# further one comes after twice the time.
_FIRST, _LONGEST = 0.002, 0.25

_PLATFORM: str = sys.platform
_TCP_CLOSED = 7  # TCP_CLOSE of <netinet/tcp.h>: the peer has reset it, and nothing is on its way
_SO_NWRITE = 0x1024  # of macOS's <sys/socket.h>


class Drain:
    """
    Looks again and again whether all has arrived, for no kernel has an event for that.

    @param limit: seconds from the last progress.
    @param done: called once, when all has arrived or no more can arrive; from the constructor if nothing is
        on its way.
    @param more: more may yet be written, so the end has not come when nothing is on its way.
    """

    __slots__ = ("_done", "_left", "_limit", "_more", "_pause", "_reactor", "_since", "_stream", "_timer")

    def __init__(
        self,
        reactor: Any,
        stream: Any,
        limit: float,
        done: Callable[[], object],
        *,
        more: bool = False,
    ) -> None:
        self._reactor, self._stream = reactor, stream
        self._limit, self._more = limit, more
        self._done = done
        self._left = -1
        self._since = 0.0
        self._pause = _FIRST
        self._timer: Any = None
        self._look()

    @property
    def waits(self) -> bool:
        """Whether C{done} was not called yet."""
        return self._timer is not None

    def cancel(self) -> None:
        """Never call C{done}."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._timer = None
        left, now = unsent_of(self._stream), self._reactor.seconds()
        if left != self._left:
            self._left, self._since = left, now
        waited = now - self._since
        if (left or self._more) and waited < self._limit:
            self._timer = self._reactor.callLater(min(self._pause, self._limit - waited), self._look)
            self._pause = min(2 * self._pause, _LONGEST)
        else:
            self._done()


def unsent_of(stream: Any) -> int:
    """
    How many bytes of what was written to C{stream} its peer's kernel has not acknowledged; on TLS with what
    encryption adds. Where the kernel does not say, those that wait in this process.
    """
    while (beneath := abilities_of(stream).beneath) is not None:
        stream = beneath
    unsent = abilities_of(stream).unsent
    if unsent is None:  # Twisted's
        if not stream.connected:
            return 0  # the stream is lost, and has no socket any more
        unsent = len(stream.dataBuffer) - stream.offset + stream._tempDataLen
    sock = handle_of(stream)
    if sock is None or sock.fileno() < 0 or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return unsent  # a unix socket's peer can read what the socket has taken
    try:
        return unsent + _in_kernel(sock)
    except OSError:
        return unsent


def _in_kernel(sock: Any) -> int:
    if _PLATFORM == "linux":
        import fcntl
        import termios

        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSED:
            return 0
        said = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
        return int(struct.unpack("i", said)[0])
    if _PLATFORM == "darwin":
        return int(sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE))
    return 0
