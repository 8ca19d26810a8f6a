"""Reads the files that C{${file:PATH}} names."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from lanrelay.config.complaints import printable
from lanrelay.config.values import Unfit

# A token is some kB at most, and a header field has to carry it.
LIMIT = 64 * 1024


def content(path: Path, *, warn: Callable[[str], None]) -> str:
    """
    The text of a file without its last newline.

    @param warn: is told when others can read the file.
    @raise Unfit: it cannot be read, is not a regular file, too long, or not UTF-8.
    """
    try:
        # Non-blocking, so that a named pipe without a writer does not hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Unfit(f"expected {printable(str(path))} to be a regular file")
            raw = file.read(LIMIT + 1)
    except OSError as error:
        raise Unfit(f"expected a file that can be read: {printable(str(path))}: {error.strerror}") from None
    if len(raw) > LIMIT:
        raise Unfit(f"expected {printable(str(path))} to have at most {LIMIT // 1024} KiB")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Unfit(f"expected {printable(str(path))} to be text in UTF-8") from None
    if status.st_mode & stat.S_IROTH:
        warn(f"{printable(str(path))} holds a secret and others can read it; chmod 600 keeps it private")
    if text.endswith("\n"):
        text = text[:-1]
        text = text.removesuffix("\r")
    return text
