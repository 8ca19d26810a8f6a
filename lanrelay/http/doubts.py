"""Holds answers back that may have the request made again before the client knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from lanrelay.wire.events import RequestHead, ResponseHead
from lanrelay.wire.headers import Headers, logs_in_connection

if TYPE_CHECKING:
    from lanrelay.http.exchange import Exchange
    from lanrelay.http.route import Doubt
    from lanrelay.http.upload import Upload


class Doubts:
    """
    The L{Doubt<lanrelay.http.route.Doubt>}s of one exchange.

    @ivar holding: the doubt that holds the answer back.
    """

    __slots__ = ("_all", "_deciding", "_exchange", "_trailers", "holding")

    def __init__(self, exchange: Exchange, doubts: Sequence[Doubt]) -> None:
        self.holding: Doubt | None = None
        self._exchange = exchange
        self._all = doubts
        self._deciding: Deferred[bool] | None = None
        self._trailers: Headers | None = None

    @property
    def copies(self) -> int:
        """How many bytes of the request's content one of them needs."""
        return max(doubt.copies for doubt in self._all)

    def asking(self, head: RequestHead) -> None:
        """The origin gets C{head}."""
        for doubt in self._all:
            doubt.asking(head)

    def hold(self, head: ResponseHead, upload: Upload | None) -> bool:
        """
        Whether one of them wants to know a final answer before the client does. The request can only be made
        again if all of it is at hand, and never if it logs in a connection.
        """
        exchange = self._exchange
        content = None if upload is None else upload.copied
        for doubt in self._all:
            if (
                doubt.holds(head)
                and not exchange.upgrade
                and (upload is None or content is not None)
                and not logs_in_connection(exchange.head.headers.get(b"authorization") or b"")
            ):
                self.holding = doubt
                return True
        if upload is not None:
            upload.drop_copy()
        for doubt in self._all:
            doubt.passes(head, content)
        return False

    def let_go(self) -> None:
        """Do not hold the answer any more."""
        self.holding = None

    def decide(self, trailers: Headers) -> None:
        """All of the answer has come: either have the request made again, or give the client the answer."""
        assert self.holding is not None
        self._trailers = trailers
        again = self.holding.again(self._exchange)
        if isinstance(again, bool):
            self._decided(again)
            return
        self._exchange.session.phase = "dial"
        self._deciding = again
        again.addCallback(self._decided)
        again.addErrback(self._not_decided)

    def cancel(self) -> None:
        """The exchange is over: end the waiting."""
        deciding, self._deciding = self._deciding, None
        if deciding is not None:
            deciding.cancel()

    def _decided(self, again: bool) -> None:
        self._deciding = self.holding = None
        if again:
            self._exchange.repeat()
        else:
            assert self._trailers is not None
            self._exchange.end(self._trailers)

    def _not_decided(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._exchange.failed_by(failure)  # a bug
