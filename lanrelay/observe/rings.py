"""What happened in each of the last minutes and hours, in rings of fixed size."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

MINUTES: Final = 60
HOURS: Final = 24

State = Literal["up", "slow", "down", "unchecked"]

_WORSE: Final[dict[State, int]] = {"unchecked": 0, "up": 1, "slow": 2, "down": 3}


class _Ring:
    """
    The present cell and those before it.

    The number of a cell is its moment since the epoch, divided by its length. Cells that time has skipped
    stay empty: the machine slept, or its clock was set. If the clock is set back, the cells that it goes
    through again are emptied, because they hold another time. A single step back changes nothing: a clock
    that is being put right takes such steps.
    """

    __slots__ = ("_cells", "_last")

    def __init__(self, cells: int) -> None:
        self._cells = cells
        self._last: int | None = None

    def turn_to(self, number: int) -> None:
        """C{number} is the present cell from here on; at most as many are emptied as there are."""
        last = self._last
        if last is None:
            self._last = number
            return
        if number == last or number == last - 1:
            return
        first = max(last + 1, number - self._cells + 1) if number > last else number
        for skipped in range(first, min(max(number, last), first + self._cells - 1) + 1):
            self._empty(skipped % self._cells)
        self._last = number

    def _empty(self, position: int) -> None:
        raise NotImplementedError

    def _positions(self, number: int) -> list[int]:
        """Of the cells up to C{number}, the oldest first; -1 for those that are not there."""
        last = self._last
        if last is None:
            return [-1] * self._cells
        return [
            one % self._cells if last - self._cells < one <= last else -1
            for one in range(number - self._cells + 1, number + 1)
        ]


class Counts(_Ring):
    """Requests and errors of each of the last 60 minutes: some 1,100 bytes."""

    __slots__ = ("_errors", "_requests")

    def __init__(self) -> None:
        super().__init__(MINUTES)
        self._requests = array("L", [0]) * MINUTES
        self._errors = array("L", [0]) * MINUTES

    def add(self, minute: int, requests: int, errors: int) -> None:
        """Those of C{minute}, beside what it has."""
        self.turn_to(minute)
        position = (minute if self._last is None else self._last) % MINUTES
        self._requests[position] += requests
        self._errors[position] += errors

    def _empty(self, position: int) -> None:
        self._requests[position] = self._errors[position] = 0

    def read(self, minute: int) -> tuple[list[int], list[int]]:
        """Requests and errors up to C{minute}, the oldest first."""
        positions = self._positions(minute)
        requests, errors = self._requests, self._errors
        return (
            [0 if at < 0 else requests[at] for at in positions],
            [0 if at < 0 else errors[at] for at in positions],
        )


class Cell(NamedTuple):
    """
    What an upstream was in a minute or an hour: the worst of it.

    @ivar at: its begin, in wall-clock seconds since the epoch.
    @ivar why: the sentence to C{"down"} and C{"slow"}.
    """

    state: State
    why: str | None
    at: int


class _States(_Ring):
    """What was read is kept while it is the same: who looks on does so once a second, at all upstreams."""

    __slots__ = ("_changes", "_length", "_read", "_read_of", "_states", "_whys")

    def __init__(self, cells: int, length: int) -> None:
        super().__init__(cells)
        self._length = length
        self._changes = 0
        self._read: tuple[Cell, ...] = ()
        self._read_of: object = None
        self._states: list[State] = ["unchecked"] * cells
        self._whys: list[str | None] = [None] * cells

    def _empty(self, position: int) -> None:
        self._put(position, "unchecked", None)

    def note(self, now: float, state: State, why: str | None, between: tuple[State, str | None]) -> None:
        """@param between: what the cells are that were skipped."""
        number = int(now // self._length)
        last = self._last
        if number != last:
            self.turn_to(number)
            if last is not None and last < number and between[0] != "unchecked":
                for skipped in range(max(last + 1, number - self._cells + 1), number):
                    self._put(skipped % self._cells, *between)
        assert self._last is not None
        position = self._last % self._cells
        if _WORSE[state] > _WORSE[self._states[position]]:
            self._put(position, state, why)

    def _put(self, position: int, state: State, why: str | None) -> None:
        self._states[position], self._whys[position] = state, why
        self._changes += 1

    def read(self, now: float, since: tuple[State, str | None]) -> tuple[Cell, ...]:
        """@param since: what the cells are of which nothing was noted yet."""
        number = int(now // self._length)
        wanted = number, since, self._last, self._changes
        if self._read_of != wanted:
            self._read, self._read_of = tuple(self._look(number, since)), wanted
        return self._read

    def _look(self, number: int, since: tuple[State, str | None]) -> Iterator[Cell]:
        length = self._length
        first = number - self._cells + 1
        for index, at in enumerate(self._positions(number)):
            if at >= 0:
                state, why = self._states[at], self._whys[at]
            elif self._last is not None and first + index > self._last:
                state, why = since
            else:
                state, why = "unchecked", None
            yield Cell(state, why, (first + index) * length)


class Trail:
    """
    What an upstream was in the last 60 minutes and in the last 24 hours: some 2,500 bytes, and the sentences;
    8,000 more once somebody has looked.

    A finding holds until the next one, but no longer than until somebody should have looked again.
    """

    __slots__ = ("_at", "_holds", "_hours", "_minutes", "_state", "_why")

    def __init__(self) -> None:
        self._minutes = _States(MINUTES, 60)
        self._hours = _States(HOURS, 3600)
        self._at = self._holds = 0.0
        self._state: State = "unchecked"
        self._why: str | None = None

    def note(self, state: State, now: float, why: str | None = None, *, holds: float = 0.0) -> None:
        """
        It was found so.

        @param now: wall-clock seconds since the epoch.
        @param why: a sentence; C{None} for the same as before.
        @param holds: seconds in which somebody looks again.
        """
        if state == self._state == "up" and now >= self._at and now // 60 == self._at // 60:
            self._at = now
            return
        between = self._meanwhile(now)
        if why is None and state == self._state:
            why = self._why
        self._minutes.note(now, state, why, between)
        self._hours.note(now, state, why, between)
        self._at, self._state, self._why, self._holds = now, state, why, holds

    def is_down(self, now: float) -> bool:
        """It was found to be down in this minute already."""
        return self._state == "down" and now // 60 == self._at // 60

    def _meanwhile(self, now: float) -> tuple[State, str | None]:
        if 0.0 <= now - self._at <= self._holds + 60.0:
            return self._state, self._why
        return "unchecked", None

    def minutes(self, now: float) -> tuple[Cell, ...]:
        """The last 60, the oldest first."""
        return self._minutes.read(now, self._meanwhile(now))

    def hours(self, now: float) -> tuple[Cell, ...]:
        """The last 24, the oldest first."""
        return self._hours.read(now, self._meanwhile(now))
