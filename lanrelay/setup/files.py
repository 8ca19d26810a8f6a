"""Writes the files of a service: whole or not at all, and never silently over another's."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lanrelay.errors import StartError


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """
    A file to be.

    @ivar made: nobody writes it by hand, so that what is there before need not be kept.
    @ivar copy_of: whose content it has, where that is no text.
    """

    path: Path
    content: bytes
    mode: int = 0o644
    made: bool = False
    copy_of: Path | None = None


def write(file: File, *, force: bool = False) -> str:
    """
    Put it in place by a rename.

    A different file that was there is kept beside it, as C{NAME.bak} or C{NAME.bak2}, unless C{force} is
    given.

    @return: what was done, as a sentence.
    @raise StartError: it cannot be written; then nothing has changed.
    """
    path = file.path
    try:
        before = path.read_bytes()
    except FileNotFoundError:
        before = None
    except OSError as error:
        raise _unwritable(path, error) from error
    kept = None
    try:
        if before == file.content:
            os.chmod(path, file.mode)
            return f"{path} is as it should be."
        path.parent.mkdir(parents=True, exist_ok=True)
        if before is not None and not (force or file.made):
            kept = _free_name(path)
            _replace(kept, before, path.stat().st_mode & 0o7777)
        _replace(path, file.content, file.mode)
    except OSError as error:
        raise _unwritable(path, error) from error
    if kept is not None:
        return f"{path} is written; what was there is {kept.name} now."
    return f"{path} is {'written' if before is None else 'overwritten'}."


def remove(path: Path) -> str:
    """
    @return: what was done, as a sentence.
    @raise StartError: it cannot be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return f"{path} was not there."
    except OSError as error:
        raise StartError(f"{path} cannot be removed: {error.strerror}", remedy=_remedy(error)) from error
    return f"{path} is removed."


def remove_folder(path: Path) -> str:
    """
    A folder that is no link, with all that is in it.

    @return: what was done, as a sentence.
    @raise StartError: it cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise StartError(f"{path} cannot be removed: {error.strerror}", remedy=_remedy(error)) from error
    return f"{path} is removed."


def _replace(path: Path, content: bytes, mode: int) -> None:
    # A name that no service manager reads: launchd and systemd look at the end of it.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _free_name(path: Path) -> Path:
    number = 1
    while True:
        candidate = path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
        if not candidate.exists():
            return candidate
        number += 1


def _unwritable(path: Path, error: OSError) -> StartError:
    return StartError(f"{path} cannot be written: {error.strerror}", remedy=_remedy(error))


def _remedy(error: OSError) -> str:
    return "run the same command with sudo" if isinstance(error, PermissionError) else ""
