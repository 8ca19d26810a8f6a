"""What is measured of bridges, with one that answers at once, and where it stands on the page."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import bridges
from benchmarks.bridges import BEGIN, END, Bridge, Row, measure, origin, put, section
from tests.support.ports import free_port
from tests.support.stdio import CHECKOUT


class PageTests(SynchronousTestCase):
    def test_the_section_is_put_at_the_end_and_found_again(self) -> None:
        told = [BEGIN, "", "| a |", "", END]
        page = put("# Page\n\n## Figures\n", told)
        self.assertEqual(page, f"# Page\n\n## Figures\n\n{BEGIN}\n\n| a |\n\n{END}\n")
        self.assertEqual(section(page), told)
        self.assertEqual(put(page, [BEGIN, "b", END]).count(BEGIN), 1)
        self.assertEqual((section("# Page\n"), put("# Page\n", [])), ([], "# Page\n"))


class MeasureTests(SynchronousTestCase):
    def test_each_figure_is_there_and_what_is_said_of_a_server_that_is_down(self) -> None:
        self.patch(bridges, "CALLS", 3)
        words = [sys.executable, "-m", "lanrelay.cli.main", "stdio", "--hold", "1s", "--no-cache"]
        ours = Bridge("ours", lambda url: [*words, url], {"PYTHONPATH": str(CHECKOUT)})
        row = Row()
        with tempfile.TemporaryDirectory() as folder, origin() as url:
            measure(ours, url, f"http://127.0.0.1:{free_port()}/mcp", Path(folder), row, 0.0)
        self.assertEqual({len(values) for values in row.values.values()}, {1})
        self.assertTrue(all(values[0] > 0 for values in row.values.values()))
        self.assertIn("Nothing on this machine listens", row.said)

    def test_one_that_remembers_answers_for_a_server_that_is_down(self) -> None:
        self.patch(bridges, "CALLS", 3)
        words = [sys.executable, "-m", "lanrelay.cli.main", "stdio"]
        ours = Bridge("ours", lambda url: [*words, url], {"PYTHONPATH": str(CHECKOUT)}, remembers=True)
        row = Row()
        with tempfile.TemporaryDirectory() as folder, origin() as url:
            measure(ours, url, f"http://127.0.0.1:{free_port()}/mcp", Path(folder), row, 0.0)
        self.assertEqual(row.said, "the server's answer, from memory")
