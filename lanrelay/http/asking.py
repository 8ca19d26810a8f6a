"""What an L{OriginConnection<lanrelay.http.origin.OriginConnection>} asks of those around it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Protocol as Shape

from lanrelay.errors import RelayError
from lanrelay.wire.events import ResponseHead
from lanrelay.wire.headers import Headers

if TYPE_CHECKING:
    from lanrelay.http.origin import OriginConnection


class OriginReceiver(Shape):
    """Who made the request; hears nothing after C{response_ended}, C{origin_failed} or its own C{abort}."""

    def response_head_received(self, head: ResponseHead) -> None:
        """An interim head, the final one, or 101, after which only C{take_over} or C{abort} is left."""

    def response_body_received(self, data: bytes) -> None:
        """Content bytes of the response."""

    def response_ended(self, trailers: Headers) -> None:
        """The response is whole. The connection has already found its way to the pool, or is closed."""

    def response_received(self, head: ResponseHead, content: bytes, trailers: Headers) -> None:
        """
        A whole final response that came in one piece, as most do: in place of the three calls above.

        Told in one call it costs a sixth less of what a small exchange costs without its system calls.
        """

    def origin_failed(self, error: RelayError) -> None:
        """The answer will not be whole; the connection is closed."""

    def keep(self, origin: OriginConnection) -> bool:
        """
        The answer has ended on a connection that can serve only who was served by it now, for somebody may be
        logged in on it. C{False}: nobody is left to keep it for, and it closes.
        """

    def pause_upload(self) -> None:
        """The origin does not keep up with the request's body."""

    def resume_upload(self) -> None:
        """It keeps up again."""

    def cork(self) -> None:
        """Several events follow, which may leave in one write."""

    def uncork(self) -> None:
        """They have been told."""


class ChunkTaker(Shape):
    """Who passes on what needs no look inside."""

    def chunk_came(self, data: bytes) -> bool:
        """
        Between two chunks of the content came this.

        @return: it was one chunk, and has gone on; else nothing was done.
        """


class Asker(Shape):
    """Who made a request that needs nothing but its answer."""

    def answered(self, data: bytes) -> bool:
        """
        The first bytes that came.

        @return: they were the whole answer, C{free} of the connection was called, and all is done; else
            L{general} was called, and whoever it gave hears what C{data} says.
        """

    def general(self) -> object:
        """Something else happened than such an answer: call C{go_on} of the connection with who can tell."""


class Home(Shape):
    """Where an origin connection belongs: a L{Pool<lanrelay.http.pool.Pool>}."""

    def put(self, connection: OriginConnection) -> bool:
        """It could serve another request. C{False}: it is not wanted, and closes."""

    def ended(self, connection: OriginConnection) -> None:
        """It is of no more use."""
