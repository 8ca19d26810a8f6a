"""Times at which something is due. They have no clock; the caller says what time it is."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Timer:
    """Calls C{due} once, unless it is cancelled before."""

    __slots__ = ("at", "due")

    def __init__(self, at: float, due: Callable[[], None]) -> None:
        self.at = at
        self.due: Callable[[], None] | None = due

    def cancel(self) -> None:
        self.due = None


class Timers:
    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = count()
        self._sweep = 1000

    def at(self, time: float, due: Callable[[], None]) -> Timer:
        timer = Timer(time, due)
        heapq.heappush(self._heap, (time, next(self._count), timer))
        if len(self._heap) > self._sweep:
            self._heap = [entry for entry in self._heap if entry[2].due is not None]
            heapq.heapify(self._heap)
            self._sweep = 1000 + 2 * len(self._heap)
        return timer

    def run(self, now: float) -> None:
        """Calls what is due by now."""
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            due, timer.due = timer.due, None
            if due is not None:
                due()

    def next(self) -> float | None:
        while self._heap and self._heap[0][2].due is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
