"""
The shapes by which a listener or route tells an exchange how its request travels, and what becomes of its
answer.
"""

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
    Changes or watches the content of one response on its way down.

    @ivar holds_head: whether it holds the head, too, and sends it when it lets go of the content.
    """

    __slots__ = ()

    holds_head: ClassVar[bool] = False

    def feed(self, data: bytes) -> bytes:
        """What to send for C{data}, which may be nothing yet."""

    def finish(self) -> bytes:
        """The response is whole: what is still to be sent."""

    def has_passed(self, size: int, last: bytes, since: float) -> None:
        """
        Before anything else: so much of the content has passed by.

        @param last: the last eight bytes of it.
        @param since: seconds from then to now.
        """
        return

    def take_chunks(self, write: Callable[[bytes], None], session: Session) -> ChunkTaker | None:
        """
        An object that takes whole chunks without C{feed}, to C{write} them and count them in C{session};
        C{None} if there is none.
        """
        return None

    def pause(self) -> None:
        """The client does not read."""
        return

    def resume(self) -> None:
        """The client reads again."""
        return

    def stop(self) -> None:
        """The filter is not needed any more, whatever the reason."""
        return


class Doubt(Protocol):
    """
    May have a request made again when its answer is known, as if that had never come.

    @ivar copies: how many bytes of the request's content are kept for that at most; 0 if there is no content,
        or if the request will surely not be made again.
    """

    @property
    def copies(self) -> int: ...

    def asking(self, head: RequestHead) -> None:
        """The origin gets C{head}."""

    def holds(self, head: ResponseHead) -> bool:
        """Whether the client may better not get this final answer; then it is held until it is whole."""

    def passes(self, head: ResponseHead, content: bytes | None) -> None:
        """
        The client gets this answer.

        @param content: of the request, if all of it was kept.
        """

    def again(self, exchange: Exchange) -> bool | Deferred[bool]:
        """
        All of the answer is held: whether the request is made again. A Deferred is cancelled with the
        exchange.
        """


class Route(Protocol):
    """
    How the requests of one listener or route travel; shared by its exchanges, so it keeps nothing of a single
    one.

    A route says where they go, and what becomes of their heads. By default its other methods do nothing.

    @ivar reactor: its clock.
    @ivar ledger: closes each exchange's session.
    @ivar max_body: bytes of request content, C{None} for no limit.
    @ivar status_page: gives the URL at which a client may see the relay's status page, empty for none.
    """

    reactor: Any
    ledger: Ledger
    timeouts: Timeouts
    max_body: int | None
    status_page: Callable[[Client | None], str]

    def take(self, exchange: Exchange) -> OriginConnection | None:
        """
        A connection that is at hand: the client's own (L{HttpConnection.keep}), else an idle one for all.
        """

    def place_of(self, exchange: Exchange) -> Hashable:
        """
        Where C{exchange} leads: a connection that serves its client alone serves only requests to the same
        place.
        """

    def has_other(self, origin: OriginConnection) -> bool:
        """Whether another upstream could be asked the same."""

    async def connect(self, exchange: Exchange) -> OriginConnection:
        """
        Make or find a connection: never an old one if the exchange has a C{repetition}, and preferably one to
        another upstream than that avoids.

        @raise RelayError: there is none.
        @raise CancelledError: the client has gone; nothing is left open.
        """

    def request_head(self, exchange: Exchange, origin: OriginConnection) -> RequestHead:
        """The head that the origin gets for C{exchange.head}, with the same framing."""

    def response_head(self, exchange: Exchange, head: ResponseHead) -> ResponseHead:
        """The head that the client gets, for an interim head, a final one, or 101."""

    def doubts(self, exchange: Exchange) -> Sequence[Doubt]:
        """The doubts of C{exchange}; asked once, at its start."""
        return ()

    def held_request(self, exchange: Exchange) -> HeldRequest | None:
        """The holder for a request whose content has to be whole before anything of it is sent."""
        return None

    def content_began(self, exchange: Exchange, data: bytes) -> None:
        """The first part of the request's content has come."""
        return

    def request_trailers(self, trailers: Headers) -> Headers:
        """The trailers of a request as the origin gets them."""
        return trailers

    def response_trailers(self, trailers: Headers) -> Headers:
        """The trailers of an answer as the client gets them."""
        return trailers

    def fault_of(self, exchange: Exchange, head: ResponseHead) -> RelayError | None:
        """The error that the client gets instead of this 407."""
        return None

    def answer_headers(self, exchange: Exchange, headers: Headers) -> Headers:
        """The fields of an answer that the relay makes itself."""
        return headers

    def find_out(
        self, exchange: Exchange, origin: OriginConnection, error: RelayError
    ) -> Coroutine[Any, Any, None] | None:
        """
        C{origin} gives no answer, and no other upstream is asked. The result finds out why, and raises a
        L{RelayError}; C{None} if C{error} says it already.
        """
        return None

    def body_filter(self, exchange: Exchange, head: ResponseHead) -> BodyFilter | None:
        """The filter for the content that follows C{head}, which C{response_head} gave."""
        return None
