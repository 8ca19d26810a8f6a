"""Feeds a parser the same bytes whole, split at every position and byte by byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.events import BodyPart, ConnectionClosed, EndOfMessage, Event, RequestHead, ResponseHead
from lanrelay.wire.http1 import Http1Client, Http1Server

Wire = Http1Server | Http1Client


@dataclass(frozen=True)
class Outcome:
    """
    What came of it, in a form that does not depend on the pieces.

    @ivar events: heads as tuples, content joined.
    @ivar error: the status of the error, C{None} for none.
    @ivar unread: what was left behind the message.
    """

    events: tuple[object, ...]
    error: int | None
    unread: bytes = b""


def pieces(data: bytes) -> Iterator[list[bytes]]:
    """The ways to cut."""
    yield [data]
    for position in range(1, len(data)):
        yield [data[:position], data[position:]]
    yield [data[position : position + 1] for position in range(len(data))]


def feed(wire: Wire, parts: list[bytes], *, eof: bool = False) -> Outcome:
    events: list[Event] = []
    error: int | None = None
    try:
        for part in parts:
            events += wire.receive(part)
        if eof:
            events += wire.receive_eof()
    except RemoteProtocolError as failure:
        events += wire.before_error
        error = failure.http_status
    return Outcome(told(events), error, wire.take_unread())


def outcome(make: Callable[[], Wire], data: bytes, *, eof: bool = False) -> Outcome:
    """The one outcome of all the ways to cut; fails if there are two."""
    whole: Outcome | None = None
    for parts in pieces(data):
        result = feed(make(), parts, eof=eof)
        if whole is None:
            whole = result
        elif result != whole:
            raise AssertionError(f"{result}\nfor {parts}, but\n{whole}\nfor the whole")
    assert whole is not None
    return whole


def told(events: list[Event]) -> tuple[object, ...]:
    said: list[object] = []
    for event in events:
        if isinstance(event, RequestHead):
            said.append((event.method, event.target, event.version, list(event.headers)))
        elif isinstance(event, ResponseHead):
            said.append((event.status, event.reason, event.version, list(event.headers)))
        elif isinstance(event, BodyPart):
            assert event.data, "an empty part"
            if said and isinstance(said[-1], bytes):
                said[-1] += event.data
            else:
                said.append(event.data)
        elif isinstance(event, EndOfMessage):
            said.append(("end", list(event.trailers)) if event.trailers else "end")
        else:
            assert isinstance(event, ConnectionClosed)
            said.append("closed")
    return tuple(said)
