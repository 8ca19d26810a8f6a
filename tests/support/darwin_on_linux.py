"""
As much of macOS as a Linux process can have: kqueue, C{sys.platform}, what its sockets refuse, and what
Python leaves out there. For tests: C{python tests/support/darwin_on_linux.py tests.transport}, as with trial.

From XNU's sources (xnu-11417: bsd/kern/uipc_socket.c, uipc_syscalls.c, bsd/netinet/tcp_usrreq.c):

 - setsockopt() and getpeername() are EINVAL once both directions have ended, by a reset or in order;
 - shutdown(SHUT_RDWR) of a socket whose peer has ended is ENOTCONN, and sends no FIN; so is any of one that
   is not connected any more;
 - accept() of an IPv6 connection that was reset in the queue gives a descriptor without an address;
 - a unix socket's queue that is full refuses (ECONNREFUSED), and its path has 103 bytes;
 - lo0 has 127.0.0.1 only (DARWIN_ALIASES=1 lifts that, for tests that use 127.0.0.2).

Apple's commands are those of macos/bin, which print what real Macs have printed.
"""

from __future__ import annotations

import _socket
import errno
import importlib
import os
import socket
import struct
import sys
import sysconfig
from typing import Any, NoReturn

_SOL_LOCAL, _LOCAL_PEERCRED, _PEERCRED = 0, 1, socket.SO_PEERCRED
_CLOSE, _ESTABLISHED, _CLOSE_WAIT = 7, 1, 8
_CLOSED = {6, _CLOSE, 9, 11}  # TIME_WAIT, CLOSE, LAST_ACK, CLOSING: both directions have ended

# These modules have to see Linux in C{sys.platform} and C{select}, for they call its libraries.
_BEFORE = (
    "asyncio",
    "ctypes.util",
    "multiprocessing",
    "platform",
    "subprocess",
    "tempfile",
    "urllib.request",
    "webbrowser",
)
_AFTER = (
    "twisted.internet.kqreactor",
    "twisted.internet.tcp",
    "twisted.internet.unix",
    "twisted.internet.process",
    "twisted.trial.unittest",
    "cryptography.x509",
    "OpenSSL.SSL",
)
_ABSENT: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (
        socket,
        (
            "SOCK_NONBLOCK",
            "SOCK_CLOEXEC",
            "SO_PEERCRED",
            "TCP_KEEPIDLE",
            "MSG_NOSIGNAL",
            "SO_DOMAIN",
            "SO_PROTOCOL",
            "TCP_USER_TIMEOUT",
            "TCP_QUICKACK",
            "TCP_DEFER_ACCEPT",
            "SO_INCOMING_CPU",
            "SO_MARK",
        ),
    ),
    (os, ("splice", "pipe2", "eventfd", "memfd_create", "sched_getaffinity", "posix_fadvise")),
)


def _state(sock: Any) -> int | None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        return None
    try:
        return _socket.socket.getsockopt(sock, socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return None


def _fail(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


def _was_connected(sock: Any) -> bool:
    """A fresh socket is in CLOSE, too, and takes options; one that was connected has a local port."""
    try:
        return bool(_socket.socket.getsockname(sock)[1])
    except OSError:
        return False


class _Darwin:
    """Refuses what macOS refuses; mixed in before a socket class."""

    family: int

    def setsockopt(self, *arguments: Any) -> Any:
        state = _state(self)
        if state in _CLOSED and (state != _CLOSE or _was_connected(self)):
            _fail(errno.EINVAL)
        return super().setsockopt(*arguments)  # type: ignore[misc]

    def getsockopt(self, level: int, option: int, *size: int) -> Any:
        if (self.family, level, option) == (socket.AF_UNIX, _SOL_LOCAL, _LOCAL_PEERCRED):
            _, user, group = struct.unpack("3i", super().getsockopt(socket.SOL_SOCKET, _PEERCRED, 12))  # type: ignore[misc]
            return struct.pack("IIhxxI60x", 0, user, 1, group)[: size[0]]  # struct xucred
        return super().getsockopt(level, option, *size)  # type: ignore[misc]

    def getpeername(self) -> Any:
        if _state(self) in _CLOSED:
            _fail(errno.EINVAL)
        return super().getpeername()  # type: ignore[misc]

    def shutdown(self, how: int) -> Any:
        state = _state(self)
        if state == _CLOSE or (how != socket.SHUT_WR and state in {_CLOSE_WAIT, *_CLOSED}):
            _fail(errno.ENOTCONN)
        return super().shutdown(how)  # type: ignore[misc]

    def _place(self, address: Any) -> None:
        if self.family == socket.AF_UNIX:
            raw = os.fsencode(address)
            if raw.startswith(b"\0"):
                _fail(errno.ENOENT)
            if len(raw) > 103:
                raise OSError("AF_UNIX path too long")
        elif self.family == socket.AF_INET and not os.environ.get("DARWIN_ALIASES"):
            host = str(address[0])
            if host.startswith("127.") and host != "127.0.0.1":
                _fail(errno.EADDRNOTAVAIL)

    def bind(self, address: Any) -> Any:
        self._place(address)
        return super().bind(address)  # type: ignore[misc]

    def connect(self, address: Any) -> Any:
        self._place(address)
        try:
            return super().connect(address)  # type: ignore[misc]
        except BlockingIOError as error:
            if self.family == socket.AF_UNIX and error.errno == errno.EAGAIN:
                _fail(errno.ECONNREFUSED)
            raise

    def connect_ex(self, address: Any) -> int:
        self._place(address)
        number: int = super().connect_ex(address)  # type: ignore[misc]
        return errno.ECONNREFUSED if self.family == socket.AF_UNIX and number == errno.EAGAIN else number

    def _accept(self) -> Any:
        descriptor, address = super()._accept()  # type: ignore[misc]
        if self.family == socket.AF_INET6:
            probe = _socket.socket(fileno=descriptor)
            if _state(probe) == _CLOSE:
                address = None
            probe.detach()
        return descriptor, address


class SocketType(_Darwin, _socket.socket):
    """Stands for C{socket.SocketType}."""


class Socket(_Darwin, socket.socket):  # type: ignore[misc]
    """Stands for C{socket.socket}."""


def install() -> None:
    """Make this process look like one on macOS, as far as that goes."""
    for name in _BEFORE:
        importlib.import_module(name)
    sysconfig.get_config_vars()  # from a file that has the platform in its name; remembered from here on
    import kqueue_on_linux  # type: ignore[import-not-found]

    kqueue_on_linux.install()
    for name in _AFTER:
        importlib.import_module(name)
    for module, names in _ABSENT:
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    socket.TCP_KEEPALIVE = 4  # type: ignore[attr-defined] # Linux's number of TCP_KEEPIDLE
    socket.SocketType, socket.socket = SocketType, Socket  # type: ignore[misc]
    commands = os.path.join(os.path.dirname(os.path.abspath(__file__)), "macos", "bin")
    os.environ["PATH"] = os.pathsep.join([commands, os.environ.get("PATH", os.defpath)])
    sys.platform = "darwin"


if __name__ == "__main__":
    sys.path[0] = os.path.dirname(os.path.abspath(__file__))
    install()
    from kqueue_on_linux import run_trial

    sys.path[0] = os.getcwd()
    run_trial(sys.argv[1:])
