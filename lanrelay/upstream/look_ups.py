"""How many names may be looked up at a time for those who choose them: the clients of one forward proxy."""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred

PLACES = 32
"""
How many clients wait for names at a time. A browser that opens a page asks for some dozens, most of them at
once.
"""

THREADS = 128
"""
Look-ups under way at a time. Nothing can end one: that of a name that hangs takes the system's 10 to 30 s,
though nobody waits for it any more.
"""


class LookUps:
    """
    The budget of one forward proxy. No other listener shares it.

    A caller that leaves frees its place, whether there is an answer or not. The thread that is left behind
    counts for L{THREADS} only, until it ends.

    @ivar threads: counted by the resolver.
    """

    def __init__(self, *, places: int = PLACES, threads: int = THREADS) -> None:
        self._places = places
        self._most_threads = threads
        self.threads = 0
        self._taken = 0
        self._queue: deque[Deferred[None]] = deque()

    @property
    def _is_free(self) -> bool:
        return self._taken < self._places and self.threads < self._most_threads

    def enter(self) -> Deferred[None] | None:
        """
        Take a place.

        @return: C{None} if the place is taken; else a Deferred that fires when it is, unless it is cancelled.
            The caller then owes a L{leave}.
        """
        if self._is_free and not self._queue:
            self._taken += 1
            return None
        waiting: Deferred[None] = Deferred(self._queue.remove)
        self._queue.append(waiting)
        return waiting

    def leave(self) -> None:
        """Give a place back."""
        self._taken -= 1
        self._go_on()

    def ended(self) -> None:
        """A thread is over."""
        self.threads -= 1
        self._go_on()

    def _go_on(self) -> None:
        while self._queue and self._is_free:
            self._taken += 1
            self._queue.popleft().callback(None)
