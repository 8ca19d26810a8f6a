"""The answers of an MCP listener: a JSON document, or a stream of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lanrelay.errors import ProgramEnded, ProgramError, RelayError, RequestDenied
from lanrelay.http.answers import failed
from lanrelay.mcp.streams import ANSWERS_MAX, EventStream
from lanrelay.observe.session import Session as Record
from lanrelay.transport.deadline import Deadline
from lanrelay.wire.events import ResponseHead
from lanrelay.wire.headers import Headers

if TYPE_CHECKING:
    from lanrelay.http.client import HttpConnection
    from lanrelay.listeners.exec_mcp import Live, McpService

KEEPALIVE: Final = 15.0
"""Seconds of silence before a comment, as C{sse_keepalive} of a reverse proxy."""

AT_ONCE: Final = 0.25
"""
Seconds within which an answer is one JSON document; after that the client gets a stream, which it can resume.
"""

_PRIMED: Final = "2025-11-25"  # since this version clients understand events without data


class EventsAnswer:
    """
    A stream of events as the answer to a request; its sink.

    @param after: the number of the last event that the client has got.
    @param opening: sent before all events.
    @param over: called once at its end.
    """

    def __init__(
        self,
        service: McpService,
        connection: HttpConnection,
        record: Record,
        live: Live,
        stream: EventStream,
        *,
        headers: Headers,
        after: int = 0,
        opening: bytes = b"",
        numbered: bool = True,
        over: Callable[[], None] | None = None,
    ) -> None:
        self._service, self._connection, self._record = service, connection, record
        self._live, self._stream = live, stream
        self._headers, self._opening, self._numbered = headers, opening, numbered
        self._heard = after
        self._begun = self._full = self._done = False
        self._when_over = over
        self._deadline = Deadline(service.environment.reactor, self._late)

    def from_now_on(self) -> None:
        """Leave out what went to another connection."""
        self._heard = self._stream.told

    def start(self) -> EventsAnswer:
        """Begin to listen to the program."""
        self._stream.hear(self)
        self._service.used(self._live)
        self._begin()
        self.news()
        return self

    def _begin(self) -> None:
        self._begun = True
        self._status(200)
        fields = [(b"Content-Type", b"text/event-stream"), (b"Cache-Control", b"no-cache, no-transform")]
        headers = Headers([*fields, (b"X-Accel-Buffering", b"no")])
        for name, value in self._headers:
            headers = headers.added(name, value)
        self._connection.cork()
        self._connection.send_head(ResponseHead(status=200, reason=b"OK", headers=headers))
        opening = self._opening or self._prime()
        self._send(opening or b": \n\n")
        self._connection.uncork()

    def _prime(self) -> bytes:
        """An event that tells a client at once from where it may resume."""
        if self._numbered and self._live.session.version >= _PRIMED and not self._heard:
            return b"id: %b-0\ndata: \n\n" % self._stream.name.encode()
        return b""

    def news(self) -> None:
        while self._begun and not (self._done or self._full):
            event = self._stream.after(self._heard)
            if event is None:
                if self._stream.ended:
                    self._finish()
                return
            self._heard = event.number
            self._stream.told = max(self._stream.told, event.number)
            head = b"event: message\n"
            if self._numbered:
                head += b"id: %b-%d\n" % (self._stream.name.encode(), event.number)
            self._send(b"%bdata: %b\n\n" % (head, event.text))

    def _send(self, data: bytes) -> None:
        self._record.sent += len(data)
        if self._record.first_byte is None:
            self._record.first_byte = self._service.environment.reactor.seconds() - self._record.opened
        self._connection.send_body(data)
        self._deadline.set(KEEPALIVE)

    def _late(self) -> None:
        if not (self._done or self._full):
            self._send(b": \n\n")

    def replaced(self) -> None:
        if not self._done:
            self._finish()

    def _finish(self) -> None:
        self._leave("relay")
        self._connection.end()

    def _status(self, status: int) -> None:
        self._record.status, self._record.phase = status, "body"

    def _leave(self, by: str, error: RelayError | None = None) -> None:
        if self._done:
            return
        self._done = True
        self._deadline.stop()
        self._stream.left(self)
        self._live.host.free(self)
        record = self._record
        if error is not None:
            record.failed(error, by="downstream" if by == "downstream" else "relay")
        elif by == "relay":
            record.done(by="relay")
        else:
            record.left(by="downstream" if by == "downstream" else "relay")
        self._service.environment.ledger.close(record)
        if self._when_over is not None:
            self._when_over()
        self._service.used(self._live)

    # --- as a sink

    def body_received(self, data: bytes) -> None: ...

    def body_ended(self, trailers: Headers) -> None: ...

    def client_gone(self, error: RelayError | None) -> None:
        self._leave("downstream", error)

    def pause_sending(self) -> None:
        if self._done:
            return  # its last part is on its way; no event tells when that has left
        self._full = True
        self._live.host.full(self)

    def resume_sending(self) -> None:
        if self._full:
            self._full = False
            self._live.host.free(self)
            self.news()


class PostAnswer(EventsAnswer):
    """
    The answer to requests: JSON if it comes soon, or if the client accepts nothing else.

    @ivar content: the request's content, from which an error answer takes its id.
    """

    content: bytes = b""
    batch = False

    def start(self) -> EventsAnswer:
        self._stream.hear(self)
        self._service.used(self._live)
        self._deadline.set(AT_ONCE)
        self.news()
        return self

    def news(self) -> None:
        if self._begun or self._done:
            super().news()
        elif self._stream.ended:
            self._whole()
        elif self._stream.takes_events and not all(event.answer for event in self._stream.events):
            self._begin()
            super().news()

    def _late(self) -> None:
        if self._begun:
            super()._late()
        elif self._stream.takes_events and not self._done:
            self._begin()
            self.news()

    def _whole(self) -> None:
        stream, connection = self._stream, self._connection
        texts = [event.text for event in stream.events if event.answer]
        if stream.cause:
            error = ProgramEnded(stream.cause)
            answer = failed(error, connection.head, self.content)
            self._record.failed(error, by="upstream", detail=answer.explanation)
            headers, body, status = answer.headers, answer.body, answer.status
        elif self._live.session.over:
            denied = RequestDenied(
                "its session is over", http_status=404, remedy="Begin anew with initialize."
            )
            answer = failed(denied, connection.head, self.content)
            self._record.failed(denied, by="relay", detail=answer.explanation)
            headers, body, status = answer.headers, answer.body, answer.status
        elif stream.lost:
            much = ProgramError(f"the answers are larger than {ANSWERS_MAX >> 20} MB together")
            answer = failed(much, connection.head, self.content)
            self._record.failed(much, by="upstream", detail=answer.explanation)
            headers, body, status = answer.headers, answer.body, answer.status
        elif texts:
            body = b"[%b]" % b",".join(texts) if self.batch else texts[0]
            headers, status = Headers([(b"Content-Type", b"application/json")]), 200
            for name, value in self._headers:
                headers = headers.added(name, value)
        else:
            headers, body, status = Headers([]), b"", 202  # all its requests were cancelled
        self._status(status)
        self._record.sent += len(body)
        self._leave("relay")
        connection.answer(status, headers, body)
