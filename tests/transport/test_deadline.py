"""Tests of time limits that move."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.transport.deadline import Deadline


class DeadlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.expired: list[float] = []
        self.deadline = Deadline(self.clock, lambda: self.expired.append(self.clock.seconds()))

    def advance(self, *seconds: float) -> None:
        self.clock.pump(seconds)

    def test_it_comes_once(self) -> None:
        self.deadline.set(5)
        self.advance(4, 1, 10)
        self.assertEqual(self.expired, [5])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_moved_later_it_comes_later_and_touches_no_timer(self) -> None:
        self.deadline.set(5)
        [timer] = self.clock.getDelayedCalls()
        self.advance(4)
        self.deadline.set(5)
        self.assertEqual((self.clock.getDelayedCalls(), timer.getTime()), ([timer], 5))
        self.advance(1, 3.9)
        self.assertEqual(self.expired, [])
        self.advance(0.2)
        self.assertEqual(len(self.expired), 1)

    def test_moved_earlier_it_comes_earlier(self) -> None:
        self.deadline.set(75)
        self.deadline.set(10)
        self.advance(10)
        self.assertEqual(self.expired, [10])

    def test_cleared_it_does_not_come(self) -> None:
        for clear in (self.deadline.clear, lambda: self.deadline.set(None)):
            self.deadline.set(5)
            clear()
            self.advance(10)
        self.assertEqual(self.expired, [])

    def test_cleared_it_can_be_set_again(self) -> None:
        self.deadline.set(5)
        self.deadline.clear()
        self.deadline.set(7)
        self.advance(5, 2)
        self.assertEqual(self.expired, [7])

    def test_stopped_it_leaves_nothing_behind(self) -> None:
        self.deadline.set(5)
        self.deadline.stop()
        self.deadline.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_it_lets_its_owner_go(self) -> None:
        class Owner:
            def __init__(self, clock: Clock) -> None:
                self.deadline = Deadline(clock, self.expired)

            def expired(self) -> None: ...

        owner = Owner(self.clock)
        gone = weakref.ref(owner)
        owner.deadline.stop()
        self.addCleanup(gc.enable)
        gc.disable()
        del owner
        self.assertIsNone(gone())
