"""What happened to the relay, on one line of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

LIMIT: Final = 200

FOLD: Final = 60.0
"""Seconds in which the same happening again counts with the one before."""

Kind = Literal["started", "reloaded", "refused", "down", "up", "woke", "certificate"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_Key = tuple[Kind, str | None, str | None, str]


@dataclass(slots=True)
class Happening:
    """
    One event, or several of one kind that came close together.

    @ivar number: rises by one with each that is new.
    @ivar at: wall-clock seconds since the epoch; of several the first, and C{last} the latest.
    @ivar version: that of the timeline when it came, or was counted up last.
    @ivar text: a sentence; of several the latest.
    """

    number: int
    at: float
    kind: Kind
    listener: str | None
    upstream: str | None
    text: str
    last: float
    count: int = 1
    version: int = 0


class Timeline:
    """
    The last 200 happenings. One of the same kind, listener and upstream as another within a minute is
    counted with that: a flood takes one line.

    @ivar version: another one when anything has happened.
    @ivar counts: how many there were of each kind.
    @ivar observers: told of each that is new or has been counted up.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._numbers = 0
        self.version = 0
        self.counts: dict[Kind, int] = {}
        self._found: deque[tuple[_Key, Happening]] = deque()
        self._latest: dict[_Key, Happening] = {}
        self.observers: list[Callable[[Happening], None]] = []

    def note(
        self,
        kind: Kind,
        text: str,
        now: float,
        *,
        listener: str | None = None,
        upstream: str | None = None,
        word: str = "",
    ) -> None:
        """@param word: what else has to be the same for two to be counted together."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        key = (kind, listener, upstream, word)
        known = self._latest.get(key)
        if known is not None and known.last <= now < known.last + FOLD:
            known.count += 1
            known.last, known.text = now, text
            happening = known
        else:
            self._numbers += 1
            happening = Happening(self._numbers, now, kind, listener, upstream, text, now)
            self._latest[key] = happening
            self._found.append((key, happening))
            if len(self._found) > self._limit:
                key, oldest = self._found.popleft()
                if self._latest[key] is oldest:
                    del self._latest[key]
        self.version += 1
        happening.version = self.version
        for observer in self.observers:
            observer(happening)

    def __iter__(self) -> Iterator[Happening]:
        return iter([one for _, one in self._found])

    def __len__(self) -> int:
        return len(self._found)
