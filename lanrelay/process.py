"""What the process has from the operating system: a clock, descriptors, signals and addresses of its own."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from twisted.logger import Logger

from lanrelay.addresses import embedded_ipv4, is_link_local, is_loopback, is_unspecified
from lanrelay.config.model import IPAddress

# --- clock ---


def follow_monotonic_clock(reactor: Any) -> None:
    """
    Make C{reactor.seconds} monotonic; to be called before anything is scheduled.

    By default it is the wall clock, and every timer follows it: a clock that is set forward fires them all,
    one that is set back holds them. Twisted's reactors ask C{self.seconds} wherever they look at the time.
    """
    reactor.seconds = time.monotonic


# --- descriptors ---

_OPEN_MAX = (
    10240  # macOS refuses more (OPEN_MAX of <sys/syslimits.h>) even where the hard limit is "unlimited"
)


def most_descriptors(sysctl: Callable[[str], int | None] | None = None) -> int | None:
    """
    How many descriptors the kernel grants a process whatever its limits say; C{None}: it has no such bound.
    macOS has C{kern.maxfilesperproc} below limits that are "unlimited". Not yet seen on a Mac.

    @param sysctl: tells a number of the kernel's by its name.
    """
    if sysctl is None:
        if sys.platform == "darwin":
            sysctl = _sysctl
        else:
            return None
    return sysctl("kern.maxfilesperproc") or None


def _sysctl(name: str) -> int | None:
    """As sysctlbyname(3) has it, which is in the library that each program has."""
    import ctypes

    value, size = ctypes.c_int(), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int))
    try:
        sysctlbyname = ctypes.CDLL(None).sysctlbyname
        failed = sysctlbyname(
            name.encode(), ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0)
        )
    except (OSError, AttributeError):
        return None
    return None if failed else value.value


def raise_descriptor_limit(needed: int, *, most: int | None = None) -> int:
    """
    Raise the soft limit of open files to C{needed}, or as far as the hard limit lets us.

    @param most: what L{most_descriptors} says.
    @return: how many the process may have from here on; the soft limit is never lowered.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most is not None:
        needed = min(needed, most)
        soft = soft if soft == resource.RLIM_INFINITY else min(soft, most)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed if soft == resource.RLIM_INFINITY else soft
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    for limit in (wanted, min(wanted, _OPEN_MAX)):
        if limit > soft:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            except (OSError, ValueError):
                continue
            return limit
    return soft


_SPARE = 256
"""Descriptors for all else: log, reactor, listening sockets, health checks, idle pooled connections."""


def descriptors_for(connections: int) -> int:
    """How many descriptors they take: each has one of its own, and one to the upstream."""
    return _SPARE + 2 * connections


def connections_within(descriptors: int) -> int:
    """
    How many connections there can be at a time. It is better that others wait than that they get in and reach
    no upstream.

    If there are few descriptors, fewer are spared for all else: at most a half of them.
    """
    return max(1, (descriptors - min(_SPARE, descriptors // 2)) // 2)


_FEW_CONNECTIONS = 500

_log = Logger()


def provide_descriptors(wanted: Sequence[int], *, usual: int) -> int:
    """
    Raise the limit for so many connections of each listener.

    @param usual: how many a listener has that nobody has set: thousands, which nobody reaches.
    @return: how many connections there is room for; if it is too little, the log says so.
    """
    granted = raise_descriptor_limit(descriptors_for(sum(wanted)), most=most_descriptors())
    room = connections_within(granted)
    if room < sum(wanted):
        # A user who has set more than the default wants to know in any case.
        few = room < _FEW_CONNECTIONS or any(usual != one > room for one in wanted)
        (_log.warn if few else _log.debug)(
            "the system grants {granted} open files, which is room for {room} connections at a time of "
            "{wanted} that max_connections of all listeners allow; more wait until one ends "
            "(ulimit -n, or LimitNOFILE= of systemd, raises it)",
            granted=granted,
            room=room,
            wanted=sum(wanted),
        )
    return room


# --- signals ---


class Signals:
    """
    SIGTERM and SIGINT stop the relay, a second one ends it now; SIGHUP reloads, or stops as a closed window.

    Twisted's own handlers would end the process by the same signal again; ours leave it to exit with 0. They
    are set once the reactor runs, for it sets its own when it starts.

    @param stop: called in the reactor's turn for the first signal, with its name.
    @param end_now: for every later one.
    @param reload: for SIGHUP, where standard input is no terminal.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        stop: Callable[[str], None],
        end_now: Callable[[str], None],
        reload: Callable[[str], object],
    ) -> None:
        self._reactor = reactor
        self._stop = stop
        self._end_now = end_now
        self._reload = reload
        self._stopping = False
        self._closed_window_stops = False

    def install(self) -> None:
        """Set the handlers; on the main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)
        # With nohup and `trap '' HUP` a closed window ends nothing.
        self._closed_window_stops = _on_terminal() and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
        signal.signal(signal.SIGHUP, self._received)

    def _received(self, number: int, frame: FrameType | None) -> None:
        # Python runs this between two instructions of whatever was running: do nothing but wake the reactor.
        self._reactor.callFromThread(self.act, signal.Signals(number))

    def act(self, received: signal.Signals) -> None:
        """What a signal does, in the reactor's turn."""
        if received == signal.SIGHUP and not self._closed_window_stops:
            self._reload(received.name)
        elif self._stopping:
            self._end_now(received.name)
        else:
            self._stopping = True
            self._stop(received.name)


def _on_terminal() -> bool:
    try:
        return os.isatty(0)
    except OSError:
        return False


# --- addresses ---


class OwnPorts:
    """
    Keeps the forward proxies from being led to what only the relay's user may reach.

    @ivar ports: the ports that nobody may be led to under any address of this machine, and what is there.
    """

    def __init__(self) -> None:
        self.ports: dict[int, str] = {}

    def forbidden(self, address: IPAddress, port: int) -> str | None:
        """Why C{address} and C{port} may not be dialed, as a phrase; C{None} if they may."""
        what = self.ports.get(port)
        if what is None:
            return None
        if any(is_own_address(one) for one in (address, *embedded_ipv4(address))):
            return f"port {port} of this machine is {what}"
        return None


def is_own_address(address: IPAddress) -> bool:
    """Whether a connection to C{address} could come back to this machine; in doubt it could."""
    # A link-local address means nothing without its link, so the kernel cannot be asked.
    return is_loopback(address) or is_unspecified(address) or is_link_local(address) or _bindable(address)


def _bindable(address: IPAddress) -> bool:
    """The kernel knows its addresses: it lets a socket be bound to no others."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True
