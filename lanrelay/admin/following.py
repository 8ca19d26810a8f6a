"""Tells a client of the control socket which requests have ended, and which end from now on."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater

from lanrelay.admin.control import Json, Refused, Tell
from lanrelay.admin.glance import names, request, requests
from lanrelay.admin.news import Requests
from lanrelay.admin.watched import Watched

EVERY = 0.25
"""Seconds between two looks: what a person takes for at once."""

FOLLOWERS = 8
"""At a time; the control socket has 16 places, and others want to ask, too."""

_PORTION = 100  # requests that are told in one turn of the reactor


class Following:
    """The method C{log} of the control socket."""

    def __init__(self, reactor: Any, watched: Watched) -> None:
        self._reactor = reactor
        self._watched = watched
        self._followers = 0

    async def log(self, request: Json, tell: Tell) -> object:
        """
        Tell each request that is remembered, the latest last, as C{/requests.json} has it, and that these
        were all (C{remembered}); then, if asked to C{follow}, each that ends, and C{missed}: how many were
        left out, for there were too many.

        @raise Refused: there is no such listener, or too many follow already.
        """
        listener = request.get("listener")
        if listener is not None and listener not in names(self._watched):
            known = ", ".join(names(self._watched)) or "none"
            raise Refused(f"There is no listener {str(listener)[:100]}; there are: {known}.")
        follows = bool(request.get("follow"))
        if follows and self._followers >= FOLLOWERS:
            raise Refused(f"{FOLLOWERS} follow the requests already.")
        self._followers += follows
        try:
            fresh = Requests(self._watched, None if listener is None else [listener])
            await self._tell_remembered(listener, tell)
            tell({"remembered": True})
            while follows:
                await deferLater(self._reactor, EVERY)
                self._tell_fresh(fresh, tell)
        finally:
            self._followers -= follows
        return {}

    async def _tell_remembered(self, listener: str | None, tell: Tell) -> None:
        watched = self._watched
        wanted = names(watched) if listener is None else [listener]
        found = requests(watched, wanted)
        for start in range(0, len(found), _PORTION):
            for one, name in found[start : start + _PORTION]:
                tell(request(one, name))
            await deferLater(self._reactor, 0)

    def _tell_fresh(self, fresh: Requests, tell: Tell) -> None:
        keeps_up = True
        for found in fresh.fresh():
            if keeps_up:
                keeps_up = tell(found) is not False
            else:
                fresh.missed += 1
        if fresh.missed and keeps_up:
            tell({"missed": fresh.missed})
            fresh.missed = 0
