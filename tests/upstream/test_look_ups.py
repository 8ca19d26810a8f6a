"""Tests for L{lanrelay.upstream.look_ups}."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.upstream.look_ups import LookUps


class LookUpsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.budget = LookUps(places=2, threads=3)

    def test_who_is_over_it_waits_in_turn(self) -> None:
        self.assertEqual([self.budget.enter(), self.budget.enter()], [None, None])
        third, fourth = self.budget.enter(), self.budget.enter()
        assert third is not None
        assert fourth is not None
        self.budget.leave()
        self.assertIsNone(self.successResultOf(third))
        self.assertNoResult(fourth)
        self.budget.leave()
        self.successResultOf(fourth)

    def test_who_leaves_the_queue_takes_no_place(self) -> None:
        self.budget.enter()
        self.budget.enter()
        third, fourth = self.budget.enter(), self.budget.enter()
        assert third is not None
        assert fourth is not None
        third.cancel()
        self.failureResultOf(third, CancelledError)
        self.budget.leave()
        self.successResultOf(fourth)

    def test_threads_that_were_left_behind_have_a_bound_of_their_own(self) -> None:
        for _ in range(3):
            self.assertIsNone(self.budget.enter())
            self.budget.threads += 1
            self.budget.leave()
        waiting = self.budget.enter()
        assert waiting is not None
        self.budget.ended()
        self.successResultOf(waiting)

    def test_nobody_overtakes(self) -> None:
        self.budget.threads = 3
        first, second = self.budget.enter(), self.budget.enter()
        assert first is not None
        assert second is not None
        self.budget.ended()
        self.successResultOf(first)
        self.successResultOf(second)
