"""The shapes of what a client's connection calls: a listener, and the sink of one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from typing import Protocol as Shape

from lanrelay.errors import RelayError, RemoteProtocolError
from lanrelay.wire.events import RequestHead
from lanrelay.wire.headers import Headers

if TYPE_CHECKING:
    from lanrelay.http.answers import Answer
    from lanrelay.http.client import HttpConnection


class RequestSink(Shape):
    """
    Where one request goes: an L{Exchange<lanrelay.http.exchange.Exchange>} or a local answer.

    Nothing is called after the response was ended, after C{client_gone}, or after C{take_over}.
    """

    def body_received(self, data: bytes) -> None:
        """Content bytes; C{pause_reading} holds them back."""

    def body_ended(self, trailers: Headers) -> None:
        """The request is whole."""

    def client_gone(self, error: RelayError | None) -> None:
        """
        The answer is not wanted any more, and the connection sends no more of it.

        @param error: C{None} when the client left (or the listener aborts); else how the client broke its
            request: the connection answers that itself, with C{error.http_status}, if no head was sent.
        """

    def pause_sending(self) -> None:
        """The client does not keep up: send no more of the body for now."""

    def resume_sending(self) -> None:
        """The client keeps up again."""


class Application(Shape):
    """What a listener does with requests."""

    def request_received(self, connection: HttpConnection, head: RequestHead) -> RequestSink:
        """A request begins. It may be answered before this returns; then the sink hears nothing."""

    def request_refused(self, connection: HttpConnection, error: RemoteProtocolError, answer: Answer) -> None:
        """
        Something came that is no request, or that came too slowly. The connection sends C{answer}; this call
        notes it.
        """


class Unheard:
    """The sink of a request that the relay answered itself: it ignores what else comes."""

    def body_received(self, data: bytes) -> None: ...
    def body_ended(self, trailers: Headers) -> None: ...
    def client_gone(self, error: RelayError | None) -> None: ...
    def pause_sending(self) -> None: ...
    def resume_sending(self) -> None: ...


UNHEARD: Final = Unheard()
