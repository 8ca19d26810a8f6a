"""Shows at a terminal that something takes longer than half a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

SHOWN_AFTER = 0.5


@contextmanager
def waiting(
    text: str, *, stream: IO[str] | None = None, tell: Callable[[str], None] | None = None
) -> Iterator[None]:
    """
    Says once what the command waits for, on standard error if that is a terminal.

    @param tell: writes the line; by default it is printed as it is.
    """
    shown = sys.stderr if stream is None else stream
    if not is_terminal(shown):
        yield
        return
    import threading

    say = tell or (lambda line: print(line, file=shown, flush=True))
    timer = threading.Timer(SHOWN_AFTER, say, [f"{text} ..."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def is_terminal(stream: IO[str]) -> bool:
    """Whether somebody looks at it."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False
