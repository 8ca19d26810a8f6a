"""The vectors of the specification, and what an annotation may be."""

from __future__ import annotations

import random
from typing import Any

from mcp.shared.inbound import encode_header_value, find_invalid_x_mcp_header, x_mcp_header_map
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
            if "\ud800" not in value and value:
                self.assertEqual(encode_header_value(value), field)


class ParameterTests(SynchronousTestCase):
    def test_the_sdk_judges_schemas_as_we_do(self) -> None:
        chance = random.Random(3)

        def schema(depth: int) -> Any:
            made: dict[str, Any] = {"type": chance.choice(["string", "integer", "boolean", "number"])}
            if chance.random() < 0.15:
                made["x-mcp-header"] = chance.choice(["A", "B", "C-1", "D", "a", "", "ü"])
            for key in ("properties", "items", "anyOf", "$defs", "default", "not"):
                if depth and chance.random() < (0.8 if key == "properties" else 0.1):
                    inner = [schema(depth - 1) for _ in range(2)]
                    under = {"x": inner[0], "x-mcp-header": inner[1]}
                    made[key] = {"properties": under, "$defs": under, "anyOf": inner}.get(key, inner[0])
            return made

        valid = 0
        for _ in range(2000):
            each = schema(2)
            each.pop("x-mcp-header", None)
            found = parameters_of({"inputSchema": each})
            self.assertEqual(found is None, find_invalid_x_mcp_header(each) is not None, each)
            if found:
                valid += 1
                theirs = {path: f"Mcp-Param-{name}" for path, name in x_mcp_header_map(each).items()}
                self.assertEqual({path: name for name, path in found}, theirs)
        self.assertGreater(valid, 50)

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
        found = parameters_of({"inputSchema": schema})
        self.assertEqual(found, (("Mcp-Param-A", ("a",) * 300),))

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
