"""What a stream tells of its socket, and the options that it sets there."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress


class ConnectedSocket:
    """
    The part of C{ITCPTransport} that is about the socket alone, TCP or unix.

    A stream that inherits it sets C{_socket}, and C{_peer}, the socket's C{getpeername()}.
    """

    __slots__ = ("_peer", "_socket")

    _socket: socket.SocketType
    _peer: Any

    def __repr__(self) -> str:
        return f"<stream with {self._peer or 'a unix socket'!r}>"

    def fileno(self) -> int:
        return self._socket.fileno()

    def getPeer(self) -> Any:
        return _address(self._peer)

    def getHost(self) -> Any:
        return _address(self._socket.getsockname())

    def getTcpNoDelay(self) -> bool:
        return bool(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled)

    def getTcpKeepAlive(self) -> bool:
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)


def _address(name: Any) -> Any:
    if not isinstance(name, tuple):
        return UNIXAddress(name or None)
    return IPv4Address("TCP", *name) if len(name) == 2 else IPv6Address("TCP", *name)
