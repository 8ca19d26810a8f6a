"""The page of results: ratios, limits, and what is said of programs that failed."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.report import line, page
from benchmarks.rounds import Figure, Row
from benchmarks.workloads import OURS, Goal, Workload

WORK = Workload(
    name="moving",
    unit="us",
    origin="echo",
    ours={},
    peers={},
    goals=[Goal(["fast", "slow"], 0.5, 1.0)],
)


def row(workload: Workload = WORK, **figures: list[float]) -> Row:
    found = Row(workload)
    for name, values in figures.items():
        found.figures[name.replace("_", " ")] = [Figure(value, 100, 0.9, 0.5) for value in values]
    return found


class RatioTests(SynchronousTestCase):
    def test_the_best_peer_counts(self) -> None:
        found = row(lanrelay=[10, 10, 10], fast=[8, 8, 8], slow=[30, 30, 30])
        self.assertEqual(found.ratio(WORK.goals[0]), ("fast", 0.8))

    def test_a_round_that_was_disturbed_disturbs_both(self) -> None:
        found = row(lanrelay=[10, 40, 10], fast=[8, 32, 8])
        self.assertEqual(found.ratio(WORK.goals[0]), ("fast", 0.8))

    def test_a_peer_that_was_not_measured_is_no_peer(self) -> None:
        found = row(lanrelay=[10], slow=[30])
        self.assertEqual(found.ratio(WORK.goals[0]), ("slow", 3.0))
        self.assertIsNone(row(lanrelay=[10]).ratio(WORK.goals[0]))
        self.assertIsNone(row(fast=[10]).ratio(WORK.goals[0]))


class PageTests(SynchronousTestCase):
    def test_each_goal_is_a_line_with_its_verdict(self) -> None:
        for mine, said in ((8.0, "aim reached"), (10.0, "must reached"), (20.0, "**missed**")):
            text = page([row(lanrelay=[mine], fast=[8])], [])
            self.assertIn(f"| moving | fast, slow | fast | {8 / mine:.2f} | 0.50 | 1.00 | {said} |", text)

    def test_what_could_not_be_measured_is_said(self) -> None:
        found = row(fast=[8])
        found.left_out[OURS] = "it ended"
        text = page([found], [])
        self.assertIn("| moving | fast, slow | | not measured | 0.50 | 1.00 |", text)
        self.assertIn("Left out: lanrelay (it ended).", text)

    def test_a_limit_is_a_line_with_its_verdict(self) -> None:
        work = replace(WORK, name="holding", unit="KB each", most=3.0)
        self.assertIn("| holding | 2.5 KB each | 3 | reached |", page([row(work, lanrelay=[2.5])], []))
        self.assertIn("| holding | 4 KB each | 3 | **missed** |", page([row(work, lanrelay=[4])], []))
        self.assertIn("| holding | not measured | 3 | |", page([row(work, fast=[4])], []))

    def test_figures_stand_with_their_spread_and_how_busy_both_cores_were(self) -> None:
        text = page([row(lanrelay=[10, 12, 11])], ["one processor"])
        self.assertIn("| lanrelay | 11 | 10 | 12 | 100 | 90% | 50% |", text)
        self.assertIn("* one processor\n", text)

    def test_the_line_for_the_terminal_has_figures_and_ratios(self) -> None:
        self.assertEqual(
            line(row(lanrelay=[10], fast=[8])),
            "us: lanrelay 10, fast 8; ratios: fast 0.80 (must 0.50, aim 1.00)",
        )
