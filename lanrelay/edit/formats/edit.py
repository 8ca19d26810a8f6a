"""Changes to a file's values, each made by range and judged by reading the result anew."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from lanrelay.edit.formats.json_text import Json
from lanrelay.edit.formats.toml_text import Toml
from lanrelay.edit.formats.tree import (
    Broken,
    Items,
    Keep,
    Node,
    NotEdited,
    Path,
    Range,
    Splice,
    Table,
    Value,
    at,
    plain,
    splice,
    text_of,
)
from lanrelay.edit.formats.yaml_text import Yaml


class Format(Protocol):
    """One of the formats."""

    @property
    def name(self) -> str: ...
    def parse(self, text: str, keep: Keep | None = None) -> Node: ...
    def plain(self, text: str) -> object: ...
    def spans(self, text: str, root: Node, path: Path) -> list[Range]: ...
    def set(self, text: str, node: Node, start: int, end: int, value: str) -> list[Splice]: ...
    def insert(self, text: str, root: Node, path: Path, key: str, value: Value) -> list[Splice]: ...
    def append(self, text: str, root: Node, path: Path, value: str) -> list[Splice]: ...
    def remove(self, text: str, root: Node, path: Path) -> list[Splice]: ...


FORMATS: dict[str, Format] = {
    "json": Json(comments=False),
    "jsonc": Json(comments=True),
    "toml": Toml(),
    "yaml": Yaml(),
}


class Set(NamedTuple):
    """Of the text at C{path} the characters from C{start} to C{end} become C{value}."""

    path: Path
    start: int
    end: int
    value: str


class Insert(NamedTuple):
    """The map at C{path} gets a key, at its end."""

    path: Path
    key: str
    value: Value


class Append(NamedTuple):
    """The list at C{path} gets an item, at its end."""

    path: Path
    value: str


class Remove(NamedTuple):
    """What is at C{path} goes, with its key."""

    path: Path


Change = Set | Insert | Append | Remove


def decode(content: bytes) -> tuple[str, bytes]:
    """
    @return: the text, and the mark before it (empty for none).
    @raise Broken: it is no UTF-8.
    """
    mark = codecs.BOM_UTF8 if content.startswith(codecs.BOM_UTF8) else b""
    raw = content[len(mark) :]
    try:
        return raw.decode(), mark
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()
        column = len(before) - (before.rfind("\n") + 1) + 1
        wrong = f"found the byte 0x{raw[error.start]:02X}, expected text in UTF-8"
        raise Broken(before.count("\n") + 1, column, wrong) from None


def apply(form: Format, text: str, changes: Sequence[Change]) -> str:
    """
    Make changes, one after the other; the paths of each are those of the text that the ones before left.

    After each change the text is read anew, by Python's own reader, too, if it has one for the format. It
    must say what it said before with that change, and nothing else.

    @raise Broken: the text is not in the format.
    @raise NotEdited: a change cannot be made by range.
    """
    for change in changes:
        root = form.parse(text, [change.path])
        after = splice(text, _splices(form, text, root, change))
        expected = _changed(plain(root), change)
        by_python = form.plain(text)
        try:
            found = plain(form.parse(after, [change.path]))
        except Broken as error:
            raise NotEdited(f"the changed text would be wrong ({error})") from None
        if found != expected:
            raise NotEdited("the changed text would mean something else")
        if by_python is not None and form.plain(after) != _changed(by_python, change):
            raise NotEdited("the changed text would mean something else")
        text = after
    return text


def spans(form: Format, text: str, path: Path) -> list[str]:
    """The pieces of text that make up the value at a path; empty when it is not there."""
    return [text[start:end] for start, end in form.spans(text, form.parse(text, [path]), path)]


def put_back(form: Format, text: str, path: Path, pieces: Sequence[str]) -> str:
    """
    Have the pieces of text of a value be others.

    @raise Broken: the text is not in the format, or would not be after it.
    @raise NotEdited: the value is not there, or in another number of places.
    """
    ranges = form.spans(text, form.parse(text, [path]), path)
    if len(ranges) != len(pieces) or not ranges:
        raise NotEdited("the entry is not where it was")
    after = splice(
        text, [Splice(start, end, piece) for (start, end), piece in zip(ranges, pieces, strict=True)]
    )
    form.parse(after, [path])
    return after


def _splices(form: Format, text: str, root: Node, change: Change) -> list[Splice]:
    if isinstance(change, Insert):
        holder = at(root, change.path)
        if not isinstance(holder, Table) or holder.get(change.key) is not None:
            raise NotEdited(f'there is no map at the place, or one with the key "{change.key}"')
        return form.insert(text, root, change.path, change.key, change.value)
    if isinstance(change, Append):
        if not isinstance(at(root, change.path), Items):
            raise NotEdited("there is no list at the place")
        return form.append(text, root, change.path, change.value)
    node = at(root, change.path)
    if node is None:
        raise NotEdited("there is nothing at the place")
    if isinstance(change, Remove):
        return form.remove(text, root, change.path)
    if text_of(node) is None:
        raise NotEdited("there is no text at the place")
    return form.set(text, node, change.start, change.end, change.value)


def _changed(value: Any, change: Change) -> Any:
    """The value with the change, as data; all other parts are shared."""
    if isinstance(change, Insert):
        return _with(value, change.path, lambda holder: {**holder, change.key: change.value})
    if isinstance(change, Append):
        return _with(value, change.path, lambda holder: [*holder, change.value])
    if isinstance(change, Remove):
        last = change.path[-1]
        return _with(value, change.path[:-1], lambda holder: _without(holder, last))
    start, end, new = change.start, change.end, change.value
    return _with(value, change.path, lambda text: text[:start] + new + text[end:])


def _with(value: Any, path: Path, changed: Callable[[Any], Any]) -> Any:
    if not path:
        return changed(value)
    copied = value.copy()
    copied[path[0]] = _with(value[path[0]], path[1:], changed)
    return copied


def _without(holder: Any, last: Any) -> Any:
    copied = holder.copy()
    del copied[last]
    return copied
