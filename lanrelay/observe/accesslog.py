"""
The access log: one line for each session, written when it closes.

A text line begins with four fixed fields and goes on with C{name=value} pairs, of which only the known ones
are written (each of these two is one line)::

    lan-mcp 127.0.0.1:50123 "POST /mcp" 200 in=512 out=2048 to=https://lan-host addr=192.168.1.20:443
        dial=3ms first=12ms total=1.203s end=upstream phase=done
    nas-db 127.0.0.1:50124 "tcp-forward" - in=0 out=0 to=tcp://nas.lan:5432 tries=4 total=3.1s
        end=upstream phase=dial error=connection_refused detail="..."

The fields:

  - the listener; the client; what was asked for: method and path, method and target of a C{CONNECT}, or the
    kind of listener; the status, C{-} when there was none;
  - C{in}, C{out}: bytes from and to the client;
  - C{to}: the target, and C{addr}: the address that was reached;
  - C{dial}: how long the dial that succeeded took, pauses and tries included; C{tries}: how many, when not 1;
  - C{first}: from the start to the response head or the upstream's first byte; C{total}: from start to end;
  - C{end}: who ended it (C{downstream}, C{upstream}, C{relay}); C{phase}: where it was then;
  - C{error}: RFC 9209's word; C{detail}: a sentence to it.

JSON has the same and more under the names of L{Session}, durations in seconds. There are no field values and
no query strings in either, and long random pieces of a path are C{***}.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from twisted.logger import Logger

from lanrelay.observe.logformat import ACCESS_NAMESPACE, Record, moment, printable
from lanrelay.observe.session import Session

SHORTEST_SECRET = 16
"""A shorter piece of a path is never masked."""


class AccessRecord(Record):
    """One closed session, ready to be logged in either form."""

    __slots__ = ("_duration", "_session")

    def __init__(self, session: Session, duration: float) -> None:
        self._session = session
        self._duration = duration

    def __str__(self) -> str:
        return as_line(self._session, self._duration)

    def fields(self) -> dict[str, object]:
        return as_fields(self._session, self._duration)


class AccessLog:
    """
    Logs the sessions of the listeners that want it; its L{note} is one of the ledger's observers.

    @ivar listeners: the names of those listeners.
    """

    def __init__(self, listeners: Collection[str]) -> None:
        self.listeners = frozenset(listeners)
        self.log = Logger(namespace=ACCESS_NAMESPACE)  # on a class it would take the class's namespace

    def note(self, session: Session, duration: float) -> None:
        """Log C{session}, which has closed after so many seconds."""
        if session.listener in self.listeners:
            # The record formats itself when, and only if, the line is written.
            self.log.info("{record}", record=AccessRecord(session, duration))


def as_line(session: Session, duration: float) -> str:
    """The text line, without a time."""
    if session.method:
        asked = f"{session.method} {shown_path(session.path) or session.target}".rstrip()
    else:
        asked = session.kind
    parts = [
        _word(session.listener),
        _word(session.client),
        _quoted(asked),
        str(session.status or "-"),
        f"in={session.received}",
        f"out={session.sent}",
    ]
    if session.target:
        parts.append(f"to={_word(session.target)}")
    if session.address:
        parts.append(f"addr={_word(session.address)}")
    if session.dialed is not None:
        parts.append(f"dial={duration_text(session.dialed)}")
    if session.tries > 1:
        parts.append(f"tries={session.tries}")
    if session.first_byte is not None:
        parts.append(f"first={duration_text(session.first_byte)}")
    parts.append(f"total={duration_text(duration)}")
    if session.ended_by:
        parts.append(f"end={session.ended_by}")
    parts.append(f"phase={session.phase}")
    if session.error:
        parts.append(f"error={_word(session.error)}")
    if session.detail:
        parts.append(f"detail={_quoted(session.detail)}")
    return " ".join(parts)


def as_fields(session: Session, duration: float) -> dict[str, object]:
    """The fields of the JSON line; what is not known is left out."""
    fields: dict[str, object] = {
        "id": session.id,
        "listener": session.listener,
        "kind": session.kind,
        "client": session.client,
        "started": moment(session.started),
        "duration": round(duration, 6),
        "received": session.received,
        "sent": session.sent,
    }
    optional: dict[str, object] = {
        "method": session.method,
        "path": shown_path(session.path),
        "status": session.status or None,
        "target": session.target,
        "address": session.address,
        "dialed": _rounded(session.dialed),
        "first_byte": _rounded(session.first_byte),
        "tries": session.tries or None,
        "ended_by": session.ended_by,
    }
    fields.update((name, value) for name, value in optional.items() if value is not None and value != "")
    fields["phase"] = session.phase
    if session.error:
        fields["error"] = session.error
    if session.detail:
        fields["detail"] = session.detail
    return fields


def shown_path(path: str) -> str:
    """
    C{path} up to its query, without pieces that look drawn by lot: both hold tokens.

    The session has been given a path without its query already; this looks a second time.
    """
    path = path.partition("?")[0]
    if path[:1] != "/" or max(map(len, path.split("/"))) < SHORTEST_SECRET:
        return path
    from lanrelay.edit import masking  # few paths need it

    return masking.path(path)


def duration_text(seconds: float) -> str:
    """Three digits or so: C{0ms}, C{3ms}, C{1.203s}, C{75.0s}, C{2h03m}."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.3f}s"
    if seconds < 600:
        return f"{seconds:.1f}s"
    minutes = int(seconds // 60)
    return f"{minutes // 60}h{minutes % 60:02d}m" if minutes >= 60 else f"{minutes}m{int(seconds % 60):02d}s"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


_PLAIN = re.compile(r"[^\s\"\\]+")


def _word(text: str) -> str:
    """C{text} as one word: quoted where it holds a space or a quote."""
    return printable(text) if _PLAIN.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
