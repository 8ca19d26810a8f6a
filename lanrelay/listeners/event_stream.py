"""A C{text/event-stream} on its way down: comments into its silence, and its endpoint made ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lanrelay.config.model import Duration
from lanrelay.transport.deadline import Deadline
from lanrelay.wire.sse import EndpointRewriter, EventBoundary

COMMENT: Final = b":\n\n"
"""
A comment line, which clients skip (HTML section 9.2.6), and the end of an event that is none. So a comment
never becomes the first line of what comes next.
"""


class EventStream:
    """
    The L{BodyFilter<lanrelay.listeners.exchange.BodyFilter>} of one such response.

    @param silence: seconds after which a comment is sent; C{None} for none.
    @param send: sends a part of the content.
    @param rewrite: for the URL of the stream's C{endpoint} event, if it is to be rewritten.
    """

    def __init__(
        self,
        reactor: Any,
        silence: Duration,
        send: Callable[[bytes], None],
        rewrite: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._silence = silence
        self._send = send
        self._endpoint = EndpointRewriter(rewrite) if rewrite is not None else None
        self._boundary = EventBoundary()
        self._paused = False
        self._deadline = Deadline(reactor, self._silent)
        self._deadline.set(silence)

    def feed(self, data: bytes) -> bytes:
        if self._endpoint is not None:
            data = self._endpoint.feed(data)
            if self._endpoint.done:
                self._endpoint = None
        if data:
            self._boundary.feed(data)
            self._deadline.set(self._silence)
        return data

    def finish(self) -> bytes:
        return b"" if self._endpoint is None else self._endpoint.finish()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    def stop(self) -> None:
        self._deadline.stop()

    def _silent(self) -> None:
        self._deadline.set(self._silence)
        # A client that does not read has enough to read; inside an event a comment would be data.
        if not self._paused and self._boundary.at_boundary:
            self._send(COMMENT)
