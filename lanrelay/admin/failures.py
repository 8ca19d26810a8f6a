"""The sessions that failed last, for people to look at."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from lanrelay.observe.session import Session

LIMIT = 50
"""More than a person reads; each is a few hundred bytes."""


@dataclass(slots=True)
class Failed:
    """
    Sessions that failed alike.

    @ivar session: the latest of them.
    @ivar count: how many there were.
    @ivar first: when the first ended, in wall-clock seconds, and C{last} the latest.
    """

    session: Session
    count: int
    first: float
    last: float


class Failures:
    """
    The latest first; those of one listener with the same target, error and detail are counted as one.

    @ivar version: changes whenever anything fails.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self.version = 0
        self._found: OrderedDict[tuple[str, str, str, str], Failed] = OrderedDict()

    def note(self, session: Session) -> None:
        """A session has ended with an error."""
        self.version += 1
        now = time.time()
        key = (session.listener, session.target, session.error, session.detail)
        failed = self._found.get(key)
        if failed is not None:
            failed.session, failed.last = session, now
            failed.count += 1
            self._found.move_to_end(key)
            return
        self._found[key] = Failed(session=session, count=1, first=now, last=now)
        if len(self._found) > self._limit:
            self._found.popitem(last=False)

    def __iter__(self) -> Iterator[Failed]:
        return iter(list(reversed(self._found.values())))

    def __len__(self) -> int:
        return len(self._found)
