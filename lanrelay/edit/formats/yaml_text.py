"""YAML by range, with the places that PyYAML's own reader gives."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

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
MAX_NODES = 200_000
"""With every alias written out."""

_TEXT = "tag:yaml.org,2002:str"
_NOTHING = "tag:yaml.org,2002:null"
_TRUTH = "tag:yaml.org,2002:bool"
_TRUE = ("true", "yes", "on")

# Text that means itself without quotes, in a flow as well.
_PLAIN = re.compile(r"[A-Za-z0-9/._~%+=?&;@$-][A-Za-z0-9/._~%+=?&;@$:-]*(?<!:)")


class Yaml:
    """The format of Continue, Goose and LibreChat."""

    name = "yaml"

    def parse(self, text: str, keep: Keep | None = None) -> Node:
        """
        @raise Broken: it is something else.
        """
        import yaml

        try:
            # The reader in Python: its marks count characters.
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            problem = getattr(error, "problem", None) or getattr(error, "reason", None)
            raise Broken(line, column, str(problem or "found something that is no YAML")) from None
        except RecursionError:
            raise Broken(1, 1, f"found more than {MAX_DEPTH} levels") from None
        if node is None:
            return Table(len(text), len(text), block=True)
        return _Tree(text).node(node, 0)

    def plain(self, text: str) -> object:
        """There is no second reader."""
        return None

    def spans(self, text: str, root: Node, path: Path) -> list[Range]:
        """The lines of the value, or its brackets."""
        node = at(root, path)
        if node is None:
            return []
        if isinstance(node, (Table, Items)) and node.block:
            return [(line_start(text, node.start), line_end(text, end_of(text, node)))]
        return [(node.start, node.end)]

    def set(self, text: str, node: Node, start: int, end: int, value: str) -> list[Splice]:
        """Have the characters from C{start} to C{end} of a text be others."""
        assert isinstance(node, Scalar)
        assert isinstance(node.value, str)
        raw = text[node.start : node.end]
        if raw == node.value:
            return [Splice(node.start + start, node.start + end, value)]
        if raw[:1] in ('"', "'") and raw[1:-1] == node.value:
            return [Splice(node.start + 1 + start, node.start + 1 + end, value)]
        if raw[:1] not in ('"', "'"):
            raise NotEdited("the text has an anchor, a tag or several lines")
        whole = node.value[:start] + value + node.value[end:]
        return [Splice(node.start, node.end, json.dumps(whole, ensure_ascii=False))]

    def insert(self, text: str, root: Node, path: Path, key: str, value: Value) -> list[Splice]:
        """Add a key at the end of a map."""
        holder = at(root, path)
        assert isinstance(holder, Table)
        new = f"{written(key)}: {written(value)}"
        if not holder.block:
            return commas.append(text, holder, [(each.start, each.value.end) for each in holder.entries], new)
        if not holder.entries:
            raise NotEdited("the map has no line")
        first = holder.entries[0]
        indent = " " * (first.start - line_start(text, first.start))
        behind = line_end(text, end_of(text, holder))
        return [Splice(behind, behind, f"{newline(text)}{indent}{new}")]

    def append(self, text: str, root: Node, path: Path, value: str) -> list[Splice]:
        """Add an item at the end of a list."""
        holder = at(root, path)
        assert isinstance(holder, Items)
        if not holder.block:
            ranges = [(each.start, each.end) for each in holder.items]
            return commas.append(text, holder, ranges, written(value))
        last = holder.items[-1]
        begin = line_start(text, last.start)
        head = text[begin : last.start]
        if not re.fullmatch(r" *- +", head):
            raise NotEdited("the list's items do not begin their lines")
        behind = line_end(text, end_of(text, holder))
        return [Splice(behind, behind, f"{newline(text)}{head}{written(value)}")]

    def remove(self, text: str, root: Node, path: Path) -> list[Splice]:
        """Take out a key with its value, or an item."""
        holder = at(root, path[:-1])
        assert isinstance(holder, (Table, Items))
        ranges = (
            [(each.start, each.value.end) for each in holder.entries]
            if isinstance(holder, Table)
            else [(item.start, item.end) for item in holder.items]
        )
        index = index_of(holder, path[-1])
        if not holder.block:
            return commas.remove(text, holder, ranges, index, _COMMENT)
        start = ranges[index][0]
        value = holder.entries[index].value if isinstance(holder, Table) else holder.items[index]
        begin = line_start(text, start)
        head = text[begin:start]
        if not re.fullmatch(r" *" if isinstance(holder, Table) else r" *- +", head):
            raise NotEdited("it does not begin its line")
        if len(ranges) == 1:
            raise NotEdited("it is the only one")
        end = text.find("\n", line_end(text, end_of(text, value)))
        if end < 0:  # the last line, which has no line end: the one before it has none now
            before = line_end(text, begin - 1)
            return [Splice(before, len(text), "")]
        return [Splice(begin, end + 1, "")]


def end_of(text: str, node: Node) -> int:
    """Where a value's own last character is; PyYAML has a block end where the next thing begins."""
    if isinstance(node, Table) and node.block and node.entries:
        last = node.entries[-1]
        return max(end_of(text, last.value), last.key_end)
    if isinstance(node, Items) and node.block and node.items:
        return end_of(text, node.items[-1])
    end = node.end
    while end > node.start and text[end - 1] in " \r\n":
        end -= 1
    return end


def written(value: Any) -> str:
    """Text, and lists and maps of it, as they can stand in a flow and elsewhere."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) is not None and _resolves_to_text(value)
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{written(key)}: {written(each)}" for key, each in value.items()) + "}"
    return f"[{', '.join(map(written, value))}]"


def _resolves_to_text(value: str) -> bool:
    import yaml

    tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, value, (True, False))
    return bool(tag == _TEXT)


class _Tree:
    """PyYAML's nodes -> ours."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._count = 0

    def node(self, node: Any, depth: int) -> Node:
        import yaml

        start, end = node.start_mark.index, node.end_mark.index
        self._count += 1
        if self._count > MAX_NODES or depth > MAX_DEPTH:
            raise broken(self._text, start, "found more values or levels than are looked at")
        if isinstance(node, yaml.MappingNode):
            table = Table(start, end, block=not node.flow_style)
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                made = Entry(name, key.start_mark.index, key.end_mark.index, self.node(value, depth + 1))
                table.entries.append(made)
            return table
        if isinstance(node, yaml.SequenceNode):
            items = Items(start, end, block=not node.flow_style)
            items.items += [self.node(each, depth + 1) for each in node.value]
            return items
        return Scalar(start, end, _value(node.tag, node.value))


def _value(tag: str, text: str) -> str | bool | Other | None:
    if tag == _TEXT:
        return text
    if tag == _TRUTH:
        return text.lower() in _TRUE
    if tag == _NOTHING:
        return None
    return Other(f"{tag} {text}")
