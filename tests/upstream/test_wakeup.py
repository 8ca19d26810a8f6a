"""Sleep, as the clocks tell it."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.upstream.wakeup import EVERY, UNSEEN, Wakeup, slept
from tests.support.logs import Logged


class WakeupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.ahead = [0.0, 1_700_000_000.0]
        self.woken: list[float] = []
        clocks = (lambda: self.ahead[0], lambda: self.ahead[1])
        self.wakeup = Wakeup(self.clock, self.woken.append, clocks=clocks)
        self.logged = Logged(self)

    def run_for(self, seconds: float) -> None:
        for _ in range(int(seconds / EVERY * 10)):
            self.clock.advance(EVERY / 10)

    def test_time_that_passes_as_it_should_is_nothing(self) -> None:
        self.wakeup.start()
        self.run_for(3600)
        self.assertEqual(self.woken, [])

    def test_a_timer_that_comes_too_late(self) -> None:
        """The process was stopped; the monotonic clock went on."""
        self.wakeup.start()
        self.clock.advance(EVERY + UNSEEN)
        self.assertEqual(self.woken, [])
        self.clock.advance(EVERY + 60)
        self.assertEqual(self.woken, [60])
        self.run_for(60)
        self.assertEqual(len(self.woken), 1)
        (line,) = self.logged.infos
        self.assertIn("60 s have passed unseen", line)

    def test_a_clock_that_has_run_ahead(self) -> None:
        """The machine slept, or the host of a virtual machine; the monotonic clock stood still."""
        self.wakeup.start()
        for which in (0, 1):
            self.run_for(10)
            self.ahead[which] += 1800
            self.run_for(10)
        self.assertEqual([round(each) for each in self.woken], [1800, 1800])
        self.assertEqual(len(self.logged.infos), 2)

    def test_one_sleep_that_two_clocks_saw_is_one(self) -> None:
        self.wakeup.start()
        self.ahead = [each + 1800 for each in self.ahead]
        self.run_for(10)
        self.assertEqual([round(each) for each in self.woken], [1800])

    def test_a_clock_that_is_put_back_or_drifts_is_nothing(self) -> None:
        self.wakeup.start()
        self.ahead[1] -= 86400
        self.run_for(10)
        for _ in range(100):
            self.ahead[1] += 1
            self.run_for(EVERY)
        self.assertEqual(self.woken, [])

    def test_start_twice_and_stop(self) -> None:
        self.wakeup.stop()
        self.wakeup.start()
        self.wakeup.start()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.wakeup.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_is_looked_at_while_it_does_not_matter(self) -> None:
        matters = [True]
        clocks = (lambda: self.ahead[0],)
        wakeup = Wakeup(self.clock, self.woken.append, clocks=clocks, needed=lambda: matters[0])
        wakeup.start()
        self.run_for(10)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        matters[0] = False
        self.clock.advance(EVERY)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(3600)  # the process waits, and no more
        wakeup.stir()
        self.assertEqual(self.woken, [])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        wakeup.stir()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_a_sleep_while_it_did_not_matter_is_told_when_something_stirs(self) -> None:
        clocks = (lambda: self.ahead[0],)
        wakeup = Wakeup(self.clock, self.woken.append, clocks=clocks, needed=lambda: False)
        wakeup.start()
        self.clock.advance(EVERY)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.ahead[0] += 1800
        self.assertEqual(self.woken, [])
        wakeup.stir()
        self.assertEqual([round(each) for each in self.woken], [1800])

    def test_before_the_start_and_after_the_end_nothing_stirs_it(self) -> None:
        self.wakeup.stir()
        self.wakeup.start()
        self.wakeup.stop()
        self.wakeup.stir()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_can_be_stopped_by_whom_it_wakes(self) -> None:
        wakeup = Wakeup(self.clock, lambda seconds: wakeup.stop(), clocks=())
        wakeup.start()
        self.clock.advance(100)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_this_machine_s_own_clocks(self) -> None:
        self.assertEqual(slept(), round(slept()))
        wakeup = Wakeup(self.clock, self.woken.append)
        wakeup.start()
        self.run_for(20)
        wakeup.stop()
        self.assertEqual(self.woken, [])
