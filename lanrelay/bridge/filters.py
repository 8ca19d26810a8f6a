"""Which tools the client is to know: C{--ignore-tool} and C{--only-tool}."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lanrelay.bridge.jsontext import NotJson, elements, members_of, replaced, without_elements


class Filters:
    """
    Globs with C{*} and C{?}; case does not count, since users do not know how a server writes its names.
    """

    def __init__(self, ignored: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> None:
        self._ignored = [_pattern(glob) for glob in ignored]
        self._only = [_pattern(glob) for glob in only]

    def __bool__(self) -> bool:
        return bool(self._ignored or self._only)

    def let(self, tool: object) -> bool:
        """Whether the client may know and call it."""
        name = tool if isinstance(tool, str) else ""
        if self._only and not any(pattern.fullmatch(name) for pattern in self._only):
            return False
        return not any(pattern.fullmatch(name) for pattern in self._ignored)

    def sifted(self, result: str) -> str:
        """The result of C{tools/list} without the tools that are not let through."""
        if not self:
            return result
        return without_tools(result, lambda tool: not self.let(tool.get("name")))


def without_tools(result: str, unwanted: Callable[[dict[str, Any]], bool]) -> str:
    """The result of C{tools/list} without the tools for which C{unwanted} is true."""
    try:
        members, _ = members_of(result)
        member = members["tools"]
        found, _ = elements(result, member.start)
    except (KeyError, NotJson):
        return result
    ranges = [
        (start - member.start, end - member.start)
        for tool, start, end in found
        if isinstance(tool, dict) and unwanted(tool)
    ]
    if not ranges:
        return result
    return replaced(
        result, member.start, member.end, without_elements(result[member.start : member.end], ranges)
    )


def _pattern(glob: str) -> re.Pattern[str]:
    text = "".join(".*" if each == "*" else "." if each == "?" else re.escape(each) for each in glob)
    return re.compile(text, re.IGNORECASE | re.DOTALL)
