"""What the relay remembers of each listener: its last hour, its last requests, when it began to listen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from lanrelay.admin.counters import Count, Counters
from lanrelay.observe.rings import Counts


class Pulse:
    """
    One listener, by its name; a reload keeps it, whatever else it changes.

    @ivar since: when it began to listen, in wall-clock seconds since the epoch.
    """

    __slots__ = ("_counted", "_counts", "since")

    def __init__(self, since: float, count: Count | None = None) -> None:
        """@param count: what was counted before, for an earlier listener of the same name."""
        self.since = since
        self._counts = Counts()
        self._counted = (0, 0) if count is None else (count.sessions, count.wrong)

    def sample(self, minute: int, count: Count | None) -> None:
        """Note for C{minute} what C{count} has gained since the last call."""
        if count is None:
            return
        requests, errors = self._counted
        self._counted = (count.sessions, count.wrong)
        if count.sessions != requests:
            self._counts.add(minute, count.sessions - requests, count.wrong - errors)

    def hour(self, minute: int) -> tuple[list[int], list[int]]:
        """Requests and errors of the last 60 minutes, the oldest first."""
        return self._counts.read(minute)


class Pulses:
    """
    The pulses of the current listeners. L{Counters} alone note the end of a session; the pulses look at the
    counts once a minute, and when they are asked for.

    @param now: wall-clock seconds since the epoch.
    """

    def __init__(self, counters: Counters, now: Callable[[], float] = time.time) -> None:
        self._counters = counters
        self._now = now
        self._found: dict[str, Pulse] = {}
        self._minute = int(now() // 60)

    def follow(self, names: Iterable[str]) -> None:
        """There are these listeners now; what was known of all others is forgotten."""
        now, before, counted = self._now(), self._found, self._counters.listeners
        self._found = {name: before.get(name) or Pulse(now, counted.get(name)) for name in names}
        for name in before.keys() - self._found.keys():
            self._counters.forget(name)

    def of(self, name: str) -> Pulse:
        """What is remembered of one."""
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = Pulse(self._now())
        return found

    def turn(self) -> None:
        """
        A minute or more has passed; what was counted since the last call belongs to the minute that has
        ended.
        """
        for name, pulse in self._found.items():
            pulse.sample(self._minute, self._counters.listeners.get(name))
        self._minute = int(self._now() // 60)

    def hour(self, name: str) -> tuple[list[int], list[int]]:
        """Requests and errors of a listener's last 60 minutes up to now, the oldest first."""
        pulse = self.of(name)
        pulse.sample(self._minute, self._counters.listeners.get(name))
        return pulse.hour(int(self._now() // 60))

    def first_byte(self, name: str) -> float | None:
        """The median of the seconds that the listener's last requests waited for their answer."""
        recent = self._counters.recent(name)
        waited = sorted(one.first_byte for one in recent if one.first_byte is not None)
        return waited[(len(waited) - 1) // 2] if waited else None


class Minutely:
    """
    Calls C{turned} soon after each turn of the minute by the wall clock, from L{start} to L{stop}.

    @param needed: whether anything can change in the next minute. If not, the next call is at L{stir}.
    """

    def __init__(
        self,
        reactor: Any,
        turned: Callable[[], None],
        now: Callable[[], float] = time.time,
        *,
        needed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._reactor = reactor
        self._turned = turned
        self._now = now
        self._needed = needed
        self._timer: Any = None
        self._started = False

    def start(self) -> None:
        """Begin."""
        self._started = True
        if self._timer is None:
            self._wait()

    def stop(self) -> None:
        """End."""
        self._started = False
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def stir(self) -> None:
        """Something will change. If a minute has turned unheeded, that is told before this returns."""
        if self._timer is None and self._started:
            self._wait()
            self._turned()

    def _wait(self) -> None:
        self._timer = self._reactor.callLater(60.0 - self._now() % 60.0, self._turn)

    def _turn(self) -> None:
        self._timer = None
        if self._needed():
            self._wait()
        self._turned()
