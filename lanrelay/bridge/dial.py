"""From a place to a connected stream: name, race of addresses, parent proxy, TLS; all without blocking."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple

from lanrelay.bridge.loop import READ, WRITE, Loop, Start, now, ready, threaded
from lanrelay.bridge.stream import Stream

if TYPE_CHECKING:
    from lanrelay.bridge.secure import Tls

AHEAD = 0.25
"""Seconds between the tries of two addresses (RFC 8305 section 5)."""

_CONNECTED = (0, errno.EISCONN)
_UNDER_WAY = (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR, errno.EALREADY)

Address = tuple[int, Any]
"""A family, and what C{connect} takes."""


class HostPort(NamedTuple):
    """
    Where to connect.

    @ivar host: a name or an address without brackets; empty for a unix socket.
    @ivar path: of a unix socket.
    """

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Parent(NamedTuple):
    """
    A proxy on the way.

    @ivar scheme: C{http} or C{socks5}.
    """

    scheme: str
    host_port: HostPort
    name: str = ""
    password: str = ""


class Approach(NamedTuple):
    """
    How a target is reached.

    @ivar tls: makes the TLS of one connection; C{None} for none.
    """

    host_port: HostPort
    parent: Parent | None = None
    tls: Callable[[], Tls] | None = None


def dial(loop: Loop, approach: Approach, *, within: float) -> Generator[Start, Any, Stream]:
    """
    The steps to a connected stream.

    @param within: seconds for the whole.
    @raise lanrelay.errors.DialError: in the words of the relay.
    @raise lanrelay.bridge.secure.NotUsable: a file that TLS needs is not as it should be.
    """
    began = now()
    until = began + within
    tls: Tls | None = approach.tls() if approach.tls is not None else None
    first = approach.host_port if approach.parent is None else approach.parent.host_port
    parent = "" if approach.parent is None else str(first)
    connected: socket.socket | None = None
    address = ""
    try:
        addresses = yield from _look_up(first, until)
        connected, address = yield from _race(addresses, until)
        if approach.parent is not None:
            from lanrelay.bridge.via import open_way

            yield from open_way(connected, approach.parent, approach.host_port, until)
            parent, address, first = "", str(approach.host_port), approach.host_port
        if tls is not None:
            yield from _shake(connected, tls, until)
        stream = Stream(loop, connected, tls)
        connected = None
        return stream
    except Exception as error:
        from lanrelay.errors import DialError

        if isinstance(error, DialError):
            error.target = error.target or str(first)
            error.address = error.address or address
            error.elapsed = now() - began
            error.parent = error.parent or parent
        raise
    finally:
        if connected is not None:
            connected.close()


# --- names --------------------------------------------------------------------------------------------


def _look_up(host_port: HostPort, until: float) -> Generator[Start, Any, list[Address]]:
    if host_port.path:
        return [(socket.AF_UNIX, host_port.path)]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host_port.host.partition("%")[0])
        except (OSError, ValueError):
            continue
        return _found(host_port, socket.AI_NUMERICHOST)
    found = yield threaded(lambda: _found(host_port, 0), until)
    if isinstance(found, Exception):
        raise _of_name(found, host_port)
    addresses: list[Address] = found
    return addresses


def _found(host_port: HostPort, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host_port.host, host_port.port, type=socket.SOCK_STREAM, flags=flags)
    addresses = list(dict.fromkeys((family, where) for family, _, _, _, where in found))
    # RFC 8305 section 4: the families take turns, the resolver's first choice first.
    same = [one for one in addresses if one[0] == addresses[0][0]]
    other = [one for one in addresses if one[0] != addresses[0][0]]
    turns: list[Address] = []
    while same or other:
        turns += [row.pop(0) for row in (same, other) if row]
    return turns


def _of_name(error: Exception, host_port: HostPort) -> Exception:
    from lanrelay import errors

    if isinstance(error, TimeoutError):
        return errors.NameTimeout(target=str(host_port))
    if isinstance(error, UnicodeError):
        return errors.NoSuchName("it is no valid host name", target=str(host_port))
    if isinstance(error, socket.gaierror):
        unknown = [getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")]
        kind = errors.NoSuchName if error.errno in unknown else errors.NameServerFailed
        return kind(error.strerror or str(error), target=str(host_port))
    return errors.NameServerFailed(str(error), target=str(host_port))


# --- addresses ----------------------------------------------------------------------------------------


def _race(addresses: list[Address], until: float) -> Generator[Start, Any, tuple[socket.socket, str]]:
    from lanrelay.errors import ConnectionRefused, DialError, DialTimeout

    waiting = list(addresses)
    tried: dict[int, tuple[socket.socket, str]] = {}
    failed: list[DialError] = []
    began = now()
    following = 0.0
    try:
        while waiting or tried:
            if waiting and (not tried or now() >= following):
                family, where = waiting.pop(0)
                following = now() + AHEAD
                shown = _shown(family, where)
                started = _start(family, where, shown)
                if isinstance(started, DialError):
                    failed.append(started)
                    continue
                tried[started.fileno()] = (started, shown)
            soon = min(until, following) if waiting else until
            done: set[int] = yield ready(dict.fromkeys(tried, WRITE), soon)
            for descriptor in done:
                one, shown = tried.pop(descriptor)
                code = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    _set_up(one)
                    return one, shown
                one.close()
                failed.append(_of_kernel(code, shown))
                failed[-1].elapsed = now() - began
                following = 0.0
            if not done and now() >= until:
                shown = next(iter(tried.values()))[1] if tried else ""
                failed.append(DialTimeout("no answer", address=shown))
                break
    finally:
        for one, _ in tried.values():
            one.close()
    # The failure of a host that is there says more than that of one that is not.
    raise next((one for one in failed if isinstance(one, ConnectionRefused)), failed[0])


def _start(family: int, where: Any, shown: str) -> Any:
    """A socket that is connecting, or why there is none."""
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        return _of_kernel(error.errno or 0, shown)
    made.setblocking(False)
    try:
        code = made.connect_ex(where)
    except (OSError, ValueError) as error:  # the path of a unix socket is too long
        made.close()
        from lanrelay.errors import DialError

        return DialError(str(error), address=shown)
    if code in _CONNECTED or code in _UNDER_WAY:
        return made
    made.close()
    return _of_kernel(code, shown)


def _set_up(one: socket.socket) -> None:
    """Have requests go out at once, and notice a peer that went without a word (a machine that sleeps)."""
    if one.family == socket.AF_UNIX:
        return
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPALIVE", 30),  # its name on macOS
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 60_000),
    ):
        if hasattr(socket, name):
            one.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _shown(family: int, where: Any) -> str:
    if family == socket.AF_UNIX:
        return f"unix:{where}"
    return str(HostPort(where[0], where[1]))


def _of_kernel(code: int, shown: str) -> Any:
    from lanrelay import errors

    kinds = {
        errno.ECONNREFUSED: errors.ConnectionRefused,
        errno.ENOENT: errors.ConnectionRefused,
        errno.ETIMEDOUT: errors.DialTimeout,
        errno.EACCES: errors.DialForbidden,
        errno.EPERM: errors.DialForbidden,
        errno.EMFILE: errors.LocalLimit,
        errno.ENFILE: errors.LocalLimit,
        errno.EADDRNOTAVAIL: errors.LocalLimit,
        errno.ECONNRESET: errors.PeerClosed,
        errno.EPIPE: errors.PeerClosed,
    }
    unroutable = ("EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN", "EAFNOSUPPORT")
    kind = errors.Unroutable if errno.errorcode.get(code) in unroutable else kinds.get(code, errors.DialError)
    made = kind(os.strerror(code) if code else "the kernel refused it", address=shown)
    made.errno = code or None
    return made


# --- TLS ----------------------------------------------------------------------------------------------


def _shake(connected: socket.socket, tls: Tls, until: float) -> Generator[Start, Any, None]:
    from lanrelay import errors

    while True:
        try:
            if tls.shake_and_send(connected):
                return
        except OSError as error:
            raise _of_kernel(error.errno or 0, "") from None
        mask = READ | (WRITE if tls.has_outgoing else 0)
        if not (yield ready({connected.fileno(): mask}, until)):
            raise errors.TlsTimeout("the handshake did not end")
        try:
            data = connected.recv(65536)
        except BlockingIOError:
            continue
        except OSError as error:
            raise _of_kernel(error.errno or 0, "") from None
        if not data:
            tls.incoming_ended()
            raise errors.PeerClosed("the connection ended inside of the TLS handshake")
        tls.incoming(data)


def receive(connected: socket.socket, most: int, until: float) -> Generator[Start, Any, bytes]:
    """
    Wait for what comes next, C{most} bytes at most; gives nothing at the end.

    @raise TimeoutError: C{until} has come.
    """
    while True:
        if not (yield ready({connected.fileno(): READ}, until)):
            raise TimeoutError
        try:
            return connected.recv(most)
        except BlockingIOError:
            continue


def send(connected: socket.socket, data: bytes, until: float) -> Generator[Start, Any, None]:
    """
    @raise TimeoutError: C{until} has come.
    """
    while data:
        if not (yield ready({connected.fileno(): WRITE}, until)):
            raise TimeoutError
        try:
            data = data[connected.send(data) :]
        except BlockingIOError:
            continue
