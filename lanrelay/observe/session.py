"""The record of one accepted connection, or of one exchange on it: who, where, times, bytes, end."""

from __future__ import annotations

import re
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


BRIEF = 80
"""Characters; a text with no more of them is L{brief} as it is."""

_LONGEST = 512
TARGET = 256
"""The same for a target; a name has 253."""
_SENTENCES = 768
_PLAIN = re.compile(r"[ !#-\[\]-~]*")  # each is written as it is


def brief(text: str, longest: int = _LONGEST) -> str:
    """
    C{text} as a log, a table and a page bear it: a client may choose 16 KB, and send a thousand of them.

    It says how much is left out. The rest takes at most C{longest} bytes when it is written with its escapes.
    """
    if len(text) <= BRIEF or (len(text) <= longest and _PLAIN.fullmatch(text)):
        return text
    room, shown = longest, 0
    for letter in text[:longest]:
        room -= (
            1 if _PLAIN.fullmatch(letter) else 2 if letter in _QUOTED else 6 if letter < "\U00010000" else 12
        )
        if room < 0:
            break
        shown += 1
    left_out = len(text) - shown
    return f"{text[:shown]}...(+{left_out})" if left_out else text


_QUOTED = '"\\'


@dataclass(slots=True)
class Session:
    """
    What is known of one connection (a forward, a tunnel) or one HTTP exchange.

    Its listener opens it with L{lanrelay.observe.ledger.Ledger.open} and closes it exactly once with
    C{close}; in between every part that knows something writes it here, and one says by L{done}, L{left} or
    L{failed} how it ends. Nothing in it is secret: no query, no field value, no credentials.

    @ivar client: the peer as C{"127.0.0.1:50123"} or C{"unix"}.
    @ivar started: wall-clock seconds since the epoch.
    @ivar opened: the reactor's seconds at the same moment; durations are counted from it.
    @ivar target: what was asked for or configured (C{"nas.lan:5432"}); what a client chooses is L{brief}.
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
    @ivar path: of an exchange, without its query, L{brief}.
    @ivar status: of an exchange, 0 before there is one.
    @ivar duration: seconds from its beginning to its end, once it has ended.
    @ivar rpc: of an exchange whose content was in hand, the method of the JSON-RPC message in it.
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
    rpc: str = ""
    duration: float = 0.0
    closed: bool = field(default=False, repr=False)

    def done(self, *, by: Side) -> None:
        """It has ended as it should; who was noted first stands."""
        self.phase = "done"
        self.ended_by = self.ended_by or by

    def left(self, *, by: Side) -> None:
        """Someone ended it where it is, which is nobody's fault; who was noted first stands."""
        self.ended_by = self.ended_by or by

    def failed(self, error: RelayError, *, by: Side, detail: str = "") -> None:
        """Note why it ended; C{phase} stays where it is. The first reason that is noted stands."""
        if not self.error:
            self.error = error.proxy_status
            self.detail = brief(detail or str(error), _SENTENCES)
        self.ended_by = self.ended_by or by
