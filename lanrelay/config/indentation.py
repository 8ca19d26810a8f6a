"""Tells a mistake in the indentation of a YAML file from others."""

from __future__ import annotations

import re

_LINE = 500  # the rest of a longer line is not looked at: to search it takes the square of its length
_LOOKED_AT = 2000  # lines above the mistake

_STEPS = (
    "expected key",
    "<block end>",
    "'-' indicator",
    "<document start>",
    "mapping values",
    "expected ':'",
)
_THIS = "; this is indentation: the line has"
_KEY = re.compile(r" *(?:- +)*[^\s#\[{&*!|>'\"%@`:-][^:#]*:(?: |$)")


def indentation(lines: list[str], number: int, problem: str) -> str:
    """A hint where the line begins at no column at which the lines above let one begin."""
    if not any(step in problem for step in _STEPS) or not lines:
        return ""
    line = lines[number][:_LINE]
    if not line.strip() or line.lstrip(" ").startswith(("\t", "#")):
        return ""
    above = [one[:_LINE] for one in lines[max(0, number - _LOOKED_AT) : number]]
    above = [one for one in above if one.strip() and not one.lstrip().startswith(("#", "---"))]
    if not above:
        return ""
    indent, before = _indent(line), _indent(above[-1])
    if indent > before:
        last = above[-1].split(" #", 1)[0].rstrip()
        above_has_value = _KEY.match(last) is not None and not last.endswith((":", "-", "|", ">"))
        if _KEY.match(line) is None or not above_has_value:
            return ""
        begins = _indent(last, of_item=True)
        if indent == begins:
            return ""
        return f"{_THIS} {_blanks(indent)}, and the one above it, which has its value already, {begins}"
    may = _open_indents(above)
    if indent in may:
        return ""
    shown = " or ".join(map(str, sorted(may)))
    return f"{_THIS} {_blanks(indent)}, expected {shown}, as lines above have"


def _blanks(number: int) -> str:
    return f"{number} blank{'' if number == 1 else 's'} before it"


def _indent(line: str, *, of_item: bool = False) -> int:
    """Blanks before it; of an item of a list, before what stands after the C{-}."""
    found = re.match(r" *(?:- +)*" if of_item else r" *", line)
    return len(found.group()) if found is not None else 0


def _open_indents(above: list[str]) -> set[int]:
    """Where the next line may begin if it goes on with a map or a list that the lines above have begun."""
    found: set[int] = set()
    limit = 1 << 30
    for line in reversed(above):
        indent = _indent(line)
        if indent < limit:
            found.add(indent)
            limit = indent
            inner = _indent(line, of_item=True)
            if inner != indent and line is above[-1]:
                found.add(inner)
        if limit == 0:
            break
    return found
