"""The files that a configuration names, and where: an error about one of them says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lanrelay.config.complaints import Complaint
from lanrelay.errors import StartError


class NamedFile(NamedTuple):
    """
    A path that the file names, and where it does.

    @ivar file: the configuration as the user named it.
    @ivar key_path: C{listeners.web.upstream.tls.ca[0]}.
    """

    path: Path
    file: str
    line: int
    column: int
    key_path: str

    @property
    def place(self) -> str:
        """C{relay.yaml:7:11: listeners.web.tls.cert}."""
        return Complaint(
            file=self.file, line=self.line, column=self.column, key_path=self.key_path, message=""
        ).place


def place_of(key_path: str, files: Sequence[NamedFile]) -> str:
    """Where a key names a file; the key alone where that is not known."""
    return next((one.place for one in files if one.key_path == key_path), key_path)


def located(error: StartError, files: Sequence[NamedFile]) -> StartError:
    """
    The same error with file, line and column, if it is about a file that a listener names.

    Its detail begins with the last keys (C{"tls.ca: "}) and names the path, or one below it.
    """
    key, colon, detail = error.detail.partition(": ")
    if error.place or not error.listener or not colon:
        return error
    theirs = [one for one in files if one.key_path.startswith(f"listeners.{error.listener}.")]
    named = [one for one in theirs if str(one.path) in error.detail]
    found = [one for one in named if re.sub(r"\[\d+\]$", "", one.key_path).endswith(f".{key}")]
    if not found and not named:
        return error
    # If one path begins with another, the longer one is meant.
    best = max(found or named, key=lambda one: len(str(one.path)))
    place = best.place
    return StartError(
        detail if found else error.detail, listener=error.listener, remedy=error.remedy, place=place
    )
