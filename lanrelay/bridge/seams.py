"""
What the parts of the dialogue expect of one another; only for type checkers, never imported at run time.
"""

from __future__ import annotations

from typing import Protocol

from lanrelay.bridge.exchange import Exchange
from lanrelay.bridge.messages import Event, Failure, Fields
from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import Message


class Remembered(Protocol):
    """
    Keeps answers from one start to the next. It adds to the key what tells targets and logins apart.
    """

    def get(self, key: tuple[str, ...]) -> bytes | None: ...

    def put(self, key: tuple[str, ...], value: bytes) -> None: ...


class Sink(Protocol):
    """Who is told what becomes of an ask."""

    def answered(self, number: int, status: int, reason: str, fields: Fields) -> None: ...
    def event(self, number: int, event: Event) -> None: ...
    def content(self, number: int, data: bytes) -> None: ...
    def finished(self, number: int) -> None: ...
    def failed(self, number: int, failure: Failure) -> None: ...


class CarrierSink(Sink, Protocol):
    """The same of a carrier, which holds back what cannot be sent yet."""

    def moved(self) -> None:
        """Some of the backlog has gone."""


class Way(Protocol):
    """A way to speak with a server: one kind of transport and one era."""

    name: str

    def begin(self, hello: Message) -> None:
        """Say C{initialize}; ends with C{opened}, C{not_this_way} or C{went_down} of the L{Owner}."""

    def confirm(self, message: Message) -> None:
        """Say C{notifications/initialized}; ends with C{confirmed}, C{lost} or C{went_down}."""

    def carry(self, request: Request) -> None: ...

    def notify(self, message: Message) -> None: ...

    def reply(self, message: Message) -> None:
        """The client's answer to a request of the server."""

    def cancel(self, request: Request, message: Message) -> None: ...

    def probe(self) -> None:
        """See whether the target is back; ends with C{back}, C{lost} or C{went_down} of the L{Owner}."""

    def abandon(self) -> None:
        """The session is gone: use nothing of it any more."""

    def close(self) -> None:
        """End the session at the server; C{ended} of the L{Owner} says when that is done."""


class Owner(Protocol):
    """The one who begins a way, and decides what to do when it fails."""

    def opened(self, answer: Message) -> None: ...

    def not_this_way(self, exchange: Exchange) -> None: ...

    def confirmed(self) -> None: ...

    def back(self) -> None: ...

    def went_down(self, failure: Failure) -> None: ...

    def lost(self) -> None:
        """The server has forgotten the session."""

    def again(self, request: Request, failure: Failure | None) -> None:
        """Send a request again: it did not run, or may run twice."""

    def heard(self, message: Message) -> None:
        """A request or a notification of the server, or an answer on a stream that all requests share."""

    def ended(self) -> None: ...
