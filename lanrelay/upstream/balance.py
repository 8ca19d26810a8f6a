"""Which of several upstreams, and in which order they are tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lanrelay.config import model
from lanrelay.upstream.dial import Dialer
from lanrelay.upstream.upstream import Upstream

if TYPE_CHECKING:
    from lanrelay.upstream.health import HealthCheck
    from lanrelay.upstream.inheritance import Inheritance


class UpstreamGroup:
    """
    The upstreams of one listener or route.

    @ivar members: in the order of the configuration.
    @ivar checks: of each member, where there are health checks.
    @ivar sleepers: called after the machine has slept, before upstreams are checked.
    @param inheritance: members that run already; this group takes over those that are equal to its own.
    """

    def __init__(
        self,
        reactor: Any,
        dialer: Dialer,
        config: model.Upstreams,
        timeouts: model.Timeouts,
        *,
        inheritance: Inheritance | None = None,
    ) -> None:
        self.config = config
        self.members: list[Upstream] = []
        self.checks: dict[Upstream, HealthCheck] = {}
        for one in config.members:
            known = None if inheritance is None else inheritance.upstream(one, timeouts, config.health)
            member, check = known or (Upstream(reactor, dialer, one, timeouts, config.health), None)
            if known is None and inheritance is not None:
                member.trail = inheritance.trail(one) or member.trail
            self.members.append(member)
            if config.health is not None:
                from lanrelay.upstream.health import HealthCheck  # few upstreams are checked

                self.checks[member] = check or HealthCheck(reactor, member, config.health)
        _tell_apart(self.members)
        self.sleepers: list[Callable[[], None]] = []
        self._turn = 0
        self._started = False

    def load(self) -> None:
        """
        Read the certificates and keys of all.

        @raise StartError: one cannot be used.
        """
        for member in self.members:
            member.load()

    def start(self) -> None:
        """Begin the health checks, in the background."""
        if not self._started:
            self._started = True
            for check in self.checks.values():
                check.start()

    def stop(self) -> None:
        """End the health checks."""
        if self._started:
            self._started = False
            for check in self.checks.values():
                check.stop()

    def woken(self) -> None:
        """The machine has slept: check at once what is still there."""
        for sleeper in self.sleepers:
            sleeper()
        for check in self.checks.values():
            check.check_soon()

    def candidates(self) -> list[Upstream]:
        """
        Those that are up, in the order to try them; a single upstream always.

        Empty when all of several are down. An upstream that is down is not tried as a last resort. If it does
        not answer at all, the try takes the time in which one that restarts comes back; and the checks notice
        within C{down_interval} when it is there again.
        """
        if len(self.members) == 1:
            return list(self.members)
        up = [member for member in self.members if member.up]
        if self.config.balance == "least-connections":
            up.sort(key=lambda member: member.open)
        elif self.config.balance == "round-robin" and up:
            turn = self._turn % len(up)
            self._turn += 1
            up = up[turn:] + up[:turn]
        return up


def _tell_apart(members: Sequence[Upstream]) -> None:
    """URLs of which a piece is not shown may look the same, and figures need a name for each."""
    taken: dict[str, int] = {}
    for member in members:
        name = member.shown_url
        if name != member.url:
            taken[name] = number = taken.get(name, 0) + 1
            member.name = name if number == 1 else f"{name} ({number})"
