"""Which of several upstreams, and in which order they are tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lanrelay.config import model
from lanrelay.upstream.dial import Dialer
from lanrelay.upstream.health import HealthCheck
from lanrelay.upstream.upstream import Upstream


class UpstreamGroup:
    """
    The upstreams of one listener or route.

    @ivar members: in the order of the configuration.
    @ivar sleepers: called after the machine has slept, before upstreams are checked.
    """

    def __init__(
        self, reactor: Any, dialer: Dialer, config: model.Upstreams, timeouts: model.Timeouts
    ) -> None:
        self.config = config
        self.members = [
            Upstream(reactor, dialer, member, timeouts, config.health) for member in config.members
        ]
        self.sleepers: list[Callable[[], None]] = []
        self._turn = 0
        self._checks: list[HealthCheck] = []
        if config.health is not None:
            self._checks = [HealthCheck(reactor, member, config.health) for member in self.members]

    def load(self) -> None:
        """
        Read the certificates and keys of all.

        @raise StartError: one cannot be used.
        """
        for member in self.members:
            member.load()

    def start(self) -> None:
        """Begin the health checks, in the background."""
        for check in self._checks:
            check.start()

    def stop(self) -> None:
        """End the health checks."""
        for check in self._checks:
            check.stop()

    def woken(self) -> None:
        """The machine has slept: check at once what is still there."""
        for sleeper in self.sleepers:
            sleeper()
        for check in self._checks:
            check.check_soon()

    def candidates(self) -> list[Upstream]:
        """
        Those that are up, in the order to try them; a single upstream always.

        Empty when all of several are down. One that is down is not tried as a last resort: if it does not
        answer at all, it takes the time in which one that restarts comes back, and the checks notice within
        C{down_interval} when it is there again.
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
