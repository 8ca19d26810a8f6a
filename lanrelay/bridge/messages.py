"""What the dialogue, which does no I/O, and the loop around it say to each other."""

from __future__ import annotations

from typing import NamedTuple

Fields = tuple[tuple[str, str], ...]
"""Names and values of header fields, in their order."""


class Ask(NamedTuple):
    """
    Make this HTTP request of the target. It ends with C{finished} or C{failed}, or with L{Drop}.

    @ivar number: by which the dialogue knows it; no two asks have the same.
    @ivar path: an absolute path with its query, of the target's own origin; C{None} is the target's own path.
    @ivar fields: what the protocol needs (Accept, Content-Type, MCP-Protocol-Version ...). The carrier adds
        Host, lengths, the person's own fields and the login.
    @ivar replayable: when a kept connection turns out closed before a byte of the answer, the carrier may
        send the ask once more by itself: running it twice does no harm.
    """

    number: int
    method: str
    path: str | None
    fields: Fields
    body: bytes | None
    replayable: bool


class Drop(NamedTuple):
    """Drop an ask: its connection is closed at once, and the dialogue hears no more of it."""

    number: int


class Say(NamedTuple):
    """Write this line, which has no newline in it, to the client."""

    line: bytes


class Wake(NamedTuple):
    """Call C{woken} at this time, or earlier; replaces the last one. C{None}: do not call it any more."""

    at: float | None


class Note(NamedTuple):
    """Tell the log. No header's value and no body is ever in it."""

    text: str
    warning: bool = False


class Done(NamedTuple):
    """All that had to be said is said: the process may end."""


Action = Ask | Drop | Say | Wake | Note | Done


class Event(NamedTuple):
    """
    One event of a C{text/event-stream} (HTML section 9.2.6).

    @ivar id: the last event id that the stream has given, C{None} for none.
    @ivar retry: milliseconds, where this event said so.
    """

    kind: str
    data: bytes
    id: str | None
    retry: int | None


class Failure(NamedTuple):
    """
    Why an ask got no answer, or only the beginning of one.

    @ivar cause: a word of the closed set of C{lanrelay doctor}: C{refused}, C{timeout}, C{unknown_ca} ...
    @ivar said: what was seen, one sentence.
    @ivar remedy: what to do about it, one sentence; may be empty.
    @ivar ran: whether the server may have done what it was asked: C{False} only where nothing of the request
        can have reached it.
    """

    cause: str
    said: str
    remedy: str
    ran: bool

    def __str__(self) -> str:
        return f"{self.said} {self.remedy}".strip()
