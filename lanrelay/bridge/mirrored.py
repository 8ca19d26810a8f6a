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

Parameters = tuple[tuple[str, tuple[str, ...]], ...]
"""The names of fields, each with the path to its value in the arguments."""


def encoded(value: str) -> str:
    """The value of a field: as it is if that is safe, else in Base64 between markers."""
    if value == "" or (_is_plain(value) and not (value.startswith("=?base64?") and value.endswith("?="))):
        return value
    data = b2a_base64(value.encode("utf-8", "surrogatepass"), newline=False)
    return f"=?base64?{data.decode('ascii')}?="


def fields_of(message: Message, parameters: Parameters = ()) -> Fields:
    """All fields that the protocol wants in the head of this request."""
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
    names: set[str] = set()
    open: list[tuple[tuple[str, ...] | None, Any]] = [((), tool.get("inputSchema"))]
    while open:
        path, schema = open.pop()
        if not isinstance(schema, dict):
            continue
        if "x-mcp-header" in schema:
            name = schema["x-mcp-header"]
            if not path or not isinstance(name, str) or not _is_token(name) or name.lower() in names:
                return None
            if schema.get("type") not in ("string", "integer", "boolean"):
                return None
            names.add(name.lower())
            found.append((f"Mcp-Param-{name}", path))
        for key, value in reversed(schema.items()):
            if key == "properties" and isinstance(value, dict):
                for name, each in reversed(value.items()):
                    open.append((None if path is None else (*path, name), each))
            elif key in _SCHEMAS:
                open.append((None, value))
                if isinstance(value, list):
                    open.extend((None, each) for each in value)
            elif key in _MAPS and isinstance(value, dict):
                open.extend((None, each) for each in value.values())
    return tuple(found)


_SCHEMAS = frozenset(
    (
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "oneOf",
        "prefixItems",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    )
)
"""Keywords of JSON Schema 2020-12, and of older drafts, whose value is a schema or a list of them."""

_MAPS = frozenset(("$defs", "definitions", "dependentSchemas", "patternProperties"))
"""Keywords whose value has schemas under names. Below all of these no annotation may stand."""


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
