"""What people see of a change."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.difference import difference
from tests.support.properties import given, settings

_TEXTS = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=12).map(lambda lines: "\n".join(lines))


class DifferenceTests(SynchronousTestCase):
    @settings(max_examples=200)
    @given(_TEXTS, _TEXTS)
    def test_it_is_a_unified_difference(self, old: str, new: str) -> None:
        expected = ""
        for line in difflib.unified_diff(old.splitlines(True), new.splitlines(True), "f", "f"):
            if line[:3] in ("---", "+++", "@@ "):
                line = line.rstrip("\n") + "\n"
            expected += line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        self.assertEqual(difference(Path("f"), old.encode(), new.encode()), expected.removesuffix("\n"))

    def test_a_secret_whose_name_stands_above_what_is_shown(self) -> None:
        words = ["mcp-proxy", "-H", "X-Api-Key", "0a1b2c3d4e", "--transport", "sse", "http://nas.lan/sse"]
        before = json.dumps(words, indent=1)
        shown = difference(Path("f"), before.encode(), before.replace("nas.lan", "127.0.0.1:1").encode())
        self.assertIn("127.0.0.1:1", shown)
        self.assertNotIn("X-Api-Key", shown)
        self.assertNotIn("0a1b2c3d4e", shown)

    def test_another_secret_is_a_change_that_is_seen(self) -> None:
        shown = difference(Path("f"), b"token: abcdefgh\n", b"token: ijklmnop\n")
        self.assertEqual(shown.splitlines()[-2:], ["-token: ***", "+token: ***"])

    def test_a_file_of_one_long_line(self) -> None:
        document = {
            "a": ["x" * 1000] * 50,
            "url": "http://nas.lan/",
            "token": "abcdefgh",
            "z": ["y" * 1000] * 50,
        }
        before = json.dumps(document)
        after = before.replace("nas.lan", "127.0.0.1:1")
        shown = difference(Path("f"), before.encode(), after.encode())
        self.assertLess(len(shown), 1000)
        self.assertIn('"url": "http://nas.lan/", "token": "***"', shown)
        self.assertIn('"url": "http://127.0.0.1:1/", "token": "***"', shown)

    def test_long_lines_around_a_change(self) -> None:
        shown = difference(
            Path("f"), f"{'x' * 5000}\na\n".encode(), f"{'x' * 5000}\nb\n{'y' * 5000}\n".encode()
        )
        self.assertLess(max(map(len, shown.splitlines())), 120)

    def test_nothing_has_no_difference(self) -> None:
        self.assertEqual(difference(Path("f"), b"a\n", b"a\n"), "")
