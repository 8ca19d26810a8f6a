"""Trying the addresses of one name, a little apart, until one connects (RFC 8305)."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple
from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from lanrelay.addresses import IPAddress
from lanrelay.errors import (
    ConnectionRefused,
    DialError,
    DialForbidden,
    DialTimeout,
    LocalLimit,
    PeerClosed,
    Unroutable,
)
from lanrelay.transport.choice import OWN
from lanrelay.transport.connect import connect
from lanrelay.transport.stream import Parked, Stream, tune
from lanrelay.transport.twisteds import let_tell

STAGGER = 0.25
"""Seconds between two starts: RFC 8305 section 5 recommends it; curl takes 200 ms."""


class SocketAddress(NamedTuple):
    """Where one connect goes: an IP address and a port, or the path of a unix socket."""

    host: IPAddress | Path
    port: int = 0

    def __str__(self) -> str:
        if isinstance(self.host, Path):
            return f"unix:{self.host}"
        return (
            f"[{self.host}]:{self.port}" if isinstance(self.host, IPv6Address) else f"{self.host}:{self.port}"
        )


class Connect(Shape):
    """How one connection is made; a test or a faster transport puts its own in."""

    def __call__(self, reactor: Any, address: SocketAddress) -> Deferred[Stream]:
        """
        A stream that is Parked, paused and tuned. Cancelling gives the socket back.

        Fails with L{DialError}.
        """


def interleaved(addresses: Sequence[SocketAddress]) -> list[SocketAddress]:
    """
    The families by turns, each in its own order, the family of the first address first; none twice.

    RFC 8305 section 4: the resolver has sorted them (RFC 6724), so its first is the preferred family.
    """
    if len(addresses) < 2:
        return list(addresses)
    unique = list(dict.fromkeys(addresses))
    lead = _family(unique[0])
    mine = [address for address in unique if _family(address) == lead]
    others = [address for address in unique if _family(address) != lead]
    order: list[SocketAddress] = []
    while mine or others:
        order += mine[:1] + others[:1]
        del mine[:1], others[:1]
    return order


def _family(address: SocketAddress) -> int:
    return 0 if isinstance(address.host, Path) else address.host.version


async def race(
    reactor: Any,
    addresses: Sequence[SocketAddress],
    *,
    delay: float = STAGGER,
    connect: Connect | None = None,
) -> Stream:
    """
    Connect to the first of C{addresses} that answers; the other tries are given up.

    The next address is begun C{delay} seconds after the one before, or at once when one fails. There is no
    time limit here: the caller cancels. Cancelled, the error is given L{CancelledError}, nothing stays open.

    @param addresses: one at least.
    @return: Parked, paused and tuned.
    @raise DialError: the most telling of all failures, with the others in C{others}.
    """
    return await Race(reactor, addresses, delay=delay, connect=connect or connect_once).run()


class Attempt:
    """
    One address of a race that is under way.

    @ivar since: when it was begun, in the reactor's seconds.
    """

    __slots__ = ("address", "connecting", "since")

    def __init__(self, address: SocketAddress, since: float) -> None:
        self.address = address
        self.since = since
        self.connecting: Deferred[Stream] | None = None


class Race:
    """
    One race.

    @ivar failures: what failed so far, in the order of failing.
    @ivar pending: what is under way; kept when the race is cancelled.
    @ivar winner: the address that connected.
    """

    __slots__ = (
        "_beginning",
        "_connect",
        "_delay",
        "_over",
        "_reactor",
        "_result",
        "_timer",
        "_waiting",
        "failures",
        "pending",
        "winner",
    )

    def __init__(
        self, reactor: Any, addresses: Sequence[SocketAddress], *, delay: float, connect: Connect
    ) -> None:
        self._reactor = reactor
        self._waiting = interleaved(addresses)
        self._delay = delay
        self._connect = connect
        self._timer: Any = None
        self._result: Deferred[Stream] = Deferred(self._end)
        self._over = False
        self._beginning = False
        self.pending: list[Attempt] = []
        self.failures: list[DialError] = []
        self.winner: SocketAddress | None = None

    def run(self) -> Deferred[Stream]:
        """Begin; called once. The result has fired already if the kernel decided at once."""
        if not self._waiting:
            raise ValueError("no address to connect to")
        self._next()
        return self._result

    def _next(self) -> None:
        """Begin with the next address; never within itself: a name may have hundreds that fail at once."""
        if self._beginning:
            return
        self._beginning = True
        try:
            failed = -1
            while self._waiting and failed != len(self.failures):
                failed = len(self.failures)
                self._begin()
        finally:
            self._beginning = False

    def _begin(self) -> None:
        self._stop_timer()
        attempt = Attempt(self._waiting.pop(0), self._reactor.seconds())
        self.pending.append(attempt)
        if self._waiting:
            self._timer = self._reactor.callLater(self._delay, self._staggered)
        connecting = attempt.connecting = self._connect(self._reactor, attempt.address)
        connecting.addCallbacks(self._won, self._lost, callbackArgs=(attempt,), errbackArgs=(attempt,))

    def _staggered(self) -> None:
        self._timer = None
        self._next()

    def _won(self, stream: Stream, attempt: Attempt) -> None:
        if self._over:  # connected although it was cancelled
            stream.abortConnection()
            return
        self.pending.remove(attempt)
        self.winner = attempt.address
        self._end()
        self._result.callback(stream)

    def _lost(self, failure: Failure, attempt: Attempt) -> None:
        if self._over:
            return
        self.pending.remove(attempt)
        error = failure.value
        if not isinstance(error, DialError):
            self._end()
            self._result.errback(failure)  # a bug
            return
        error.address = str(attempt.address)
        error.elapsed = self._reactor.seconds() - attempt.since
        self.failures.append(error)
        if self._waiting:
            self._next()
        elif not self.pending:
            self._end()
            self._result.errback(most_telling(self.failures))

    def _end(self, _: Deferred[Stream] | None = None) -> None:
        self._over = True
        self._waiting.clear()
        self._stop_timer()
        for attempt in self.pending:
            if attempt.connecting is not None:  # else it is being begun, and cannot be the one that ended us
                attempt.connecting.cancel()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


# --- failures -----------------------------------------------------------------------------------------

_TELLING: tuple[type[DialError], ...] = (
    LocalLimit,  # nothing of it is the upstream's doing
    PeerClosed,  # something is there and ended it
    ConnectionRefused,  # the host is there
    DialForbidden,  # a firewall here, which somebody can open
    DialTimeout,  # silence: it may be there
    Unroutable,  # most often only the family that this network lacks
)


def most_telling(failures: Sequence[DialError]) -> DialError:
    """
    The failure that a person should hear of, with the rest in its C{others}.

    A failure that shows a machine comes first: refused says "start the program", which is nearer to the cause
    than the silence of a second address. Unroutable comes last, because of several addresses it is most often
    the family that this network does not carry (IPv6 at home). Of equals the first stands, for its address
    was the preferred one.
    """

    def rank(error: DialError) -> int:
        for place, kind in enumerate(_TELLING):
            if isinstance(error, kind):
                return place
        return -1  # names, TLS, denials: each says more than any failure of TCP

    best = min(failures, key=rank)
    best.others += tuple(error for error in failures if error is not best and error not in best.others)
    return best


_LOCAL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}
if hasattr(errno, "EHOSTDOWN"):
    _NO_ROUTE.add(errno.EHOSTDOWN)  # macOS: ARP found nobody, and says so for a while
_GONE = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}


def from_errno(
    number: int, address: SocketAddress, *, has_way: Callable[[SocketAddress], bool] | None = None
) -> DialError:
    """
    What a failed C{connect()} means, by its errno, because Twisted has no class for most of them.

    EADDRNOTAVAIL is the kernel finding no local port (all of them lead to that address already), or no local
    address (IPv6 switched off; macOS without a network).

    @param has_way: tells whether the kernel has an address of its own for the way there; by default it is
        asked.
    """
    unix = isinstance(address.host, Path)
    kind: type[DialError] = DialError
    if number in _LOCAL or (number == errno.EADDRNOTAVAIL and not unix and (has_way or _has_way)(address)):
        kind = LocalLimit
    elif number == errno.ECONNREFUSED or (unix and number in (errno.ENOENT, errno.ENOTSOCK, errno.ENOTDIR)):
        kind = ConnectionRefused
    elif number in (errno.EACCES, errno.EPERM):
        kind = DialForbidden
    elif number == errno.ETIMEDOUT:
        kind = DialTimeout
    elif number in _NO_ROUTE:
        kind = Unroutable
    elif number in _GONE:
        kind = PeerClosed
    detail = os.strerror(number) if number else "the connection could not be made"
    if unix and number == errno.EAGAIN:
        detail = "its queue of connections is full"
    error = kind(detail, address=str(address))
    error.errno = number or None
    return error


def _has_way(address: SocketAddress) -> bool:
    try:
        family, name = socket_name(address)
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(name)  # of UDP, so nothing is sent
    except OSError:
        return False
    return True


# --- one connection -----------------------------------------------------------------------------------


Begun = Callable[[Any], None]
"""Called with the name of a socket that connects, before anybody can have heard of it."""


def connect_once(reactor: Any, address: SocketAddress, begun: Begun | None = None) -> Deferred[Stream]:
    """One connection, with our own transports or Twisted's; L{Connect} says what comes of it."""
    return (_own_connect if OWN else twisted_connect)(reactor, address, begun)


