"""JSON-RPC messages as they came: read, cut out of batches, and changed in one place without the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

_DECODER: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_LINE_ENDS: Final = str.maketrans("\r\n", "  ")

Key = tuple[str, Any]
"""An id or a token by type and value, for C{"1"} is not C{1}."""


class NotMcp(ValueError):
    """No JSON-RPC message."""


@dataclass(frozen=True, slots=True)
class Message:
    """
    @ivar text: one line, as it came.
    @ivar key: its id; C{None} for a notification, and for a response that has none.
    """

    text: str
    body: dict[str, Any]
    key: Key | None

    @property
    def method(self) -> str:
        """Empty for a response."""
        method = self.body.get("method", "")
        return method if isinstance(method, str) else ""

    @property
    def is_request(self) -> bool:
        """It wants an answer."""
        return bool(self.method) and self.key is not None

    @property
    def is_response(self) -> bool:
        """It is one."""
        return not self.method

    @property
    def params(self) -> dict[str, Any]:
        """Empty where there are none by name."""
        params = self.body.get("params")
        return params if isinstance(params, dict) else {}

    @property
    def token(self) -> Key | None:
        """What the progress of a request is reported with."""
        meta = self.params.get("_meta")
        return key_of(meta.get("progressToken")) if isinstance(meta, dict) else None


def key_of(value: object) -> Key | None:
    """C{None} for what can be no id."""
    if isinstance(value, str):
        return "string", value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number", value
    return None


def read(data: bytes) -> tuple[list[Message], bool]:
    """
    The messages of a body or a line, and whether they came as a batch.

    @raise NotMcp: it is something else.
    """
    try:
        text = data.decode("utf-8").strip()
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotMcp(f"no JSON in UTF-8: {error}"[:200]) from None
    if isinstance(whole, list):
        if not whole:
            raise NotMcp("an empty batch")
        return [_message(each, cut) for each, cut in zip(whole, _elements(text), strict=True)], True
    return [_message(whole, text)], False


def _message(body: object, text: str) -> Message:
    if not isinstance(body, dict):
        raise NotMcp("no JSON-RPC message, which is an object")
    if body.get("jsonrpc") != "2.0":
        raise NotMcp('no JSON-RPC message: expected "jsonrpc": "2.0"')
    if not isinstance(body.get("method", ""), str) or not ({"method", "result", "error"} & set(body)):
        raise NotMcp("no JSON-RPC message: neither a method nor a result nor an error")
    # Line ends stand between the members alone: within a string JSON has them escaped.
    return Message(text.translate(_LINE_ENDS), body, key_of(body.get("id")))


def _elements(text: str) -> Iterator[str]:
    position = _skip(text, 1)
    while text[position] != "]":
        _, end = _DECODER.raw_decode(text, position)
        yield text[position:end]
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)


def replaced(text: str, path: Sequence[str], value: object) -> str:
    """
    C{text} with the value at C{path}, names of members from the outermost on, replaced; unchanged where there
    is none. Of members that are there twice the last one counts, as for C{json}.
    """
    begin, end = _skip(text, 0), len(text)
    for name in path:
        if text[begin : begin + 1] != "{":
            return text
        found = None
        for member, first, last in _members(text, begin):
            if member == name:
                found = first, last
        if found is None:
            return text
        begin, end = found
    return text[:begin] + json.dumps(value) + text[end:]


def _members(text: str, begin: int) -> Iterator[tuple[str, int, int]]:
    position = _skip(text, begin + 1)
    while text[position] != "}":
        name, position = _DECODER.raw_decode(text, position)
        position = _skip(text, _skip(text, position) + 1)
        _, end = _DECODER.raw_decode(text, position)
        yield name, position, end
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)


def _skip(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    assert found is not None
    return found.end()


def error(identity: object, code: int, message: str) -> str:
    """An error as an answer."""
    body = {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": message}}
    return json.dumps(body, ensure_ascii=False)
