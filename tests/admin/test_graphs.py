from __future__ import annotations

import re
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.graphs import LONG, SPANS, WIDTH, line_of_time, requests_graph, runs, strip

BEGIN = time.mktime((2026, 11, 20, 8, 0, 0, 0, 0, -1))


def cells(*states: str, seconds: int = 60, why: str | None = None) -> list[dict[str, Any]]:
    return [
        {"state": state, "why": None if state == "up" else why, "at": BEGIN + index * seconds}
        for index, state in enumerate(states)
    ]


def label(svg: str) -> str:
    """What is heard in place of it."""
    (found,) = re.findall(r'role="img" aria-label="([^"]*)"', svg)
    return str(found)


class RequestsTests(SynchronousTestCase):
    def test_each_minute_has_its_bar_and_every_request_is_seen(self) -> None:
        svg = requests_graph([0] * 57 + [1, 500, 1000], [0] * 58 + [1, 1000])
        self.assertEqual(
            label(svg),
            "Requests of the last 60 minutes: 1,501, of which 1,001 failed; at most 1,000 in a minute",
        )
        asked, failed = re.findall(r'class="(?:asked|failed)" d="([^"]*)"', svg)
        self.assertEqual(asked, "M228 24v-2h3V24zM232 24v-12h3V24zM236 24v-24h3V24z")
        self.assertEqual(failed, "M232 24v-2h3V24zM236 24v-24h3V24z")

    def test_without_requests_there_is_a_line(self) -> None:
        svg = requests_graph([0] * 60, [0] * 60)
        self.assertEqual(svg.count("<path"), 1)
        self.assertEqual(label(svg), "Requests of the last 60 minutes: 0, of which 0 failed")

    def test_no_bar_is_higher_than_the_drawing(self) -> None:
        svg = requests_graph([1] * 60, [7] * 60)  # clients that left are counted twice at worst
        self.assertLessEqual(max(int(each) for each in re.findall(r"v-(\d+)", svg)), 24)


class StripTests(SynchronousTestCase):
    def test_each_cell_says_what_it_was_and_why(self) -> None:
        svg = strip(cells(*["up"] * 57, "down", "slow", "up", why="<nobody> answers"), "Last hour", 60)
        groups = re.findall(r'<g class="(\w+)">(.*?)</g>', svg)
        self.assertEqual([kind for kind, _ in groups], ["up", "down", "slow", "up"])
        cell = r'<path d="M(\d+) [^"]*"><title>([^<]*)</title></path>'
        said = [re.findall(cell, each) for _, each in groups]
        self.assertEqual(said[0], [(f"{index * 4}", f"08:{index:02} up") for index in range(57)])
        self.assertEqual(said[1], [("228", "08:57 down: &lt;nobody&gt; answers")])
        self.assertEqual(said[2:], [[("232", "08:58 slow: &lt;nobody&gt; answers")], [("236", "08:59 up")]])

    def test_each_hour_says_from_when_to_when(self) -> None:
        svg = strip(cells(*["unchecked"] * 22, "down", "up", seconds=3600, why="no"), "Last 24 hours", 3600)
        titles = re.findall("<title>([^<]*)</title>", svg)
        self.assertEqual(len(titles), 24)
        self.assertEqual(titles[0], "08:00 to 09:00 not checked: no")
        self.assertEqual(titles[-2:], ["06:00 to 07:00 down: no", "07:00 to 08:00 up"])

    def test_a_long_reason_is_cut_in_the_cells(self) -> None:
        svg = strip(cells(*["down"] * 60, why="x" * 10_000), "Last hour", 60)
        self.assertLess(svg.count("x" * LONG), 60)
        self.assertIn(f"08:59 down: {'x' * (LONG - 1)}…</title>", svg)

    def test_neighbours_that_are_alike_are_heard_as_one(self) -> None:
        svg = strip(cells(*["up"] * 57, "down", "down", "up", why="<nobody> answers"), "Last hour", 60)
        self.assertEqual(
            label(svg),
            "Last hour: 08:00 to 08:57 up, 08:57 to 08:59 down: &lt;nobody&gt; answers, 08:59 up",
        )
        self.assertEqual(svg.count("h3v"), 60)

    def test_states_differ_in_shape(self) -> None:
        shapes = set()
        for state in ("up", "down", "unchecked"):
            svg = strip(cells(*["up"] * 59, state), "Last hour", 60)
            shapes.add(re.findall(r"M236 (\d+h3v\d+)", svg)[0])
        self.assertEqual(len(shapes), 3)

    def test_where_nobody_has_looked_nothing_is_drawn(self) -> None:
        self.assertEqual(strip([], "Last hour", 60), "")
        self.assertEqual(strip(cells(*["unchecked"] * 24), "Last 24 hours", 3600), "")

    def test_one_that_goes_on_and_off_is_told_in_short(self) -> None:
        svg = strip(cells(*["up", "down"] * 30, why="no"), "Last hour", 60)
        self.assertTrue(label(svg).startswith("Last hour: 54 changes, and then 08:54 up, 08:55 down: no, "))

    def test_a_state_of_a_later_version_is_drawn_as_not_known(self) -> None:
        svg = strip(cells(*["up"] * 23, "<b>", seconds=3600), "Last 24 hours", 3600)
        self.assertIn('class="unchecked"', svg)
        self.assertNotIn("<b>", svg)

    def test_runs(self) -> None:
        found = list(runs(cells("up", "up", "down", why="no")))
        self.assertEqual(
            found, [("up", None, BEGIN, BEGIN + 60, 2), ("down", "no", BEGIN + 120, BEGIN + 120, 1)]
        )


class TimelineTests(SynchronousTestCase):
    def test_all_events_are_on_the_line_the_latest_to_the_right(self) -> None:
        for ago in (30, 3000, 20_000, 80_000, 500_000, 5_000_000):
            found = [
                {"at": BEGIN - ago, "kind": "down", "text": "<it> went"},
                {"at": BEGIN - 1, "kind": "up", "text": "it came"},
            ]
            drawn = line_of_time(found, {"down": "bad", "up": "good"}, BEGIN)
            marks = re.findall(r'class="mark (\w+)" d="M([\d.]+) 3v18"><title>([^<]*)<', drawn)
            self.assertEqual([kind for kind, _, _ in marks], ["bad", "good"])
            self.assertEqual(marks[0][2].partition(" ")[2], "&lt;it&gt; went")
            first, second = (float(place) for _, place, _ in marks)
            self.assertTrue(0 <= first <= second <= 1000)
            self.assertGreater(second, 900)
            self.assertTrue(label(drawn).startswith("2 events from "))

    def test_it_moves_on_seldom(self) -> None:
        found = [{"at": BEGIN - 100, "kind": "up", "text": "it came"}]
        _, grain = SPANS[0]
        drawn = {line_of_time(found, {}, BEGIN + second) for second in range(grain)}
        self.assertEqual(len(drawn), 1)
        self.assertEqual(WIDTH % 60 + WIDTH % 24, 0)  # cells of a whole number of units
