"""What an exchange is told by its listener or route: how its request travels, and what its answer becomes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from lanrelay.config.model import Timeouts
from lanrelay.errors import RelayError
from lanrelay.http.asking import ChunkTaker
from lanrelay.http.origin import OriginConnection
from lanrelay.observe.ledger import Ledger
from lanrelay.observe.session import Session
from lanrelay.transport.client import Client
from lanrelay.wire.events import RequestHead, ResponseHead

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from lanrelay.http.exchange import Exchange
    from lanrelay.http.held import HeldRequest
    from lanrelay.wire.headers import Headers


class BodyFilter(Protocol):
    """
    Something that changes, or watches, the content of one response on its way down.

    @ivar holds_head: it has the head, too, and sends it when it lets go of the content.
    """

    __slots__ = ()

    holds_head: ClassVar[bool] = False

    def feed(self, data: bytes) -> bytes:
        """What to send for C{data}, which may be nothing yet."""

    def finish(self) -> bytes:
        """The response is whole: what is still to be sent."""

    def take_chunks(self, write: Callable[[bytes], None], session: Session) -> ChunkTaker | None:
        """
        Who takes whole chunks without C{feed}, to C{write} them and count them in C{session}; C{None} if
        nobody does.
        """
        return None

    def pause(self) -> None:
        """The client does not read."""
        return

    def resume(self) -> None:
        """The client reads again."""
        return

    def stop(self) -> None:
        """Nothing more is asked of it, whatever the reason."""
        return


class Doubt(Protocol):
    """
    Someone who may want a request to be made again once the answer is known, as if that had never come.

    @ivar copies: bytes of the request's content that are kept for that, at most; 0 if it has none, or if it
        is known already that nothing will be made again.
    """

    @property
    def copies(self) -> int: ...

    def asking(self, head: RequestHead) -> None:
        """The origin is sent C{head}."""

    def holds(self, head: ResponseHead) -> bool:
        """Whether the client may have to be spared this final answer; it is then held until it is whole."""

    def passes(self, head: ResponseHead, content: bytes | None) -> None:
        """
        The client gets this answer.

        @param content: of the request, if all of it was kept.
        """

    def again(self, exchange: Exchange) -> bool | Deferred[bool]:
        """All is held: whether the request is made again. A Deferred is cancelled with the exchange."""


class Route(Protocol):
    """
    How the requests of one listener or route travel; shared by its exchanges, so it keeps nothing of one.

    A route says where they go, and what becomes of their heads. What else it may do has a default: nothing.

    @ivar reactor: its clock.
    @ivar ledger: closes each exchange's session.
    @ivar max_body: bytes of request content, C{None} for no limit.
    @ivar status_page: for a client: the URL at which it may see the relay's status page, empty for none.
    """

    reactor: Any
    ledger: Ledger
    timeouts: Timeouts
    max_body: int | None
    status_page: Callable[[Client | None], str]

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

    def doubts(self, exchange: Exchange) -> Sequence[Doubt]:
        """Asked once, at the start of C{exchange}."""
        return ()

    def held_request(self, exchange: Exchange) -> HeldRequest | None:
        """For content that has to be whole before it, and its head, are sent."""
        return None

    def content_began(self, exchange: Exchange, data: bytes) -> None:
        """The first of the request's content came."""
        return

    def request_trailers(self, trailers: Headers) -> Headers:
        """What the origin is sent of a request's trailers."""
        return trailers

    def response_trailers(self, trailers: Headers) -> Headers:
        """What the client is sent of an answer's trailers."""
        return trailers

    def fault_of(self, exchange: Exchange, head: ResponseHead) -> RelayError | None:
        """What the client is told in place of this 407."""
        return None

    def answer_headers(self, exchange: Exchange, headers: Headers) -> Headers:
        """The fields of an answer that the relay makes itself."""
        return headers

    def find_out(
        self, exchange: Exchange, origin: OriginConnection, error: RelayError
    ) -> Coroutine[Any, Any, None] | None:
        """
        No answer comes from C{origin}, and no one else is asked. What is given finds out why, and raises a
        L{RelayError}; C{None}: C{error} says it.
        """
        return None

    def body_filter(self, exchange: Exchange, head: ResponseHead) -> BodyFilter | None:
        """For the content that follows C{head}, which is what C{response_head} gave."""
        return None
