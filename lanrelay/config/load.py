"""Reads a configuration file: YAML -> L{model.Config}, or every complaint at once."""

from __future__ import annotations

import os
import re
from codecs import BOM_UTF8
from collections.abc import Mapping
from pathlib import Path

from lanrelay.config import document, model, nodes
from lanrelay.config.complaints import Complaint, ConfigErrors
from lanrelay.config.place import Broken, Context, Place, Shown
from lanrelay.config.values import Unfit
from lanrelay.config.whereabouts import NamedFile

__all__ = ["Complaint", "ConfigErrors", "Loaded", "examine", "load"]

# A thousand listeners fit in; a disk image that was named by mistake does not.
LIMIT = 1024 * 1024


class Loaded:
    """
    A file that is right.

    @ivar given: names of the keys that the file has, as L{lanrelay.config.place.Key} has them.
    @ivar named_files: every path in it, so that what is wrong with a file can be said where it is named.
    @ivar lines: where each listener is, by its name and C{""}, and each of its upstreams, by the name and the
        URL.
    """

    def __init__(
        self,
        config: model.Config,
        root: Place,
        given: frozenset[str],
        named_files: tuple[NamedFile, ...] = (),
        lines: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        self.config = config
        self._root = root
        self.given = given
        self.named_files = named_files
        self.lines = lines or {}

    @property
    def effective(self) -> Shown:
        """With all defaults, secrets masked and references as written; it is worked out when asked for."""
        return self._root.shown


def load(
    path: Path, *, environment: Mapping[str, str] = os.environ, content: bytes | None = None
) -> model.Config:
    """
    Read and check a whole file. Certificates and keys that it names are not looked at.

    @param environment: for C{${VAR}}, and C{HOME} for C{~}.
    @param content: what the file is to hold; by default what it holds.
    @raise ConfigErrors: with everything that is wrong.
    """
    return examine(path, environment=environment, content=content).config


def examine(
    path: Path, *, environment: Mapping[str, str] = os.environ, content: bytes | None = None
) -> Loaded:
    """
    As L{load}, with what C{lanrelay check} shows.

    @raise ConfigErrors: with everything that is wrong.
    """
    absolute = Path(os.path.abspath(path))
    context = Context(file=str(path), folder=absolute.parent, environment=environment)
    try:
        root = nodes.compose(_text(_content(path) if content is None else content))
    except nodes.NotYaml as error:
        context.complain(error.line, error.column, "", error.message)
        raise ConfigErrors(tuple(context.complaints)) from None
    try:
        place = Place(context, root, "")
        config = document.read(place, absolute)
    except Broken:
        pass  # a complaint has been noted, and is raised with the others
    else:
        if not context.complaints:
            return Loaded(config, place, frozenset(context.given), tuple(context.named_files), context.lines)
    context.complaints.sort(key=lambda complaint: (complaint.line, complaint.column))
    raise ConfigErrors(tuple(context.complaints))


def control_of(path: Path, text: str, *, environment: Mapping[str, str]) -> tuple[Path, ...] | None:
    """
    What a file says of C{control}, whatever is wrong with the rest of it.

    @return: empty for C{off}; C{None} where it says nothing, or nothing that can be read.
    """
    line = re.search(r"^control[ \t]*:.*$", text, re.MULTILINE)
    for part in (text, line.group() if line is not None else ""):
        context = Context(file=str(path), folder=Path(os.path.abspath(path)).parent, environment=environment)
        try:
            for word, place in Place(context, nodes.compose(part), "").entries():
                if word == "control":
                    return () if place.is_off() else document.named_control(place).paths
        except (nodes.NotYaml, Broken, Unfit):
            continue
    return None


def _content(path: Path) -> bytes:
    """
    @raise nodes.NotYaml: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(LIMIT + 1)
    except IsADirectoryError:
        raise nodes.NotYaml(1, 1, "found a directory, expected a file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise nodes.NotYaml(1, 1, f"found no file that can be read: {problem}") from None


def _text(raw: bytes) -> str:
    """
    @raise nodes.NotYaml: it is no text, or too much.
    """
    if len(raw) > LIMIT:
        raise nodes.NotYaml(1, 1, f"found more than {LIMIT // 1024} KiB, expected a configuration file")
    raw = raw.removeprefix(BOM_UTF8)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        line = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1) + 1
        wrong = raw[error.start]
        raise nodes.NotYaml(line, column, f"found the byte 0x{wrong:02X}, expected text in UTF-8") from None
