"""What a reload may change of the log: level, format and C{log.file}."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from lanrelay.config.model import Log
from lanrelay.observe.logformat import Level, LineObserver

if TYPE_CHECKING:
    from lanrelay.observe.logfile import LogFile


class LogSettings:
    """
    Makes the observer, and changes it later.

    @ivar level: what the command line says, which wins; C{None} where it says nothing.
    @ivar ours: C{log.file} decides where the log goes; else the command line does, for good.
    @ivar file: of C{log.file}; C{None} where there is none.
    """

    def __init__(self) -> None:
        self.level: Level | None = None
        self.ours = False
        self.file: LogFile | None = None
        self._observer: LineObserver | None = None
        self._otherwise: IO[str] | None = None

    def open(self, log: Log) -> IO[str]:
        """
        C{log.file}.

        @raise OSError: it cannot be opened.
        """
        self.file = _opened(log)
        return self.file  # type: ignore[return-value]

    def make(self, file: IO[str], log: Log) -> LineObserver:
        """The observer that writes to C{file}."""
        if self.file is None:
            self._otherwise = file
        self._observer = LineObserver(file, format=log.format, level=self.level or log.level)
        return self._observer

    def reopen(self) -> None:
        """Go on in a new file of the same name."""
        if self.file is not None:
            self.file.reopen()

    def prepare(self, before: Log, log: Log) -> Callable[[], None]:
        """
        Make other settings ready; the function that is returned puts them in force.

        @raise OSError: the new file cannot be opened.
        """
        moved = self.ours and (before.file, before.rotate, before.keep) != (log.file, log.rotate, log.keep)
        new = _opened(log) if moved and log.file is not None else None

        def put_in_force() -> None:
            observer = self._observer
            if observer is None:
                return
            observer.configure(format=log.format, level=self.level or log.level)
            if not moved or (new is None and self._otherwise is None):
                return  # a daemon that was started with log.file has no other place
            old, self.file = self.file, new
            observer.write_to(new if new is not None else self._otherwise)  # type: ignore[arg-type]
            if old is not None:
                old.close()

        return put_in_force


def _opened(log: Log) -> LogFile:
    from lanrelay.observe.logfile import LogFile  # few logs are ours

    assert log.file is not None
    return LogFile(log.file, rotate=log.rotate, keep=log.keep)
