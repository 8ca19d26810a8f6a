"""Gives the origin connections of one group of upstreams: from a pool, or dialed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lanrelay.config import model
from lanrelay.http.exchange import Exchange
from lanrelay.http.origin import OriginConnection
from lanrelay.http.pool import Pool
from lanrelay.transport.stream import hand_over
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.upstream.loops import Journey
from lanrelay.upstream.retry import try_each
from lanrelay.upstream.upstream import Upstream
from lanrelay.upstream.wakeup import counting_sleep

if TYPE_CHECKING:
    from lanrelay.upstream.inheritance import Inheritance


def _none() -> None:
    """No idle connection."""


class Origins:
    """
    One L{Pool} for each upstream of a group.

    For an upstream that gets a PROXY header no connection is kept: each speaks for one client.

    @param inheritance: the pools of upstreams that C{group} has taken over.
    """

    def __init__(
        self,
        reactor: Any,
        group: UpstreamGroup,
        pool: model.Pool,
        timeouts: model.Timeouts,
        *,
        inheritance: Inheritance | None = None,
    ) -> None:
        self.group = group
        self._reactor = reactor
        self._timeouts = timeouts
        clock = counting_sleep(reactor)
        none = pool._replace(size=0)
        self._pools: dict[Upstream, Pool] = {}
        for upstream in group.members:
            wanted = none if upstream.greets else pool
            known = None if inheritance is None else inheritance.pool(upstream, wanted)
            self._pools[upstream] = Pool(reactor, wanted, upstream, clock=clock) if known is None else known
            self._pools[upstream].share()
        self._closed = False
        self._down: set[Upstream] = set()
        for upstream in group.members:
            upstream.observers.append(self._drop_what_went_down)
        group.sleepers.append(self.drop_idle)
        # Only where there is no choice: `candidates` of round-robin counts how often it is asked.
        self._only = self._pools[group.members[0]] if len(group.members) == 1 else None
        # A pool's `take`, if there is only one upstream to which it can lead.
        self.take: Callable[[], OriginConnection | None] = _none if self._only is None else self._only.take

    async def connect(self, exchange: Exchange) -> OriginConnection:
        """
        An idle connection to the upstream whose turn it is, or a new one; a request that is repeated never
        gets an idle one, for the others may be as stale as the one that failed.

        @raise DialError: no upstream could be reached.
        @raise CancelledError: the client has gone.
        """
        session, reactor, repetition = exchange.session, self._reactor, exchange.repetition
        started = reactor.seconds()

        async def attempt(upstream: Upstream) -> OriginConnection:
            session.target = upstream.name
            pool = self._pools[upstream]
            if repetition is None and pool is not self._only:
                idle = pool.take()
                if idle is not None:
                    return idle
            session.tries += 1
            client = exchange.connection.client
            dialed = await upstream.dial(
                client=client.endpoints if upstream.greets and client is not None else None,
                journey=Journey(session.listener, () if client is None else client.hops),
                brief=upstream.given_up(self.group.config.retry.duration),
            )
            session.dialed = reactor.seconds() - started
            origin = OriginConnection(
                reactor, self._timeouts, address=dialed.address, upstream=upstream, home=pool
            )
            pool.adopt(origin)
            hand_over(dialed.stream, origin)
            return origin

        if repetition is None:
            return await try_each(reactor, self.group, attempt)
        avoid, spare = repetition.avoided, repetition.spared
        return await try_each(reactor, self.group, attempt, avoid=avoid, spare=spare)

    def has_other(self, upstream: Upstream) -> bool:
        """Whether another upstream is up."""
        return any(member.up and member is not upstream for member in self.group.members)

    def idle(self, upstream: Upstream) -> int:
        """How many connections to it wait for a request."""
        return len(self._pools[upstream])

    def drop_idle(self) -> None:
        """Close idle connections, but go on keeping those that come back."""
        for pool in self._pools.values():
            pool.drop_idle()

    def _drop_what_went_down(self) -> None:
        for upstream, pool in self._pools.items():
            if upstream.up:
                self._down.discard(upstream)
            elif upstream not in self._down:
                self._down.add(upstream)
                pool.drop_idle()  # they lead to the old target

    @property
    def pools(self) -> list[Pool]:
        """The pools, for the group that takes the upstreams over."""
        return list(self._pools.values())

    def close(self) -> None:
        """
        Close connections that are idle now, and those in use when they come back, unless other groups use
        them too.
        """
        if self._closed:
            return
        self._closed = True
        for upstream in self._pools:
            upstream.observers.remove(self._drop_what_went_down)
        for pool in self._pools.values():
            pool.close()
