"""What nobody thought of, in a login: random documents, fields and parameters."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.passage.oauth import callback_to_relay, challenge_to_relay, document_to_relay, with_parameter
from tests.passage.test_places import places
from tests.support.properties import given
from tests.wire.test_fuzz import quick

THERE, HERE = "https://lan-host", "http://localhost:8080"

urls = st.sampled_from([THERE, THERE + "/mcp", "https://other/", "/x", "\ud800", 'a"\\', ""])
keys = st.sampled_from(
    [
        "resource",
        "authorization_servers",
        "issuer",
        "token_endpoint",
        "mtls_endpoint_aliases",
        'x"',
        "",
        "\u00fc",
    ]
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | urls,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)
spaces = st.sampled_from(["", " ", "\n\t"])


def moved(value: Any) -> Any:
    return value.replace(THERE, HERE) if isinstance(value, str) else value


class DocumentTests(SynchronousTestCase):
    @quick
    @given(st.dictionaries(keys, documents, max_size=6), spaces, st.booleans())
    def test_only_what_is_named_changes(self, document: dict[str, Any], space: str, ascii: bool) -> None:
        text = json.dumps(document, separators=("," + space, space + ":"), ensure_ascii=ascii)
        try:
            raw = text.encode()
        except UnicodeEncodeError:  # a lone surrogate that is not escaped is no UTF-8
            raw = text.encode("utf-8", "replace")
            document = json.loads(raw)
        expected = dict(document)
        if "resource" in expected:
            expected["resource"] = moved(expected["resource"])
        servers = expected.get("authorization_servers")
        if isinstance(servers, list):
            expected["authorization_servers"] = [moved(each) for each in servers]
        found = document_to_relay(raw, b"oauth-protected-resource", places())
        self.assertEqual(json.loads(found), expected)
        if expected == document:
            self.assertEqual(found, raw)

    @quick
    @given(st.binary(max_size=60))
    def test_random_bytes_stay_or_stay_json(self, raw: bytes) -> None:
        for kind in (b"oauth-protected-resource", b"openid-configuration"):
            self.assertEqual(document_to_relay(raw, kind, places()), raw)


class FieldTests(SynchronousTestCase):
    PARTS = st.sampled_from(
        [
            b"resource_metadata",
            b"=",
            b'"',
            b"\\",
            b", ",
            b"Bearer ",
            b"https://lan-host/m",
            b"https://other",
            b"?",
            b"#",
            b"code=x",
            b"&",
            b"iss=",
            b"%",
            b"%3A",
            b"x:",
            b"\xff",
        ]
    )

    @quick
    @given(st.lists(PARTS, max_size=12).map(b"".join))
    def test_a_field_stays_one_and_what_is_not_ours_stays(self, value: bytes) -> None:
        for rewrite in (challenge_to_relay, callback_to_relay):
            found = rewrite(value, places())
            self.assertNotIn(b"\r", found)
            self.assertNotIn(b"\n", found)
            if b"lan-host" not in value:
                self.assertEqual(found, value)

    @quick
    @given(st.lists(PARTS, max_size=12).map(b"".join))
    def test_only_that_parameter_changes(self, query: bytes) -> None:
        found = with_parameter(query, b"iss", lambda value: b"new\x00&=%")
        text, new = query.decode("latin-1"), found.decode("latin-1")
        before = parse_qsl(text, keep_blank_values=True, encoding="latin-1")
        after = parse_qsl(new, keep_blank_values=True, encoding="latin-1")
        raw_names = [part.partition("=")[0] for part in text.split("&") if part]
        expected = [
            (name, "new\x00&=%" if raw == "iss" and part_has_value else value)
            for (name, value), raw, part_has_value in zip(
                before, raw_names, ["=" in part for part in text.split("&") if part], strict=True
            )
        ]
        self.assertEqual(after, expected)
