"""
Messages that are just what most are: whole, in one piece, of known length, with nothing in them for a proxy
to think about.

Whoever is told C{None} asks the general reader, which knows what it is, or what is wrong with it. What is
read here that would read in the same way; a test holds the two against each other.

No field is taken apart that nobody looks at: its line goes on as it came. A request and its answer of 1 KB,
with eight fields each, are read and written so at two thirds of the instructions that it took to make a
record of each line.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import filterfalse
from typing import Any, Final

from lanrelay.wire.headers import HOP_BY_HOP, NAME, Field
from lanrelay.wire.heads import REPEATED
from lanrelay.wire.limits import LIMITS, Limits

# HEAD, OPTIONS, TRACE and CONNECT have rules of their own.
_METHODS: Final = frozenset({b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"})
# Final, with content, and no 304 or 204.
_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.1 (20[0-35-9]|2[1-9][0-9]|30[0-35-9]|3[1-9][0-9]|[45][0-9][0-9]) [\x20-\x7e]*"
)
_KEEP_ALIVE: Final = frozenset({b"keep-alive", b"Keep-Alive"})
# What a line may hold: RFC 9112 section 5 with RFC 9110 section 5.5.
_TEXT: Final = bytes([9, *range(32, 127), *range(128, 256)])
_UNUSUAL: Final = (HOP_BY_HOP - {b"connection", b"keep-alive"}) | {b"expect"}
_LOOKED_AT: Final = frozenset({b"connection", b"content-length"})

_LINES = 1024
_LINE_LENGTH = 256
_STATUSES = 256

_PASSES: Final[Field] = (b"", b"", b"", b"")


class PlainFields:
    """
    Sorts the field lines of one kind of message.

    It remembers lines, so that those which come again and again are sorted by one look each; only such of
    L{REPEATED}, and only so many.

    @param noted: lower-case names of fields that somebody wants to see.
    @param unusual: those with which a message is not plain.
    @param dropped: those that do not go on, as Connection does not.
    """

    def __init__(
        self, *, noted: Collection[bytes], unusual: Collection[bytes], dropped: Collection[bytes] = ()
    ) -> None:
        self._noted = _LOOKED_AT.union(noted, dropped)
        self._unusual = _UNUSUAL.union(unusual) - self._noted
        self._dropped = frozenset(dropped)
        # Lines that pass, lines that are noted, and names of which no line is kept: in lower case if they are
        # noted, empty if they pass.
        self._passing: set[bytes] = set()
        self._known: dict[bytes, Field] = {}
        self._names: dict[bytes, bytes] = {}
        self._passes = self._passing.__contains__

    def sort(self, lines: list[bytes]) -> dict[bytes, Field] | None:
        """
        The noted fields by their lower-case names; those that do not go on are taken out of C{lines}.

        @param lines: from the second on they are a head's, without control bytes.
        @return: C{None}: there is an unusual one, one that is not valid or would not go on just as it came,
            or two that are noted have one name.
        """
        known, noted = self._known, {}
        unknown = filterfalse(self._passes, lines)
        next(unknown)  # the start line
        for line in unknown:
            field = known.get(line) or self._judge(line)
            if field is _PASSES:
                continue
            if field is None or field[0] in noted:
                return None
            noted[field[0]] = field
        connection = noted.pop(b"connection", None)
        if connection is not None:
            if connection[2] not in _KEEP_ALIVE:
                return None
            lines.remove(connection[3])
        for name in self._dropped:
            if name in noted:
                lines.remove(noted.pop(name)[3])
        return noted

    def _judge(self, line: bytes) -> Field | None:
        name, _, value = line.partition(b": ")
        if not value or value.strip(b" \t") != value:
            return None
        lower = self._names.get(name)
        if lower is None:
            return self._judge_name(name, value, line)
        return (lower, name, value, line) if lower else _PASSES

    def _judge_name(self, name: bytes, value: bytes, line: bytes) -> Field | None:
        lower = name.lower()
        if lower in self._unusual or NAME.fullmatch(name) is None:
            return None
        noted = lower in self._noted
        field = (lower, name, value, line) if noted else _PASSES
        if lower not in REPEATED:
            if len(name) <= _LINE_LENGTH:
                _bounded(self._names, _LINES)
                self._names[name] = lower if noted else b""
        elif len(line) <= _LINE_LENGTH:
            if noted:
                _bounded(self._known, _LINES // 2)
                self._known[line] = field
            else:
                _bounded(self._passing, _LINES // 2)
                self._passing.add(line)
        return field


def _bounded(kept: Any, most: int) -> None:
    """Make room for one more."""
    if len(kept) >= most:
        kept.clear()


def read_plain_request(
    data: bytes, fields: PlainFields, limits: Limits = LIMITS
) -> tuple[bytes, bytes, list[bytes], dict[bytes, Field], int] | None:
    """
    Method, target, lines and noted fields of a whole request, and where its content begins.

    Host may be missing, and is not judged.
    """
    end = data.find(b"\r\n\r\n")
    lines = _lines(data[:end], limits) if 0 <= end <= limits.head else None
    if lines is None:
        return None
    content = end + 4
    start = lines[0].split(b" ")
    if len(start) != 3:
        return None
    method, target, version = start
    if (
        version != b"HTTP/1.1"
        or method not in _METHODS
        or target[:1] != b"/"
        or b"#" in target
        or b"\t" in target
        or len(target) > limits.target
    ):
        return None
    noted = fields.sort(lines)
    if noted is None:
        return None
    length = noted.get(b"content-length")
    if (len(data) != content) if length is None else not _is_long(length[2], len(data) - content):
        return None
    return method, target, lines, noted, content


_statuses: dict[bytes, int] = {}
"""By the status lines that bear them."""


def read_plain_answer(
    data: bytes, fields: PlainFields, limits: Limits = LIMITS
) -> tuple[int, list[bytes], dict[bytes, Field], int] | None:
    """Status, lines and noted fields of a whole final answer to such a request; where its content begins."""
    end = data.find(b"\r\n\r\n")
    lines = _lines(data[:end], limits) if 0 <= end <= limits.head else None
    if lines is None:
        return None
    content = end + 4
    status = _statuses.get(lines[0]) or _judge_status(lines[0])
    if not status:
        return None
    noted = fields.sort(lines)
    if noted is None:
        return None
    length = noted.get(b"content-length")
    if length is None or not _is_long(length[2], len(data) - content):
        return None
    return status, lines, noted, content


def _lines(head: bytes, limits: Limits) -> list[bytes] | None:
    """The lines of a head; C{None} for too many, and for one with a control byte in it."""
    lines = head.split(b"\r\n")
    if len(lines) - 1 > limits.fields:
        return None
    # What is no text has to be the ends of these lines.
    return lines if len(head.translate(None, _TEXT)) == 2 * len(lines) - 2 else None


def _judge_status(line: bytes) -> int:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        return 0
    status = int(match[1])
    if len(line) <= _LINE_LENGTH:
        _bounded(_statuses, _STATUSES)
        _statuses[line] = status
    return status


def _is_long(length: bytes, come: int) -> bool:
    return length.isdigit() and len(length) < 19 and int(length) == come
