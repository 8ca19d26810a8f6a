"""Cuts what a program says into lines, with a bound on each."""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

LINE_MAX: Final = 64 * 1024 * 1024
"""Bytes; a tool's answer with a picture or a file in it has some megabytes."""

_ENDS: Final = 1024  # what is kept of either end of a line that is too long

# Where the SDKs write the id: Python's before the result, TypeScript's at the very end.
_FIRST: Final = re.compile(
    rb'\A\s*\{"jsonrpc":\s*"2\.0",\s*"id":\s*("[^"\\]*"|-?\d+)\s*,\s*"(?:result|error)"'
)
_LAST: Final = re.compile(rb',\s*"id":\s*("[^"\\]*"|-?\d+)\s*\}\s*\Z')


class TooLong(NamedTuple):
    """A line that was thrown away: its length, and the id of the answer that it was, if that can be seen."""

    length: int
    id: str | int | None


class Lines:
    """Feed it bytes; it gives whole lines without their end, and what was too long."""

    def __init__(self, longest: int = LINE_MAX) -> None:
        self._longest = longest
        self._parts: list[bytes] = []
        self._held = 0
        self._left_out = 0
        self._tail = b""

    def feed(self, data: bytes) -> list[bytes | TooLong]:
        """The lines that are whole now."""
        found: list[bytes | TooLong] = []
        begin = 0
        while (end := data.find(b"\n", begin)) >= 0:
            self._add(data[begin:end])
            found.append(self._take())
            begin = end + 1
        self._add(data[begin:])
        return found

    def _add(self, part: bytes) -> None:
        if self._left_out or self._held + len(part) > self._longest:
            if not self._left_out:
                head = b"".join(self._parts)[:_ENDS] or part[:_ENDS]
                self._parts, self._left_out = [head], self._held
            self._left_out += len(part)
            self._tail = (self._tail + part)[-_ENDS:]
        elif part:
            self._parts.append(part)
            self._held += len(part)

    def _take(self) -> bytes | TooLong:
        line, left_out, tail = b"".join(self._parts), self._left_out, self._tail
        self._parts, self._held, self._left_out, self._tail = [], 0, 0, b""
        if not left_out:
            return line
        found = _FIRST.search(line) or _LAST.search(tail)
        return TooLong(left_out, json.loads(found[1]) if found else None)
