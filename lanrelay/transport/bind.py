"""Opens listening sockets."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanrelay.config.control import is_served
from lanrelay.config.model import (
    IPAddress,
    ListenAddress,
    LocalhostAddress,
    SystemdSocket,
    TcpAddress,
    UnixAddress,
)
from lanrelay.errors import StartError

if TYPE_CHECKING:
    from lanrelay.transport.activation import ActivatedSocket, LaunchdSockets, SystemdSockets

_BACKLOG = 1024  # the kernel caps it (Linux 4096, macOS 128); nginx asks for 511, HAProxy for its maxconn


_SHADOWS = sys.platform != "linux"
_PROBE = 0.5  # seconds for a trial connection to this machine itself


class FamilyMissing(StartError):
    """The machine does not have this address family, so there is nothing to listen on."""


@dataclass(slots=True, kw_only=True)
class BoundSocket:
    """
    A socket that listens already; its holder closes it.

    @ivar address: as configured.
    @ivar name: with the real port, as C{"127.0.0.1:8080"}, C{"[::1]:8080"} or C{"unix:/path"}.
    """

    socket: socket.socket
    address: ListenAddress
    name: str
    _inode: tuple[int, int] | None = field(default=None, repr=False)
    _closed: Callable[[], None] | None = field(default=None, repr=False)

    def serve(self, address: ListenAddress, *, mode: int) -> None:
        """Serve another entry of C{listen} from now on, or have another mode of a unix socket."""
        self.address = address
        if self._inode is not None and isinstance(address, UnixAddress):
            with suppress(OSError):  # the path is gone
                if stat.S_IMODE(os.lstat(address.path).st_mode) != mode:
                    os.chmod(address.path, mode)

    def close(self) -> None:
        """
        Close it; a unix socket's path goes too, if it is still ours.

        A service manager's socket is a duplicate: the manager's own stays open, and the path stays.
        """
        inode, self._inode = self._inode, None
        if inode is not None and isinstance(self.address, UnixAddress):
            with suppress(OSError):
                found = os.lstat(self.address.path)
                if (found.st_dev, found.st_ino) == inode:
                    os.unlink(self.address.path)
        self.socket.close()  # last: while it is open no other file gets its inode
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()


def bind_all(
    addresses: Sequence[ListenAddress], *, mode: int = 0o600, notes: list[str] | None = None
) -> list[BoundSocket]:
    """
    L{bind} all of them or none.

    An address of a family that the machine lacks is skipped and noted in C{notes}, unless none would be left.
    """
    bound: list[BoundSocket] = []
    notes = [] if notes is None else notes
    missing: FamilyMissing | None = None
    try:
        for address in addresses:
            try:
                bound += bind(address, mode=mode, notes=notes)
            except FamilyMissing as error:
                missing = error
                notes.append(f"{address} is skipped: {error.detail}")
        if missing is not None and not bound:
            raise missing
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def bind(address: ListenAddress, *, mode: int = 0o600, notes: list[str] | None = None) -> list[BoundSocket]:
    """
    Listen on C{address}: one socket, or for C{localhost} one for each loopback that the machine has.

    @param mode: of a unix socket, whatever the umask.
    @param notes: gets a sentence for each loopback that was skipped.
    @raise StartError: with a remedy; the caller adds the listener's name.
    """
    if isinstance(address, TcpAddress):
        return [_bind_tcp(address, address.host, address.port)]
    if isinstance(address, LocalhostAddress):
        return _bind_localhost(address, [] if notes is None else notes)
    if isinstance(address, UnixAddress):
        return [_bind_unix(address, mode)]
    if isinstance(address, SystemdSocket):
        return _take(address, _systemd_sockets().find(address.name))
    return _take(address, _launchd_sockets().find(address.name))


def _bind_localhost(address: LocalhostAddress, notes: list[str]) -> list[BoundSocket]:
    for attempt in range(50):  # port 0: the port that is free on IPv4 may be taken on IPv6
        bound: list[BoundSocket] = []
        skipped: list[str] = []
        port = address.port
        try:
            for host in _LOOPBACKS:
                try:
                    bound.append(_bind_tcp(address, host, port))
                except FamilyMissing as error:
                    skipped.append(f"{address} listens on one loopback address only: {error.detail}")
                else:
                    port = bound[0].socket.getsockname()[1]
        except _PortInUse:
            for one in bound:
                one.close()
            if address.port or attempt == 49:
                raise
            continue
        except BaseException:
            for one in bound:
                one.close()
            raise
        if not bound:
            raise FamilyMissing(
                "this machine has neither 127.0.0.1 nor ::1", remedy="bring the loopback interface up"
            )
        notes += skipped
        return bound
    raise AssertionError


_LOOPBACKS = (ip_address("127.0.0.1"), ip_address("::1"))


class _PortInUse(StartError):
    pass


def _bind_tcp(address: ListenAddress, host: IPAddress, port: int) -> BoundSocket:
    name = str(TcpAddress(host=host, port=port))
    family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            raise _no_family(host) from error
        raise _refused(error, name, port) from error
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # getaddrinfo for the sake of scope ids ("fe80::1%en0"); AI_NUMERICHOST asks no name server. The host
        # is given as bytes, for from a str Python makes a name by IDNA, whose tables take 2 ms to load.
        text = str(host).encode()
        where = socket.getaddrinfo(text, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)[0][4]
        if not (_SHADOWS and port and _bound_to_what_nobody_has(sock, where)):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(where)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRNOTAVAIL and host in _LOOPBACKS:
            raise _no_family(host) from error
        raise _refused(error, name, port) from error
    return BoundSocket(
        socket=sock, address=address, name=str(TcpAddress(host=host, port=sock.getsockname()[1]))
    )


def _bound_to_what_nobody_has(sock: socket.socket, where: Any) -> bool:
    """
    Bind without SO_REUSEADDR. On BSD, with that option, binding one address of a port takes its connections
    from a program that has the port on all addresses (C{*:7000} is AirPlay's). C{False}: only connections
    that have ended hold the port, so the option is right.

    @raise OSError: EADDRINUSE if a program listens there.
    """
    try:
        sock.bind(where)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        with socket.socket(sock.family, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PROBE)
            try:
                probe.connect(where)
                if probe.getsockname() == probe.getpeername():
                    return False  # the probe has met itself: it was given that very port
            except ConnectionRefusedError:
                return False
            except OSError:
                pass  # a full queue does not answer
        raise
    return True


def _no_family(host: IPAddress) -> FamilyMissing:
    return FamilyMissing(f"this machine has no IPv{host.version}", remedy="listen on another address")


def _refused(error: OSError, name: str, port: int) -> StartError:
    if error.errno == errno.EADDRINUSE:
        who = f"`lsof -i :{port}`" if sys.platform == "darwin" else f"`ss -ltnp` or `lsof -i :{port}`"
        return _PortInUse(
            f"{name} is in use by another program",
            remedy=f"{who} names it; end it, or listen on another port",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return StartError(
            f"{name} may not be opened by this user",
            remedy="listen on a port from 1024 on, or use a service manager",
        )
    if error.errno in (errno.EADDRNOTAVAIL, socket.EAI_NONAME):
        return StartError(
            f"{name} is no address of this machine", remedy="`ip address` or `ifconfig` lists its addresses"
        )
    return StartError(f"{name} cannot be opened: {error.strerror or error}")


def _bind_unix(address: UnixAddress, mode: int) -> BoundSocket:
    path = address.path
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The file is created with no more than `mode`. No client can connect before listen(), but a process could
    # have a descriptor of it by then.
    umask = os.umask(0o777 & ~mode)
    try:
        try:
            sock.bind(os.fspath(path))
        finally:
            os.umask(umask)
        found = os.lstat(path)
        bound = BoundSocket(
            socket=sock, address=address, name=str(address), _inode=(found.st_dev, found.st_ino)
        )
    except OSError as error:
        sock.close()
        raise _unix_refused(error, address) from error
    try:
        os.chmod(path, mode)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        bound.close()
        raise _unix_refused(error, address) from error
    return bound


def _remove_stale(path: Path) -> None:
    """Unlink a socket on which nobody listens; complain about anything else at that path."""
    try:
        found = os.lstat(path)
    except OSError:
        return  # nothing there, or bind() will say what is wrong
    if not stat.S_ISSOCK(found.st_mode):
        raise StartError(f"{path} exists and is no socket", remedy="move it away, or choose another path")
    try:
        if not is_served(path):
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
    except OSError as error:
        raise StartError(
            f"unix:{path} exists and cannot be tried: {error.strerror or error}",
            remedy="remove it if no program uses it, or choose another path",
        ) from error
    raise StartError(
        f"unix:{path} is in use by another program",
        remedy=f"`lsof {path}` names it; end it, or choose another path",
    )


def _unix_refused(error: OSError, address: UnixAddress) -> StartError:
    path = address.path
    if error.errno == errno.ENOENT:
        return StartError(f"there is no folder {path.parent}", remedy=f"`mkdir -p {path.parent}` makes it")
    if error.errno == errno.ENOTDIR:
        return StartError(f"{path.parent} is no folder", remedy="choose another path")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StartError(f"this user may not write to {path.parent}", remedy="choose another folder")
    if error.errno in (None, errno.ENAMETOOLONG):  # Python itself refuses the length, without an errno
        return StartError(
            f"the path of {address} is too long for a socket", remedy="choose one below 100 characters"
        )
    return StartError(f"{address} cannot be opened: {error.strerror or error}")


# --- handed over by a service manager -----------------------------------------------------------------

# The sockets with which the process was started; they can be taken over only once.
_systemd: SystemdSockets | None = None
_launchd: LaunchdSockets | None = None


def unused_sockets() -> Iterator[str]:
    """A sentence for each socket of systemd's that no listener uses."""
    if _systemd is not None or "LISTEN_FDS" in _environment():
        yield from _systemd_sockets().unused()


def _systemd_sockets() -> SystemdSockets:
    global _systemd
    if _systemd is None:
        from lanrelay.transport.activation import SystemdSockets  # few relays get any

        _systemd = SystemdSockets(_environment(), os.getpid())
    return _systemd


def _environment() -> MutableMapping[str, str]:
    """
    The environment with which the process was started.

    Twisted's endpoints take LISTEN_FDS out of C{os.environ} when they are imported, and twistd imports
    them where it may not write its cache of plugins: in a unit that sees its own installation read-only.
    """
    if "LISTEN_FDS" not in os.environ:
        try:
            with open("/proc/self/environ", "rb") as file:
                pairs = [os.fsdecode(pair).partition("=") for pair in file.read().split(b"\0")]
        except OSError:  # no Linux, so no systemd
            return os.environ
        given = {name: value for name, _, value in pairs if name.startswith("LISTEN_")}
        if given.get("LISTEN_PID") == str(os.getpid()):
            return given
    return os.environ


def _launchd_sockets() -> LaunchdSockets:
    global _launchd
    if _launchd is None:
        from lanrelay.transport.activation import LaunchdSockets, launch_activate_socket

        _launchd = LaunchdSockets(launch_activate_socket)
    return _launchd


def _take(address: ListenAddress, sockets: Sequence[ActivatedSocket]) -> list[BoundSocket]:
    bound: list[BoundSocket] = []
    try:
        for one in sockets:
            copy = one.duplicate()
            bound.append(BoundSocket(socket=copy, address=address, name=_name_of(copy), _closed=one.release))
    except BaseException:
        for taken in bound:
            taken.close()
        raise
    return bound


def _name_of(sock: socket.socket) -> str:
    """The name, in the form that sockets have which we open ourselves."""
    where = sock.getsockname()
    if isinstance(where, tuple):
        return str(TcpAddress(host=ip_address(where[0].partition("%")[0]), port=where[1]))
    path = os.fsdecode(where)
    return "unix:" + (f"@{path[1:]}" if path.startswith("\0") else path)
