"""Sends an answer to a client: its head, its content and its end, in parts or all at once; or cuts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from lanrelay.config.model import Timeouts
from lanrelay.http.answers import reason_phrase
from lanrelay.http.client_stream import ANSWERED, ANSWERING, LINGERING, ClientStream, Leaving
from lanrelay.http.sink import RequestSink
from lanrelay.wire.events import NO_FIELDS, BodyPart, EndOfMessage, Event, ResponseHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.http1 import Http1Server

_END: Final = EndOfMessage()


class Answering(ClientStream):
    """
    The part of an L{HttpConnection<lanrelay.http.client.HttpConnection>} that its application speaks to.

    @ivar sink: is told of the request that is under way.
    @ivar leaving: whether the connection ends although its client may ask for more.
    """

    __slots__ = ("_dispatching", "_receiving", "leaving", "sink")

    def __init__(self, reactor: Any, timeouts: Timeouts, wire: Http1Server) -> None:
        super().__init__(reactor, timeouts, wire)
        self.sink: RequestSink | None = None
        self.leaving = Leaving.NOT
        self._receiving = False  # more of the request is to come
        self._dispatching = False  # the sink is being told of events

    def _dispatch(self, events: Sequence[Event]) -> None:
        """For a subclass: go on with the next request if this one is over."""
        raise NotImplementedError

    def _settle(self) -> None:
        """For a subclass: bring reading and the timer in line with what is under way."""
        raise NotImplementedError

    def send_head(self, head: ResponseHead) -> None:
        """Send an interim or the final response head; the wire picks the framing."""
        if self.state >= LINGERING:
            return
        if head.status < 200 and head.status != 101:
            self._write(self._wire.send(head))
            self._settle()
            return
        self._final_head()
        self._write(self._wire.send(head))

    def send_body(self, data: bytes) -> None:
        """Send a part of the content; after C{pause_sending} it should be the last for now."""
        if self.state < LINGERING:
            self._write(self._wire.send(BodyPart(data=data)))

    @property
    def chunk_writer(self) -> Callable[[bytes], None] | None:
        """A function that sends whole chunks, until the answer ends; C{None} if the answer is not chunked."""
        return self._stream.write if self.state < LINGERING and self._wire.sends_chunks else None

    def end(self, trailers: Headers = NO_FIELDS) -> None:
        """The response is complete. If the request is not, the rest of it is read and thrown away."""
        if self.state >= LINGERING:
            return
        self._write(self._wire.send(EndOfMessage(trailers=trailers) if trailers else _END))
        self._ended()

    def send_whole(self, head: ResponseHead, content: bytes, trailers: Headers = NO_FIELDS) -> None:
        """Send a whole final response, in one write: as L{send_head}, L{send_body} and L{end}."""
        if self.state >= LINGERING:
            return
        self._final_head()
        self._write(self._wire.send_whole(head, content, trailers))
        self._ended()

    def _final_head(self) -> None:
        if self._receiving or self.leaving:
            self._wire.close_after_response()
        self.state = ANSWERING

    def _ended(self) -> None:
        self.uncork()  # before the next request is looked at, for only a client that reads gets more
        self.state = ANSWERED
        self.sink = None
        outermost, self._dispatching = not self._dispatching, True
        if self._paused:
            self._paused = False
            self._resume()  # what comes during this call waits in `_late`
        if outermost:
            self._dispatch(())

    def say_close(self) -> None:
        """The answer that is about to begin is the last one on this connection."""
        self._wire.close_after_response()

    def answer(self, status: int, headers: Headers, body: bytes = b"", reason: bytes = b"") -> None:
        """
        Send a whole small response that the relay made; C{Content-Length} is added.

        @param reason: empty for the usual phrase of C{status}.
        """
        if b"content-length" not in headers and status not in (204, 304):
            headers = headers.added(b"Content-Length", b"%d" % len(body))
        reason = reason or reason_phrase(status)
        self.send_whole(ResponseHead(status=status, reason=reason, headers=headers), body)

    def pause_reading(self) -> None:
        """Hold the request's body back."""
        if not self._paused:
            self._paused = True
            self._stream.pauseProducing()
            self._settle()

    def resume_reading(self) -> None:
        """Let the request's body come again."""
        if self._paused:
            self._paused = False
            self._resume()
            self._settle()

    def cut(self) -> None:
        """
        End an answer that is not whole.

        The part that was sent still arrives. The framing shows that there was more to come, or a reset does
        if the answer ends with the connection.
        """
        if self.state >= LINGERING:
            return
        if not self._wire.shows_its_end:
            self._cut()
        elif self._receiving:
            self._linger()
        else:
            self._close()
