"""The tree over a file's text that all formats share: values, and the range of text where each stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Path = tuple[str | int, ...]
"""Keys and indices from the root to a value."""

Keep = Sequence[tuple[str | int, ...]]
"""Ways into a file that are of interest, with C{*} for any key; other values are not taken apart."""

Range = tuple[int, int]
"""From one character to before another."""

MAX_DEPTH = 100
"""Levels of a file. Clients' files have ten; Python's own recursion bears some hundreds."""


class Broken(Exception):
    """
    The text is not in its format.

    @ivar line: from 1, as C{column}.
    """

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.line = line
        self.column = column
        self.message = message


class Foreign(Broken):
    """The text is in a dialect that is not edited here, which some clients read."""


class NotEdited(Exception):
    """The change cannot be made by range; nothing was changed. The text is a phrase for people."""


class Other(NamedTuple):
    """A value that is neither text nor a truth value nor nothing: a number or a date, as it is written."""

    text: str


class Splice(NamedTuple):
    """The text from C{start} to before C{end} becomes C{text}."""

    start: int
    end: int
    text: str


class Node:
    """A value in the text."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end


class Scalar(Node):
    """
    Text, a number, a truth value or nothing.

    @ivar value: C{str}, C{bool}, C{None} or L{Other}.
    """

    __slots__ = ("value",)

    def __init__(self, start: int, end: int, value: str | bool | Other | None) -> None:
        super().__init__(start, end)
        self.value = value


class Opaque(Node):
    """
    A list or map that nobody asked for; nobody knows where its parts stand.

    @ivar value: as Python has it.
    """

    __slots__ = ("value",)

    def __init__(self, start: int, end: int, value: Any) -> None:
        super().__init__(start, end)
        self.value = value


class Items(Node):
    """
    A list.

    @ivar block: a YAML list without brackets, or TOML's C{[[tables]]}.
    """

    __slots__ = ("block", "items")

    def __init__(self, start: int, end: int, *, block: bool = False) -> None:
        super().__init__(start, end)
        self.items: list[Node] = []
        self.block = block


class Entry:
    """A key with its value; the whole goes from C{start} to C{value.end}."""

    __slots__ = ("key", "key_end", "start", "value")

    def __init__(self, key: str, start: int, key_end: int, value: Node) -> None:
        self.key = key
        self.start = start
        self.key_end = key_end
        self.value = value


class Table(Node):
    """
    A map, in the order of the text; of equal keys the last one counts.

    @ivar block: a YAML map without braces, or a TOML table that is not inline.
    """

    __slots__ = ("block", "entries")

    def __init__(self, start: int, end: int, *, block: bool = False) -> None:
        super().__init__(start, end)
        self.entries: list[Entry] = []
        self.block = block

    def get(self, key: str) -> Node | None:
        """The value of a key."""
        entry = self.entry(key)
        return None if entry is None else entry.value

    def entry(self, key: str) -> Entry | None:
        """The last entry with this key."""
        return next((entry for entry in reversed(self.entries) if entry.key == key), None)


def at(root: Node, path: Path) -> Node | None:
    """What stands there."""
    node: Node | None = root
    for step in path:
        if isinstance(node, Table) and isinstance(step, str):
            node = node.get(step)
        elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            return None
    return node


def plain(node: Node) -> Any:
    """The value as dictionaries, lists and scalars, without its place."""
    if isinstance(node, Table):
        return {entry.key: plain(entry.value) for entry in node.entries}
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    assert isinstance(node, (Scalar, Opaque))
    return node.value


def text_of(node: Node | None) -> str | None:
    """The text of a scalar that is text."""
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def broken(text: str, offset: int, message: str) -> Broken:
    """A L{Broken} for a place in the text."""
    line, column = position(text, offset)
    return Broken(line, column, message)


def splice(text: str, splices: Sequence[Splice]) -> str:
    """The text with these changes, which do not overlap."""
    for each in sorted(splices, reverse=True):
        text = text[: each.start] + each.text + text[each.end :]
    return text


def line_start(text: str, offset: int) -> int:
    """Where the line begins."""
    return text.rfind("\n", 0, offset) + 1


def line_end(text: str, offset: int) -> int:
    """Where the line ends, before its line end."""
    end = text.find("\n", offset)
    if end < 0:
        return len(text)
    return end - 1 if text[end - 1 : end] == "\r" else end


def newline(text: str) -> str:
    """The line end that the text uses."""
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


Value = str | bool | Sequence[Any] | Mapping[str, Any]
"""What can be inserted: text, and lists and maps of such."""
