"""Reads the PROXY header that comes before everything else on a stream."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from lanrelay.errors import GreetingError
from lanrelay.transport.stream import Parked, Stream, hand_over
from lanrelay.transport.unread import with_unread
from lanrelay.wire.proxy_header import Endpoints, parse


async def read_proxy_header(
    reactor: Any, stream: Stream, *, timeout: float | None
) -> tuple[Stream, Endpoints | None]:
    """
    The stream after its header, parked and paused, and the endpoints that the header names.

    @param stream: parked and paused; taken over, and closed whatever goes wrong, also on cancellation.
    @param timeout: seconds; C{None} for ever.
    @return: C{None} for the endpoints if the stream's own addresses hold.
    @raise GreetingError: no header came, or not in time, or the peer left.
    """
    return await _Announced(reactor).run(stream, timeout)


class _Announced(Protocol):
    """The protocol of the stream until the header is whole."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._stream: Stream
        self._received = b""
        self._timer: IDelayedCall | None = None
        self._done: Deferred[tuple[Stream, Endpoints | None]] | None = Deferred(self._cancelled)

    def run(self, stream: Stream, timeout: float | None) -> Deferred[tuple[Stream, Endpoints | None]]:
        done = self._done
        assert done is not None
        self._stream = stream
        if timeout is not None:
            self._timer = self._reactor.callLater(timeout, self._too_late, timeout)
        hand_over(stream, self)
        if self._done is not None:
            stream.resumeProducing()
        return done

    def dataReceived(self, data: bytes) -> None:
        if self._done is None:
            return
        self._received += data
        try:
            header = parse(self._received)
        except GreetingError as error:
            self._fail(error)
            return
        if header is None:
            return
        stream = self._stream
        stream.pauseProducing()
        stream = with_unread(stream, self._received[header.length :])
        hand_over(stream, Parked())
        done = self._settle()
        if done is not None:
            done.callback((stream, header.endpoints))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fail(GreetingError("the peer left before its PROXY header was whole"))

    def _too_late(self, timeout: float) -> None:
        self._timer = None
        self._fail(GreetingError(f"no whole PROXY header within {timeout:g} s"))

    def _settle(self) -> Deferred[tuple[Stream, Endpoints | None]] | None:
        done, self._done = self._done, None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        return done

    def _fail(self, error: GreetingError) -> None:
        done = self._settle()
        if done is not None:
            self._stream.abortConnection()
            done.errback(Failure(error))

    def _cancelled(self, _: Deferred[tuple[Stream, Endpoints | None]]) -> None:
        self._settle()
        self._stream.abortConnection()
