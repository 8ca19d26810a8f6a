"""What has happened since the start, counted for each listener."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lanrelay.admin.failures import Failures
from lanrelay.observe.metrics import Histogram
from lanrelay.observe.session import Session

# Seconds, from a LAN host that answers from memory to a model that thinks; streams last longer.
REQUEST_BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
# Seconds, from a neighbour on the LAN to the limits of `timeouts.connect` (5 s) and `retry`.
DIAL_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

RECENT: Final = 100
"""
Sessions of each listener that are remembered after their end; each takes 600 bytes, 1,100 at most. To keep
less of each would cost every request more time.
"""


def _recent() -> deque[Session]:
    return deque(maxlen=RECENT)


def _requests() -> Histogram:
    return Histogram(REQUEST_BOUNDS)


def _dials() -> Histogram:
    return Histogram(DIAL_BOUNDS)


@dataclass(slots=True)
class Count:
    """
    The closed sessions of one listener.

    @ivar failed: those of C{sessions} that ended with an error.
    @ivar errors: how often each of RFC 9209's words was the reason.
    @ivar dial_failures: the same for sessions that got no connection to an upstream.
    @ivar codes: HTTP requests by the status of their answer; 0 for none.
    @ivar duration: of HTTP requests to the end of their answer, without tunnels.
    @ivar answered: of the same requests, to the head of their answer.
    @ivar dialed: of the dials that succeeded.
    @ivar wrong: those of C{sessions} that failed, or were answered with a status of 500 or above.
    @ivar recent: the latest, the oldest first.
    """

    sessions: int = 0
    failed: int = 0
    wrong: int = 0
    received: int = 0
    sent: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    dial_failures: dict[str, int] = field(default_factory=dict)
    codes: dict[int, int] = field(default_factory=dict)
    duration: Histogram = field(default_factory=_requests)
    answered: Histogram = field(default_factory=_requests)
    dialed: Histogram = field(default_factory=_dials)
    recent: deque[Session] = field(default_factory=_recent)


class Counters:
    """
    Its L{note} is one of the ledger's observers: a few additions for each session.

    @ivar listeners: by listener name; only those that have closed a session.
    @ivar failures: the latest that failed.
    @ivar failed: told of each that failed.
    """

    def __init__(self) -> None:
        self.listeners: dict[str, Count] = {}
        self.failures = Failures()
        self.failed: list[Callable[[Session], None]] = [self.failures.note]

    def note(self, session: Session, duration: float) -> None:
        """Count C{session}, which has closed after so many seconds."""
        count = self.listeners.get(session.listener)
        if count is None:
            count = self.listeners[session.listener] = Count()
        count.sessions += 1
        count.received += session.received
        count.sent += session.sent
        count.recent.append(session)
        if session.dialed is not None:
            count.dialed.observe(session.dialed)
        if session.method:
            status = session.status
            count.codes[status] = count.codes.get(status, 0) + 1
            if status != 101 and session.method != "CONNECT":
                count.duration.observe(duration)
                if session.first_byte is not None:
                    count.answered.observe(session.first_byte)
            if status >= 500 and not session.error:
                count.wrong += 1
        if session.error:
            count.failed += 1
            count.wrong += 1
            _increment(count.errors, session.error)
            if session.phase == "dial":
                _increment(count.dial_failures, session.error)
            for observer in self.failed:
                observer(session)

    def recent(self, listener: str) -> list[Session]:
        """The latest of a listener that have ended, the latest last."""
        count = self.listeners.get(listener)
        return [] if count is None else list(count.recent)

    def forget(self, name: str) -> None:
        """The listener is gone: only what is counted since the start stays."""
        count = self.listeners.get(name)
        if count is not None:
            count.recent.clear()


def _increment(counts: dict[str, int], word: str) -> None:
    counts[word] = counts.get(word, 0) + 1
