"""A process of our own that ends what we have started, should we be killed."""

from __future__ import annotations

import os
import signal
import time

_PATIENCE = 1.0
"""Seconds for programs that end at the end of their input, and after SIGTERM."""


class Guard:
    """
    Made before there are threads. The other process holds no descriptor but the one by which it notices
    our end, and no memory that is not shared.
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
        To be called by a program that is about to begin, in a group of its own: who starts it may be killed
        before it knows of it. Until the program has begun, this end of the pipe is open.
        """
        self._tell(b"+%d\n" % os.getpid())

    def remove(self, group: int) -> None:
        """It has ended: its number may become another's."""
        self._tell(b"-%d\n" % group)

    def close(self) -> None:
        """All have ended."""
        self._tell(b".\n")
        os.close(self._write)
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:
            pass  # somebody has had all children forgotten

    def _tell(self, line: bytes) -> None:
        try:
            os.write(self._write, line)
        except OSError:
            pass  # somebody has killed it


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
