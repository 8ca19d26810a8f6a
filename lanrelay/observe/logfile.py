"""A log file of our own: whole lines, rotated at a size, opened anew on request, and never in the way."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

from twisted.logger import Logger

MODE = 0o640
"""The mode of a log file at most; a file that grants less keeps its own."""

_AGAIN = 5.0  # seconds until a file that could not be opened or rotated is tried again
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class LogFile(io.TextIOBase):
    """
    Takes text and appends it to C{path}, one system call for each write.

    Nothing that happens to the file raises. Lines that cannot be written are counted, and the file says how
    many as soon as it can. If a file cannot be opened anew or rotated, the old one goes on, and it is tried
    again later. A file that is not regular (C{/dev/null}, a pipe) is only written to.

    @param rotate: bytes over which C{path} becomes C{path.1}, that C{path.2}, and so on; C{None} for never.
    @param keep: how many of those there are. With 0 a full file is thrown away.
    @raise OSError: it cannot be opened; only here.
    """

    log = Logger()

    def __init__(self, path: Path, *, rotate: int | None = None, keep: int = 5) -> None:
        self.path = path
        self._limit = rotate
        self._keep = keep
        self._descriptor = -1
        self._reserve: int | None = None
        self._regular = False
        self._size = 0
        self._lost = 0
        self._reason = ""
        self._reopen_at: float | None = None
        self._rotate_at = 0.0
        self._descriptor = self._opened()
        self._refill_reserve()

    # --- what an observer calls ---

    def write(self, text: str) -> int:
        if self._descriptor < 0:
            return 0
        data = text.encode("utf-8", "backslashreplace")
        now = time.monotonic()
        if self._reopen_at is not None and now >= self._reopen_at:
            self.reopen()
        if self._limit is not None and self._size and self._size + len(data) > self._limit:
            self._full(now)
        self._append(data)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def reopen(self) -> None:
        """Go on in a new file of the same name, whoever moved the old one away; or in the old one."""
        if self._descriptor < 0:
            return
        failed_before = self._reopen_at is not None
        self._reopen_at = None
        try:
            new = self._opened_somehow()
        except OSError as error:
            self._reopen_at = time.monotonic() + _AGAIN
            if not failed_before:
                self.log.warn(
                    "the log file {path} cannot be opened anew, so the old one is gone on with: {reason}",
                    path=str(self.path),
                    reason=error.strerror,
                )
            return
        old, self._descriptor = self._descriptor, new
        os.close(old)
        self._refill_reserve()

    def close(self) -> None:
        """Write nothing any more."""
        for descriptor in (self._descriptor, self._reserve):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self._descriptor, self._reserve = -1, None
        super().close()

    # --- the file ---

    def _opened(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        descriptor = os.open(self.path, flags, MODE)
        found = os.fstat(descriptor)
        self._regular = stat.S_ISREG(found.st_mode)
        self._size = found.st_size if self._regular else 0
        if self._regular:
            mode = stat.S_IMODE(found.st_mode)
            if mode & ~MODE:
                with suppress(OSError):  # somebody else's, whom we may append to
                    os.fchmod(descriptor, mode & MODE)
        return descriptor

    def _opened_somehow(self) -> int:
        try:
            return self._opened()
        except OSError as error:
            if error.errno not in _OUT_OF_DESCRIPTORS or self._reserve is None:
                raise
            reserve, self._reserve = self._reserve, None
            os.close(reserve)
            return self._opened()  # a thread may have been quicker; then it is tried again later

    def _refill_reserve(self) -> None:
        # One descriptor is held for the new file when descriptors have run out.
        if self._reserve is None:
            with suppress(OSError):
                self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _full(self, now: float) -> None:
        if not self._regular or self._reopen_at is not None or now < self._rotate_at:
            return
        if self._is_ours():
            self._rotate(now)
        else:  # somebody moved it away
            self.reopen()

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except OSError:
            return False

    def _rotate(self, now: float) -> None:
        try:
            for number in range(self._keep, 0, -1):
                older = self._numbered(number)
                newer = self._numbered(number - 1) if number > 1 else self.path
                with suppress(FileNotFoundError):
                    os.replace(newer, older)
            if not self._keep:
                with suppress(FileNotFoundError):
                    os.unlink(self.path)
        except OSError as error:
            self._rotate_at = now + _AGAIN
            self.log.warn(
                "the log file {path} cannot be rotated, so it grows on: {reason}",
                path=str(self.path),
                reason=error.strerror,
            )
            return
        self.reopen()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _append(self, data: bytes) -> None:
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            self._lose(error)
            return
        if written < len(data):
            try:  # the rest may just fit, or be refused with a reason
                written += os.write(self._descriptor, data[written:])
            except OSError as error:
                self._take_back(written)
                self._lose(error)
                return
        if written < len(data):
            self._take_back(written)
            self._lose(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
            return
        self._size += written
        if self._lost:
            lost, self._lost = self._lost, 0
            self.log.warn(
                "lines missing from the log file before this: {n} ({reason})", n=lost, reason=self._reason
            )

    def _take_back(self, written: int) -> None:
        """Half a line would spoil the next one."""
        if self._regular and written:
            with suppress(OSError):
                os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)

    def _lose(self, error: OSError) -> None:
        self._lost += 1
        if self._lost > 1:
            return
        self._reason = error.strerror or str(error)
        # Not sys.stderr: under twistd that leads back into the log.
        with suppress(OSError, ValueError, AttributeError):
            sys.__stderr__.write(f"the log file {self.path} cannot be written: {self._reason}\n")  # type: ignore[union-attr]
            sys.__stderr__.flush()  # type: ignore[union-attr]
