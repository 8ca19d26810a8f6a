"""What the control socket is asked for, one method for each command; all are asked for rarely."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from lanrelay.version import __version__

if TYPE_CHECKING:
    from lanrelay.admin.control import Command, Json, Tell
    from lanrelay.admin.following import Following
    from lanrelay.admin.watched import Reload, Watched
    from lanrelay.listeners.service import Environment
    from lanrelay.upstream.resolve import Resolver


class Commands:
    """
    The answers of one relay.

    What a command needs is imported when it is asked for, so that a start is quick.

    @param reload: reads the configuration file anew; its argument is who asked.
    @ivar by_name: for the control socket.
    """

    def __init__(
        self,
        watched: Watched,
        environment: Environment,
        resolver: Resolver,
        reload: Callable[[str], Reload],
    ) -> None:
        self._watched = watched
        self._environment = environment
        self._resolver = resolver
        self._reload = reload
        self._following: Following | None = None
        self.by_name: dict[str, Command] = {
            "hello": self._hello,
            "status": self._status,
            "reload": self._asked_to_reload,
            "probe": self._probe,
            "examine": self._examine,
            "log": self._log,
        }

    def _hello(self, request: Json, tell: Tell) -> object:
        return {"pid": os.getpid(), "version": __version__}

    async def _status(self, request: Json, tell: Tell) -> object:
        from lanrelay.admin.control import Written
        from lanrelay.admin.portions import in_portions
        from lanrelay.admin.status import status_text

        return Written(await in_portions(self._environment.reactor, status_text(self._watched)))

    def _asked_to_reload(self, request: Json, tell: Tell) -> object:
        outcome = self._reload("lanrelay reload")
        return {"ok": outcome.ok, "errors": outcome.errors, "changes": outcome.changes}

    async def _probe(self, request: Json, tell: Tell) -> object:
        from lanrelay.admin.probes import probe_all

        upstream = str(request.get("upstream") or "")
        return await probe_all(self._environment, self._watched.listeners, upstream, tell)

    async def _log(self, request: Json, tell: Tell) -> object:
        if self._following is None:
            from lanrelay.admin.following import Following

            self._following = Following(self._environment.reactor, self._watched)
        return await self._following.log(request, tell)

    async def _examine(self, request: Json, tell: Tell) -> object:
        from lanrelay.admin.examinations import examined

        return await examined(self._environment.reactor, self._resolver, self._watched.config, request)
