"""The vectors of the specification, and what an annotation may be."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.bridge.jsontext import read
from lanrelay.bridge.mirrored import encoded, fields_of, parameters_of
from lanrelay.bridge.rpc import Message


class EncodedTests(SynchronousTestCase):
    def test_the_vectors_of_the_specification(self) -> None:
        for value, field in (
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("=?base64?open", "=?base64?open"),
            ("a b", "a b"),
            ("a", "a"),
            ("", ""),
            ("a\tb", "=?base64?YQli?="),
            ("\ud800", "=?base64?7aCA?="),
        ):
            self.assertEqual(encoded(value), field)


class ParameterTests(SynchronousTestCase):
    def test_where_an_annotation_may_be(self) -> None:
        good = {"type": "string", "x-mcp-header": "A"}
        cases: list[tuple[Any, Any]] = [
            ({"properties": {"a": good}}, (("Mcp-Param-A", ("a",)),)),
            (
                {"properties": {"o": {"type": "object", "properties": {"a": good}}}},
                (("Mcp-Param-A", ("o", "a")),),
            ),
            ({"properties": {"properties": good}}, (("Mcp-Param-A", ("properties",)),)),
            ({"properties": {"items": good}}, (("Mcp-Param-A", ("items",)),)),
            ({"properties": {"a": {"type": "string", "default": {"x-mcp-header": 1}}}}, ()),
            ({"type": "object"}, ()),
            ("no schema", ()),
            (good, None),
            ({"properties": {"a": good, "b": {"type": "string", "x-mcp-header": "a"}}}, None),
            ({"properties": {"a": {"items": good}}}, None),
            ({"oneOf": [{"properties": {"a": good}}]}, None),
            ({"$defs": {"a": good}}, None),
            ({"properties": {"a": {"type": "number", "x-mcp-header": "A"}}}, None),
            ({"properties": {"a": {"type": ["string", "null"], "x-mcp-header": "A"}}}, None),
            ({"properties": {"a": {"type": "string", "x-mcp-header": ""}}}, None),
            ({"properties": {"a": {"type": "string", "x-mcp-header": "a b"}}}, None),
            ({"properties": {"a": {"type": "string", "x-mcp-header": "a\r\nb"}}}, None),
            ({"properties": {"a": {"type": "string", "x-mcp-header": 1}}}, None),
        ]
        for schema, parameters in cases:
            self.assertEqual(parameters_of({"inputSchema": schema}), parameters, schema)

    def test_a_schema_without_end_is_looked_at_in_time(self) -> None:
        schema: Any = {"type": "string", "x-mcp-header": "A"}
        for _ in range(300):
            schema = {"properties": {"a": schema}}
        self.assertEqual(parameters_of({"inputSchema": schema}), None)

    def test_values(self) -> None:
        for value, field in (
            ('"us"', "us"),
            ("42", "42"),
            ("-7", "-7"),
            ("5.0", "5"),
            ("true", "true"),
            ("false", "false"),
            ("null", None),
            ("[1]", None),
        ):
            message = Message(
                f'{{"method":"tools/call","params":{{"name":"t","arguments":{{"a":{value}}}}}}}'
            )
            fields = dict(fields_of(message, (("Mcp-Param-A", ("a",)), ("Mcp-Param-B", ("a", "b")))))
            self.assertEqual(fields.get("Mcp-Param-A"), field)
            self.assertNotIn("Mcp-Param-B", fields)
        self.assertEqual(read("1e400"), "1e400")
