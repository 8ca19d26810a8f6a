"""What the upstreams of a new configuration take over from those of the old one that they are equal to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from typing import Protocol as Shape

from lanrelay.config import model

if TYPE_CHECKING:
    from lanrelay.observe.rings import Trail
    from lanrelay.upstream.balance import UpstreamGroup
    from lanrelay.upstream.health import HealthCheck
    from lanrelay.upstream.upstream import Upstream


class KeptConnections(Shape):
    """A L{Pool<lanrelay.http.pool.Pool>}."""

    config: model.Pool
    upstream: Any


class Inheritance:
    """
    Upstreams that run, with their state, their health checks, their idle connections, and what is known of
    their clients' sessions.

    The listener that takes one shares it with the one that had it before: a check runs, and a pool keeps
    connections, until the last of them has let go.
    """

    def __init__(
        self,
        groups: Iterable[UpstreamGroup] = (),
        pools: Iterable[KeptConnections] = (),
        sessions: Iterable[tuple[UpstreamGroup, Any]] = (),
    ) -> None:
        """@param sessions: of the clients of a group, as their routes know them."""
        self._members = [(member, group.checks.get(member)) for group in groups for member in group.members]
        self._pools = list(pools)
        self._sessions = list(sessions)

    def spend(self) -> None:
        """Forget them all: generations of listeners must not hold on to each other."""
        self._members.clear()
        self._pools.clear()
        self._sessions.clear()

    def upstream(
        self, config: model.Upstream, timeouts: model.Timeouts, health: model.Health | None
    ) -> tuple[Upstream, HealthCheck | None] | None:
        """One that is made of equal records, and its check."""
        for member, check in self._members:
            if member.is_made_of(config, timeouts, health):
                return member, check
        return None

    def trail(self, config: model.Upstream) -> Trail | None:
        """What one with the same URL, and the same address if there is one, was in the last day."""
        same = [member for member, _ in self._members if member.config.url == config.url]
        same.sort(key=lambda member: member.config.address != config.address)
        return same[0].trail if same else None

    def pool(self, upstream: Upstream, config: model.Pool) -> Any:
        """The idle connections of an upstream that was taken over; C{None} if there are none."""
        for pool in self._pools:
            if pool.upstream is upstream and pool.config == config:
                return pool
        return None

    def sessions(self, group: UpstreamGroup) -> Any:
        """Those of a group with the same URLs, whatever else has changed; C{None} if there are none."""
        urls = {member.url for member in group.members}
        for old, sessions in self._sessions:
            if {member.url for member in old.members} == urls:
                return sessions
        return None
