"""
JSON that passes as it came: it is read, and changed only in the ranges that have to change.

Numbers stay text (C{1.0} is not C{1}, C{1e400} is no infinity, no integer is too long), and so do the order
of keys, doubled keys and blanks, because nothing is written anew.
"""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed does not name it
from typing import Any, NamedTuple

_blanks = re.compile(r"[ \t\n\r]*").match


class Number(str):
    """A number as it was written."""

    __slots__ = ()


class NotJson(ValueError):
    """The text is no JSON, or is nested too deeply."""


def _constant(name: str) -> Any:
    raise NotJson(f"{name} is no JSON")


_decoder: Any = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_constant)
_scan = _decoder.scan_once


class Member(NamedTuple):
    """Where a member of an object is: its key begins at C{key}, its value is C{text[start:end]}."""

    value: Any
    key: int
    start: int
    end: int


Members = dict[str, Member]


def value_at(text: str, at: int) -> tuple[Any, int]:
    """
    The value that begins at C{at}, and where it ends.

    @raise NotJson: none does.
    """
    try:
        value, end = _scan(text, at)
    except (StopIteration, ValueError, RecursionError) as error:
        raise NotJson(str(error)) from None
    return value, end


def read(text: str) -> Any:
    """
    The value of the whole text.

    @raise NotJson: it is no JSON.
    """
    value, end = value_at(text, _blanks(text, 0).end())  # type: ignore[union-attr]  # it always matches
    if _skip(text, end) != len(text):
        raise NotJson("more follows")
    return value


def members_of(text: str, at: int = 0) -> tuple[Members, int]:
    """
    The members of the object that begins at C{at}, and where it ends. Of doubled keys the last counts.

    @raise NotJson: no object begins there.
    """
    if text[at : at + 1] != "{":
        raise NotJson("no object")
    found: Members = {}
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return found, at + 1
    while True:
        key_at = at
        if text[at : at + 1] != '"':
            raise NotJson("no key")
        try:
            key, at = scanstring(text, at + 1, True)
        except ValueError as error:
            raise NotJson(str(error)) from None
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise NotJson("no colon")
        start = _skip(text, at + 1)
        value, at = value_at(text, start)
        found[key] = Member(value, key_at, start, at)
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return found, at + 1
        if text[at : at + 1] != ",":
            raise NotJson("no comma")
        at = _skip(text, at + 1)


def elements(text: str, at: int = 0) -> tuple[list[tuple[Any, int, int]], int]:
    """
    The elements of the array that begins at C{at}, each with its range, and where the array ends.

    @raise NotJson: no array begins there.
    """
    if text[at : at + 1] != "[":
        raise NotJson("no array")
    found: list[tuple[Any, int, int]] = []
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        return found, at + 1
    while True:
        value, end = value_at(text, at)
        found.append((value, at, end))
        at = _skip(text, end)
        if text[at : at + 1] == "]":
            return found, at + 1
        if text[at : at + 1] != ",":
            raise NotJson("no comma")
        at = _skip(text, at + 1)


def begins(text: str, at: int = 0) -> int:
    """Where the blanks end."""
    return _skip(text, at)


def replaced(text: str, start: int, end: int, by: str) -> str:
    return text[:start] + by + text[end:]


def with_member(text: str, at: int, key: str, value: str) -> str:
    """The text with this member in the object that begins at C{at}; a new member is put first."""
    found, _ = members_of(text, at)
    member = found.get(key)
    if member is not None:
        return replaced(text, member.start, member.end, value)
    return replaced(text, at + 1, at + 1, f"{json.dumps(key)}:{value}{',' if found else ''}")


def without_member(text: str, at: int, key: str) -> str:
    """The text without this member in the object that begins at C{at}, however often it is there."""
    while True:
        found, _ = members_of(text, at)
        member = found.get(key)
        if member is None:
            return text
        text = _without(text, member.key, member.end)


def without_elements(text: str, ranges: list[tuple[int, int]]) -> str:
    """The text without these elements of one array."""
    for start, end in sorted(ranges, reverse=True):
        text = _without(text, start, end)
    return text


def _without(text: str, start: int, end: int) -> str:
    """The text without a range, and without one comma beside it."""
    after = _skip(text, end)
    if text[after : after + 1] == ",":
        return replaced(text, start, _skip(text, after + 1), "")
    before = start - 1
    while text[before] in " \t\n\r":
        before -= 1
    if text[before] == ",":
        start = before
    return replaced(text, start, end, "")


def _skip(text: str, at: int) -> int:
    return _blanks(text, at).end()  # type: ignore[union-attr]  # it always matches


def line_of(text: str) -> bytes:
    """
    The text in one line. Raw line ends stand only between the tokens of JSON. U+2028 and U+2029 stand only
    within its strings; Node's C{readline} would split at them.
    """
    line = text.encode("utf-8", "surrogatepass")
    if b"\n" in line or b"\r" in line:
        line = line.replace(b"\r", b" ").replace(b"\n", b" ")
    if b"\xe2\x80\xa8" in line or b"\xe2\x80\xa9" in line:
        line = line.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return line
