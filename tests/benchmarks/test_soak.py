"""When a soak says that something has grown."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.soak import State, verdict


def states(*megabytes: float, descriptors: int = 18) -> list[State]:
    return [State(descriptors, round(number * 1e6)) for number in megabytes]


class VerdictTests(SynchronousTestCase):
    def test_memory_that_finds_its_level_has_not_grown(self) -> None:
        self.assertEqual(verdict(states(45.4, 45.4, 54.1, 54.5, 53.2, 54.2, 55.8, 55.8, 55.8, 54.3)), "")

    def test_memory_that_goes_on_growing_is_told(self) -> None:
        self.assertEqual(verdict(states(40, 41, 42, 43, 44, 45, 46, 47, 48, 49)), "6.0 MB more memory")
        self.assertEqual(verdict(states(40, 44)), "4.0 MB more memory")

    def test_one_peak_at_the_end_is_no_growth(self) -> None:
        self.assertEqual(verdict(states(45, 45, 45, 45, 45, 45, 45, 45, 60)), "")

    def test_one_descriptor_is_too_much(self) -> None:
        found = [*states(40, 40), *states(40, descriptors=19)]
        self.assertEqual(verdict(found), "1 more descriptors")