def _own_connect(reactor: Any, address: SocketAddress, begun: Begun | None) -> Deferred[Stream]:
    try:
        family, name = socket_name(address)
    except OSError as error:
        return _failed(from_errno(error.errno or 0, address))
    return connect(reactor, family, name, partial(from_errno, address=address), begun=begun)


def socket_name(address: SocketAddress) -> tuple[int, Any]:
    """
    The family, and what C{connect()} is given.

    @raise OSError: the address has the name of an interface in it that is not there.
    """
    if isinstance(address.host, Path):
        return socket.AF_UNIX, os.fspath(address.host)
    if address.host.version == 4:
        return socket.AF_INET, (str(address.host), address.port)
    scope = address.host.scope_id
    if scope is None:
        return socket.AF_INET6, (str(address.host), address.port, 0, 0)
    # Python does not read it out of the text: the last number alone counts, and would be 0.
    number = int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
    return socket.AF_INET6, (str(address.host).partition("%")[0], address.port, 0, number)


def twisted_connect(reactor: Any, address: SocketAddress, begun: Begun | None = None) -> Deferred[Stream]:
    """
    One connection with Twisted's transports.

    @param begun: for addresses of this machine alone, for then the socket is bound to the same one.
    """
    factory = _Factory(address)
    host = str(address.host)
    try:
        # Twisted's own time limit is off: the caller has the deadline.
        if isinstance(address.host, Path):
            factory.connector = reactor.connectUNIX(os.fspath(address.host), factory, timeout=None)
        else:
            source = None if begun is None else (host, 0)
            connector = factory.connector = reactor.connectTCP(host, address.port, factory, None, source)
            if begun is not None and hasattr(connector.transport, "socket"):
                begun(connector.transport.socket.getsockname())
    except OSError as error:  # a unix socket's own socket() is not guarded
        return _failed(from_errno(error.errno or 0, address))
    return factory.result


