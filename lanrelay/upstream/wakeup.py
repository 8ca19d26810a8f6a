"""Notices that the machine slept, or the process was stopped: what was known of the network is old then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.logger import Logger

EVERY = 2.0
"""Seconds between two looks."""

UNSEEN = 3.0
"""Seconds that may pass unnoticed: a slow disk or a busy machine takes one or two."""

Clock = Callable[[], float]


class Wakeup:
    """
    Looks at the clocks every few seconds, from L{start} to L{stop}, while it matters.

    C{woken} is called when the timer comes too late (the process was stopped, or a virtual machine was), or
    when a clock that counts sleep has run ahead of the monotonic one, which does not.

    @param woken: with the seconds that passed unseen.
    @param clocks: each says how many seconds it is ahead; only its jumps forward count.
    @param needed: whether sleep matters now. If it does not, the next look is at L{stir}.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        woken: Callable[[float], None],
        *,
        clocks: Sequence[Clock] | None = None,
        needed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._reactor = reactor
        self._woken = woken
        self._clocks = (slept, _wall_clock_ahead) if clocks is None else clocks
        self._needed = needed
        self._ahead: list[float] = []
        self._due = 0.0
        self._timer: Any = None
        self._started = False

    def start(self) -> None:
        """Begin to look."""
        self._started = True
        if self._timer is None:
            self._ahead = self._clocks_ahead()
            self._wait()

    def stop(self) -> None:
        """Look no more."""
        self._started = False
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def stir(self) -> None:
        """It matters again. If nothing has looked meanwhile, this does, before it returns."""
        if self._timer is None and self._started:
            unseen = self._ran_ahead()
            self._wait()
            self._tell(unseen)

    def _wait(self) -> None:
        self._due = self._reactor.seconds() + EVERY
        self._timer = self._reactor.callLater(EVERY, self._look)

    def _look(self) -> None:
        self._timer = None
        unseen = self._reactor.seconds() - self._due + self._ran_ahead()
        if unseen > UNSEEN or self._needed():
            self._wait()
        self._tell(unseen)

    def _clocks_ahead(self) -> list[float]:
        return [clock() for clock in self._clocks]

    def _ran_ahead(self) -> float:
        """The longest jump forward since the last call."""
        before, self._ahead = self._ahead, self._clocks_ahead()
        return max([0.0, *(now - then for now, then in zip(self._ahead, before, strict=True))])

    def _tell(self, unseen: float) -> None:
        if unseen > UNSEEN:
            self.log.info(
                "{seconds} s have passed unseen, as when the machine sleeps: idle connections are dropped,"
                " names looked up anew, and upstreams checked",
                seconds=round(unseen),
            )
            self._woken(unseen)


def counting_sleep(reactor: Any) -> Clock:
    """The clock that goes on while the machine sleeps, or the reactor's where there is none, or in a test."""
    if _COUNTS_SLEEP and reactor.seconds is time.monotonic:
        return partial(time.clock_gettime, _COUNTS_SLEEP)
    seconds: Clock = reactor.seconds
    return seconds


def slept() -> float:
    """Whole seconds that this machine has slept since it was started, as far as its clocks tell."""
    return float(round(time.clock_gettime(_COUNTS_SLEEP) - time.monotonic())) if _COUNTS_SLEEP else 0.0


def _wall_clock_ahead() -> float:
    """The only sign that the host of a virtual machine slept. Somebody who sets the clock does no harm."""
    return time.time() - time.monotonic()


# macOS: CLOCK_MONOTONIC goes on during sleep, and Python's time.monotonic (mach_absolute_time) does not.
_COUNTS_SLEEP: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC if sys.platform == "darwin" else 0)
