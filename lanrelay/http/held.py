"""Holds content that has to be whole before it, or what is made of it, goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from lanrelay.http.route import BodyFilter
from lanrelay.passage.oauth import DOCUMENT_MAX, Rewrite, changed_document
from lanrelay.wire.events import ResponseHead

if TYPE_CHECKING:
    from lanrelay.http.exchange import Exchange

INITIALIZE_MAX: Final = 16 * 1024
"""
Bytes of an initialize request that is remembered, so that a route keeps 4 MiB at most; SDKs send some 300.
"""

BODY_MAX: Final = 1024 * 1024
"""Bytes of a request that can be repeated."""

ANSWER_MAX: Final = 256 * 1024
"""Bytes of the answer to initialize, or of a 404 that is held while that is tried."""

HELD: Final = 5.0
"""
Seconds for which an answer is held to wait for its end. Answers that have to be whole are short, and come at
once.
"""


class Whole:
    """Content that is collected up to a limit; in one buffer, for it may come byte by byte."""

    __slots__ = ("_collected", "_limit")

    def __init__(self, limit: int) -> None:
        self._collected = bytearray()
        self._limit = limit

    def add(self, data: bytes) -> bool:
        """Add a part; C{False} if that was too much."""
        self._collected += data
        return len(self._collected) <= self._limit

    @property
    def content(self) -> bytes:
        return bytes(self._collected)

    @property
    def size(self) -> int:
        return len(self._collected)


class HeldRequest(Whole):
    """
    The content of a request that is sent when it is whole; over its limit it passes as it came.

    @param rewrite: gives the content that is sent instead.
    """

    __slots__ = ("_rewrite",)

    def __init__(self, limit: int, rewrite: Rewrite) -> None:
        super().__init__(limit)
        self._rewrite = rewrite

    def changed(self) -> bytes:
        """The content that is sent instead of the whole."""
        return self._rewrite(self.content)


class HeldAnswer(Whole, BodyFilter):
    """
    Holds an answer until it is whole. One that is too long, or does not end in time, passes as it came. It is
    the L{BodyFilter<lanrelay.http.route.BodyFilter>} of its exchange.

    @ivar rewrite: gives the content that is sent instead; C{None} for a 404 to a forgotten session.
    """

    holds_head = True
    __slots__ = ("_exchange", "_timer", "head", "rewrite")

    def __init__(self, exchange: Exchange, head: ResponseHead, rewrite: Rewrite | None = None) -> None:
        super().__init__(ANSWER_MAX if rewrite is None else DOCUMENT_MAX)
        self.head = head
        self.rewrite = rewrite
        self._exchange = exchange
        self._timer: Any = exchange.route.reactor.callLater(HELD, self._too_long)

    def feed(self, data: bytes) -> bytes:
        if self.add(data):
            return b""
        self.stop()
        self._exchange.release(self.head)
        return self.content

    def finish(self) -> bytes:
        self.stop()
        came = self.content
        content = came if self.rewrite is None else self.rewrite(came)
        if content != came:
            self.head = replace(self.head, headers=changed_document(self.head.headers, len(content)))
        self._exchange.release(self.head)
        return content

    def _too_long(self) -> None:
        exchange = self._exchange
        exchange.release(self.head)
        if self.content:
            exchange.send_down(self.content)

    def stop(self) -> None:
        """The answer is held no longer, or its end has come."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
