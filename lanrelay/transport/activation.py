"""Listening sockets that a service manager opened for us: systemd's and launchd's."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass

from lanrelay.errors import StartError

_FIRST = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


@dataclass(eq=False, slots=True)
class ActivatedSocket:
    """
    A descriptor that came from outside and stays open to the end of the process.

    The relay listens on a duplicate. Closing that does not end the manager's socket, and a later reload can
    make another one.

    @ivar label: what the manager calls it, C{"systemd:web"}.
    @ivar remedy: what makes a socket of the right kind.
    @ivar taken: there is a duplicate now.
    """

    descriptor: int
    label: str
    remedy: str
    taken: bool = False

    def duplicate(self) -> socket.socket:
        """
        A socket with the same queue; the one who closes it then calls L{release}.

        @raise StartError: the descriptor is no socket that listens for streams, or has been taken.
        """
        if self.taken:
            raise StartError(
                f"the socket {self.label} has a listener already", remedy="give each socket to one listener"
            )
        self._check()
        try:
            copy = socket.socket(fileno=os.dup(self.descriptor))
        except OSError as error:
            raise StartError(f"{self.label} cannot be duplicated: {error.strerror}") from error
        copy.setblocking(False)
        self.taken = True
        return copy

    def release(self) -> None:
        """The duplicate has been closed."""
        self.taken = False

    def _check(self) -> None:
        try:
            if not stat.S_ISSOCK(os.fstat(self.descriptor).st_mode):
                raise StartError(f"{self.label} is no socket", remedy=self.remedy)
            with socket.socket(fileno=os.dup(self.descriptor)) as probe:
                if probe.type != socket.SOCK_STREAM:
                    raise StartError(f"{self.label} is not for streams", remedy=self.remedy)
                if probe.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
                    raise StartError(f"{self.label} is neither TCP nor a unix socket", remedy=self.remedy)
                if not _listens(probe):
                    raise StartError(f"{self.label} does not listen", remedy=self.remedy)
        except OSError as error:
            raise StartError(
                f"{self.label} is descriptor {self.descriptor}, which cannot be used: {error.strerror}",
                remedy=self.remedy,
            ) from error


def _listens(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:  # a system without the option
            return True
        raise


# --- systemd ------------------------------------------------------------------------------------------


class SystemdSockets:
    """
    The sockets of C{LISTEN_FDS}, C{LISTEN_PID} and C{LISTEN_FDNAMES}; see sd_listen_fds(3).

    They are closed when another program is executed, and the variables are removed, so that no child takes
    them for its own. Made in the process that systemd started, before any fork.
    """

    REMEDY = "ListenStream= without Accept=yes in the .socket unit makes one that does"

    def __init__(self, environment: MutableMapping[str, str], pid: int) -> None:
        self._sockets: list[ActivatedSocket] = []
        self._names: list[str] = []
        self._why_none = (
            "systemd handed no socket over (LISTEN_FDS is not set)",
            "start the .socket unit instead of the .service, as in `systemctl start lanrelay.socket`",
        )
        meant_for = environment.get("LISTEN_PID", "")
        if "LISTEN_FDS" not in environment:
            return
        if meant_for != str(pid):
            self._why_none = (
                f"systemd's sockets are for process {meant_for or '(none)'} (LISTEN_PID), and this is {pid}",
                "let ExecStart= start twistd itself, or a script that ends with `exec twistd`",
            )
            return
        try:
            count = int(environment["LISTEN_FDS"])
        except ValueError:
            count = 0
        names = environment.get("LISTEN_FDNAMES", "").split(":")
        for index in range(count):
            name = names[index] if index < len(names) and names[index] else "unknown"
            descriptor = _FIRST + index
            try:
                os.set_inheritable(descriptor, False)
            except OSError:
                pass  # it is not open: the entry that asks for it gets the error
            self._names.append(name)
            self._sockets.append(ActivatedSocket(descriptor, f"systemd:{name}", self.REMEDY))
        for variable in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
            environment.pop(variable, None)

    def find(self, name: str) -> list[ActivatedSocket]:
        """
        All that have this name, or the one with this index, counted from 0.

        @raise StartError: there is none.
        """
        found = [one for one, given in zip(self._sockets, self._names, strict=True) if given == name]
        if not found and name.isdecimal() and int(name) < len(self._sockets):
            found = [self._sockets[int(name)]]
        if found:
            return found
        if not self._sockets:
            detail, remedy = self._why_none
            raise StartError(f"systemd:{name} is not there: {detail}", remedy=remedy)
        there = ", ".join(dict.fromkeys(self._names))
        raise StartError(
            f"systemd handed no socket {name} over; there are {len(self._sockets)}, named {there}",
            remedy=f"FileDescriptorName={name} in the .socket unit names it",
        )

    def unused(self) -> Iterator[str]:
        """A sentence for each socket that no listener uses: its clients would wait for ever."""
        for one in self._sockets:
            if not one.taken:
                yield f"no listener takes {one.label}: who connects to that socket waits for ever"


# --- launchd ------------------------------------------------------------------------------------------


class LaunchdSockets:
    """
    The sockets under C{Sockets} in the job's property list; see launch_activate_socket(3).

    @param activate: gives the descriptors of a name; launchd gives them only once.
    """

    REMEDY = (
        "SockType stream, and no SockPassive false, under Sockets in the property list makes one that does"
    )

    def __init__(self, activate: Callable[[str], list[int]]) -> None:
        self._activate = activate
        self._sockets: dict[str, list[ActivatedSocket]] = {}

    def find(self, name: str) -> list[ActivatedSocket]:
        """
        All sockets of this name: for C{localhost} in the property list, one for each loopback.

        @raise StartError: there is none.
        """
        if name not in self._sockets:
            try:
                descriptors = self._activate(name)
            except OSError as error:
                raise _no_launchd_socket(name, error) from error
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)
            self._sockets[name] = [
                ActivatedSocket(one, f"launchd:{name}", self.REMEDY) for one in descriptors
            ]
        if not self._sockets[name]:
            raise StartError(f"launchd opened no socket for {name}", remedy=self.REMEDY)
        return self._sockets[name]


def _no_launchd_socket(name: str, error: OSError) -> StartError:
    if error.errno == errno.ENOENT:
        return StartError(
            f"launchd has no socket {name} for this job",
            remedy="Sockets in its property list must have an entry of that name",
        )
    if error.errno == errno.ESRCH:
        return StartError(
            f"launchd:{name} is not there: this process is no job of launchd",
            remedy="only the process that launchd itself started gets sockets: take the daemon, or the plain "
            "agent; with the agent that goes through osascript it is osascript, and a login item has none",
        )
    if error.errno == errno.EALREADY:
        return StartError(
            f"launchd has handed {name} over already", remedy="restart the job (`launchctl kickstart -k`)"
        )
    if error.errno == errno.ENOSYS:
        return StartError(
            f"launchd:{name} is not there: this system has no launchd",
            remedy="listen on a port, on unix:PATH or on systemd:NAME",
        )
    return StartError(f"launchd:{name} cannot be had: {error.strerror or error}")


def launch_activate_socket(name: str) -> list[int]:
    """
    Ask launchd for the descriptors of C{name}.

    Written from the manual page and <launch.h>; not seen on a Mac yet.

    @raise OSError: C{ENOENT}, C{ESRCH} and C{EALREADY} as the manual page has them; C{ENOSYS} where the
        system has no such function.
    """
    import ctypes  # few relays need it

    library = ctypes.CDLL(None)
    try:
        function = library.launch_activate_socket
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    function.argtypes = [
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.POINTER(ctypes.c_int)),
        ctypes.POINTER(ctypes.c_size_t),
    ]
    function.restype = ctypes.c_int
    library.free.argtypes = [ctypes.c_void_p]
    library.free.restype = None
    descriptors, count = ctypes.POINTER(ctypes.c_int)(), ctypes.c_size_t()
    code = function(os.fsencode(name), ctypes.byref(descriptors), ctypes.byref(count))
    if code:
        raise OSError(code, os.strerror(code))
    try:
        return [descriptors[index] for index in range(count.value)]
    finally:
        library.free(descriptors)
