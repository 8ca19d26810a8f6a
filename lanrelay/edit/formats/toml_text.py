"""TOML by range. Python itself reads it since 3.11, but does not say where a value stands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from lanrelay.edit.formats import commas
from lanrelay.edit.formats.json_text import index_of
from lanrelay.edit.formats.tree import (
    MAX_DEPTH,
    Broken,
    Entry,
    Items,
    Keep,
    Node,
    NotEdited,
    Other,
    Path,
    Range,
    Scalar,
    Splice,
    Table,
    Value,
    at,
    broken,
    line_end,
    line_start,
    newline,
)

_COMMENT = re.compile(r"#[^\n\r]*")
_BLANK = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n\r]*)*")
_LINE = re.compile(r"[ \t]*(?:#[^\n\r]*)?(?:\r?\n|\Z)")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(
    r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]+|\\(?:["\\bfnrte]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}))*"'
)
_LITERAL = re.compile(r"'[^'\x00-\x08\x0a-\x1f\x7f]*'")
_LONG_BASIC = re.compile(r'"""((?:[^"\\]|\\.|"{1,2}(?!"))*"{0,2})"""', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''((?:[^']|'{1,2}(?!'))*'{0,2})'''", re.DOTALL)
_ESCAPE = re.compile(
    r"\\(?:(?P<fold>[ \t]*\r?\n[ \t\r\n]*)"
    r"|x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<one>.))",
    re.DOTALL,
)
_ESCAPES = {'"': '"', "\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "e": "\x1b"}
# Numbers, dates and times: which one it is does not matter here.
_OTHER = re.compile(r"[-+]?[0-9a-zA-Z_.:+-]+(?:[ ](?=[0-9]{2}:)[0-9:.Zz+-]+)?")


class Section(NamedTuple):
    """A C{[table]}: from its head to the end of its last line with a key."""

    path: Path
    start: int
    end: int


class Statement(NamedTuple):
    """C{key = value}, with the path of its key; the range is that of whole lines."""

    path: Path
    section: int
    start: int
    end: int


class Document(Table):
    """The whole file."""

    __slots__ = ("sections", "statements")

    def __init__(self, end: int) -> None:
        super().__init__(0, end, block=True)
        self.sections: list[Section] = [Section((), 0, 0)]
        self.statements: list[Statement] = []


class Toml:
    """The format of Codex and of some others."""

    name = "toml"

    def parse(self, text: str, keep: Keep | None = None) -> Node:
        """
        @raise Broken: it is something else.
        """
        document = _Reader(text).document()
        self.plain(text)
        return document

    def plain(self, text: str) -> object:
        """The value as Python's own parser has it; C{None} where this Python has none."""
        try:
            tomllib: Any = import_module("tomllib")
        except ImportError:
            return None
        try:
            return tomllib.loads(text, parse_float=str)
        except ValueError as error:
            found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
            line, column = (int(found[1]), int(found[2])) if found else (1, 1)
            raise Broken(line, column, str(error).partition(" (at ")[0]) from None

    def spans(self, text: str, root: Node, path: Path) -> list[Range]:
        """All places where the value is defined: its tables and those below, or its line."""
        assert isinstance(root, Document)
        found = [
            (section.start, section.end) for section in root.sections if section.path[: len(path)] == path
        ]
        found += [
            (statement.start, statement.end)
            for statement in root.statements
            if statement.path[: len(path)] == path
            and root.sections[statement.section].path[: len(path)] != path
        ]
        if not found:
            node = at(root, path)
            found = [] if node is None else [(node.start, node.end)]
        return sorted(found)

    def set(self, text: str, node: Node, start: int, end: int, value: str) -> list[Splice]:
        """Have the characters from C{start} to C{end} of a text be others."""
        assert isinstance(node, Scalar)
        assert isinstance(node.value, str)
        for quotes in (3, 1):
            if text[node.start + quotes : node.end - quotes] == node.value:
                begin = node.start + quotes
                return [Splice(begin + start, begin + end, value)]
        whole = node.value[:start] + value + node.value[end:]
        return [Splice(node.start, node.end, _quoted(whole))]

    def insert(self, text: str, root: Node, path: Path, key: str, value: Value) -> list[Splice]:
        """Add a key at the end of a table."""
        holder = at(root, path)
        assert isinstance(holder, Table)
        assert isinstance(root, Document)
        new = f"{_key(key)} = {_written(value)}"
        if not holder.block:
            if not holder.entries:
                new = f" {new} "
            return commas.append(text, holder, [(each.start, each.value.end) for each in holder.entries], new)
        section = next((number for number, each in enumerate(root.sections) if each.path == path), None)
        if not section:
            raise NotEdited("its table has no head of its own")
        statements = [each for each in root.statements if each.section == section]
        last = statements[-1] if statements else None
        begin = root.sections[section].start if last is None else last.start
        behind = line_end(text, (begin if last is None else last.end))
        indent = _BLANK.match(text, line_start(text, begin))
        assert indent is not None
        return [Splice(behind, behind, f"{newline(text)}{indent[0]}{new}")]

    def append(self, text: str, root: Node, path: Path, value: str) -> list[Splice]:
        """Add an item at the end of an array."""
        holder = at(root, path)
        if not isinstance(holder, Items) or holder.block:
            raise NotEdited("it is not an array on its own")
        return commas.append(text, holder, [(item.start, item.end) for item in holder.items], _quoted(value))

    def remove(self, text: str, root: Node, path: Path) -> list[Splice]:
        """Take out a key with its value, or an item."""
        holder = at(root, path[:-1])
        assert isinstance(root, Document)
        assert isinstance(holder, (Table, Items))
        if not holder.block:
            ranges = (
                [(each.start, each.value.end) for each in holder.entries]
                if isinstance(holder, Table)
                else [(item.start, item.end) for item in holder.items]
            )
            return commas.remove(text, holder, ranges, index_of(holder, path[-1]), _COMMENT)
        found = [each for each in root.statements if each.path == path]
        if len(found) != 1:
            raise NotEdited("it is not one line")
        end = text.find("\n", line_end(text, found[0].end))
        return [Splice(found[0].start, len(text) if end < 0 else end + 1, "")]


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _quoted(key)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_written(each)}" for key, each in value.items()) + " }"
    return f"[{', '.join(map(_written, value))}]"


class _Reader:
    """One run over the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._root = Document(len(text))
        self._here: Table = self._root
        self._path: Path = ()
        self._depth = 0

    def document(self) -> Document:
        text = self._text
        offset = 0
        while offset < len(text):
            found = _LINE.match(text, offset)
            if found is not None:
                if found.end() == offset:
                    break
                offset = found.end()
                continue
            start = self._blank(offset)
            end = self._head(start) if text[start] == "[" else self._statement(start)
            found = _LINE.match(text, end)
            if found is None:
                raise broken(
                    text,
                    self._blank(end),
                    f"found {self._seen(self._blank(end))}, expected the end of the line",
                )
            offset = found.end()
        return self._root

    def _head(self, offset: int) -> int:
        text = self._text
        several = text.startswith("[[", offset)
        keys, end = self._keys(offset + 1 + several)
        closing = "]]" if several else "]"
        if not text.startswith(closing, end):
            raise broken(text, end, f'found {self._seen(end)}, expected "{closing}"')
        end += len(closing)
        table: Table = self._root
        path: Path = ()
        names = [key for key, _, _ in keys]
        for number, name in enumerate(names):
            last = number == len(names) - 1
            node = table.get(name)
            path = (*path, name)
            if node is None:
                made: Node = (
                    Items(offset, end, block=True) if last and several else Table(offset, end, block=True)
                )
                table.entries.append(Entry(name, keys[number][1], keys[number][2], made))
                node = made
            if isinstance(node, Items) and node.block:
                if last and several:
                    node.items.append(Table(offset, end, block=True))
                if not node.items or (last and not several):
                    raise broken(text, offset, "found a table that is defined otherwise before")
                path = (*path, len(node.items) - 1)
                node = node.items[-1]
            if not isinstance(node, Table) or not node.block:
                raise broken(text, offset, "found a table that is defined otherwise before")
            table = node
        if any(section.path == path for section in self._root.sections[1:]):
            raise broken(text, offset, "found a table that is there already")
        self._here, self._path = table, path
        self._root.sections.append(Section(path, line_start(text, offset), line_end(text, end)))
        return end

    def _statement(self, offset: int) -> int:
        text = self._text
        value = self._pair(self._here, offset)
        sections = self._root.sections
        begin = line_start(text, offset)
        end = line_end(text, value.end)
        names = [name for name, _, _ in self._keys(offset)[0]]
        self._root.statements.append(Statement((*self._path, *names), len(sections) - 1, begin, end))
        sections[-1] = sections[-1]._replace(end=end)
        return value.end

    def _pair(self, table: Table, offset: int) -> Node:
        """C{key = value} into a table; dotted keys make tables on the way."""
        text = self._text
        keys, equals = self._keys(offset)
        if text[equals : equals + 1] != "=":
            raise broken(text, equals, f'found {self._seen(equals)}, expected "="')
        value = self._value(self._blank(equals + 1))
        for name, start, end in keys[:-1]:
            node = table.get(name)
            if node is None:
                node = Table(offset, value.end, block=True)
                table.entries.append(Entry(name, start, end, node))
            if not isinstance(node, Table) or not node.block:
                raise broken(text, start, "found a key that is there already")
            table = node
        name, start, end = keys[-1]
        if table.get(name) is not None:
            raise broken(text, start, "found a key that is there already")
        table.entries.append(Entry(name, offset if len(keys) == 1 else start, end, value))
        return value

    def _keys(self, offset: int) -> tuple[list[tuple[str, int, int]], int]:
        """The parts of a dotted key, each with its range, and where what follows begins."""
        text = self._text
        found: list[tuple[str, int, int]] = []
        while True:
            offset = self._blank(offset)
            bare = _BARE_KEY.match(text, offset)
            if bare is not None:
                found.append((bare[0], offset, bare.end()))
                end = bare.end()
            elif text[offset : offset + 1] in ('"', "'"):
                node = self._string(offset)
                assert isinstance(node.value, str)
                found.append((node.value, offset, node.end))
                end = node.end
            else:
                raise broken(text, offset, f"found {self._seen(offset)}, expected a key")
            offset = self._blank(end)
            if text[offset : offset + 1] != ".":
                return found, offset
            offset += 1

    def _value(self, offset: int) -> Node:
        text = self._text
        letter = text[offset : offset + 1]
        if letter in ('"', "'"):
            return self._string(offset)
        if letter in ("[", "{"):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise broken(text, offset, f"found more than {MAX_DEPTH} levels")
            node = self._array(offset) if letter == "[" else self._inline(offset)
            self._depth -= 1
            return node
        found = _OTHER.match(text, offset)
        if found is None:
            raise broken(text, offset, f"found {self._seen(offset)}, expected a value")
        if found[0] in ("true", "false"):
            return Scalar(offset, found.end(), found[0] == "true")
        return Scalar(offset, found.end(), Other(found[0]))

    def _string(self, offset: int) -> Scalar:
        text = self._text
        if text.startswith(('"""', "'''"), offset):
            basic = text[offset] == '"'
            found = (_LONG_BASIC if basic else _LONG_LITERAL).match(text, offset)
            if found is None:
                raise broken(text, offset, "found a text that does not end")
            inner = re.sub(r"\A\r?\n", "", found[1])
            return Scalar(offset, found.end(), self._unescaped(offset, inner) if basic else inner)
        basic = text[offset] == '"'
        found = (_BASIC if basic else _LITERAL).match(text, offset)
        if found is None:
            raise broken(text, offset, "found a text that does not end on its line, or a wrong escape")
        inner = found[0][1:-1]
        return Scalar(offset, found.end(), self._unescaped(offset, inner) if basic else inner)

    def _unescaped(self, offset: int, inner: str) -> str:
        def replaced(found: re.Match[str]) -> str:
            digits = found["x"] or found["u"] or found["U"]
            if found["fold"] is not None:
                return ""
            if digits:
                try:
                    return chr(int(digits, 16))
                except (ValueError, OverflowError):
                    raise broken(self._text, offset, "found an escape that is no character") from None
            if found["one"] not in _ESCAPES:
                raise broken(self._text, offset, "found a wrong escape in a text")
            return _ESCAPES[found["one"]]

        return _ESCAPE.sub(replaced, inner) if "\\" in inner else inner

    def _array(self, offset: int) -> Items:
        text = self._text
        items = Items(offset, offset)
        here = self._space(offset + 1)
        while text[here : here + 1] != "]":
            item = self._value(here)
            items.items.append(item)
            here = self._next(item.end, "]")
        items.end = here + 1
        return items

    def _inline(self, offset: int) -> Table:
        text = self._text
        table = Table(offset, offset)
        here = self._space(offset + 1)
        while text[here : here + 1] != "}":
            here = self._next(self._pair(table, here).end, "}")
        table.end = here + 1
        for each in _below(table):
            each.block = False
        return table

    def _next(self, offset: int, closing: str) -> int:
        offset = self._space(offset)
        if self._text[offset : offset + 1] == ",":
            return self._space(offset + 1)
        if self._text[offset : offset + 1] != closing:
            raise broken(self._text, offset, f'found {self._seen(offset)}, expected "," or "{closing}"')
        return offset

    def _blank(self, offset: int) -> int:
        found = _BLANK.match(self._text, offset)
        assert found is not None
        return found.end()

    def _space(self, offset: int) -> int:
        found = _SPACE.match(self._text, offset)
        assert found is not None
        return found.end()

    def _seen(self, offset: int) -> str:
        if offset >= len(self._text):
            return "the end of the file"
        return f"the character {self._text[offset]!a}"


def _below(table: Table) -> list[Table]:
    """Tables that dotted keys made inside of an inline one."""
    found = []
    for entry in table.entries:
        if isinstance(entry.value, Table) and entry.value.block:
            found += [entry.value, *_below(entry.value)]
    return found
