"""Standard streams as a command may find them: closed, full, or read no further."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from typing import IO

UNWRITABLE = (ENOSPC, EDQUOT, EFBIG, EIO)


def open_closed() -> None:
    """Have something in the place of a stream that the caller has closed: else Python has C{None} there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # to the end


def silence(stream: IO[str]) -> None:
    """Nobody reads any more: later output, and the interpreter's own last flush, go nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def write(stream: IO[str], text: str) -> None:
    """Write it at once. If nobody reads it, the command goes on all the same."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        silence(stream)


def end_when_nobody_reads() -> None:
    """
    End the process with status 1 as soon as whoever read its output has gone, without a word that finds out:
    for C{lanrelay log -f | head}, which may have nothing to say for hours.
    """
    import select  # late, as the others: no other command needs them here
    import stat
    import threading

    try:
        out = sys.stdout.fileno()
        mode = os.fstat(out).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return
    gone = select.poll()
    gone.register(out, 0)  # the end of the other side is told without being asked for

    def wait() -> None:
        gone.poll()
        os._exit(1)  # the other thread waits for the relay; all that it has said was flushed

    threading.Thread(target=wait, daemon=True).start()


def flush() -> None:
    """
    Flush now what was printed, so that it does not fail later, where nothing can be said.

    @raise OSError: standard output cannot be written.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
    try:
        sys.stderr.flush()
    except OSError:
        silence(sys.stderr)
