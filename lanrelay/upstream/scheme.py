"""Whether a port that does not answer plain HTTP speaks TLS; one connection finds out."""

from __future__ import annotations

import ssl
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from lanrelay.errors import DialError
from lanrelay.transport.stream import hand_over
from lanrelay.upstream.upstream import Upstream

TIMEOUT: Final = 1.0
"""Seconds for each of the connection and its answer: a client waits, and a LAN answers in milliseconds."""

# The types of the records that a TLS server may begin with (RFC 8446 section 5.1): alert, handshake.
_RECORDS: Final = (b"\x15\x03", b"\x16\x03")


async def speaks_tls(reactor: Any, upstream: Upstream) -> bool:
    """
    @param upstream: without TLS.
    @raise CancelledError: the caller cancelled; nothing stays open.
    """
    try:
        dialed = await upstream.connect(timeout=TIMEOUT)
    except DialError:
        return False
    asking = _Asking()
    try:
        hand_over(dialed.stream, asking)
        dialed.stream.write(_client_hello())
        dialed.stream.resumeProducing()
        first = await asking.first.addTimeout(TIMEOUT, reactor, _nothing)
    finally:
        dialed.stream.abortConnection()
    return first in _RECORDS


def _nothing(result: Any, _: float) -> Any:
    if isinstance(result, Failure) and isinstance(result.value, CancelledError):
        return b""
    return result


def _client_hello() -> bytes:
    """What a client says first; whoever answers in TLS speaks it, whatever it says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class _Asking(Protocol):
    """Hears the first two bytes of the answer; less if it ends before."""

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
