"""Runs what needs a reactor inside of a command, as often as the command likes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def in_reactor(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """
    The result of C{work}, which is given the reactor; the reactor turns as long as that takes, and no longer.

    @raise KeyboardInterrupt: Ctrl-C; the work was cancelled.
    """
    from lanrelay.transport.reactor_choice import install_reactor
    from lanrelay.transport.reactor_turn import quicken

    install_reactor()
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    turning: Any = reactor
    if not turning.running:
        quicken(turning)  # so that on kqueue, too, what was said before a reset is heard
        # Not `run`, which cannot be called a second time.
        turning.startRunning(installSignalHandlers=False)
    outcome: list[Any] = []
    with _interrupts(turning) as interrupted:
        doing = Deferred.fromCoroutine(work(turning))
        doing.addBoth(outcome.append)
        while not (outcome or interrupted):
            turning.runUntilCurrent()
            if not (outcome or interrupted):
                turning.doIteration(turning.timeout())
        if not outcome:
            doing.cancel()
            raise KeyboardInterrupt
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: T = outcome[0]
    return result


@contextmanager
def _interrupts(reactor: Any) -> Iterator[list[int]]:
    """
    What has something in it once Ctrl-C was pressed.

    Python's own handler raises wherever it is: in a call of the reactor's the exception would be logged, and
    lost.
    """
    pressed: list[int] = []

    def press(number: int, frame: object) -> None:
        pressed.append(number)
        reactor.wakeUp()

    try:
        before = signal.signal(signal.SIGINT, press)
    except ValueError:  # not in the main thread, where signals are somebody else's
        yield pressed
        return
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
