"""How soon a program that ends is begun anew."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.bridge import program
from lanrelay.bridge.loop import Loop
from lanrelay.bridge.messages import Ask, Event, Failure, Fields

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


class Sink:
    """
    @ivar failures: of asks, by their numbers.
    """

    def __init__(self) -> None:
        self.failures: dict[int, Failure] = {}

    def answered(self, number: int, status: int, reason: str, fields: Fields) -> None: ...
    def event(self, number: int, event: Event) -> None: ...
    def content(self, number: int, data: bytes) -> None: ...
    def finished(self, number: int) -> None: ...

    def failed(self, number: int, failure: Failure) -> None:
        self.failures[number] = failure


class PauseTests(SynchronousTestCase):
    def test_the_pause_grows_and_who_asks_meanwhile_is_told_at_once(self) -> None:
        now, begun = 1000.0, []

        def fail(*words: Any, **keys: Any) -> None:
            begun.append(round(now, 1))
            raise FileNotFoundError(2, "No such file or directory")

        posted: list[Callable[[], None]] = []
        self.patch(program, "now", lambda: now)
        self.patch(program, "Guard", lambda: SimpleNamespace(join=None))
        self.patch(signal, "signal", lambda *_: None)
        self.patch(subprocess, "Popen", fail)
        sink = Sink()
        carrier = program.Program(
            cast(Loop, SimpleNamespace(post=posted.append)), ["nothing"], sink, lambda note: None
        )
        for number in range(2000):
            carrier.ask(Ask(number, "POST", None, (), PING, True))
            for call in posted:
                call()
            posted.clear()
            failure = sink.failures[number]
            self.assertEqual((failure.cause, failure.ran), ("not_running", False))
            now += 0.1
        pauses = [round(later - earlier) for earlier, later in pairwise(begun[2:])]
        self.assertEqual(pauses[:5], [1, 2, 4, 8, 16])
        self.assertEqual(set(pauses[5:]), {30})
