"""What an exchange is told by its listener or route: how its request travels, and what its answer becomes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Protocol

from lanrelay.config.model import Timeouts
from lanrelay.http.asking import ChunkTaker
from lanrelay.http.origin import OriginConnection
from lanrelay.observe.ledger import Ledger
from lanrelay.observe.session import Session
from lanrelay.wire.events import RequestHead, ResponseHead

if TYPE_CHECKING:
    from lanrelay.http.exchange import Exchange


class BodyFilter(Protocol):
    """Something that changes, or watches, the content of one response on its way down."""

    def feed(self, data: bytes) -> bytes:
        """What to send for C{data}, which may be nothing yet."""

    def finish(self) -> bytes:
        """The response is whole: what is still to be sent."""

    def take_chunks(self, write: Callable[[bytes], None], session: Session) -> ChunkTaker | None:
        """
        Who takes whole chunks without C{feed}, to C{write} them and count them in C{session}; C{None} if
        nobody does.
        """

    def pause(self) -> None:
        """The client does not read."""

    def resume(self) -> None:
        """The client reads again."""

    def stop(self) -> None:
        """Nothing more is asked of it, whatever the reason."""


class Route(Protocol):
    """
    How the requests of one listener or route travel; shared by its exchanges, so it keeps nothing of one.

    @ivar reactor: its clock.
    @ivar ledger: closes each exchange's session.
    @ivar max_body: bytes of request content, C{None} for no limit.
    """

    reactor: Any
    ledger: Ledger
    timeouts: Timeouts
    max_body: int | None

    def take(self, exchange: Exchange) -> OriginConnection | None:
        """A connection that is at hand: the client's own (L{HttpConnection.keep}), else anybody's."""

    def place_of(self, exchange: Exchange) -> Hashable:
        """Where C{exchange} leads: a connection that serves its client alone serves it only there."""

    def has_other(self, origin: OriginConnection) -> bool:
        """Whether the same could be asked of another upstream."""

    async def connect(self, exchange: Exchange) -> OriginConnection:
        """
        Make, or find, a connection; never an old one when C{exchange.repeats} is not 0, and rather one to
        another upstream than C{exchange.avoided}.

        @raise RelayError: there is none.
        @raise CancelledError: the client has gone; nothing is left open.
        """

    def request_head(self, exchange: Exchange, origin: OriginConnection) -> RequestHead:
        """What the origin is sent for C{exchange.head}, with the same framing."""

    def response_head(self, exchange: Exchange, head: ResponseHead) -> ResponseHead:
        """What the client is sent, for an interim head, a final one, and 101."""

    def body_filter(self, exchange: Exchange, head: ResponseHead) -> BodyFilter | None:
        """For the content that follows C{head}, which is what C{response_head} gave."""
