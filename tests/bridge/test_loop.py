"""One thread, C{poll}, timers, and steps that wait in it."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.bridge.loop import READ, Loop, Steps, Task, now, ready, threaded


class LoopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.loop = Loop()
        self.addCleanup(self.loop.close)
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        self.addCleanup(os.close, self.writing)

    def test_timers_ring_in_their_order_and_not_after_cancel(self) -> None:
        rung: list[str] = []
        self.loop.at(now() + 0.02, self.loop.stop)
        self.loop.at(now() + 0.01, lambda: rung.append("b"))
        self.loop.at(now() + 0.01, lambda: rung.append("x")).cancel()
        self.loop.at(now(), lambda: rung.append("a"))
        self.loop.run()
        self.assertEqual(rung, ["a", "b"])

    def test_what_one_raises_does_not_stop_the_others(self) -> None:
        bugs: list[Exception] = []
        self.loop.bug = bugs.append
        seen: list[bytes] = []

        def read(_: int) -> None:
            seen.append(os.read(self.reading, 1))
            if len(seen) == 2:
                self.loop.stop()
            raise KeyError("secret")

        self.loop.watch(self.reading, READ, read)
        self.loop.post(lambda: 1 // 0)  # type: ignore[arg-type]
        os.write(self.writing, b"ab")
        self.loop.run()
        self.assertEqual(seen, [b"a", b"b"])
        self.assertEqual([type(bug) for bug in bugs], [KeyError, ZeroDivisionError, KeyError])

    def test_without_anybody_who_is_told_it_ends_the_run(self) -> None:
        self.loop.post(lambda: 1 // 0)  # type: ignore[arg-type]
        self.assertRaises(ZeroDivisionError, self.loop.run)

    def steps(self) -> Steps[list[Any]]:
        first = yield ready({self.reading: READ}, now() + 0.01)
        os.write(self.writing, b"a")
        second = yield ready({self.reading: READ}, now() + 10)
        third = yield threaded(lambda: "from a thread", now() + 10)
        fourth = yield threaded(lambda: os.environ[""], now() + 10)
        return [first, second, third, type(fourth)]

    def test_steps_wait_for_descriptors_and_threads(self) -> None:
        done: list[Any] = []

        def end(result: Any, error: Exception | None) -> None:
            done.append((result, error))
            self.loop.stop()

        Task(self.loop, self.steps(), end)
        self.loop.run()
        self.assertEqual(done, [([set(), {self.reading}, "from a thread", KeyError], None)])

    def test_steps_that_were_cancelled_clean_up_and_tell_nobody(self) -> None:
        told: list[str] = []

        def steps() -> Steps[None]:
            try:
                yield ready({self.reading: READ}, now() + 10)
            finally:
                told.append("cleaned up")

        task = Task(self.loop, steps(), lambda *_: told.append("done"))
        task.cancel()
        os.write(self.writing, b"a")
        self.loop.at(now() + 0.01, self.loop.stop)
        self.loop.run()
        self.assertEqual(told, ["cleaned up"])
