"""The tables of keys as a JSON schema, by which editors complete a configuration and mark mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lanrelay.config import hosts, kinds, listeners, values
from lanrelay.config.document import FILE
from lanrelay.config.place import Key, Table
from lanrelay.config.shapes import ListOf, MapOf, Off, Scalar, Shape, Url, Whole, Words, taken_by

Schema = dict[str, Any]

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"

_DEFINED: dict[str, Schema] = {}


def _defined(name: str, schema: Schema) -> Schema:
    """What many keys refer to."""
    _DEFINED[name] = schema
    return {"$ref": f"#/definitions/{name}"}


_TEXT = _defined("text", {"type": ["string", "number", "boolean"]})
"""Every scalar is text to us; editors take some of them for numbers, or for true and false."""

_REFERENCE = _defined("reference", {"type": "string", "pattern": r"\$\{"})
"""A variable or a file: what it brings is not known here."""


def _spelled(words: Iterable[str]) -> list[str]:
    """As a reader takes them whatever their case is, in the spellings that people use."""
    return [one for word in words for one in dict.fromkeys((word, word.capitalize(), word.upper()))]


_OFF = _defined("off", {"enum": [False, *_spelled(sorted(values.OFF - {"[]"})), []]})
_SWITCH = _defined("switch", {"enum": [True, False, *_spelled(sorted(values.ON | values.OFF - {"[]"}))]})
_NUMBER = r"[0-9]{1,15}(\.[0-9]{1,9})?"


def _text(pattern: str, *, number: bool = False) -> Schema:
    text: Schema = {"type": "string", "pattern": f"^({pattern})$"}
    return {"anyOf": [text, {"type": "number", "minimum": 0}]} if number else text


_DURATION = _defined("duration", _text(rf"{_NUMBER}(ms|s|m|h)?", number=True))

_CONVERTED: dict[Callable[[str], object], Schema] = {
    values.boolean: _SWITCH,
    values.duration: _DURATION,
    values.duration_from_zero: _DURATION,
    values.size: _defined("size", _text(rf"{_NUMBER}([kMGT]i?B|KB|KiB|B)?", number=True)),
    values.mode: _text(r"(0o?)?[0-7]{3}", number=True),
    values.pin: _text(r"sha256//[A-Za-z0-9+/]{43}=|sha256:[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}"),
    values.statuses: _text(r"[1-5][0-9]{2}[0-9, -]*", number=True),
    values.header_name: _text(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"),
    hosts.request_path: _text(r"/.*"),
    hosts.route_path: _text(r"/.*"),
}
"""What the function that converts a text tells of it; without one, that it is a text."""


def schema() -> Schema:
    """The whole of it, after JSON Schema's draft 7, which editors know."""
    definitions = dict(_DEFINED)
    file = _table(FILE, definitions)
    definitions["listener"] = {
        "type": "object",
        "required": ["type"],
        "properties": {"type": _key(listeners.LISTENER.keys["type"], definitions)},
        "allOf": [
            {
                "if": {"properties": {"type": {"const": kind.word}}, "required": ["type"]},
                "then": _reference(listeners.reader(kind).table, definitions),
            }
            for kind in kinds.KINDS
        ],
    }
    file["properties"]["listeners"] = {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": _NAME},
        "additionalProperties": {"$ref": "#/definitions/listener"},
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "lanrelay's relay.yaml",
        **file,
        "definitions": dict(sorted(definitions.items())),
    }


def _table(table: Table, definitions: dict[str, Schema]) -> Schema:
    made: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {word: _key(key, definitions) for word, key in table.keys.items()},
    }
    required = [word for word, key in table.keys.items() if key.required]
    return {**made, "required": required} if required else made


def _reference(table: Table, definitions: dict[str, Schema]) -> Schema:
    if table.name not in definitions:
        definitions[table.name] = {}  # a table that holds itself would find this
        definitions[table.name] = _table(table, definitions)
    return {"$ref": f"#/definitions/{table.name}"}


def _key(key: Key, definitions: dict[str, Schema]) -> Schema:
    shapes = taken_by(key.read)
    made = _shapes(shapes, definitions) if shapes else {"type": "object"}
    if isinstance(key.default, str):
        made = {**made, "description": f"Default: {key.default}"}
    return made


def _shapes(shapes: Iterable[Shape], definitions: dict[str, Schema]) -> Schema:
    found: list[Schema] = []
    for one in _flat(shapes, definitions):
        if one not in found:
            found.append(one)
    return found[0] if len(found) == 1 else {"anyOf": found}


def _flat(shapes: Iterable[Shape], definitions: dict[str, Schema]) -> Iterator[Schema]:
    for shape in shapes:
        if isinstance(shape, Table):
            yield _reference(shape, definitions)
        elif isinstance(shape, Scalar):
            yield from _scalar(shape.convert, definitions)
        elif isinstance(shape, Words):
            # Unquoted, 1.2 is a number to an editor.
            numbers = [float(word) for word in shape.words if word.replace(".", "", 1).isdigit()]
            yield {"enum": [*shape.words, *numbers]}
            yield _REFERENCE
        elif isinstance(shape, Whole):
            yield {"type": "integer", "minimum": shape.low, "maximum": shape.high}
            yield {"type": "string", "pattern": "^[0-9]{1,18}$"}
            yield _REFERENCE
        elif isinstance(shape, Url):
            yield {"type": "string", "pattern": f"^({'|'.join(map(_any_case, shape.schemes))}):"}
            yield _REFERENCE
        elif isinstance(shape, Off):
            yield _OFF
        elif isinstance(shape, ListOf):
            yield {"type": "array", "minItems": 1, "items": _shapes((shape.item,), definitions)}
        elif isinstance(shape, MapOf):
            yield {"type": "object", "additionalProperties": _shapes((shape.value,), definitions)}
        else:
            yield from _flat(taken_by(shape), definitions)


def _scalar(convert: Callable[[str], object], definitions: dict[str, Schema]) -> Iterator[Schema]:
    noted = taken_by(convert)
    if noted:
        yield from _flat(noted, definitions)
    elif convert in _CONVERTED:
        yield _CONVERTED[convert]
        yield _REFERENCE
    else:
        yield _TEXT


def _any_case(scheme: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else f"\\{letter}" for letter in scheme)