def _failed(error: DialError) -> Deferred[Stream]:
    failed: Deferred[Stream] = Deferred()
    failed.errback(error)
    return failed


class _Factory(ClientFactory):
    noisy = False

    def __init__(self, address: SocketAddress) -> None:
        self.address = address
        self.connector: Any = None
        self.result: Deferred[Stream] = Deferred(self._cancel)
        self.cancelled = False

    def buildProtocol(self, addr: IAddress | None) -> Parked:
        return _Connected(self._connected)

    def _connected(self, stream: Stream) -> None:
        if self.cancelled:
            stream.abortConnection()
        elif not isinstance(self.address.host, Path) and stream.getHost() == stream.getPeer():
            # To itself: see C{lanrelay.transport.connect}.
            stream.abortConnection()
            self.result.errback(from_errno(errno.ECONNREFUSED, self.address))
        else:
            self.result.callback(stream)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        if self.cancelled:
            return
        error = reason.value
        if isinstance(error, ConnectTimeout):
            number = errno.ETIMEDOUT
        else:
            number = error.osError if isinstance(error, ConnectError) and error.osError else 0
            if not number and isinstance(self.address.host, Path):
                number = errno.EAGAIN  # Twisted waits on it, and epoll reports a socket that hangs up
        self.result.errback(from_errno(number, self.address))

    def _cancel(self, _: Deferred[Stream]) -> None:
        self.cancelled = True
        self.connector.stopConnecting()


class _Connected(Parked):
    """Tells once that the connection is there, paused before a byte was read."""

    def __init__(self, connected: Callable[[Stream], None]) -> None:
        self._tell: Callable[[Stream], None] | None = connected

    def connectionMade(self) -> None:
        stream: Any = self.transport
        if isinstance(stream, Connection):
            let_tell(stream)
        stream.pauseProducing()
        tune(stream)
        tell, self._tell = self._tell, None
        if tell is not None:
            tell(stream)
