"""What every open connection can do, whatever carries it, and how it changes hands."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from typing import Protocol as Shape

from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from lanrelay.transport.abilities import Abilities, abilities_of


class Stream(Shape):
    """
    The transport of one connection: Twisted's C{ITransport}, C{IConsumer}, C{IPushProducer} and the
    half-close of C{ITCPTransport} in one shape. Twisted's TCP and unix transports have it,
    L{lanrelay.transport.tls.TlsStream} has it, so do the fakes of the tests.

    A protocol with C{IHalfCloseableProtocol} hears C{readConnectionLost} at the peer's orderly end (a
    FIN; on TLS close_notify) and C{writeConnectionLost} when, after C{loseWriteConnection}, all that was
    written has left. Every other end is C{connectionLost}. A TLS peer that ends without close_notify is
    C{connectionLost} with L{lanrelay.errors.TlsTruncated}.
    """

    protocol: Any
    """The protocol that hears of this stream; change it with L{hand_over} only."""

    def write(self, data: bytes) -> None: ...
    def writeSequence(self, data: Any) -> None: ...
    def loseConnection(self) -> None:
        """Send what is buffered, then close. The caller bounds the wait, then aborts."""

    def loseWriteConnection(self) -> None:
        """Send what is buffered, then end our side: FIN, or on TLS close_notify alone."""

    def abortConnection(self) -> None:
        """Drop what is buffered and reset."""

    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def stopProducing(self) -> None: ...
    def registerProducer(self, producer: Any, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def getPeer(self) -> Any: ...
    def getHost(self) -> Any: ...


def hand_over(stream: Stream, protocol: IProtocol) -> None:
    """
    Give C{stream} to C{protocol}, which from now on hears what comes: ownership changes hands.

    The stream should be paused; its new owner resumes it. If it was lost while L{Parked}, the new protocol
    hears that at once, from within this call.
    """
    parked = stream.protocol
    stream.protocol = protocol
    protocol.makeConnection(stream)  # type: ignore[arg-type]
    if parked is not PARKED and isinstance(parked, Parked) and parked.lost is not None:
        protocol.connectionLost(parked.lost)


class Parked(Protocol):
    """
    Holds a stream that nobody reads yet, and remembers if it dies.

    @ivar lost: why the stream was lost while parked, if it was.
    """

    lost: Failure | None = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


PARKED: Final = Parked()
"""For streams that need no L{Parked} of their own while they live."""


def handle_of(stream: Any) -> Any:
    """The socket under C{stream}; C{None} if there is none."""
    handle = getattr(stream, "getHandle", None)
    return None if handle is None else handle()


def tune(transport: Any) -> None:
    """
    No Nagle delay, and keep-alive probes after 30 s so that a peer lost in sleep is noticed.

    Takes a Twisted transport or a socket, accepted or connected. Does nothing unless that is TCP.
    """
    sock = handle_of(transport) or transport
    if getattr(sock, "family", None) in (socket.AF_INET, socket.AF_INET6):
        tune_tcp(sock)


def tune_tcp(sock: Any) -> None:
    """The same for a socket that is known to be TCP."""
    try:
        for level, option, value in _TUNED:
            sock.setsockopt(level, option, value)
    except OSError:
        pass  # macOS: EINVAL on a socket that the peer has reset already; its loss comes with the first read


def unread_of(stream: Any) -> Callable[[], Any]:
    """
    A function that tells, as long as C{stream} lives, whether something waits that its protocol has not been
    given yet: bytes or an end, in the kernel or in the stream itself. It gives something true or false.

    For a stream without a socket it knows only what waits in the stream.
    """
    able, waits = abilities_of(stream), _waits_of(stream)
    if type(able).holds_unread is Abilities.holds_unread:
        return waits  # never: what is asked before each request costs a call less
    return lambda: able.holds_unread() or waits()


def _waits_of(stream: Any) -> Callable[[], Any]:
    """The part of L{unread_of} that asks the kernel."""
    sock = handle_of(stream)
    if sock is None:
        return _never
    if sock.fileno() < 0:
        return _always  # closed, and the protocol was not told yet
    if _poll is None:
        return partial(_peek, sock)
    # A recv(MSG_PEEK) that finds nothing would cost three times as much, for it raises.
    look = _poll()
    look.register(sock.fileno(), select.POLLIN)
    return partial(look.poll, 0)


def _never() -> bool:
    return False


def _always() -> bool:
    return True


def _peek(sock: Any) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK)  # all our sockets are non-blocking
    except BlockingIOError:
        return False
    except OSError:
        pass  # an end, too, waits to be told
    return True


# Python leaves it out where the system's is broken, as it was on some versions of macOS.
_poll: Any = getattr(select, "poll", None)


_TUNED = [
    (level, getattr(socket, name), value)
    for level, name, value in (
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 30),
        (socket.IPPROTO_TCP, "TCP_KEEPALIVE", 30),  # TCP_KEEPIDLE on macOS, in Python from 3.10 on
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 10),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 6),  # so the loss is noticed 90 s after the last sign of life
    )
    if hasattr(socket, name)
]
