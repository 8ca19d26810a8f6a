"""Tests of time limits that move."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.transport.deadline import Deadline, Wait, _queues, wait


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


class WaitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.heard: list[tuple[str, float]] = []

    def wait(self, name: str, seconds: float = 5) -> Wait:
        return wait(self.clock, seconds, lambda: self.heard.append((name, self.clock.seconds())))

    def assertNothingLeft(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual([key for key in _queues if key[0] is self.clock], [])

    def test_each_comes_in_time_and_once(self) -> None:
        for name in "abc":
            self.wait(name)
            self.clock.advance(1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.pump([2] + 100 * [0.25])
        self.assertEqual(self.heard, [("a", 5), ("b", 6), ("c", 7)])
        self.assertNothingLeft()

    def test_those_who_wait_for_another_time_do_not_wait_for_these(self) -> None:
        self.wait("long", 7)
        self.wait("short", 2)
        self.clock.pump(10 * [1])
        self.assertEqual(self.heard, [("short", 2), ("long", 7)])
        self.assertNothingLeft()

    def test_who_is_cancelled_does_not_hear_and_keeps_nobody_waiting(self) -> None:
        first = self.wait("a")
        self.clock.advance(1)
        self.wait("b")
        first.cancel()
        first.cancel()
        self.clock.pump(6 * [1])
        self.assertEqual(self.heard, [("b", 6)])
        self.assertNothingLeft()

    def test_when_all_are_cancelled_no_timer_is_left(self) -> None:
        waits = [self.wait("a"), self.wait("b")]
        for one in waits:
            one.cancel()
        self.assertNothingLeft()
        self.wait("c")
        self.clock.advance(5)
        self.assertEqual(self.heard, [("c", 5)])
        waits[0].cancel()
        self.assertNothingLeft()

    def test_who_hears_may_cancel_others_and_wait_again(self) -> None:
        waits: list[Wait] = []

        def again() -> None:
            waits.pop().cancel()
            self.wait("again")

        waits.append(wait(self.clock, 5, again))
        waits.append(self.wait("b"))
        self.clock.advance(5)
        self.assertEqual(self.heard, [])
        self.clock.advance(5)
        self.assertEqual(self.heard, [("again", 10)])
        self.assertNothingLeft()

    def test_a_fault_of_one_is_not_the_others(self) -> None:
        wait(self.clock, 5, lambda: 1 / 0)
        self.wait("b")
        self.assertRaises(ZeroDivisionError, self.clock.advance, 5)
        self.clock.advance(0)
        self.assertEqual(self.heard, [("b", 5)])
        self.assertNothingLeft()
