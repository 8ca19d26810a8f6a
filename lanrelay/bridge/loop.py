"""One thread, C{poll} and timers; and sequences of steps that wait in it."""

from __future__ import annotations

import heapq
import os
import select
import time
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")

READ = select.POLLIN
WRITE = select.POLLOUT
GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL
"""What C{poll} reports even unasked."""

now = time.monotonic


class Timer:
    """A call to come; C{cancel} may be called at any time, also afterwards."""

    __slots__ = ("at", "call", "number")

    def __init__(self, at: float, number: int, call: Callable[[], None]) -> None:
        self.at = at
        self.number = number
        self.call: Callable[[], None] | None = call

    def __lt__(self, other: Timer) -> bool:
        return (self.at, self.number) < (other.at, other.number)

    def cancel(self) -> None:
        self.call = None


class Loop:
    """
    Calls what watches descriptors, and timers whose time has come.

    @ivar bug: is called with what a call raised, and the loop goes on; with C{None} the error ends L{run}.
    """

    def __init__(self) -> None:
        self.bug: Callable[[Exception], None] | None = None
        self._poll = select.poll()
        self._watched: dict[int, tuple[int, Callable[[int], None]]] = {}
        self._timers: list[Timer] = []
        self._numbers = 0
        self._posted: deque[Callable[[], None]] = deque()
        self._wakes, self._wake = os.pipe()
        for end in (self._wakes, self._wake):
            os.set_blocking(end, False)
        self._stopped = False
        self.watch(self._wakes, READ, self._woken)

    def run(self) -> None:
        """Until L{stop}."""
        while not self._stopped:
            for descriptor, seen in self._poll.poll(self._patience()):
                found = self._watched.get(descriptor)
                # An earlier call of this round may have let go of it, or asked for less.
                if found is not None and seen & (found[0] | GONE):
                    self._call(found[1], seen)
            self._ring()

    def _call(self, call: Callable[..., object], *words: object) -> None:
        try:
            call(*words)
        except Exception as error:
            if self.bug is None:
                raise
            self.bug(error)

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        os.close(self._wakes)
        os.close(self._wake)

    # --- descriptors ---

    def watch(self, descriptor: int, mask: int, call: Callable[[int], None]) -> None:
        """Have C{call} called with what C{poll} has seen; replaces what was asked before."""
        old = self._watched.get(descriptor)
        self._watched[descriptor] = (mask, call)
        if old is None or old[0] != mask:
            self._poll.register(descriptor, mask)

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no more; to be called before it is closed."""
        if self._watched.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    # --- time ---

    def at(self, when: float, call: Callable[[], None]) -> Timer:
        """Have C{call} called once, at a moment of L{now}."""
        self._numbers += 1
        timer = Timer(when, self._numbers, call)
        heapq.heappush(self._timers, timer)
        return timer

    def _patience(self) -> float | None:
        while self._timers and self._timers[0].call is None:
            heapq.heappop(self._timers)
        if self._posted:
            return 0
        if not self._timers:
            return None
        return max(0.0, self._timers[0].at - now()) * 1000 + 1

    def _ring(self) -> None:
        while self._posted:
            self._call(self._posted.popleft())
        moment = now()
        while self._timers and self._timers[0].at <= moment:
            call = heapq.heappop(self._timers).call
            if call is not None:
                self._call(call)

    # --- other threads, and signals ---

    def post(self, call: Callable[[], None]) -> None:
        """Have C{call} called in the loop's thread; for any thread, and for signals."""
        self._posted.append(call)
        try:
            os.write(self._wake, b"\0")
        except OSError:
            pass  # full, so the loop wakes anyway; or closed, so it has ended

    def _woken(self, seen: int) -> None:
        try:
            while len(os.read(self._wakes, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def in_thread(self, work: Callable[[], T], done: Callable[[T | Exception], None]) -> None:
        """
        Do what cannot be done without blocking.

        @param work: may be cut off: the process does not wait for it at its end.
        @param done: is called in the loop's thread with the result, or with what was raised.
        """

        def run() -> None:
            result: T | Exception
            try:
                result = work()
            except Exception as error:  # for the loop's thread to judge
                result = error
            self.post(lambda: done(result))

        import threading  # not at the start, where every millisecond counts

        threading.Thread(target=run, daemon=True).start()


Start = Callable[["Loop", Callable[[Any], None]], Callable[[], None]]
"""Begins to wait; calls its argument once, with the result; returns a function that gives up the waiting."""

Steps = Generator[Start, Any, T]


class Task:
    """
    A sequence of steps: a generator that yields what it waits for.

    @param done: gets the result, or the error that the steps ended with; not after L{cancel}.
    """

    def __init__(
        self, loop: Loop, steps: Steps[T], done: Callable[[T | None, Exception | None], None]
    ) -> None:
        self._loop = loop
        self._steps = steps
        self._done = done
        self._give_up: Callable[[], None] | None = None
        self._ended = False
        self._resume(None)

    def cancel(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self._give_up is not None:
            self._give_up()
        self._steps.close()

    def _resume(self, value: Any) -> None:
        if self._ended:
            return
        self._give_up = None
        try:
            start = self._steps.send(value)
        except StopIteration as stop:
            self._ended = True
            self._done(stop.value, None)
        except Exception as error:
            self._ended = True
            self._done(None, error)
        else:
            self._give_up = start(self._loop, self._resume)


def ready(masks: dict[int, int], until: float) -> Start:
    """Wait for one of these descriptors; gives the ready ones, none at C{until}."""

    def start(loop: Loop, resume: Callable[[Any], None]) -> Callable[[], None]:
        def give_up() -> None:
            timer.cancel()
            for descriptor in masks:
                loop.forget(descriptor)

        def seen(descriptor: int) -> Callable[[int], None]:
            def call(_: int) -> None:
                give_up()
                resume({descriptor})

            return call

        def late() -> None:
            give_up()
            resume(set())

        timer = loop.at(until, late)
        for descriptor, mask in masks.items():
            loop.watch(descriptor, mask, seen(descriptor))
        return give_up

    return start


def threaded(work: Callable[[], T], until: float) -> Start:
    """Wait for what a thread does; gives the result or the exception; C{TimeoutError} at C{until}."""

    def start(loop: Loop, resume: Callable[[Any], None]) -> Callable[[], None]:
        ended = False

        def give_up() -> None:
            nonlocal ended
            ended = True
            timer.cancel()

        def done(result: Any) -> None:
            if not ended:
                give_up()
                resume(result)

        timer = loop.at(until, lambda: done(TimeoutError()))
        loop.in_thread(work, done)
        return give_up

    return start
