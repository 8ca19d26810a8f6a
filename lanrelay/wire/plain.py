"""
Messages that are just what most are: whole, in one piece, of known length, with nothing in them for a proxy
to think about.

Whoever is told C{None} asks the general reader, which knows what it is, or what is wrong with it. What is
read here that would read in the same way; a test holds the two against each other.
"""

from __future__ import annotations

import re
from typing import Final

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.headers import HOP_BY_HOP, Field
from lanrelay.wire.heads import fields_by_name
from lanrelay.wire.limits import LIMITS, Limits

# HEAD, OPTIONS, TRACE and CONNECT have rules of their own.
_REQUEST_LINE: Final = re.compile(rb"(GET|POST|PUT|PATCH|DELETE) (/[\x21\x22\x24-\x7e\x80-\xff]*) HTTP/1\.1")
# Final, with content, and no 304 or 204.
_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.1 ((?:20[0-35-9]|2[1-9][0-9]|30[0-35-9]|3[1-9][0-9]|[45][0-9][0-9])) ([\x20-\x7e]*)"
)
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_KEEP_ALIVE: Final = frozenset({b"keep-alive", b"Keep-Alive"})
_UNUSUAL: Final = (HOP_BY_HOP - {b"connection"}) | {b"expect"}
_UNUSUAL_IN_ANSWERS: Final = HOP_BY_HOP - {b"connection", b"keep-alive"}


def read_plain_request(
    data: bytes, limits: Limits = LIMITS
) -> tuple[bytes, bytes, dict[bytes, Field], int] | None:
    """
    Method, target and fields, without Connection, of a whole request, and where its content begins.

    Host may be missing, and is not judged.
    """
    end = data.find(b"\r\n\r\n")
    if not 0 <= end <= limits.head:
        return None
    lines = data[:end].split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        return None
    method, target = match.groups()
    if len(target) > limits.target:
        return None
    index = _fields(lines, limits)
    if index is None or not _UNUSUAL.isdisjoint(index):
        return None
    length = index.get(b"content-length")
    if length is None:
        return (method, target, index, end + 4) if len(data) == end + 4 else None
    return (method, target, index, end + 4) if _is_long(length[2], len(data) - end - 4) else None


def read_plain_answer(
    data: bytes, limits: Limits = LIMITS
) -> tuple[bytes, bytes, dict[bytes, Field], int] | None:
    """
    Status, reason and fields, without Connection and Keep-Alive, of a whole final answer to such a request,
    and where its content begins.
    """
    end = data.find(b"\r\n\r\n")
    if not 0 <= end <= limits.head:
        return None
    lines = data[:end].split(b"\r\n")
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        return None
    status, reason = match.groups()
    index = _fields(lines, limits)
    if index is None or not _UNUSUAL_IN_ANSWERS.isdisjoint(index):
        return None
    index.pop(b"keep-alive", None)
    length = index.get(b"content-length")
    if length is None or not _is_long(length[2], len(data) - end - 4):
        return None
    return status, reason, index, end + 4


def _fields(lines: list[bytes], limits: Limits) -> dict[bytes, Field] | None:
    """Of a head's lines; C{None} if one is not valid, a name comes twice, or the connection is to end."""
    del lines[0]
    if len(lines) > limits.fields:
        return None
    try:
        index = fields_by_name(lines)
    except RemoteProtocolError:
        return None
    if len(index) != len(lines):
        return None
    connection = index.pop(b"connection", None)
    return index if connection is None or connection[2] in _KEEP_ALIVE else None


def _is_long(length: bytes, come: int) -> bool:
    return _LENGTH.fullmatch(length) is not None and int(length) == come
