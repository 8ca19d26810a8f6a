"""Notices that files have changed, and makes anew what was made of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

from twisted.logger import Logger

from lanrelay.errors import StartError

T = TypeVar("T")

EVERY = 1.0
"""Seconds between two looks. A look is a few calls of stat, made when somebody asks, and by no timer."""

SETTLED = 2.0
"""Seconds after which a change is taken to be whole: a certificate and its key are written one by one."""


class Reloaded(Generic[T]):
    """
    Something made of files, and made anew when they are not what they were.

    If the new files cannot be used (one is half written, a new certificate lies beside the old key), the old
    thing stays in force. The log says so once, and not before the change has had time to become whole.

    @param what: what it is, for the log.
    @param sources: its files and folders; anything else stands for itself, and has changed when it is not
        equal any more.
    @param make: raises L{StartError} when they cannot be used.
    @param seconds: monotonic.
    @param now: the wall clock, as files have it.
    """

    log = Logger()

    def __init__(
        self,
        what: str,
        sources: Callable[[], Iterable[object]],
        make: Callable[[], T],
        *,
        seconds: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._what = what
        self._sources = sources
        self._make = make
        self._seconds = seconds
        self._now = now
        self._made: T | None = None
        self._stamps: list[object] = []
        self._refused: list[object] | None = None
        self._failing_since: float | None = None
        self._looked = 0.0

    def get(self) -> T:
        """
        What is in force.

        @raise StartError: it could never be made.
        """
        moment = self._seconds()
        if self._made is None:
            stamps = self._stamp()  # first, so that what changes during the reading is noticed
            self._made = self._make()
            self._stamps, self._looked = stamps, moment
        elif moment - self._looked >= EVERY:
            self._looked = moment
            self._look(moment)
        return self._made

    def _look(self, moment: float) -> None:
        stamps = self._stamp()
        if stamps == self._stamps:
            self._refused = self._failing_since = None  # as if nothing had been
            return
        if stamps == self._refused:
            return
        try:
            self._made = self._make()
        except StartError as error:
            if self._failing_since is None:
                self._failing_since = moment
            if self._is_whole(stamps, moment):
                self._refused = stamps
                self.log.warn(
                    "{what} has changed and cannot be used, so what was read before stays in force: {error}",
                    what=self._what,
                    error=str(error),
                )
        else:
            self._stamps = stamps
            self._refused = self._failing_since = None
            self.log.info("{what} has changed and was read again", what=self._what)

    def _is_whole(self, stamps: list[object], moment: float) -> bool:
        if self._failing_since is not None and moment - self._failing_since >= SETTLED:
            return True
        ages = [self._now() - stamp.changed for stamp in stamps if isinstance(stamp, _Stamp)]
        return None not in stamps and not any(0 <= age < SETTLED for age in ages)

    def _stamp(self) -> list[object]:
        stamps: list[object] = []
        for source in self._sources():
            if isinstance(source, Path):
                stamps += _stamps(source)
            else:
                stamps.append(source)
        return stamps


class _Stamp(tuple[int, ...]):
    """What shows that a file is another one, or was written to."""

    __slots__ = ()

    @property
    def changed(self) -> float:
        """When, by the wall clock."""
        return max(self[-2:]) / 1e9


def _stamps(path: Path) -> list[_Stamp | None]:
    """Of a file, or of a folder and the certificates in it; C{None} for what is not there."""
    found = [_stamp(path)]
    try:
        with os.scandir(path) as entries:
            found += [_stamp(path / name) for name in sorted(each.name for each in entries) if _counts(name)]
    except OSError:
        pass  # it is a file, or nothing
    return found


def _counts(name: str) -> bool:
    from lanrelay.trust.pem import is_certificate_file  # late: few name a folder

    return is_certificate_file(Path(name))


def _stamp(path: Path) -> _Stamp | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return _Stamp((state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
