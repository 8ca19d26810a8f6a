"""Changes a file that belongs to somebody: whole or not at all, and only as it was when it was read."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lanrelay.errors import StartError

LIMIT = 64 * 1024 * 1024
"""Bytes of a file that is read: Claude Code's own has been seen with 20 MB of history."""

KEPT = 20
"""How many backups of one file are kept."""


class Changed(StartError):
    """Somebody else has written the file since it was read."""


class Original(NamedTuple):
    """
    A file as it was read.

    @ivar path: as it was named.
    @ivar real: what it is behind symbolic links; this is what gets replaced, so that a link stays one.
    @ivar content: C{None} where there is no such file.
    @ivar mode: permission bits; C{None} where there is no such file.
    """

    path: Path
    real: Path
    content: bytes | None
    mode: int | None
    owner: tuple[int, int] | None


def read(path: Path) -> Original:
    """
    @raise StartError: it is there and cannot be read, or is no regular file.
    """
    real = Path(os.path.realpath(path))
    try:
        # Non-blocking, so that a named pipe does not hang us.
        with open(os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise StartError(f"{path} is no regular file")
            content = file.read(LIMIT + 1)
    except FileNotFoundError:
        return Original(path, real, None, None, None)
    except OSError as error:
        raise StartError(f"{path} cannot be read: {error.strerror}", remedy=_remedy(error)) from error
    if len(content) > LIMIT:
        raise StartError(f"{path} has more than {LIMIT // 1024 // 1024} MB")
    return Original(path, real, content, stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))


def replace(original: Original, content: bytes, *, backups: Path | None, mode: int = 0o600) -> Path | None:
    """
    Put C{content} in the place of the file that was read, by a rename: a crash leaves the old file or the new
    one.

    @param backups: the folder that keeps the old file; made with mode 0700. C{None}: nothing is kept.
    @param mode: of a file that was not there; one that was keeps its own, and its owner.
    @return: where the file before is kept; C{None} if there was none, or C{backups} is C{None}.
    @raise Changed: the file is not as it was read; it was not touched.
    @raise StartError: it cannot be written, and nothing has changed.
    """
    kept = _kept(original, backups)
    try:
        folder = original.real.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{original.real.name}.", suffix=".new", dir=folder)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                if original.owner is not None and original.owner != (os.geteuid(), os.getegid()):
                    os.fchown(descriptor, *original.owner)
                os.fchmod(descriptor, mode if original.mode is None else original.mode)
                os.fsync(descriptor)
            if not unchanged(original):
                raise Changed(
                    f"{original.path} was changed by another program in the meantime, and is left as it is",
                    remedy="run the same command again",
                )
            os.replace(name, original.real)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
        _sync(folder)
    except OSError as error:
        raise StartError(
            f"{original.path} cannot be written: {error.strerror}", remedy=_remedy(error)
        ) from error
    return kept


def unchanged(original: Original) -> bool:
    """
    Whether the file still has the very bytes that were read.

    @raise StartError: it cannot be read any more.
    """
    now = read(original.path)
    return (now.real, now.content) == (original.real, original.content)


def remove(original: Original, *, backups: Path | None = None) -> Path | None:
    """
    Take away a file as it was read; one that is not there is no error.

    @param backups: as of L{replace}.
    @return: where the file is kept, if it is.
    @raise Changed: it is another one now.
    @raise StartError: it cannot be removed.
    """
    if not unchanged(original):
        raise Changed(f"{original.path} was changed by another program in the meantime, and is left as it is")
    kept = _kept(original, backups)
    try:
        original.real.unlink(missing_ok=True)
    except OSError as error:
        raise StartError(
            f"{original.path} cannot be removed: {error.strerror}", remedy=_remedy(error)
        ) from error
    return kept


def private_folder(folder: Path) -> None:
    """
    Make a folder, and those above it that are missing, for this user alone.

    @raise OSError: it cannot be made.
    """
    if not folder.is_dir():
        private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _kept(original: Original, backups: Path | None) -> Path | None:
    """
    @raise StartError: it cannot be kept, so it shall not be touched.
    """
    if backups is None or original.content is None:
        return None
    try:
        return _keep(original, original.content, backups)
    except OSError as error:
        raise StartError(
            f"{original.path} is left as it is, for what it holds cannot be kept in {backups}: "
            f"{error.strerror}",
            remedy=_remedy(error),
        ) from error


def _keep(original: Original, content: bytes, backups: Path) -> Path:
    """Store the bytes; names sort by time, and say which file they are of without its whole path."""
    private_folder(backups)
    whose = hashlib.sha256(os.fsencode(original.real)).hexdigest()[:12]
    stem = f"{original.real.name}.{whose}."
    moment = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(moment)) + f".{int(moment % 1 * 1e6):06d}"
    path = backups / f"{stem}{stamp}"
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=backups)
    try:
        with open(descriptor, "wb") as file:  # mkstemp makes it with mode 0600
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    of_this = sorted(entry for entry in os.listdir(backups) if entry.startswith(stem))
    for old in of_this[:-KEPT]:
        with suppress(OSError):
            (backups / old).unlink()
    return path


def _sync(folder: Path) -> None:
    """Have the rename itself on the disk; where folders cannot be synced, the file's own sync has to do."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remedy(error: OSError) -> str:
    return (
        "run the command as the user whom the file belongs to" if isinstance(error, PermissionError) else ""
    )
