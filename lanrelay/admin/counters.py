"""What has happened since the start, counted for each listener."""

from __future__ import annotations

from dataclasses import dataclass, field

from lanrelay.observe.session import Session


@dataclass(slots=True)
class Count:
    """
    The closed sessions of one listener.

    @ivar failed: those of C{sessions} that ended with an error.
    @ivar errors: how often each of RFC 9209's words was the reason.
    """

    sessions: int = 0
    failed: int = 0
    received: int = 0
    sent: int = 0
    errors: dict[str, int] = field(default_factory=dict)


class Counters:
    """
    One of the ledger's observers.

    @ivar listeners: by listener name; only those that have closed a session.
    """

    def __init__(self) -> None:
        self.listeners: dict[str, Count] = {}

    def __call__(self, session: Session, duration: float) -> None:
        count = self.listeners.get(session.listener)
        if count is None:
            count = self.listeners[session.listener] = Count()
        count.sessions += 1
        count.received += session.received
        count.sent += session.sent
        if session.error:
            count.failed += 1
            count.errors[session.error] = count.errors.get(session.error, 0) + 1
