"""Notices that files have changed, for C{--watch}."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

EVERY = 1.0
"""
Seconds between two looks. A change counts when the next look finds nothing newer, so that files are whole.
"""

FileSeen = tuple[int, int, int, int]


class FileWatch:
    """
    Looks at files from L{start} to L{stop}.

    A missing file is no change until it is there again: editors and deployments take the old one away before
    they put the new one there.

    @param files: those to look at; asked at each look, for one names others.
    @param changed: called when they are not what they were, and have been so for a moment.
    """

    def __init__(
        self, reactor: Any, files: Callable[[], Sequence[Path]], changed: Callable[[], object]
    ) -> None:
        self._reactor = reactor
        self._files = files
        self._changed = changed
        self._known: dict[Path, FileSeen | None] = {}
        self._before: dict[Path, FileSeen | None] = {}
        self._timer: Any = None

    def start(self) -> None:
        """Begin to look; what changed since L{seen} counts."""
        if self._timer is None:
            self._timer = self._reactor.callLater(EVERY, self._look)

    def stop(self) -> None:
        """Look no more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def seen(self) -> None:
        """The files as they are now are known. To be called before they are read."""
        self._known = self._before = self._stamps()

    def _look(self) -> None:
        self._timer = self._reactor.callLater(EVERY, self._look)
        stamps = self._stamps()
        before, self._before = self._before, stamps
        # A file that is named for the first time was read after the last look, by whoever named it.
        different = any(stamp != self._known.setdefault(path, stamp) for path, stamp in stamps.items())
        if different and stamps == before and None not in stamps.values():
            self.seen()
            self._changed()

    def _stamps(self) -> dict[Path, FileSeen | None]:
        return {path: _stamp(path) for path in self._files()}


def _stamp(path: Path) -> FileSeen | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns
