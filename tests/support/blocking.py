"""A socket that sends and receives exactly what a test wants, one call after another."""

from __future__ import annotations

import socket
import struct

from tests.support.progress import PATIENCE


class Peer:
    """One end of a connection, blocking."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.socket.settimeout(PATIENCE)

    @classmethod
    def to(cls, port: int, host: str = "127.0.0.1") -> Peer:
        """A client that is connected to this place."""
        return cls(socket.create_connection((host, port), timeout=PATIENCE))

    def send(self, data: bytes) -> Peer:
        self.socket.sendall(data)
        return self

    def head(self) -> bytes:
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            more = self.socket.recv(1)
            if not more:
                break
            data += more
        return data

    def line(self) -> bytes:
        """Up to the next CRLF, without it."""
        data = b""
        while not data.endswith(b"\r\n"):
            more = self.socket.recv(1)
            if not more:
                break
            data += more
        return data.removesuffix(b"\r\n")

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                break
            data += more
        return data

    def rest(self) -> bytes:
        """All until the end; a reset raises."""
        data = b""
        while more := self.socket.recv(65536):
            data += more
        return data

    def is_quiet(self) -> bool:
        """Nothing comes for a moment."""
        self.socket.settimeout(0.2)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE)
        return False

    def has_ended(self) -> bool:
        """The other side has ended or reset it."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def end(self) -> Peer:
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
