"""The running relay as the status endpoints see it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from lanrelay.admin.certificates import OwnCertificates
from lanrelay.admin.pulse import Pulses
from lanrelay.observe.timeline import Timeline

if TYPE_CHECKING:
    from lanrelay.admin.counters import Counters
    from lanrelay.config import model
    from lanrelay.listeners.service import ListenerService
    from lanrelay.observe.ledger import Ledger

RELOADS = 10
"""How many reloads are remembered."""


class Reload(NamedTuple):
    """
    One attempt to put a changed configuration into force.

    @ivar at: wall-clock seconds since the epoch.
    @ivar by: who asked: C{"SIGHUP"}, C{"lanrelay reload"}, C{"--watch"}.
    @ivar errors: why everything stayed as it was, as sentences; none if it is in force.
    @ivar changes: what has become different, as sentences.
    """

    at: float
    by: str
    errors: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the new configuration is in force."""
        return not self.errors


class WallClock:
    """
    Turns the reactor's seconds into wall-clock moments.

    The two drift apart when the machine sleeps or its clock is set. Else the same second always gives the
    same moment, to the millisecond, so that what has not changed looks unchanged.
    """

    def __init__(self, seconds: Callable[[], float], now: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._now = now
        self._offset = now() - seconds()

    def at(self, seconds: float) -> float:
        """Seconds since the epoch."""
        offset = self._now() - self._seconds()
        if abs(offset - self._offset) > 0.5:
            self._offset = offset
        return seconds + self._offset


@dataclass(slots=True, kw_only=True)
class Watched:
    """
    The parts of the running relay that the endpoints look at; the service keeps it up to date.

    @ivar started: wall-clock seconds since the epoch.
    @ivar config: the one in force.
    @ivar configured: since when it is in force, in wall-clock seconds.
    @ivar listeners: those that were started; the service keeps the list.
    @ivar draining: those that a reload has replaced or removed, while they have connections.
    @ivar lines: where the configuration has each listener, by its name and C{""}, and each of its upstreams,
        by the name and the URL.
    @ivar reloads: the latest last; see L{reloaded}.
    @ivar follows: whether each change of a listener, or of what belongs to it, is noted in C{ledger.touched}.
    @ivar pieces: of the status document, as L{lanrelay.admin.status} keeps them.
    @ivar timeline: what has happened, the latest last.
    @ivar pulses: what is remembered of each listener.
    """

    version: str
    config: model.Config
    started: float
    reactor: Any
    ledger: Ledger
    counters: Counters
    listeners: Sequence[ListenerService]
    draining: Sequence[ListenerService] = ()
    lines: Mapping[tuple[str, str], int] = field(default_factory=dict)
    reloads: deque[Reload] = field(default_factory=lambda: deque(maxlen=RELOADS))
    own_certificates: OwnCertificates = field(default_factory=OwnCertificates)
    timeline: Timeline = field(default_factory=Timeline)
    follows: bool = False
    pieces: Any = None
    pulses: Pulses = field(init=False)
    wall: WallClock = field(init=False)
    configured: float = field(init=False)

    def __post_init__(self) -> None:
        self.wall = WallClock(self.reactor.seconds)
        self.pulses = Pulses(self.counters)
        self.configured = self.started

    def reloaded(self, reload: Reload) -> None:
        """Note how an attempt to reload came out; the caller sets a new C{config}."""
        self.reloads.append(reload)
        if reload.ok:
            self.configured = reload.at
            said = "; ".join(reload.changes) or "nothing has changed"
            self.timeline.note("reloaded", f"reloaded ({reload.by}): {said}", reload.at, word=said)
        else:
            said = "; ".join(reload.errors)
            self.timeline.note("refused", f"not reloaded ({reload.by}): {said}", reload.at, word=said)
