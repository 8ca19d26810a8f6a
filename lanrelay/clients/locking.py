"""The lock that Cline takes when it writes: the folder C{FILE.lock}, as npm's proper-lockfile has it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lanrelay.errors import StartError

STALE = 10.0
"""Seconds after which a lock that nobody renews is a dead one's."""

PATIENCE = 12.0
"""Seconds in which a lock must become free; a dead one's does within them."""

_PAUSE = 0.05


@contextmanager
def locked(file: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """
    Hold the lock of a file.

    @raise StartError: another has it, or it cannot be made.
    """
    lock = Path(f"{os.path.realpath(file)}.lock")
    until = time.monotonic() + patience
    while True:
        try:
            lock.mkdir(mode=0o700)
            break
        except FileExistsError:
            with suppress(OSError):
                if time.time() - lock.stat().st_mtime > STALE:
                    lock.rmdir()
                    continue
        except OSError as error:
            raise StartError(f"{lock} cannot be made: {error.strerror}") from error
        if time.monotonic() > until:
            raise StartError(f"another program is writing {file}", remedy="run the same command again")
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.rmdir()
