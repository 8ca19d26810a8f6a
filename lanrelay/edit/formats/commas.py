"""Elements between commas: an object or array of JSON, an inline table or array of TOML, a flow of YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lanrelay.edit.formats.tree import Node, Range, Splice

_SPACE = re.compile(r"\s*")


def remove(
    text: str, holder: Node, elements: Sequence[Range], index: int, comment: re.Pattern[str]
) -> list[Splice]:
    """
    Take one element out, with its comma; comments stay.

    @param comment: matches one comment at its beginning.
    """
    start, end = elements[index]
    comma = _comma(text, end, comment)
    if len(elements) == 1:
        rest = text[holder.start + 1 : start] + text[end if comma is None else comma + 1 : holder.end - 1]
        if not rest.strip():
            return [Splice(holder.start + 1, holder.end - 1, "")]
        return [Splice(start, end if comma is None else comma + 1, "")]
    if index < len(elements) - 1:
        assert comma is not None, "elements have a comma between them"
        after = _space(text, comma + 1)
        if text[after : after + 1] and comment.match(text, after):
            after = comma + 1  # a comment at the end of the line stays where it is
        return [Splice(start, after, "")]
    previous = _comma(text, elements[index - 1][1], comment)
    assert previous is not None, "elements have a comma between them"
    before = start
    while text[before - 1].isspace():
        before -= 1
    if before != previous + 1:
        before = start  # a comment is in between, and may need its line end
    if comma is not None:
        return [Splice(before, comma + 1, "")]
    return [Splice(previous, previous + 1, ""), Splice(max(before, previous + 1), end, "")]


def append(text: str, holder: Node, elements: Sequence[Range], new: str) -> list[Splice]:
    """Put an element behind the last one, on a line of its own if that one has one."""
    if not elements:
        inner = text[holder.start + 1 : holder.end - 1]
        if inner.strip():  # comments
            return [Splice(holder.start + 1, holder.start + 1, f" {new}")]
        return [Splice(holder.start + 1, holder.end - 1, new)]
    start, end = elements[-1]
    before = start
    while text[before - 1].isspace():
        before -= 1
    space = text[before:start]
    if "\n" in space:
        first = space.rfind("\n")
        space = space[first - 1 if first and space[first - 1] == "\r" else first :]
    elif not space:
        # The first of the line, directly behind the bracket; or a file without any spaces.
        space = " " if len(elements) == 1 else ""
    else:
        space = " "
    return [Splice(end, end, f",{space}{new}")]


def _comma(text: str, offset: int, comment: re.Pattern[str]) -> int | None:
    """Where the comma behind an element is."""
    while True:
        offset = _space(text, offset)
        found = comment.match(text, offset)
        if found is None:
            return offset if text[offset : offset + 1] == "," else None
        offset = found.end()


def _space(text: str, offset: int) -> int:
    found = _SPACE.match(text, offset)
    assert found is not None
    return found.end()
