"""Reaches an upstream once, for somebody who looks on: every step with what it found and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lanrelay.addresses import IPAddress
from lanrelay.config import model
from lanrelay.errors import DialError, RelayError, StartError, TlsError
from lanrelay.transport.abilities import abilities_of
from lanrelay.transport.stream import Stream
from lanrelay.upstream.dial import Dialer, Target, known_addresses
from lanrelay.upstream.explain import explain
from lanrelay.upstream.health import HealthCheck
from lanrelay.upstream.look_ups import LookUps
from lanrelay.upstream.loops import Journey
from lanrelay.upstream.race import SocketAddress
from lanrelay.upstream.upstream import Upstream

Name = Literal["files", "name", "connect", "proxy", "tls", "health"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    One step, and what came of it.

    @ivar said: what was found; of a step that failed the sentences of L{explain}.
    """

    name: Name
    ok: bool
    seconds: float
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """
    What came of it all.

    @ivar seconds: from the first step to the end of the last.
    @ivar error: why it could not be reached; C{None} if it could.
    """

    seconds: float
    error: RelayError | None = None


async def probe(
    reactor: Any,
    dialer: Dialer,
    config: model.Upstream,
    timeouts: model.Timeouts,
    health: model.Health | None,
    tell: Callable[[Step], object],
) -> Probed:
    """
    Reach an upstream with these records as a client of the relay would; nothing is counted.

    The files that it trusts are read anew; open connections are not used.

    @param tell: called after each step.
    @raise CancelledError: the caller cancelled; nothing stays open.
    """
    started = reactor.seconds()
    notes = _Notes(reactor, tell)
    noting = _NotingDialer(reactor, dialer, notes, through=config.via is not None)
    upstream = Upstream(reactor, noting, config, timeouts, health)
    try:
        upstream.load()
        notes.begin("connect")
        dialed = await upstream.connect()
        if upstream.parent is not None:
            notes.end(f"{upstream.parent.name} opened the way to {upstream.target}")
        if upstream.tls is not None:
            notes.end(_secured(upstream, abilities_of(dialed.stream).version), name="tls")
        if health is not None and health.path is not None:
            notes.begin("health")
            await HealthCheck(reactor, upstream, health)._get(dialed.stream, health.path, health.timeout)
            notes.end(f"GET {health.path} got an answer that counts as good")
        else:
            dialed.stream.loseConnection()
    except (DialError, StartError) as error:
        notes.failed(error)
        return Probed(seconds=reactor.seconds() - started, error=error)
    return Probed(seconds=reactor.seconds() - started)


def _secured(upstream: Upstream, version: str) -> str:
    found = upstream.certificate
    said = version or "TLS"
    if found is not None:
        whose = found.subject or ", ".join(found.names)
        dates = f"from {found.not_before:%Y-%m-%d} to {found.not_after:%Y-%m-%d}"
        said += f"; certificate of {whose}, issued by {found.issuer}, valid {dates}"
    return f"{said}; NOT verified (tls.verify: false)" if upstream.insecure else said


class _Notes:
    """Which step is under way, since when."""

    def __init__(self, reactor: Any, tell: Callable[[Step], object]) -> None:
        self._reactor = reactor
        self._tell = tell
        self._name: Name = "files"
        self._since: float = reactor.seconds()

    def begin(self, name: Name) -> None:
        self._name = name
        self._since = self._reactor.seconds()

    def end(self, said: str, *, name: Name | None = None) -> None:
        """The step is done, and the next begins."""
        now = self._reactor.seconds()
        self._tell(Step(name=name or self._name, ok=True, seconds=now - self._since, said=said))
        self._since = now

    def failed(self, error: RelayError) -> None:
        name: Name = "tls" if isinstance(error, TlsError) else self._name
        if isinstance(error, StartError):
            said = str(error)
        else:
            explanation = explain(error)
            said = f"{explanation.what} {explanation.remedy}".strip()
        self._tell(Step(name=name, ok=False, seconds=self._reactor.seconds() - self._since, said=said))


class _NotingDialer(Dialer):
    """A dialer whose steps are noted as it takes them."""

    def __init__(self, reactor: Any, dialer: Dialer, notes: _Notes, *, through: bool) -> None:
        super().__init__(reactor, dialer._resolver, connect=dialer._connect)
        self._notes = notes
        self._next: Name = "proxy" if through else "tls"

    async def _addresses(
        self,
        target: Target,
        timeout: float,
        fixed: Mapping[str, tuple[IPAddress, ...]],
        look_ups: LookUps | None,
    ) -> tuple[IPAddress, ...]:
        if known_addresses(target.host, fixed):
            return await super()._addresses(target, timeout, fixed, look_ups)
        self._notes.begin("name")
        found = await super()._addresses(target, timeout, fixed, look_ups)
        self._notes.end(f"{target.host} is {', '.join(map(str, found))}")
        return found

    async def _connected(
        self, addresses: list[SocketAddress], left: float, timeout: float, journey: Journey | None
    ) -> tuple[Stream, str]:
        self._notes.begin("connect")
        stream, address = await super()._connected(addresses, left, timeout, journey)
        self._notes.end(f"connected to {address}")
        self._notes.begin(self._next)
        return stream, address
