"""What C{lanrelay schema} prints."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.test_check import Run

FILE = Path(__file__).parents[2] / "conf" / "relay.schema.json"


class SchemaTests(SynchronousTestCase):
    def test_it_is_that_of_the_file_beside_the_reference(self) -> None:
        done = Run("schema")
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertEqual(json.loads(done.out), json.loads(FILE.read_text()))

    def test_the_line_for_editors_is_whole_in_the_help(self) -> None:
        done = Run("schema", "--help")
        self.assertEqual((done.status, done.err), (0, ""))
        self.assertIn("  # yaml-language-server: $schema=relay.schema.json", done.out)
        self.assertLess(max(map(len, done.out.splitlines())), 80)

    def test_it_takes_no_argument(self) -> None:
        done = Run("schema", "relay.yaml")
        self.assertEqual((done.status, done.out), (2, ""))
        self.assertIn("unrecognized arguments: relay.yaml", done.err)
