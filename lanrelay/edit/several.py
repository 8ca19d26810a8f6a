"""Several files changed together: all of them, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lanrelay.edit.replace import Original, private_folder, read, remove, replace
from lanrelay.errors import StartError


class Planned(NamedTuple):
    """A file and what it shall hold; C{None}: it goes."""

    original: Original
    content: bytes | None


class Kept(NamedTuple):
    """A file that was changed, and where what it held before is."""

    path: Path
    backup: Path


def write(plan: Sequence[Planned], *, backups: Path) -> list[Kept]:
    """
    Write them in their order; when one cannot be written, those before it are put back.

    A new file's folder is made for this user alone.

    @raise StartError: one cannot be written; nothing has changed.
    """
    done: list[Original] = []
    kept: list[Kept] = []
    try:
        for original, content in plan:
            backup = _write(original, content, backups)
            done.append(original)
            if backup is not None:
                kept.append(Kept(original.path, backup))
    except StartError:
        for original in reversed(done):
            _put_back(original)
        raise
    return kept


def _write(original: Original, content: bytes | None, backups: Path) -> Path | None:
    if content is not None:
        if original.content is None:
            try:
                private_folder(original.real.parent)
            except OSError as error:
                raise StartError(f"{original.real.parent} cannot be made: {error.strerror}") from error
        return replace(original, content, backups=backups)
    return remove(original, backups=backups)


def _put_back(original: Original) -> None:
    now = read(original.path)
    if original.content is None:
        remove(now)
    else:
        mode = 0o600 if original.mode is None else original.mode
        replace(now, original.content, backups=None, mode=mode)
