"""Remembers answers from one start to the next: small files, for this user's eyes alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

MOST = 32 * 1024 * 1024
"""Bytes in all; the answer whose last use is longest ago goes first."""

LARGEST = 8 * 1024 * 1024
"""Bytes of one answer."""

_LEFT_OVER = 60.0
"""Seconds after which the writer of a half-written file must have been killed."""


class Store:
    """
    @param folder: gives the folder, which is made with mode 0700 when something is put.
    @param scope: what tells targets, headers and logins apart; only digests of it are kept.
    """

    def __init__(self, folder: Callable[[], str], scope: tuple[str, ...]) -> None:
        self._find = folder
        self._found = ""
        self._scope = scope

    @property
    def _folder(self) -> str:
        self._found = self._found or self._find()
        return self._found

    def get(self, key: tuple[str, ...]) -> bytes | None:
        """What was put, by this or another process; C{None} for nothing."""
        path = self._path(key)
        try:
            with open(path, "rb") as file:
                if os.fstat(file.fileno()).st_uid != os.geteuid():
                    return None
                value = file.read(LARGEST + 1)
            os.utime(path)
        except OSError:
            return None
        return value if 0 < len(value) <= LARGEST else None

    def put(self, key: tuple[str, ...], value: bytes) -> None:
        """Keep it; no harm is done if it cannot be kept."""
        if len(value) > LARGEST:
            return
        if self.get(key) == value:
            return
        path = self._path(key)
        unfinished = f"{path}.{os.getpid()}"
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as file:
                file.write(value)
            os.replace(unfinished, path)
        except OSError:
            with suppress(OSError):
                os.unlink(unfinished)
        self._sweep()

    def _path(self, key: tuple[str, ...]) -> str:
        from hashlib import sha256

        parts = (str(len(self._scope)), *self._scope, *key)
        # Lengths in front, so that no two keys run into one another.
        text = b"".join(b"%d:%s" % (len(raw), raw) for raw in (part.encode() for part in parts))
        return os.path.join(self._folder, sha256(text).hexdigest())

    def _sweep(self) -> None:
        found = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    with suppress(OSError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime, status.st_size, entry.path))
        except OSError:
            return
        now = time.time()
        total = 0
        for moment, size, path in sorted(found, reverse=True):
            total += size
            left_over = "." in os.path.basename(path) and now - moment > _LEFT_OVER
            if total > MOST or left_over:
                with suppress(OSError):
                    os.unlink(path)
