"""The upstreams of listeners, each with what tells it from others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lanrelay.listeners.service import ListenerService
    from lanrelay.upstream.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Lead:
    """
    An upstream of a listener.

    @ivar route: the path prefix of its route; empty for a listener without routes.
    @ivar checked: health checks in the background look at it.
    @ivar idle: how many connections to it wait for a request.
    """

    listener: str
    route: str
    upstream: Upstream
    checked: bool
    idle: int

    @property
    def labels(self) -> dict[str, str]:
        """What tells it from others; C{address} only where the URL does not say what is dialed."""
        upstream = self.upstream
        address = "" if upstream.config.address is None else str(upstream.target)
        return {
            "listener": self.listener,
            "route": self.route,
            "upstream": upstream.name,
            "address": address,
        }


def leads(listeners: Iterable[ListenerService]) -> Iterator[Lead]:
    """All upstreams, in the order of the configuration."""
    for listener in listeners:
        for index, group in enumerate(listener.groups):
            route = listener.routes[index] if listener.routes else None
            for upstream in group.members:
                yield Lead(
                    listener=listener.config.name,
                    route="" if route is None else route.path.decode("utf-8", "replace"),
                    upstream=upstream,
                    checked=group.config.health is not None,
                    idle=0 if route is None else route.origins.idle(upstream),
                )
