"""Standard input as lines, and lines to standard output, as bytes, without blocking."""

from __future__ import annotations

import os
import select
import socket
import stat
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from lanrelay.bridge.loop import GONE, READ, WRITE, Loop, now

LONGEST = 64 * 1024 * 1024
"""Bytes of a line."""

BEGINNING = 64 * 1024
"""Bytes of a line that is too long, which are told."""


class Reader:
    """
    Reads lines.

    @ivar said: gets each line, without its end.
    @ivar too_long: gets the beginning of a line that is longer than L{LONGEST}.
    @ivar ended: there will be no more.
    @ivar hung_up: the writer is gone, but there may be lines left.
    """

    def __init__(
        self,
        loop: Loop,
        descriptor: int,
        *,
        said: Callable[[bytes], None],
        too_long: Callable[[bytes], None],
        ended: Callable[[], None],
        hung_up: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._said = said
        self._too_long = too_long
        self._at_end = ended
        self._hung_up = hung_up
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False
        self._lines: deque[bytes] = deque()
        self._reading = False
        self.over = False
        self._told_end = False

    def resume(self) -> None:
        if self._reading:
            return
        self._reading = True
        if not self.over:
            self._loop.watch(self._descriptor, READ, self._seen)
        if self._lines or self.over:
            self._loop.post(self._tell)

    def pause(self) -> None:
        """Tell nothing more for now; what has been read waits here."""
        if self._reading:
            self._reading = False
            if not self.over:
                self._loop.watch(self._descriptor, 0, self._gone)

    def _gone(self, seen: int) -> None:
        self._loop.forget(self._descriptor)  # else poll reports the hang-up without end
        self._hung_up()

    def _seen(self, seen: int) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.over = True
            self._loop.forget(self._descriptor)
            if self._parts and not self._skipping:
                self._lines.append(b"".join(self._parts))  # the last may have no newline
            self._tell()
            return
        self._take(data)
        self._tell()

    def _take(self, data: bytes) -> None:
        lines = data.split(b"\n")
        for piece in lines[:-1]:
            if self._skipping:
                self._skipping = False
                continue
            self._parts.append(piece)
            self._lines.append(b"".join(self._parts))
            self._parts.clear()
            self._size = 0
        last = lines[-1]
        if self._skipping or not last:
            return
        self._parts.append(last)
        self._size += len(last)
        if self._size > LONGEST:
            beginning = b"".join(self._parts[:2])[:BEGINNING]
            self._parts.clear()
            self._size = 0
            self._skipping = True
            self._too_long(beginning)

    def _tell(self) -> None:
        while self._lines and self._reading:
            line = self._lines.popleft().strip()
            if line:
                self._said(line)
        if self.over and not self._lines and self._reading and not self._told_end:
            self._told_end = True
            self._at_end()


class Writer:
    """
    Writes lines.

    @ivar unsent: bytes that wait.
    @param gone: is called when the reader is gone.
    @param moved: is called when some of what waited has gone out.
    """

    def __init__(
        self, loop: Loop, descriptor: int, *, gone: Callable[[], None], moved: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._gone = gone
        self._moved = moved
        self._waiting: deque[memoryview] = deque()
        self.unsent = 0
        self.broken = False
        mode = os.fstat(descriptor).st_mode
        # Neither way blocks. The descriptor keeps its mode, for other processes may share it.
        self._socket = socket.socket(fileno=os.dup(descriptor)) if stat.S_ISSOCK(mode) else None
        self._piece = select.PIPE_BUF if stat.S_ISFIFO(mode) else 65536
        self._watch()

    def say(self, line: bytes) -> None:
        self.write(line + b"\n")

    def write(self, data: bytes) -> None:
        if self.broken:
            return
        had = bool(self._waiting)
        self._waiting.append(memoryview(data))
        self.unsent += len(data)
        if not had:
            self._watch()
            self._write_what_goes()

    def end(self) -> None:
        """Nothing more comes: the reader sees the end, unless another process has the descriptor, too."""
        self.broken = True
        self._loop.forget(self._descriptor)
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        # /dev/null takes the number, which must not become another file's.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._descriptor)
        os.close(nothing)

    def flush(self, patience: float) -> None:
        """At the very end: write what the reader takes within C{patience} seconds."""
        look = select.poll()
        look.register(self._descriptor, WRITE)
        until = now() + patience
        while self._waiting and not self.broken and look.poll(max(0.0, until - now()) * 1000):
            self._write()

    def _watch(self) -> None:
        self._loop.watch(self._descriptor, WRITE if self._waiting else 0, self._seen)

    def _seen(self, seen: int) -> None:
        if seen & WRITE and not seen & select.POLLERR:
            self._write_what_goes()
        elif seen & GONE:
            self._break()

    def _write_what_goes(self) -> None:
        look = select.poll()
        look.register(self._descriptor, WRITE)
        for _ in range(64):
            if not self._waiting or self.broken or not look.poll(0):
                break
            self._write()
        if not self.broken:
            self._watch()
            self._moved()

    def _write(self) -> None:
        piece = self._waiting[0][: self._piece]
        try:
            if self._socket is not None:
                sent = self._socket.send(piece, socket.MSG_DONTWAIT)
            else:
                sent = os.write(self._descriptor, piece)  # poll has said that so much can be written
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._break()
            return
        self.unsent -= sent
        left = self._waiting[0][sent:]
        if len(left):
            self._waiting[0] = left
        else:
            self._waiting.popleft()

    def _break(self) -> None:
        if not self.broken:
            self.broken = True
            self._waiting.clear()
            self.unsent = 0
            self._loop.forget(self._descriptor)
            self._gone()
