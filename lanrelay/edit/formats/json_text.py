"""JSON as clients write it: strict, or with comments and trailing commas."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from lanrelay.edit.formats import commas
from lanrelay.edit.formats.tree import (
    MAX_DEPTH,
    Broken,
    Entry,
    Foreign,
    Items,
    Keep,
    Node,
    NotEdited,
    Opaque,
    Other,
    Path,
    Range,
    Scalar,
    Splice,
    Table,
    Value,
    at,
    broken,
    position,
)

_COMMENT = re.compile(r"//[^\n\r]*|/\*.*?\*/", re.DOTALL)
_STRICT_SPACE = re.compile(r"[ \t\r\n]*")
_SPACE = re.compile(r"(?:[ \t\r\n]+|//[^\n\r]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


class Json:
    """
    @ivar comments: whether the client reads comments and trailing commas.
    """

    def __init__(self, *, comments: bool) -> None:
        self.comments = comments
        self.name = "jsonc" if comments else "json"

    def parse(self, text: str, keep: Keep | None = None) -> Node:
        """
        @param keep: C{None} for all of it. Claude Code's file has megabytes of history beside its servers.
        @raise Broken: it is something else.
        """
        return _Reader(text, comments=self.comments, keep=keep).document()

    def plain(self, text: str) -> object:
        """The value as Python's own parser has it; C{None} where that cannot read it."""
        if self.comments:
            return None
        return json.loads(text, parse_float=str, parse_constant=str) if text.strip() else None

    def spans(self, text: str, root: Node, path: Path) -> list[Range]:
        """The text of the value."""
        node = at(root, path)
        return [] if node is None else [(node.start, node.end)]

    def literal(self, text: str, like: Node, value: str) -> str:
        """Text as it is to be written."""
        return json.dumps(value, ensure_ascii=False)

    def set(self, text: str, node: Node, start: int, end: int, value: str) -> list[Splice]:
        """
        Have the characters from C{start} to C{end} of a text be others.

        Where nothing is escaped in the text, only these characters are touched.
        """
        assert isinstance(node, Scalar)
        assert isinstance(node.value, str)
        written = json.dumps(value, ensure_ascii=False)
        if text[node.start + 1 : node.end - 1] == node.value:
            return [Splice(node.start + 1 + start, node.start + 1 + end, written[1:-1])]
        whole = node.value[:start] + value + node.value[end:]
        return [Splice(node.start, node.end, json.dumps(whole, ensure_ascii=False))]

    def insert(self, text: str, root: Node, path: Path, key: str, value: Value) -> list[Splice]:
        """Add a key at the end of a map."""
        holder = at(root, path)
        assert isinstance(holder, Table)
        colon = ": "
        if holder.entries:
            last = holder.entries[-1]
            colon = text[last.key_end : last.value.start]
            if colon.strip() != ":" or "\n" in colon:
                colon = ": "
        new = json.dumps(key, ensure_ascii=False) + colon + json.dumps(value, ensure_ascii=False)
        return commas.append(text, holder, _ranges(holder), new)

    def append(self, text: str, root: Node, path: Path, value: str) -> list[Splice]:
        """Add an item at the end of a list."""
        holder = at(root, path)
        assert isinstance(holder, Items)
        return commas.append(text, holder, _ranges(holder), json.dumps(value, ensure_ascii=False))

    def remove(self, text: str, root: Node, path: Path) -> list[Splice]:
        """Take out a key with its value, or an item."""
        holder = at(root, path[:-1])
        assert isinstance(holder, (Table, Items))
        return commas.remove(text, holder, _ranges(holder), index_of(holder, path[-1]), _COMMENT)


def index_of(holder: Table | Items, step: str | int) -> int:
    """
    Where an element stands among its sisters.

    @raise NotEdited: there are two of this name.
    """
    if isinstance(holder, Items):
        assert isinstance(step, int)
        return step
    found = [number for number, entry in enumerate(holder.entries) if entry.key == step]
    if len(found) != 1:
        raise NotEdited(f'the key "{step}" is there {len(found)} times')
    return found[0]


def _ranges(holder: Table | Items) -> list[Range]:
    if isinstance(holder, Table):
        return [(entry.start, entry.value.end) for entry in holder.entries]
    return [(item.start, item.end) for item in holder.items]


