"""
Messages that are just what most are: whole, in one piece, of known length, with nothing in them for a proxy
to think about.

A caller that gets C{None} asks the general reader, which knows what the message is, or what is wrong with it.
The general reader reads every plain message in the same way; a test holds the two against each other.

A field that nobody looks at is not taken apart: its line goes on as it came. Some calls are slow in Python
for another reason than their work: C{b"#" in line} makes an exception and drops it each time (1,900
instructions, C{find} takes 300), and C{translate} makes a table first (2,000). Without those two a small
exchange takes 15 % less.
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
_METHODS: Final = {name.encode(): name for name in ("GET", "POST", "PUT", "PATCH", "DELETE")}
# Final, with content, and no 304 or 204.
_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.1 (20[0-35-9]|2[1-9][0-9]|30[0-35-9]|3[1-9][0-9]|[45][0-9][0-9]) [\x20-\x7e]*"
)
_KEEP_ALIVE: Final = frozenset({b"keep-alive", b"Keep-Alive"})
_UNUSUAL: Final = (HOP_BY_HOP - {b"connection", b"keep-alive"}) | {b"expect"}
_LOOKED_AT: Final = frozenset({b"connection", b"content-length"})

DIGITS: Final = 18
"""Of a length, at most."""

_LINES = 1024
_LINE_LENGTH = 256
_STATUSES = 256

_PASSES: Final[Field] = (b"", b"", b"", b"")
_EMPTY: Final = (b"",)  # as which the end of a head passes


class PlainFields:
    """
    Sorts the field lines of one kind of message.

    It remembers lines, so that those which come again and again are sorted by one look each; only such of
    L{REPEATED}, and only so many.

    @param noted: lower-case names of fields that somebody wants to see; not of those that are dropped.
    @param unusual: those with which a message is not plain, whoever else wants to see them.
    @param dropped: those that do not go on, as Connection does not.
    @param chunked: of messages in chunks.
    """

    def __init__(
        self,
        *,
        noted: Collection[bytes],
        unusual: Collection[bytes],
        dropped: Collection[bytes] = (),
        chunked: bool = False,
    ) -> None:
        never_seen = {b"connection", *dropped}.intersection(noted)
        self._unusual = _UNUSUAL.union(unusual, never_seen)
        if chunked:
            noted = {b"transfer-encoding", *noted}
            self._unusual = self._unusual.difference({b"transfer-encoding"}.difference(unusual))
        self._noted = _LOOKED_AT.union(noted, dropped) - self._unusual
        self._dropped = tuple(dropped)
        # Lines that pass, lines that are noted, and names of which no line is kept: in lower case if they are
        # noted, empty if they pass.
        self._passing: set[bytes] = set(_EMPTY)
        self._known: dict[bytes, Field] = {}
        self._names: dict[bytes, bytes] = {}
        self._passes = self._passing.__contains__
        self._find_line, self._find_name = self._known.get, self._names.get

    def sort(self, lines: list[bytes]) -> dict[bytes, Field] | None:
        """
        The noted fields by their lower-case names; those that do not go on are taken out of C{lines}.

        @param lines: of a head, its end among them.
        @return: C{None}: there is an unusual one, one that is not valid or would not go on just as it came,
            or two that are noted have one name.
        """
        noted: dict[bytes, Field] = {}
        find_line, find_name = self._find_line, self._find_name
        unknown = filterfalse(self._passes, lines)
        next(unknown)  # the start line
        for line in unknown:
            field = find_line(line)
            if field is None:
                name, _, value = line.partition(b": ")
                lower = find_name(name)
                if not (value.isalnum() or is_text(value)):
                    return None
                if lower is None:
                    field = self._judge(name, value, line)
                    if field is None:
                        return None
                    if field is _PASSES:
                        continue
                elif lower:
                    field = (lower, name, value, line)
                else:
                    continue
            name = field[0]
            if name in noted:
                return None
            noted[name] = field
        if b"connection" in noted:
            connection = noted.pop(b"connection")
            if connection[2] not in _KEEP_ALIVE:
                return None
            lines.remove(connection[3])
        for name in self._dropped:
            if name in noted:
                lines.remove(noted.pop(name)[3])
        return noted

    def may_differ(self, name: bytes) -> bool:
        """Whether the value of a field that was sorted makes no difference to anybody, but for its length."""
        lower = name.lower()
        return lower == b"content-length" or not (lower in self._noted or lower in self._unusual)

    def _judge(self, name: bytes, value: bytes, line: bytes) -> Field | None:
        """One of a name that is not known, or of which each line is."""
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
                self._passing.update(_EMPTY, (line,))
        return field


def is_text(value: bytes) -> bool:
    """
    What a field's value may hold by RFC 9110 section 5.5, and no space around it.

    Of bytes from 0x80 on some are left to the general reader. C{isprintable} looks once at each; to take
    the bytes of a table out by C{translate} costs 2,000 instructions before the first.
    """
    return value.strip() == value != b"" and value.decode("latin-1").isprintable()


def _bounded(kept: Any, most: int) -> None:
    """Make room for one more."""
    if len(kept) >= most:
        kept.clear()


def read_plain_request(
    data: bytes, fields: PlainFields, limits: Limits = LIMITS
) -> tuple[str, str, list[bytes], dict[bytes, Field], int] | None:
    """
    Method, target, lines and noted fields of a whole request, and where its content begins.

    Host may be missing, and is not judged. The last two lines are empty: they end the head.
    """
    content = data.find(b"\r\n\r\n") + 4
    if not 4 <= content <= limits.head + 4:
        return None
    lines = data[:content].split(b"\r\n")
    start = lines[0].split(b" ")
    if len(start) != 3 or len(lines) - 3 > limits.fields:
        return None
    method, target = _METHODS.get(start[0]), start[1].decode("latin-1")
    if (
        method is None
        or start[2] != b"HTTP/1.1"
        or target[:1] != "/"
        or "#" in target
        or not target.isprintable()
        or len(target) > limits.target
    ):
        return None
    noted = fields.sort(lines)
    if noted is None:
        return None
    if b"content-length" in noted:
        length = noted[b"content-length"][2]
        if not length.isdigit() or len(length) > DIGITS or int(length) != len(data) - content:
            return None
    elif len(data) != content:
        return None
    return method, target, lines, noted, content


def read_plain_chunked(
    head: bytes, fields: PlainFields, limits: Limits = LIMITS
) -> tuple[int, list[bytes], dict[bytes, Field]] | None:
    """
    Status, lines and noted fields of the head, with its empty line, of a final answer in chunks to such a
    request. Transfer-Encoding is taken out of the lines, of which the last two are empty.

    @param fields: those of messages in chunks.
    """
    if not 4 <= len(head) <= limits.head + 4:
        return None
    lines = head.split(b"\r\n")
    status = _statuses.get(lines[0]) or _judge_status(lines[0])
    if not status or len(lines) - 3 > limits.fields:
        return None
    noted = fields.sort(lines)
    if noted is None or b"content-length" in noted or b"transfer-encoding" not in noted:
        return None
    coding = noted[b"transfer-encoding"]
    if coding[2] != b"chunked":
        return None
    lines.remove(coding[3])
    return status, lines, noted


_statuses: dict[bytes, int] = {}
"""By the status lines that bear them."""


def read_plain_answer(
    data: bytes, fields: PlainFields, limits: Limits = LIMITS
) -> tuple[int, list[bytes], dict[bytes, Field], int] | None:
    """
    Status, lines and noted fields of a whole final answer to such a request; where its content begins.

    The last two lines are empty.
    """
    content = data.find(b"\r\n\r\n") + 4
    if not 4 <= content <= limits.head + 4:
        return None
    lines = data[:content].split(b"\r\n")
    status = _statuses.get(lines[0]) or _judge_status(lines[0])
    if not status or len(lines) - 3 > limits.fields:
        return None
    noted = fields.sort(lines)
    if noted is None or b"content-length" not in noted:
        return None
    length = noted[b"content-length"][2]
    if not length.isdigit() or len(length) > DIGITS or int(length) != len(data) - content:
        return None
    return status, lines, noted, content


def _judge_status(line: bytes) -> int:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        return 0
    status = int(match[1])
    if len(line) <= _LINE_LENGTH:
        _bounded(_statuses, _STATUSES)
        _statuses[line] = status
    return status
