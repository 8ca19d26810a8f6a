"""The shapes of the objects that an L{OriginConnection<lanrelay.http.origin.OriginConnection>} calls."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Protocol as Shape

from lanrelay.errors import RelayError
from lanrelay.wire.events import ResponseHead
from lanrelay.wire.headers import Headers

if TYPE_CHECKING:
    from lanrelay.http.origin import OriginConnection


class OriginReceiver(Shape):
    """
    The maker of a request; it is told nothing after C{response_ended}, C{origin_failed} or its own C{abort}.
    """

    def response_head_received(self, head: ResponseHead) -> None:
        """An interim head, the final one, or 101, after which only C{take_over} or C{abort} is left."""

    def response_body_received(self, data: bytes) -> None:
        """Content bytes of the response."""

    def response_ended(self, trailers: Headers) -> None:
        """The response is whole. The connection has already found its way to the pool, or is closed."""

    def response_received(self, head: ResponseHead, content: bytes, trailers: Headers) -> None:
        """
        A whole final response that came in one piece, as most do; this stands for the three calls above.

        One call saves a sixth of the cost of a small exchange without its system calls.
        """

    def origin_failed(self, error: RelayError) -> None:
        """The answer will not be whole; the connection is closed."""

    def keep(self, origin: OriginConnection) -> bool:
        """
        The answer has ended on a connection that can serve only the same client again, for it may be logged
        in. C{False}: that client is gone, so the connection closes.
        """

    def pause_upload(self) -> None:
        """The origin does not keep up with the request's body."""

    def resume_upload(self) -> None:
        """The origin keeps up again."""

    def cork(self) -> None:
        """Several events follow; what they send may leave in one write."""

    def uncork(self) -> None:
        """These events are over."""


class ChunkTaker(Shape):
    """Passes on chunks without a look inside."""

    def chunk_came(self, data: bytes) -> bool:
        """
        Bytes have come at the border between two chunks.

        @return: whether they were one whole chunk, which has gone on; else nothing was done.
        """


class Asker(Shape):
    """The maker of a request that needs only its answer."""

    def answered(self, data: bytes) -> bool:
        """
        The first bytes of the answer have come, or more of one of which it has taken the first.

        @return: whether it has taken them. If they end the answer, C{free} of the connection was called, and
            all is done; if not, C{goes_on} was. Else L{general} was called, and the receiver that it gave
            hears what C{data} says.
        """

    def general(self) -> object:
        """Something other than such an answer happened: call C{go_on} of the connection with a receiver."""


class Home(Shape):
    """Where an origin connection belongs: a L{Pool<lanrelay.http.pool.Pool>}."""

    def put(self, connection: OriginConnection) -> bool:
        """The connection could serve another request. C{False}: it is not wanted, and closes."""

    def ended(self, connection: OriginConnection) -> None:
        """The connection is of no more use."""
