"""A process of our own that ends the programs we have started, should we be killed."""

from __future__ import annotations

import os
import signal
import time

_PATIENCE = 1.0
"""Seconds for programs that end at the end of their input, and after SIGTERM."""


class Guard:
    """
    Made before there are threads. The guard's process holds only the descriptor by which it notices our end,
    and only memory that is shared.
    """

    def __init__(self) -> None:
        read, self._write = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._write)
                _watch(read)
            finally:
                os._exit(0)
        os.close(read)

    def join(self) -> None:
        """
        Called in the child, in a group of its own, before the program begins: the bridge may be killed before
        it knows the child. Until the program has begun, the child has this end of the pipe open.
        """
        self._tell(b"+%d\n" % os.getpid())

    def remove(self, group: int) -> None:
        """The program has ended: its number may become another's."""
        self._tell(b"-%d\n" % group)

    def close(self) -> None:
        """All programs have ended."""
        self._tell(b".\n")
        os.close(self._write)
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:
            pass  # children are not waited for: SIGCHLD is ignored

    def _tell(self, line: bytes) -> None:
        try:
            os.write(self._write, line)
        except OSError:
            pass  # it was killed


def _watch(read: int) -> None:
    os.setsid()
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(each, signal.SIG_DFL)
    os.dup2(read, 3)
    os.closerange(4, 256)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    groups: set[int] = set()
    rest = b""
    while data := os.read(3, 4096):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line == b".":
                return
            if line[:1] == b"+":
                groups.add(int(line[1:]))
            else:
                groups.discard(int(line[1:]))
    for number in (0, int(signal.SIGTERM)):
        _signal(groups, number)
        _wait(groups)
    _signal(groups, signal.SIGKILL)


def _signal(groups: set[int], number: int) -> None:
    for group in list(groups):
        try:
            os.killpg(group, number)
        except OSError:
            groups.discard(group)


def _wait(groups: set[int]) -> None:
    until = time.monotonic() + _PATIENCE
    while groups and time.monotonic() < until:
        time.sleep(0.02)
        _signal(groups, 0)
