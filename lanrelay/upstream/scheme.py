"""Whether a port that does not answer plain HTTP speaks TLS; one connection finds out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from lanrelay.errors import DialError
from lanrelay.transport.stream import hand_over
from lanrelay.upstream.dial import Dialed
from lanrelay.wire.tls_question import KNOWN_FOR, WITHIN, client_hello, is_tls

KNOWN_MAX: Final = 64
"""Addresses of which it is remembered."""


class Schemes:
    """
    What was found out about addresses, so that a client that asks again and again makes no more connections.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._known: dict[str, tuple[float, bool]] = {}

    async def speaks_tls(self, address: str, connect: Callable[[], Awaitable[Dialed]]) -> bool:
        """As L{speaks_tls}, or what is remembered of C{address}; C{False} while that is being found out."""
        now = self._reactor.seconds()
        known = self._known.get(address)
        if known is not None and 0 <= now - known[0] < KNOWN_FOR:
            return known[1]
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[address] = now, False
        try:
            found = await speaks_tls(self._reactor, connect)
        except BaseException:  # the client has gone
            self._known.pop(address, None)
            raise
        self._known[address] = now, found
        return found


async def speaks_tls(reactor: Any, connect: Callable[[], Awaitable[Dialed]]) -> bool:
    """
    @param connect: makes a connection without TLS, within L{WITHIN}.
    @raise CancelledError: the caller cancelled; nothing stays open.
    """
    try:
        dialed = await connect()
    except DialError:
        return False
    asking = _Asking()
    try:
        hand_over(dialed.stream, asking)
        dialed.stream.write(client_hello())
        dialed.stream.resumeProducing()
        first = await asking.first.addTimeout(WITHIN, reactor, _nothing)
    finally:
        dialed.stream.abortConnection()
    return is_tls(first)


def _nothing(result: Any, _: float) -> Any:
    if isinstance(result, Failure) and isinstance(result.value, CancelledError):
        return b""
    return result


class _Asking(Protocol):
    """Hears the first two bytes of the answer, or fewer if it ends before."""

    def __init__(self) -> None:
        self.first: Deferred[bytes] = Deferred()
        self._came = b""

    def dataReceived(self, data: bytes) -> None:
        self._came += data[:2]
        if len(self._came) >= 2:
            self._tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._tell()

    def _tell(self) -> None:
        if not self.first.called:
            self.first.callback(self._came[:2])
