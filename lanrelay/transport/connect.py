"""Connects a socket without waiting."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.transport.stream import Stream, tune_tcp
from lanrelay.transport.tcp import TcpStream

_UNDER_WAY = (errno.EINPROGRESS, errno.EALREADY, errno.EINTR)
_CONNECTED = (0, errno.EISCONN)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, of 0 s: close() sends RST


def _os_error(number: int) -> Exception:
    return OSError(number, os.strerror(number))


def connect(
    reactor: Any,
    family: int,
    address: Any,
    error: Callable[[int], Exception] = _os_error,
    *,
    begun: Callable[[Any], None] | None = None,
) -> Deferred[Stream]:
    """
    Connect to C{address}, which is literal.

    @param error: makes the error from an errno; 0 for an address that cannot be one.
    @param begun: called with the socket's own name, before the other side can have seen that.
    @return: a stream that is parked, paused and tuned. It has fired already where the kernel decides at once:
        for unix sockets, and on Linux for this machine. Cancelling closes.
    """
    try:
        sock, number = _begin(family, address)
    except OSError as reason:
        return fail(error(reason.errno or 0))
    if begun is not None and (number in _CONNECTED or number in _UNDER_WAY):
        begun(sock.getsockname())
    if number in _CONNECTED:
        return succeed(_connected(reactor, sock, family, address))
    if number in _UNDER_WAY:
        return _Connecting(reactor, sock, family, address, error).result
    sock.close()
    return fail(error(number))


def connect_at_once(reactor: Any, family: int, address: Any) -> Stream | None:
    """
    The stream of L{connect}, if the kernel connects at once; nothing is made that waiting would need.

    @return: C{None} if it does not connect at once: nothing is left open, and L{connect} will say why.
    """
    try:
        sock, number = _begin(family, address)
    except OSError:
        return None
    if number in _CONNECTED:
        return _connected(reactor, sock, family, address)
    sock.close()
    return None


# No stream needs what socket.socket adds to it (names for the family, dup, makefile). It costs each
# connection 8 us of 140: a class made around the socket, and three calls more to close it.
Socket = socket.SocketType
_NONBLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)  # set at creation, where the system can: a call less


def _begin(family: int, address: Any) -> tuple[Socket, int]:
    """A socket that does not block, and the errno of its C{connect()}; errors before that are raised."""
    sock = Socket(family, socket.SOCK_STREAM | _NONBLOCKING)
    if not _NONBLOCKING:
        sock.setblocking(False)
    try:
        number = sock.connect_ex(address)
    except OSError:  # a path that is too long
        sock.close()
        raise
    if number == errno.EINPROGRESS and sys.platform == "linux":
        # Over loopback the answer is there when the call returns. Asking again costs 0.3 us, waiting for the
        # next turn of the reactor 10.
        number = sock.connect_ex(address)
    return sock, _judged(sock, number, family, address)


def _judged(sock: Socket, number: int, family: int, address: Any) -> int:
    """
    The errno of a C{connect()}: refused where TCP has connected the socket to itself.

    When nobody listens on a port in the range for outgoing connections, the kernel may choose that very port
    for the socket: its SYN meets itself (simultaneous open, RFC 9293 section 3.5). An orderly close would
    leave TIME_WAIT on the port, which the program needs when it comes back.
    """
    if number in _CONNECTED and family != socket.AF_UNIX:
        name = sock.getsockname()
        if name[1] == address[1] and name == sock.getpeername():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return errno.ECONNREFUSED
    return number


def _connected(reactor: Any, sock: Socket, family: int, address: Any) -> Stream:
    if family != socket.AF_UNIX:
        tune_tcp(sock)
    return TcpStream(reactor, sock, address)


@implementer(IReadWriteDescriptor)
class _Connecting:
    """A socket that is not connected yet."""

    def __init__(
        self,
        reactor: Any,
        sock: Socket,
        family: int,
        address: Any,
        error: Callable[[int], Exception] = _os_error,
    ) -> None:
        self._reactor = reactor
        self._socket: Socket | None = sock
        self._family = family
        self._address = address
        self._error = error
        self.result: Deferred[Stream] = Deferred(lambda _: self._end(close=True))
        reactor.addReader(self)  # kqueue and select report a failure as input
        reactor.addWriter(self)

    def _look(self) -> None:
        sock = self._socket
        if sock is None:
            return
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or sock.connect_ex(self._address)
        number = _judged(sock, number, self._family, self._address)
        if number in _CONNECTED:
            self._end(close=False)
            self.result.callback(_connected(self._reactor, sock, self._family, self._address))
        elif number not in _UNDER_WAY:
            self._failed(number)

    def _failed(self, number: int) -> None:
        self._end(close=True)
        self.result.errback(self._error(number))

    def _end(self, *, close: bool) -> None:
        sock = self._socket
        if sock is None:
            return
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._socket = None
        if close:
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
