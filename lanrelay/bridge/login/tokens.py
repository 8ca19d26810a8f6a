"""Tokens in the state folder: for this user's eyes alone, and for all copies of the bridge."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

LARGEST = 1024 * 1024
"""Bytes of a file; a token has some kilobytes."""


class Tokens:
    """
    One login at one target.

    @ivar value: what is known, by the names of OAuth; with C{resource}, C{issuer}, C{expires_at} (the wall
        clock's) and what is needed to refresh.
    """

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value

    @property
    def access(self) -> str:
        return str(self.value["access_token"])

    @property
    def refresh(self) -> str | None:
        found = self.value.get("refresh_token")
        return found if isinstance(found, str) else None

    @property
    def is_old(self) -> bool:
        """Whether the token ends within a minute, or within a tenth of its life."""
        ends, life = self.value.get("expires_at"), self.value.get("expires_in")
        if not isinstance(ends, (int, float)) or not isinstance(life, (int, float)):
            return False
        return time.time() > ends - min(60.0, life / 10)


def lifetime(given: object) -> float | None:
    """The seconds that a server gives a token; C{None} for none, for what is no number, and for centuries."""
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        return None
    try:
        life = float(given)
    except (ValueError, OverflowError):
        return None
    return life if 0 < life < _CENTURY else None


_CENTURY: Final = 100 * 365 * 86400.0


class Keeper:
    """
    @param folder: tells the folder, which is made when there is something to keep, mode 0700.
    @param key: target, client and what else tells logins apart.
    """

    def __init__(self, folder: Callable[[], str], key: tuple[str, ...]) -> None:
        self._where = folder
        self._key = key
        self._lock: int | None = None

    @cached_property
    def _folder(self) -> str:
        return self._where()

    @cached_property
    def _path(self) -> str:
        from hashlib import sha256

        return os.path.join(self._folder, f"{sha256(json.dumps(self._key).encode()).hexdigest()}.json")

    def load(self) -> Tokens | None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                    return None
                value = json.loads(file.read(LARGEST))
        except (OSError, ValueError):
            return None
        if isinstance(value, dict) and isinstance(value.get("access_token"), str):
            return Tokens(value)
        return None

    def keep(self, tokens: Tokens) -> None:
        """
        Only with the lock.

        @raise OSError: they could not be kept.
        """
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        unfinished = f"{self._path}.{os.getpid()}"
        with suppress(FileNotFoundError):
            os.unlink(unfinished)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(unfinished, flags, 0o600), "w") as file:
                json.dump(tokens.value, file)
                file.flush()
                os.fsync(file.fileno())  # the old refresh token is good for nothing any more
            os.replace(unfinished, self._path)
        except OSError:
            with suppress(OSError):
                os.unlink(unfinished)
            raise

    def forget(self) -> None:
        with suppress(OSError):
            os.unlink(self._path)

    def locked(self) -> bool:
        """
        Get the lock, if nobody has it. The system keeps it, so a process that has died holds none.

        @raise OSError: there can be none.
        """
        if self._lock is not None:
            return True
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        descriptor = os.open(
            f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def note_refusal(self) -> None:
        """
        Tell those who wait for the lock: the person was asked, and there will be no tokens. Only with the
        lock.
        """
        if self._lock is not None:
            os.pwrite(self._lock, f"{time.time():020.3f}".encode(), 0)

    def was_refused(self, since: float) -> bool:
        """
        Only with the lock.

        @param since: the wall clock's.
        """
        try:
            return self._lock is not None and float(os.pread(self._lock, 20, 0)) >= since
        except ValueError:
            return False

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
