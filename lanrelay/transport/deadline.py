"""Time limits that seldom run out: one kind moves often, the other has many of equal length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Deadline:
    """
    One moment at which something is called, unless it is moved or cleared before.

    Moving it later, or clearing it, does not touch the reactor's timer: when that fires, the time that is
    left is worked out. So a connection may move its limit with each message.

    @param expired: called when the moment has come; it is cleared then.
    """

    __slots__ = ("_at", "_expired", "_fires", "_reactor", "_timer")

    def __init__(self, reactor: Any, expired: Callable[[], None]) -> None:
        self._reactor = reactor
        self._expired = expired
        self._at: float | None = None
        self._timer: Any = None
        self._fires = 0.0

    def set(self, timeout: float | None) -> None:
        """Expire in so many seconds from now; C{None}: never."""
        if timeout is None:
            self._at = None
            return
        self._at = at = self._reactor.seconds() + timeout
        if self._timer is None:
            self._timer = self._reactor.callLater(timeout, self._fired)
            self._fires = at
        elif self._fires > at:
            self._timer.reset(timeout)
            self._fires = at

    def clear(self) -> None:
        """Do not expire."""
        self._at = None

    def stop(self) -> None:
        """
        Never expire, and leave no timer. Called at the end of its owner, which it lets go: the two refer to
        each other, and would have to wait for the collector of cycles.
        """
        self._at = None
        self._expired = _nobody
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _fired(self) -> None:
        self._timer = None
        if self._at is None:
            return
        left = self._at - self._reactor.seconds()
        if left > 0:
            self._timer = self._reactor.callLater(left, self._fired)
            self._fires = self._at
        else:
            self._at = None
            self._expired()


def _nobody() -> None:
    """Stands for the call of an owner that has gone."""


class Wait:
    """A limit that L{wait} has begun."""

    __slots__ = ("_call", "_due", "_queue")

    def __init__(self, queue: _Queue, due: float, call: Callable[[], object]) -> None:
        self._queue: _Queue | None = queue
        self._due = due
        self._call = call

    def cancel(self) -> None:
        """End the limit. Nothing happens if it has run out, or was cancelled before."""
        queue, self._queue = self._queue, None
        if queue is not None:
            del queue.waits[self]
            if not queue.waits:
                queue.end()


class _Queue:
    """
    The limits of one length on one reactor; it exists only while there are some.

    The first to begin is the first to run out, so one timer is enough. The timer stays as it is when the
    first limit is cancelled: when it fires, the rest for the next one is worked out.
    """

    __slots__ = ("_reactor", "_seconds", "_timer", "waits")

    def __init__(self, reactor: Any, seconds: float) -> None:
        self._reactor, self._seconds = reactor, seconds
        self.waits: dict[Wait, None] = {}  # in order
        self._timer: Any = reactor.callLater(seconds, self._fired)

    def end(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:  # else it is firing, and sets the next one itself
            timer.cancel()
            del _queues[self._reactor, self._seconds]

    def _fired(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        try:
            while self.waits:
                first = next(iter(self.waits))
                if first._due > now:
                    break
                first._queue = None
                del self.waits[first]
                first._call()
        finally:
            if self.waits:
                first = next(iter(self.waits))
                self._timer = self._reactor.callLater(max(first._due - now, 0.0), self._fired)
            else:
                del _queues[self._reactor, self._seconds]


_queues: dict[tuple[Any, float], _Queue] = {}


def wait(reactor: Any, seconds: float, call: Callable[[], object]) -> Wait:
    """
    As C{reactor.callLater}, for limits of equal length that hardly ever run out: they share a timer.
    C{reactor.seconds} must never go back; in a relay it does not
    (L{lanrelay.process.follow_monotonic_clock}).

    A tunnel makes and cancels one for the silence between its two ends. With C{callLater} that took 14,000 of
    a tunnel's 195,000 instructions; this takes 8,000, when dozens of tunnels come and go.

    @param call: at the end of its owner, C{cancel} has to be called and the L{Wait} dropped.
    """
    queue = _queues.get((reactor, seconds))
    if queue is None:
        queue = _queues[reactor, seconds] = _Queue(reactor, seconds)
    one = Wait(queue, reactor.seconds() + seconds, call)
    queue.waits[one] = None
    return one
