"""The fields of a request of 2026-07-28 that repeat what its body says."""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import Any

from lanrelay.bridge.jsontext import Number
from lanrelay.bridge.messages import Fields
from lanrelay.bridge.rpc import VERSION_KEY, Message
from lanrelay.bridge.way import POST_FIELDS

_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

_is_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_is_plain = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?").fullmatch

_DEPTH = 32
"""Of a schema that is looked at; deeper there is no annotation that would be valid."""

Parameters = tuple[tuple[str, tuple[str, ...]], ...]
"""The names of fields, each with the path to its value in the arguments."""


def encoded(value: str) -> str:
    """The value of a field: as it is where that is safe, else in Base64 between markers."""
    if value == "" or (_is_plain(value) and not (value.startswith("=?base64?") and value.endswith("?="))):
        return value
    data = b2a_base64(value.encode("utf-8", "surrogatepass"), newline=False)
    return f"=?base64?{data.decode('ascii')}?="


def fields_of(message: Message, parameters: Parameters = ()) -> Fields:
    """All that the protocol wants of the head of this request."""
    method = message.method or ""
    fields = [*POST_FIELDS, ("MCP-Protocol-Version", _text(message.meta.get(VERSION_KEY)))]
    if _is_plain(method):
        fields.append(("Mcp-Method", method))
    params = message.params
    if method in _NAMED:
        name = params.get(_NAMED[method])
        if isinstance(name, str):
            fields.append(("Mcp-Name", encoded(name)))
    for field, path in parameters:
        value = _shown(_at(params.get("arguments"), path))
        if value is not None:
            fields.append((field, value))
    return tuple(fields)


def parameters_of(tool: dict[str, Any]) -> Parameters | None:
    """Which arguments of a tool are repeated in fields; C{None} for a definition that is not valid."""
    found: list[tuple[str, tuple[str, ...]]] = []
    schema = tool.get("inputSchema")
    if not isinstance(schema, dict):
        return ()
    if not _collect(schema, (), found, valid_here=False):
        return None
    names = {name.lower() for name, _ in found}
    return tuple(found) if len(names) == len(found) else None


def _collect(
    schema: Any, path: tuple[str, ...], found: list[tuple[str, tuple[str, ...]]], *, valid_here: bool
) -> bool:
    """Whether all annotations are where they may be; C{valid_here}: the schema is that of a property."""
    if not isinstance(schema, dict):
        return True
    if len(path) > _DEPTH:
        return not _has_annotation(schema)
    if "x-mcp-header" in schema:
        name = schema["x-mcp-header"]
        if not valid_here or not isinstance(name, str) or not _is_token(name):
            return False
        if schema.get("type") not in ("string", "integer", "boolean"):
            return False
        found.append((f"Mcp-Param-{name}", path))
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict):
            for name, each in value.items():
                if not _collect(each, (*path, name), found, valid_here=True):
                    return False
        elif key not in _DATA and _has_annotation(value):
            return False
    return True


_DATA = ("const", "default", "enum", "example", "examples", "x-mcp-header")
"""Keys whose values are no schemas."""


def _has_annotation(value: Any) -> bool:
    """Whether one is anywhere below."""
    open = [value]
    while open:
        each = open.pop()
        if isinstance(each, dict):
            if "x-mcp-header" in each:
                return True
            open.extend(inner for key, inner in each.items() if key not in _DATA)
        elif isinstance(each, list):
            open.extend(each)
    return False


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _shown(value: Any) -> str | None:
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, Number):
        if value.lstrip("-").isdigit():
            return str(value)
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else str(value)
    return encoded(value) if isinstance(value, str) else None


def _text(value: Any) -> str:
    return encoded(value) if isinstance(value, str) else ""