def _not_json(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


_DECODER = json.JSONDecoder(parse_float=str, parse_constant=_not_json)


def _on_the_way(path: Sequence[str | int], way: Sequence[str | int]) -> bool:
    return all(wanted in (step, "*") for step, wanted in zip(path, way, strict=False))


class _Reader:
    """One run over the text."""

    def __init__(self, text: str, *, comments: bool, keep: Keep | None = None) -> None:
        self._text = text
        self._keep = keep if not comments else None
        self._path: list[str | int] = []
        self._comments = comments
        skipping = _SPACE if comments else _STRICT_SPACE
        self._skip: Callable[[str, int], re.Match[str] | None] = skipping.match
        self._depth = 0

    def document(self) -> Node:
        text = self._text
        start = self._space(0)
        if start == len(text):
            return Table(start, start)  # an empty file has no servers
        node = self._value(start)
        end = self._space(node.end)
        if end != len(text):
            raise broken(text, end, f"found {self._seen(end)}, expected the end of the file")
        return node

    def _space(self, offset: int) -> int:
        found = self._skip(self._text, offset)
        assert found is not None
        return found.end()

    def _value(self, offset: int) -> Node:
        text = self._text
        letter = text[offset : offset + 1]
        if letter == '"':
            return self._string(offset)
        if letter in ("{", "["):
            passed = self._passed_over(offset)
            if passed is not None:
                return passed
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise broken(text, offset, f"found more than {MAX_DEPTH} levels")
            node = self._table(offset) if letter == "{" else self._items(offset)
            self._depth -= 1
            return node
        found = _NUMBER.match(text, offset)
        if found is not None:
            return Scalar(offset, found.end(), Other(found[0]))
        found = _WORD.match(text, offset)
        if found is not None and found[0] in _WORDS:
            return Scalar(offset, found.end(), _WORDS[found[0]])
        raise broken(text, offset, f"found {self._seen(offset)}, expected a value")

    def _passed_over(self, offset: int) -> Opaque | None:
        """A map or list beside what is of interest, read by Python's own parser; C{None} for others."""
        if self._keep is None or any(_on_the_way(self._path, way) for way in self._keep):
            return None
        try:
            value, end = _DECODER.raw_decode(self._text, offset)
        except (ValueError, RecursionError):
            return None  # the slow way knows where it is wrong
        return Opaque(offset, end, value)

    def _string(self, offset: int) -> Scalar:
        found = _STRING.match(self._text, offset)
        if found is None:
            raise broken(self._text, offset, "found a text that does not end on its line, or a wrong escape")
        raw = found[0]
        return Scalar(offset, found.end(), json.loads(raw) if "\\" in raw else raw[1:-1])

    def _table(self, offset: int) -> Table:
        text = self._text
        table = Table(offset, offset)
        at_ = self._space(offset + 1)
        while text[at_ : at_ + 1] != "}":
            if text[at_ : at_ + 1] != '"':
                raise self._no_key(at_)
            key = self._string(at_)
            colon = self._space(key.end)
            if text[colon : colon + 1] != ":":
                raise broken(text, colon, f'found {self._seen(colon)}, expected ":"')
            assert isinstance(key.value, str)
            self._path.append(key.value)
            value = self._value(self._space(colon + 1))
            self._path.pop()
            table.entries.append(Entry(key.value, key.start, key.end, value))
            at_ = self._next(value.end, "}")
        table.end = at_ + 1
        return table

    def _items(self, offset: int) -> Items:
        items = Items(offset, offset)
        at_ = self._space(offset + 1)
        while self._text[at_ : at_ + 1] != "]":
            self._path.append(len(items.items))
            item = self._value(at_)
            self._path.pop()
            items.items.append(item)
            at_ = self._next(item.end, "]")
        items.end = at_ + 1
        return items

    def _next(self, offset: int, closing: str) -> int:
        """Where the next element, or the end, begins."""
        text = self._text
        offset = self._space(offset)
        if text[offset : offset + 1] == ",":
            after = self._space(offset + 1)
            if text[after : after + 1] == closing and not self._comments:
                raise broken(text, offset, f'found a comma before "{closing}"')
            return after
        if text[offset : offset + 1] != closing:
            raise broken(text, offset, f'found {self._seen(offset)}, expected "," or "{closing}"')
        return offset

    def _no_key(self, offset: int) -> Broken:
        if _WORD.match(self._text, offset) or self._text[offset : offset + 1] == "'":
            line, column = position(self._text, offset)
            return Foreign(
                line, column, "found JSON5 (a key without double quotes), which is not edited here"
            )
        return broken(self._text, offset, f"found {self._seen(offset)}, expected a key in double quotes")

    def _seen(self, offset: int) -> str:
        text = self._text
        if offset >= len(text):
            return "the end of the file"
        if not self._comments and _COMMENT.match(text, offset):
            return "a comment"
        return f"the character {text[offset]!a}"
