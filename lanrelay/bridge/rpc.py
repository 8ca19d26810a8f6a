"""Messages of JSON-RPC: what kind each is, and lines for messages of the bridge's own."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

from lanrelay.bridge.jsontext import Members, NotJson, Number, begins, elements, members_of, read, with_member

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
UNKNOWN_METHOD = -32601
INVALID_PARAMS = -32602
HEADER_MISMATCH = -32020
CAPABILITY_MISSING = -32021
VERSION_UNKNOWN = -32022

NO_TARGET = 502
"""
Our code for a target that cannot be asked: it is outside the range that JSON-RPC reserves, as MCP wants it.
"""

MODERN_ERRORS = (HEADER_MISMATCH, CAPABILITY_MISSING, VERSION_UNKNOWN)

META = "io.modelcontextprotocol/"
VERSION_KEY = META + "protocolVersion"
CLIENT_KEY = META + "clientInfo"
CAPABILITIES_KEY = META + "clientCapabilities"
LOG_LEVEL_KEY = META + "logLevel"
SUBSCRIPTION_KEY = META + "subscriptionId"
SERVER_KEY = META + "serverInfo"

MODERN = "2026-07-28"
LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
LATEST_LEGACY = LEGACY_VERSIONS[-1]


class Message:
    """
    One object of JSON-RPC.

    @ivar text: the object alone, as it came.
    @ivar members: where each member stands in the text.
    """

    __slots__ = ("members", "text")

    def __init__(self, text: str, members: Members | None = None) -> None:
        """
        @param members: the same, if they are known already.
        @raise NotJson: it is no object.
        """
        self.text = text
        self.members: Members = members_of(text)[0] if members is None else members

    def value(self, name: str) -> Any:
        member = self.members.get(name)
        return None if member is None else member.value

    def raw(self, name: str) -> str | None:
        member = self.members.get(name)
        return None if member is None else self.text[member.start : member.end]

    @property
    def method(self) -> str | None:
        method = self.value("method")
        return method if isinstance(method, str) and not isinstance(method, Number) else None

    @property
    def id(self) -> str | None:
        """The id as it is written; C{None} where there is none, or C{null}."""
        return None if self.value("id") is None else self.raw("id")

    @property
    def key(self) -> Hashable:
        return key_of(self.value("id"))

    @property
    def params(self) -> dict[str, Any]:
        params = self.value("params")
        return params if isinstance(params, dict) else {}

    @property
    def meta(self) -> dict[str, Any]:
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def is_response(self) -> bool:
        return "method" not in self.members and ("result" in self.members or "error" in self.members)

    @property
    def is_modern(self) -> bool:
        return VERSION_KEY in self.meta

    @property
    def result(self) -> dict[str, Any] | None:
        result = self.value("result")
        return result if isinstance(result, dict) else None

    @property
    def error_code(self) -> int | None:
        error = self.value("error")
        if not isinstance(error, dict):
            return None
        try:
            return int(error.get("code", 0))
        except (TypeError, ValueError):
            return 0

    @property
    def error_text(self) -> str:
        error = self.value("error")
        return str(error.get("message", "")) if isinstance(error, dict) else ""

    def with_id(self, id: str) -> str:
        """The text with this id."""
        return self.text if self.raw("id") == id else with_member(self.text, 0, "id", id)

    def with_result(self, result: str) -> Message:
        return Message(with_member(self.text, 0, "result", result))


def key_of(id: Any) -> Hashable:
    """A key by which ids are compared: C{"1"} is not C{1}, however they are written."""
    if isinstance(id, Number):
        return ("number", id if id.lstrip("-").isdigit() else float(id))
    return ("text", str(id))


def messages_of(data: bytes | str) -> list[Message]:
    """
    The messages of a body, an event or a line: one, or those of a batch.

    @raise NotJson: it is neither.
    """
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise NotJson("no UTF-8") from None
    start = begins(data)
    if data[start : start + 1] == "[":
        found, end = elements(data, start)
        batch = [Message(data[first:last]) for _, first, last in found]
    else:
        members, end = members_of(data, start)
        batch = [Message(data[start:end], None if start else members)]
    if begins(data, end) != len(data):
        raise NotJson("more follows")
    return batch


def meaning(text: str) -> Any:
    """The value of a text that is known to be JSON: our own, or one that was read before."""
    return read(text)


def quoted(value: Any) -> str:
    """A value as JSON in one line; numbers that were read are written as they came."""
    pieces: list[str] = []
    open: list[Any] = [value]  # no recursion: what was read may be nested more deeply than Python calls
    while open:
        value = open.pop()
        if isinstance(value, _Piece):
            pieces.append(value.text)
        elif isinstance(value, Number):
            pieces.append(str(value))
        elif isinstance(value, dict):
            pieces.append("{")
            open.append(_Piece("}"))
            for number, key in enumerate(reversed(value), 1):
                comma = "," if number < len(value) else ""
                open += (value[key], _Piece(f"{comma}{json.dumps(key)}:"))
        elif isinstance(value, (list, tuple)):
            pieces.append("[")
            open.append(_Piece("]"))
            for number, each in enumerate(reversed(value), 1):
                open += (each, _Piece("," if number < len(value) else ""))
        else:
            pieces.append(json.dumps(value))
    return "".join(pieces)


class _Piece:
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def result_text(id: str, result: str) -> str:
    return f'{{"jsonrpc":"2.0","id":{id},"result":{result}}}'


def error_text(id: str | None, code: int, message: str, data: str | None = None) -> str:
    more = "" if data is None else f',"data":{data}'
    error = f'{{"code":{code},"message":{json.dumps(message)}{more}}}'
    return f'{{"jsonrpc":"2.0","id":{id or "null"},"error":{error}}}'


def failed_call(sentence: str, *, modern: bool) -> str:
    """The result of a tool that could not be called: the model is to read why."""
    kind = '"resultType":"complete",' if modern else ""
    return f'{{{kind}"content":[{{"type":"text","text":{json.dumps(sentence)}}}],"isError":true}}'


def notification_text(method: str, params: str | None = None) -> str:
    more = "" if params is None else f',"params":{params}'
    return f'{{"jsonrpc":"2.0","method":{json.dumps(method)}{more}}}'
