"""Remembers what was changed in clients' files, so that it can be put back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any

from lanrelay.edit import replace
from lanrelay.edit.formats.edit import FORMATS, put_back, spans
from lanrelay.edit.formats.tree import Items, Node, NotEdited, Table, at, plain, text_of
from lanrelay.edit.formats.tree import Path as Way
from lanrelay.errors import StartError

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """
    An entry that was changed.

    @ivar file: absolute, as the client names it.
    @ivar format: of the file.
    @ivar path: the way to the entry.
    @ivar at: when, in seconds since 1970.
    @ivar before: the pieces of text that made up the entry; C{after} those that do now.
    @ivar value: a digest of what C{after} means, however it is laid out.
    @ivar whole: a digest of the file before.
    @ivar listeners: of the relay, by the origin that each stands for.
    @ivar made: those that were made for it.
    """

    client: str
    file: str
    format: str
    server: str
    path: tuple[str | int, ...]
    at: float
    before: tuple[str, ...]
    after: tuple[str, ...]
    value: str
    whole: str
    listeners: tuple[tuple[str, str], ...] = ()
    made: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, tuple[str | int, ...]]:
        """What there is one of."""
        return self.file, self.server, self.path


class Record:
    """
    The file C{adopted.json}.

    @ivar adopted: in the order in which it was done.
    """

    def __init__(self, path: Path) -> None:
        """
        @raise StartError: the file is there and cannot be read.
        """
        self._original = replace.read(path)
        self.adopted: list[Adopted] = []
        if self._original.content is None:
            return
        try:
            document = json.loads(self._original.content)
            self.adopted = [_adopted(each) for each in document["adopted"]]
        except (ValueError, KeyError, TypeError):
            raise StartError(
                f"{path} is not what lanrelay wrote", remedy="move it away; what it knows cannot be undone"
            ) from None

    def write(self, adopted: Iterable[Adopted]) -> None:
        """
        Have it be these.

        @raise StartError: it cannot be written, or another command has done so meanwhile.
        """
        self.adopted = list(adopted)
        document = {"version": VERSION, "adopted": [asdict(each) for each in self.adopted]}
        content = (json.dumps(document, indent=1) + "\n").encode()
        replace.private_folder(self._original.real.parent)
        replace.replace(self._original, content, backups=None)
        self._original = replace.read(self._original.path)

    def without(self, done: Iterable[Adopted]) -> list[Adopted]:
        """All but these; a listener that one of them had made was made for those that are left and use it."""
        done = list(done)
        keys = {each.key for each in done}
        made = {name for each in done for name in each.made}
        return [_inherits(each, made) for each in self.adopted if each.key not in keys]

    def added(self, new: Iterable[Adopted]) -> list[Adopted]:
        """All, with those of C{new} in place of older ones of the same entries."""
        new = list(new)
        keys = {each.key for each in new}
        return [*(each for each in self.adopted if each.key not in keys), *new]


def _inherits(adopted: Adopted, made: set[str]) -> Adopted:
    used = (name for _, name in adopted.listeners if name in made)
    return replace_fields(adopted, made=tuple(dict.fromkeys((*adopted.made, *used))))


def _adopted(said: dict[str, Any]) -> Adopted:
    return Adopted(
        **{
            **said,
            "path": tuple(said["path"]),
            "before": tuple(said["before"]),
            "after": tuple(said["after"]),
            "listeners": tuple((origin, name) for origin, name in said["listeners"]),
            "made": tuple(said["made"]),
        }
    )


def digest(content: bytes) -> str:
    """Of a file."""
    return hashlib.sha256(content).hexdigest()


def meaning(node: Node) -> str:
    """A digest of a value, however it is laid out."""
    return digest(json.dumps(plain(node), sort_keys=True).encode())


class Undoing:
    """
    What can be done with one recorded entry in the text that its file has now.

    @ivar state: C{same} (as it was left, perhaps laid out anew), C{back} (as it was before), C{gone}, or
        C{changed} by somebody.
    """

    def __init__(self, adopted: Adopted, text: str) -> None:
        """
        @raise Broken: the file is not in its format any more.
        """
        self._adopted = adopted
        self._form = FORMATS[adopted.format]
        self._text = text
        root = self._form.parse(text, [adopted.path])
        self._path = _found(root, adopted.path, adopted.server)
        node = at(root, self._path)
        pieces = tuple(spans(self._form, text, self._path))
        if node is None:
            self.state = "gone"
        elif pieces == adopted.after or (
            meaning(node) == adopted.value and len(pieces) == len(adopted.before)
        ):
            self.state = "same"
        elif pieces == adopted.before:
            self.state = "back"
        else:
            self.state = "changed"

    def undone(self) -> str:
        """
        The text with the entry as it was before.

        @raise NotEdited: it cannot be put there.
        @raise Broken: the text would not be in its format.
        """
        if self.state == "gone":
            raise NotEdited("the entry is not there any more")
        return put_back(self._form, self._text, self._path, self._adopted.before)


def _found(root: Node, path: Way, server: str) -> Way:
    """The way to an entry; in a list it may have moved."""
    holder = at(root, path[:-1])
    if not isinstance(holder, Items):
        return path
    for number, item in enumerate(holder.items):
        if isinstance(item, Table) and text_of(item.get("name")) == server:
            return (*path[:-1], number)
    return path
