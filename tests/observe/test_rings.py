from __future__ import annotations

from sys import getsizeof

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.observe.rings import Cell, Counts, State, Trail

MINUTE = 28_000_020
"""The number of a minute that begins an hour, too."""
NOW = MINUTE * 60.0


class CountsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.counts = Counts()

    def requests(self, minute: int) -> list[int]:
        return self.counts.read(minute)[0]

    def test_each_minute_has_its_own(self) -> None:
        self.counts.add(MINUTE, 3, 1)
        self.counts.add(MINUTE, 2, 0)
        self.counts.add(MINUTE + 2, 7, 7)
        requests, errors = self.counts.read(MINUTE + 3)
        self.assertEqual((requests[-4:], sum(requests)), ([5, 0, 7, 0], 12))
        self.assertEqual((errors[-4:], sum(errors)), ([1, 0, 7, 0], 8))
        self.assertEqual((len(requests), len(errors)), (60, 60))

    def test_what_is_an_hour_ago_is_forgotten(self) -> None:
        for minute in range(150):
            self.counts.add(MINUTE + minute, minute, 0)
        self.assertEqual(self.requests(MINUTE + 149), list(range(90, 150)))
        self.assertEqual(self.requests(MINUTE + 200), [*range(141, 150), *[0] * 51])
        self.assertEqual(sum(self.requests(MINUTE + 500)), 0)

    def test_minutes_that_were_skipped_are_empty(self) -> None:
        for minute in range(60):
            self.counts.add(MINUTE + minute, 1, 1)
        self.counts.add(MINUTE + 89, 5, 0)
        self.assertEqual(self.requests(MINUTE + 89), [*[1] * 30, *[0] * 29, 5])
        self.counts.add(MINUTE + 1_000_000, 2, 0)
        self.assertEqual(sum(self.requests(MINUTE + 1_000_000)), 2)

    def test_a_clock_that_is_set_back_empties_what_it_goes_through_again(self) -> None:
        for minute in range(60):
            self.counts.add(MINUTE + minute, 1, 0)
        self.counts.add(MINUTE + 29, 9, 0)
        self.assertEqual(self.requests(MINUTE + 29), [*[0] * 30, *[1] * 29, 9])
        self.counts.add(MINUTE - 100_000, 4, 0)
        self.assertEqual(sum(self.requests(MINUTE - 100_000)), 4)

    def test_a_clock_that_is_put_right_by_a_moment_loses_nothing(self) -> None:
        self.counts.add(MINUTE, 1, 0)
        self.counts.add(MINUTE - 1, 2, 0)
        self.counts.add(MINUTE, 4, 0)
        self.assertEqual(self.requests(MINUTE)[-2:], [0, 7])

    def test_it_does_not_grow(self) -> None:
        for minute in range(0, 100_000, 7):
            self.counts.add(MINUTE + minute, 1, 1)
        arrays = (self.counts._requests, self.counts._errors)
        self.assertLess(getsizeof(self.counts) + sum(map(getsizeof, arrays)), 1300)


class TrailTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.trail = Trail()

    def note(self, state: State, now: float, why: str | None = None) -> None:
        self.trail.note(state, now, why, holds=15.0)

    def states(self, now: float) -> list[str]:
        return [cell.state for cell in self.trail.minutes(now)]

    def test_nothing_is_known_before_anybody_has_looked(self) -> None:
        self.assertEqual(self.states(NOW), ["unchecked"] * 60)
        self.assertEqual([cell.state for cell in self.trail.hours(NOW)], ["unchecked"] * 24)
        self.assertEqual(self.trail.minutes(NOW + 5)[-1], Cell("unchecked", None, MINUTE * 60))

    def test_a_cell_is_the_worst_of_its_time_and_says_why(self) -> None:
        self.note("up", NOW + 1)
        self.note("slow", NOW + 2, "It took 2 s.")
        self.note("up", NOW + 3)
        self.assertEqual(self.trail.minutes(NOW + 4)[-1], Cell("slow", "It took 2 s.", MINUTE * 60))
        self.note("down", NOW + 5, "Nobody is there.")
        self.note("down", NOW + 6, "Nobody was there.")
        self.note("up", NOW + 59)
        self.note("up", NOW + 61)
        cells = self.trail.minutes(NOW + 62)
        self.assertEqual(
            cells[-2:], (Cell("down", "Nobody is there.", MINUTE * 60), Cell("up", None, MINUTE * 60 + 60))
        )
        self.assertEqual(self.trail.hours(NOW + 62)[-1], Cell("down", "Nobody is there.", MINUTE * 60))

    def test_what_was_read_is_kept_while_it_is_the_same(self) -> None:
        before = self.trail.minutes(NOW)
        self.assertIs(self.trail.minutes(NOW + 1), before)
        found: tuple[tuple[State, int], ...] = (("slow", 2), ("down", 3), ("up", 61))
        for state, at in found:
            self.note(state, NOW + at, state)
            after = self.trail.minutes(NOW + at)
            self.assertNotEqual(after, before)
            self.assertEqual(after[-1].state, state)
            self.assertIs(self.trail.minutes(NOW + at), after)
            before = after
        self.assertEqual(self.trail.minutes(NOW + 121)[-1].state, "up")
        self.assertEqual(self.trail.minutes(NOW + 500)[-1].state, "unchecked")

    def test_what_was_found_holds_until_somebody_looks_again_and_no_longer(self) -> None:
        self.note("up", NOW + 50)
        self.assertEqual(self.states(NOW + 60 + 64)[-3:], ["up", "up", "up"])
        self.assertEqual(self.states(NOW + 60 + 66)[-3:], ["up", "unchecked", "unchecked"])
        self.note("down", NOW + 121, "Gone.")
        self.assertEqual(self.states(NOW + 122)[-4:], ["unchecked", "up", "up", "down"])

    def test_a_machine_that_slept_leaves_what_nobody_looked_at(self) -> None:
        self.note("down", NOW, "Gone.")
        self.note("up", NOW + 20 * 60)
        self.assertEqual(self.states(NOW + 20 * 60)[-21:], ["down", *["unchecked"] * 19, "up"])
        self.note("up", NOW + 5 * 3600)
        hours = [cell.state for cell in self.trail.hours(NOW + 5 * 3600)]
        self.assertEqual(hours[-6:], ["down", *["unchecked"] * 4, "up"])
        self.assertEqual(self.states(NOW + 5 * 3600), [*["unchecked"] * 59, "up"])

    def test_a_clock_that_is_set_back_leaves_what_nobody_looked_at(self) -> None:
        for minute in range(60):
            self.note("up", NOW + 60 * minute)
        self.note("slow", NOW + 30 * 60, "It took 2 s.")
        self.assertEqual(self.states(NOW + 30 * 60), [*["unchecked"] * 29, *["up"] * 30, "slow"])

    def test_a_day_is_remembered(self) -> None:
        for hour in range(40):
            state: State = "down" if hour % 2 else "up"
            for minute in range(0, 60, 1):
                self.note(state, NOW + 3600 * hour + 60 * minute, "Gone." if hour % 2 else None)
        cells = self.trail.hours(NOW + 3600 * 39 + 3599)
        self.assertEqual([cell.state for cell in cells], ["up", "down"] * 12)
        self.assertEqual([cell.at for cell in cells][:2], [MINUTE * 60 + 3600 * 16, MINUTE * 60 + 3600 * 17])
