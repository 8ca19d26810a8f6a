"""What has changed since the last look: events, requests, and whether another look would find anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lanrelay.admin.watched import Watched
    from lanrelay.observe.session import Session

Json = dict[str, Any]


class News:
    """What the viewers of the page are told beside its parts."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def is_there(self) -> bool:
        """Whether a look at the document would find something else than the last one."""
        from lanrelay.admin.status import pieces

        return pieces(self._watched).is_old

    def reader(self, listener: str = "") -> Callable[[], Iterator[tuple[str, str]]]:
        """
        Tells at each call what has happened since the last one: the kind of news, and JSON.

        @param listener: the name of the one whose requests are told, too; empty for none.
        """
        happened = self._watched.timeline.version
        requests = Requests(self._watched, [listener] if listener else [])

        def news() -> Iterator[tuple[str, str]]:
            nonlocal happened
            timeline = self._watched.timeline
            if timeline.version != happened:
                from lanrelay.admin.glance import event

                fresh = [one for one in timeline if one.version > happened]
                happened = timeline.version
                for one in sorted(fresh, key=lambda each: each.version):
                    yield "happened", json.dumps(event(one))
            for found in requests.fresh():
                yield "request", json.dumps(found)

        return news


class Requests:
    """
    The requests that end from now on.

    @ivar missed: how many L{fresh} left out because there were too many.
    """

    def __init__(self, watched: Watched, names: list[str] | None) -> None:
        """@param names: of listeners; C{None} for all, and for those that come later."""
        self._watched = watched
        self._names = names
        self._told = {name: self._count(name) for name in self._wanted()}
        self.missed = 0

    def _wanted(self) -> Iterable[str]:
        return self._watched.counters.listeners if self._names is None else self._names

    def _count(self, name: str) -> int:
        count = self._watched.counters.listeners.get(name)
        return 0 if count is None else count.sessions

    def fresh(self) -> list[Json]:
        """Those that have ended since the last call, the latest last; of each listener 100 at most."""
        from lanrelay.admin.glance import by_end, request

        found: list[tuple[Session, str]] = []
        for name in self._wanted():
            count, told = self._count(name), self._told.get(name, 0)
            if count == told:
                continue
            self._told[name] = count
            recent = self._watched.counters.recent(name)
            new = min(count - told, len(recent))
            self.missed += count - told - new
            found += [(one, name) for one in recent[len(recent) - new :]]
        return [request(one, name) for one, name in sorted(found, key=by_end)]
