"""
Tells systemd how the process is, by the protocol of sd_notify(3).

Datagrams of C{NAME=VALUE} lines to the unix socket that C{NOTIFY_SOCKET} names. If it is not set, nothing is
sent. No answer comes, and the relay goes on if a message cannot be sent.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import Logger

_PATIENCE = 0.5  # seconds for which a message that must arrive may hold the relay up


class Notifier:
    """
    One process's line to its supervisor.

    The socket is opened with the first message and stays, so that the watchdog is still fed when there is no
    descriptor left. The variable is read after the fork, when this process is the one that is supervised.

    @param environment: C{os.environ}; only read.
    @param describe: for the watchdog's turns: what C{systemctl status} should show.
    """

    log = Logger()

    def __init__(
        self, reactor: Any, environment: Mapping[str, str], *, describe: Callable[[], str] = str
    ) -> None:
        self._reactor = reactor
        self._address = _socket_address(environment.get("NOTIFY_SOCKET", ""))
        self._environment = environment
        self._describe = describe
        self._socket: socket.socket | None = None
        self._complained = False
        self._status = ""
        self._interval = 0.0
        self._timer: Any = None

    @property
    def listening(self) -> bool:
        """Whether there is somebody to tell."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """The start, or a reload, is over. From the first call on the watchdog is fed."""
        self._send("READY=1", self._with_status(status))
        if self._timer is None and self._address is not None:
            self._interval = watchdog_interval(self._environment, os.getpid())
            if self._interval:
                self._feed()

    def reloading(self, status: str) -> None:
        """A reload begins; L{ready} ends it, whatever came of it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}", self._with_status(status))

    def stopping(self, status: str, seconds: float) -> None:
        """
        The end has begun.

        @param seconds: how long it may take. systemd waits so long even if the unit's C{TimeoutStopSec} is
            shorter.
        """
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}", self._with_status(status))

    def status(self, status: str) -> None:
        """Say what C{systemctl status} should show, if it is something new."""
        if status and status != self._status:
            self._send(self._with_status(status))

    def close(self) -> None:
        """Say no more."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        held, self._socket = self._socket, None
        if held is not None:
            held.close()
        self._address = None

    def _feed(self) -> None:
        # The watchdog watches the reactor's turn: a process that hangs does not feed it.
        self._timer = self._reactor.callLater(self._interval, self._feed)
        status = self._describe()
        if status and status != self._status:
            self._send("WATCHDOG=1", self._with_status(status))
        else:
            self._send("WATCHDOG=1")

    def _with_status(self, status: str) -> str:
        self._status = status
        return f"STATUS={' '.join(status.split())}"

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        message = "\n".join(lines).encode("utf-8", "replace")
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            # systemd's queue is hardly ever full; a unit whose READY=1 is lost is killed, though.
            self._socket.settimeout(0.0 if lines[0].startswith(("STATUS", "WATCHDOG")) else _PATIENCE)
            self._socket.sendto(message, self._address)
        except OSError as error:
            if not self._complained:  # it would be said at every turn of the watchdog
                self._complained = True
                self.log.warn(
                    "NOTIFY_SOCKET cannot be written: {reason}; systemd is not told what happens here",
                    reason=error.strerror or error,
                )


def _socket_address(given: str) -> bytes | None:
    """C{@} stands for the NUL byte of an abstract socket's name."""
    if given.startswith("@"):
        return b"\0" + os.fsencode(given[1:])
    if given.startswith("/"):
        return os.fsencode(given)
    return None


def watchdog_interval(environment: Mapping[str, str], pid: int) -> float:
    """
    Seconds between two signs of life: half of what systemd waits for, as sd_watchdog_enabled(3) advises.

    @return: 0 where nobody watches, or another process is meant.
    """
    try:
        limit = int(environment.get("WATCHDOG_USEC", "0"))
        watched = int(environment.get("WATCHDOG_PID", pid))
    except ValueError:
        return 0.0
    return limit / 2e6 if limit > 0 and watched == pid else 0.0
