from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.counters import Counters
from lanrelay.admin.pulse import Minutely, Pulses
from lanrelay.observe.ledger import Ledger

MINUTE = 30_000_000


class PulsesTests(SynchronousTestCase):
    """The wall clock is the test's."""

    def setUp(self) -> None:
        self.wall = MINUTE * 60.0
        self.counters = Counters()
        self.ledger = Ledger(Clock())
        self.ledger.observers.append(self.counters.note)
        self.pulses = Pulses(self.counters, lambda: self.wall)
        self.pulses.follow(["web", "db"])

    def end(self, name: str, *, status: int = 200, error: str = "", waited: float | None = None) -> None:
        session = self.ledger.open(name, "reverse-proxy", "unix")
        session.method, session.status, session.error, session.first_byte = "GET", status, error, waited
        self.ledger.close(session)

    def test_what_came_before_the_turn_belongs_to_the_minute_before(self) -> None:
        self.end("web")
        self.end("web", status=502, error="connection_refused")
        self.end("web", status=500)
        self.end("web", status=404)
        self.wall += 60
        self.pulses.turn()
        self.end("web")
        requests, errors = self.pulses.hour("web")
        self.assertEqual((requests[-3:], errors[-3:]), ([0, 4, 1], [0, 2, 0]))
        self.assertEqual(sum(self.pulses.hour("db")[0]), 0)
        self.assertEqual(self.pulses.hour("web")[0][-1], 1, "asking twice counts once")

    def test_a_machine_that_slept_leaves_empty_minutes(self) -> None:
        self.end("web")
        self.wall += 600
        self.pulses.turn()
        self.end("web")
        self.assertEqual(self.pulses.hour("web")[0][-11:], [1, *[0] * 9, 1])

    def test_the_median_is_of_the_last_hundred(self) -> None:
        self.assertIsNone(self.pulses.first_byte("web"))
        for _ in range(200):
            self.end("web", waited=9.0)
        for number in range(100):
            self.end("web", waited=number / 100)
        self.end("db")
        self.assertEqual(self.pulses.first_byte("web"), 0.49)
        self.assertIsNone(self.pulses.first_byte("db"))

    def test_a_listener_that_is_gone_is_forgotten_but_for_its_counters(self) -> None:
        self.end("web", waited=1.0)
        self.pulses.follow(["db"])
        self.pulses.follow(["db", "web"])
        self.assertEqual(sum(self.pulses.hour("web")[0]), 0)
        self.assertIsNone(self.pulses.first_byte("web"))
        self.assertEqual(self.counters.listeners["web"].sessions, 1)
        self.end("web")
        self.assertEqual(sum(self.pulses.hour("web")[0]), 1)


class MinutelyTests(SynchronousTestCase):
    def test_it_calls_at_each_turn_until_it_is_stopped(self) -> None:
        clock, turned = Clock(), list[float]()
        minutely = Minutely(clock, lambda: turned.append(clock.seconds()), lambda: clock.seconds() + 1000.0)
        minutely.start()
        minutely.start()
        for _ in range(150):
            clock.advance(1)
        self.assertEqual(turned, [20.0, 80.0, 140.0])
        minutely.stop()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_while_nothing_can_change_it_waits_to_be_stirred(self) -> None:
        clock, turned, needed = Clock(), list[float](), [True]
        minutely = Minutely(
            clock,
            lambda: turned.append(clock.seconds()),
            lambda: clock.seconds() + 1000.0,
            needed=lambda: needed[0],
        )
        minutely.stir()
        self.assertEqual(clock.getDelayedCalls(), [])  # it was not started
        minutely.start()
        clock.advance(10)
        needed[0] = False
        clock.advance(10)
        self.assertEqual((turned, clock.getDelayedCalls()), ([20.0], []))  # what came before is told
        clock.advance(1000)
        needed[0] = True
        minutely.stir()
        minutely.stir()
        self.assertEqual(turned, [20.0, 1020.0])
        clock.advance(60)
        self.assertEqual(turned, [20.0, 1020.0, 1080.0])
        minutely.stop()
        minutely.stir()
        self.assertEqual(clock.getDelayedCalls(), [])
