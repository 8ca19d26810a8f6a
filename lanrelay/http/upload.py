"""The content of a request, on its way from a client to an origin."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lanrelay.http.held import HeldRequest, Whole
from lanrelay.wire.headers import Headers

if TYPE_CHECKING:
    from lanrelay.http.exchange import Exchange
    from lanrelay.http.origin import OriginConnection

# Bytes of it that are kept while there is no connection for it; then the client is paused. A small POST fits,
# so its client is still read during the dial, and its leaving is noticed.
HELD_MAX: Final = 64 * 1024


class Upload:
    """
    The content of one request.

    It waits for a connection, or until it is whole if the route has to see all of it. While the request may
    be made again, a copy is kept.

    @ivar whole: whether all of it has come.
    """

    __slots__ = ("_copy", "_exchange", "_held", "_held_request", "_size", "_trailers", "whole")

    def __init__(self, exchange: Exchange) -> None:
        self.whole = False
        self._exchange = exchange
        self._held: list[bytes] = []
        self._size = 0
        self._held_request: HeldRequest | None = None
        self._copy: Whole | None = None
        self._trailers: Headers | None = None

    def hold(self, held: HeldRequest) -> None:
        """Hold the content until it is whole, or too long."""
        self._held_request = held

    def keep_copy(self, limit: int) -> None:
        """Keep a copy, if the content has no more bytes than that."""
        self._copy = Whole(limit)

    def was_sent(self, content: bytes) -> None:
        """Whether all of it has come, and gone on."""
        self.whole = True
        self._add_to_copy(content)

    def add(self, data: bytes) -> None:
        """Add a part that has come."""
        held = self._held_request
        if held is not None:
            if not held.add(data):
                self._let_go(held.content)  # too long, so it passes as it came
            return
        if self._copy is not None:
            self._add_to_copy(data)
        exchange = self._exchange
        if exchange.dialing is None and exchange.origin is not None:
            exchange.origin.send_body(data)
        elif not exchange.over:
            self._held.append(data)
            self._size += len(data)
            if self._size >= HELD_MAX:
                exchange.connection.pause_reading()

    def end(self, trailers: Headers) -> None:
        """All of it has come."""
        exchange, held = self._exchange, self._held_request
        if held is not None:
            content = held.changed()
            headers = exchange.head.headers
            if len(content) != held.size and b"content-length" in headers:
                headers = headers.replaced(b"Content-Length", b"%d" % len(content))
                exchange.head = replace(exchange.head, headers=headers)
            self._let_go(content)
        self.whole = True
        self._trailers = exchange.route.request_trailers(trailers) if trailers else trailers
        if exchange.dialing is None and exchange.origin is not None:
            self._sent_to(exchange.origin)

    def begin(self, origin: OriginConnection) -> None:
        """C{origin} has got the head: send what has waited, and let the client send more."""
        exchange = self._exchange
        held, self._held = self._held, []
        self._size = 0
        for data in held:
            origin.send_body(data)
        if exchange.origin is not origin:
            return  # the exchange failed meanwhile
        if self.whole:
            self._sent_to(origin)
        elif not origin.full:
            exchange.connection.resume_reading()  # last, for a stream may deliver from within this call

    @property
    def waits(self) -> bool:
        """Whether some of it waits for an origin."""
        return bool(self._held)

    @property
    def content(self) -> bytes | None:
        """All of it, if it is still here."""
        if not self.whole:
            return None
        if self._copy is not None:
            return self._copy.content
        return b"".join(self._held) if self._held else None

    @property
    def copied(self) -> bytes | None:
        """All of it, if a copy was kept."""
        return self._copy.content if self._copy is not None and self.whole else None

    def drop_copy(self) -> None:
        """Drop the copy: the request is not made again."""
        self._copy = None

    def send_again(self) -> None:
        """Have the copy wait for an origin."""
        if self._copy is not None:
            self._held = [self._copy.content]
            self._size = len(self._held[0])

    def drop(self) -> None:
        """Send no more of it."""
        self._held.clear()

    def _add_to_copy(self, data: bytes) -> None:
        if self._copy is not None and not self._copy.add(data):
            self._copy = None

    def _let_go(self, content: bytes) -> None:
        """Begin at last, with what was held back."""
        self._held_request = None
        self._exchange.go()
        if content:
            self.add(content)

    def _sent_to(self, origin: OriginConnection) -> None:
        self._exchange.request_sent()
        origin.end_request(self._trailers)
