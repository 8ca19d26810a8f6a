"""The record of one accepted connection, or of one exchange on it: who, where, times, bytes, end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lanrelay.errors import RelayError

Side = Literal["downstream", "upstream", "relay", ""]

Phase = Literal[
    "accept",  # client rules
    "tls",  # the handshake with the client
    "head",  # waiting for a request head or a greeting
    "policy",  # a rule refused it
    "dial",  # name, race, TCP, TLS, retry
    "request",  # sending the request
    "response",  # waiting for the response head
    "body",  # the response body
    "tunnel",  # bytes both ways
    "done",  # ended as it should
]


@dataclass(slots=True)
class Session:
    """
    What is known of one connection (a forward, a tunnel) or one HTTP exchange.

    Its listener opens it with L{lanrelay.observe.ledger.Ledger.open} and closes it exactly once with
    C{close}; in between whoever knows something writes it here. Nothing in it is secret: no query, no field
    value, no credentials.

    @ivar client: the peer as C{"127.0.0.1:50123"} or C{"unix"}.
    @ivar started: wall-clock seconds since the epoch.
    @ivar opened: the reactor's seconds at the same moment; durations are counted from it.
    @ivar target: what was asked for or configured (C{"nas.lan:5432"}).
    @ivar address: the address that was reached (C{"192.168.1.20:5432"}).
    @ivar dialed: seconds that the successful dial took, tries and pauses included.
    @ivar first_byte: seconds from C{opened} to the response head or the first byte from upstream.
    @ivar received: bytes that came from the client (content only for an exchange).
    @ivar sent: bytes that went to the client.
    @ivar last_active: the reactor's seconds when bytes last moved.
    @ivar ended_by: who ended it.
    @ivar phase: where it is now; after the end, where it ended.
    @ivar error: RFC 9209's word, empty for none.
    @ivar detail: the sentence to it.
    @ivar path: of an exchange, without its query.
    @ivar status: of an exchange, 0 before there is one.
    """

    id: int
    listener: str
    kind: str
    client: str
    started: float
    opened: float
    last_active: float = 0.0
    phase: Phase = "accept"
    target: str = ""
    address: str = ""
    dialed: float | None = None
    first_byte: float | None = None
    received: int = 0
    sent: int = 0
    ended_by: Side = ""
    error: str = ""
    detail: str = ""
    method: str = ""
    path: str = ""
    status: int = 0
    tries: int = 0
    closed: bool = field(default=False, repr=False)

    def failed(self, error: RelayError, *, by: Side, detail: str = "") -> None:
        """Note why it ended; C{phase} stays where it is. The first reason that is noted stands."""
        if not self.error:
            self.error = error.proxy_status
            self.detail = detail or str(error)
        self.ended_by = self.ended_by or by
