"""Connects a socket without waiting."""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.transport.stream import Stream, tune_tcp
from lanrelay.transport.tcp import TcpStream

_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY, errno.EINTR)
_CONNECTED = (0, errno.EISCONN)


def connect(reactor: Any, family: int, address: Any) -> Deferred[Stream]:
    """
    Connect to C{address}, which is literal.

    @return: a stream that is parked, paused and tuned; or fails with C{OSError}. Has fired already where the
        kernel decides at once: unix sockets, and on Linux what is on this machine. Cancelling closes.
    """
    connecting = _Connecting(reactor, address)
    connecting.begin(family)
    return connecting.result


@implementer(IReadWriteDescriptor)
class _Connecting:
    """A socket that is not connected yet."""

    def __init__(self, reactor: Any, address: Any) -> None:
        self._reactor = reactor
        self._address = address
        self._family = 0
        self._socket: socket.socket | None = None
        self._watched = False
        self.result: Deferred[Stream] = Deferred(lambda _: self._end(close=True))

    def begin(self, family: int) -> None:
        self._family = family
        try:
            sock = self._socket = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            number = sock.connect_ex(self._address)
        except OSError as error:
            self._failed(error.errno or 0)
            return
        if number == errno.EINPROGRESS and sys.platform == "linux":
            # Over loopback the answer is there when the call returns. To ask again costs 0.3 us, to wait for
            # the next turn of the reactor 10.
            number = sock.connect_ex(self._address)
        self._judge(number)
        if self._socket is not None:
            self._watched = True
            self._reactor.addReader(self)  # kqueue and select report a failure as input
            self._reactor.addWriter(self)

    def _look(self) -> None:
        sock = self._socket
        if sock is not None:
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._judge(number or sock.connect_ex(self._address))

    def _judge(self, number: int) -> None:
        sock = self._socket
        assert sock is not None
        if number in _CONNECTED:
            self._end(close=False)
            if self._family != socket.AF_UNIX:
                tune_tcp(sock)
            self.result.callback(TcpStream(self._reactor, sock, self._address))
        elif number not in _UNDER_WAY:
            self._failed(number)

    def _failed(self, number: int) -> None:
        self._end(close=True)
        self.result.errback(OSError(number, os.strerror(number)))

    def _end(self, *, close: bool) -> None:
        if self._watched:
            self._watched = False
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
        sock, self._socket = self._socket, None
        if sock is not None and close:
            sock.close()

    # for the reactor

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def doRead(self) -> None:
        self._look()

    def doWrite(self) -> None:
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The reactor saw a hang-up, or ends."""
        self._look()
        if self._socket is not None:
            self._failed(errno.ECONNABORTED)

    def logPrefix(self) -> str:
        return "-"
