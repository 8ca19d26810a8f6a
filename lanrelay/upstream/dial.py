"""From a target to a connected stream: name, permission, race, parent proxy, TLS."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from lanrelay.addresses import IPAddress, host_name, is_loopback, is_unspecified, parse_ip
from lanrelay.errors import (
    AddressDenied,
    DialError,
    DialTimeout,
    LeadsBack,
    NameTimeout,
    NoDestination,
    NoSuchName,
    ParentTimeout,
    PeerClosed,
)
from lanrelay.transport.choice import OWN
from lanrelay.transport.connect import connect_at_once
from lanrelay.transport.stream import Stream
from lanrelay.upstream.loops import Host, Journey, Loops
from lanrelay.upstream.race import (
    STAGGER,
    Connect,
    Race,
    SocketAddress,
    connect_once,
    most_telling,
    socket_name,
)
from lanrelay.upstream.resolve import LOCALHOST, Resolver, takes_a_look_up

if TYPE_CHECKING:
    from lanrelay.trust.trust import ClientTls
    from lanrelay.upstream.look_ups import LookUps
    from lanrelay.upstream.parent import Parent

Permit = Callable[[IPAddress], str | None]
"""C{None}: the address may be dialed; else the reason why not, as a phrase."""

Nearby = tuple[IPAddress, int, Any, str]
"""What is on the loopback: its address, the family, C{connect()}'s argument, and the text of all."""

T = TypeVar("T")
_NONE: Mapping[str, tuple[IPAddress, ...]] = MappingProxyType({})


class Target(NamedTuple):
    """
    What to connect to: a name or an address (in any spelling) and a port, or a unix socket.

    @ivar host: without brackets.
    """

    host: str
    port: int
    unix_path: Path | None = None

    def __str__(self) -> str:
        if self.unix_path is not None:
            return f"unix:{self.unix_path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Dialed(NamedTuple):
    """
    A connection that is there.

    @ivar stream: Parked and paused; whoever gets this owns it.
    @ivar address: what was reached, as C{"192.168.1.20:443"}; behind a parent proxy the parent's.
    """

    stream: Stream
    address: str


class Dialer:
    """Makes connections; holds nothing of them afterwards."""

    def __init__(
        self,
        reactor: Any,
        resolver: Resolver,
        *,
        connect: Connect = connect_once,
        loops: Loops | None = None,
    ) -> None:
        self._reactor = reactor
        self._loops = Loops() if loops is None else loops
        self._resolver = resolver
        self._connect = connect
        # Elsewhere than on Linux the kernel answers a moment later: the upstream would see, and log, one
        # connection more for each, that was given up.
        self._may_be_at_once = OWN and connect is connect_once and sys.platform == "linux"

    def dial_at_once(
        self,
        target: Target,
        *,
        permit: Permit | None = None,
        fixed: Mapping[str, tuple[IPAddress, ...]] = _NONE,
    ) -> Dialed | None:
        """
        What L{dial} would give for a target on the loopback, if the kernel decides at once.

        L{dial} is ready to wait, which takes a race, Deferreds, and a coroutine for each call within: 120,000
        of the 340,000 instructions of a connection that is forwarded, echoes and ends.

        @return: C{None}: it is none of these, it may not be dialed, or it does not answer at once. Then
            nothing is left of the try; L{dial} does it all again, and says what is wrong.
        """
        here = self.find_at_once(target, fixed)
        if here is None:
            return None
        address, family, name, text = here
        if target.port in self._loops.ports:
            return None  # L{dial} looks where that leads
        if permit is not None and permit(address) is not None:
            return None
        stream = connect_at_once(self._reactor, family, name)
        return None if stream is None else Dialed(stream, text)

    def find_at_once(
        self, target: Target, fixed: Mapping[str, tuple[IPAddress, ...]] = _NONE
    ) -> Nearby | None:
        """
        The first half of L{dial_at_once}: where a target on the loopback is. The answer never changes.

        @return: C{None}: it is none, or this dialer dials nothing at once.
        """
        if not self._may_be_at_once or target.unix_path is not None:
            return None
        host = target.host
        if len(host) >= _LONG_HOST or (fixed and host == "localhost"):  # which may be fixed to another
            return None
        return _on_loopback(host, target.port)

    def reach_at_once(self, there: Nearby) -> Stream | None:
        """
        The second half of it, for what may be dialed.

        @return: C{None}: it does not answer at once.
        """
        if there[2][1] in self._loops.ports:
            return None
        return connect_at_once(self._reactor, there[1], there[2])

    async def dial(
        self,
        target: Target,
        *,
        connect_timeout: float,
        handshake_timeout: float,
        tls: ClientTls | None = None,
        permit: Permit | None = None,
        fixed: Mapping[str, tuple[IPAddress, ...]] = _NONE,
        parent: Parent | None = None,
        tunnel: bool = True,
        preface: bytes = b"",
        look_ups: LookUps | None = None,
        journey: Journey | None = None,
        alpn: tuple[str, ...] = (),
    ) -> Dialed:
        """
        Connect to C{target}.

        A name is resolved once. Only addresses that C{permit} lets pass are dialed, so that the address
        judged is the address dialed. On failure and when cancelled nothing is left open.

        With a parent proxy a name is not resolved here: the parent has its own idea of it, and may be the
        only one that knows it. So C{permit} is asked about literal addresses and those in C{fixed} alone (and
        the parent is then sent the address that was permitted); the caller has to judge names before. The
        parent's own address is not judged: the configuration names it.

        @param connect_timeout: seconds for name and TCP together, and for the parent to open the way.
        @param handshake_timeout: seconds for TLS.
        @param fixed: lower-case names that are answered from here instead of DNS.
        @param parent: the proxy to go through; TLS runs inside of its tunnel.
        @param tunnel: C{False}: only judge, and connect to the parent; the caller will speak HTTP with it.
        @param alpn: protocols to offer in TLS instead of those that C{tls} has.
        @param preface: bytes to send before TLS and all else (a PROXY header).
        @param look_ups: on whose account the name is looked up, when a client chose it.
        @param journey: for whom, so that no connection leads back to it.
        @raise DialError: the subclass says why; target, address and elapsed are filled in. C{elapsed} of a
            failed connect is counted from the start of that address's own try, so that a slow name server
            does not make an immediate refusal look like a slow one.
        @raise CancelledError: the caller cancelled; nobody is to blame.
        """
        started = self._reactor.seconds()
        address = ""
        racing = False
        try:
            if parent is not None:
                stream, address = await self._through(
                    parent, target, connect_timeout, permit, fixed, tunnel, journey
                )
            else:
                if target.unix_path is not None:
                    addresses = self._permitted(0, [target.unix_path], None, journey)
                else:
                    found = await self._addresses(target, connect_timeout, fixed, look_ups)
                    addresses = self._permitted(target.port, found, permit, journey)
                left = started + connect_timeout - self._reactor.seconds()
                racing = True
                stream, address = await self._connected(addresses, left, connect_timeout, journey)
                racing = False
            if preface:
                stream.write(preface)
            if tls is not None:
                # OpenSSL's binding is loaded where the first TLS connection is made, not at start.
                from lanrelay.transport.tls import secure_client

                stream = await secure_client(self._reactor, stream, tls, timeout=handshake_timeout, alpn=alpn)
        except DialError as error:
            if not error.parent:
                error.target = str(target)
                if parent is None:
                    error.address = error.address or address
                if not racing:
                    error.elapsed = self._reactor.seconds() - started
            raise
        return Dialed(stream, address)

    async def _through(
        self,
        parent: Parent,
        target: Target,
        timeout: float,
        permit: Permit | None,
        fixed: Mapping[str, tuple[IPAddress, ...]],
        tunnel: bool,
        journey: Journey | None,
    ) -> tuple[Stream, str]:
        """A stream that the parent has joined with the target, and the parent's address."""
        known = known_addresses(target.host, fixed)
        if known:
            host: str | None = str(self._permitted(target.port, known, permit, None)[0].host)
        else:
            # What is no name to us might be an address to the parent (in full-width digits, with a zone), and
            # nobody would have judged it.
            host = host_name(target.host)
        if host is None:
            raise NoSuchName(f"{target.host[:80]!r} is not a valid host name")
        started = self._reactor.seconds()
        try:
            dialed = await self.dial(
                Target(parent.host, parent.port),
                connect_timeout=timeout,
                handshake_timeout=timeout,
                fixed=fixed,
                journey=journey,
            )
        except DialError as error:
            error.parent = parent.name
            raise
        if not tunnel:
            return dialed.stream, dialed.address
        left = started + timeout - self._reactor.seconds()
        opening = self._bounded(
            parent.open(dialed.stream, host, target.port),
            left,
            lambda: ParentTimeout(f"it did not open the way to {target} within {timeout:g} s"),
        )
        try:
            return await opening, dialed.address
        except DialError as error:
            error.parent, error.address = parent.name, dialed.address
            blamed = Target(parent.host, parent.port) if isinstance(error, PeerClosed) else target
            error.target = str(blamed)
            error.elapsed = self._reactor.seconds() - started
            raise

    async def _addresses(
        self,
        target: Target,
        timeout: float,
        fixed: Mapping[str, tuple[IPAddress, ...]],
        look_ups: LookUps | None,
    ) -> tuple[IPAddress, ...]:
        known = known_addresses(target.host, fixed)
        if known:
            return known

        def expired() -> DialError:
            return NameTimeout(f"the name was not resolved within {timeout:g} s")

        if look_ups is None or not takes_a_look_up(target.host):
            asking = Deferred.fromCoroutine(self._resolver.resolve(target.host))
            return await self._bounded(asking, timeout, expired)
        until = self._reactor.seconds() + timeout
        entering = look_ups.enter()
        if entering is not None:
            await self._bounded(entering, timeout, expired)
        try:
            asking = Deferred.fromCoroutine(self._resolver.resolve(target.host, look_ups))
            return await self._bounded(asking, until - self._reactor.seconds(), expired)
        finally:
            look_ups.leave()

    def _permitted(
        self, port: int, found: Iterable[Host], permit: Permit | None, journey: Journey | None
    ) -> list[SocketAddress]:
        """
        Those that may be dialed.

        @raise DialError: none may; with the reason for the first, the preferred one, that is an address.
        """
        good, refused = [], []
        for each in found:
            address = SocketAddress(each, port)
            error = self._refusal(each, port, permit, journey)
            if error is None:
                good.append(address)
            else:
                error.address = str(address)
                refused.append(error)
        if not good:
            first = next((one for one in refused if not isinstance(one, NoDestination)), refused[0])
            first.others = tuple(one for one in refused if one is not first)
            raise first
        return good

    def _refusal(
        self, address: Host, port: int, permit: Permit | None, journey: Journey | None
    ) -> DialError | None:
        reason = None
        if not isinstance(address, Path):
            reason = None if permit is None else permit(address)
            if reason is not None:
                return AddressDenied(reason)
            if is_unspecified(address):
                return NoDestination("it is unspecified")
        if journey is not None and self._loops.is_near(address, port):
            reason = self._loops.refusal(journey, address, port)
        return None if reason is None else LeadsBack(reason)

    def _connect_on(self, journey: Journey) -> Connect:
        """Makes a connection that may lead to a listener of ours, which will know whence it came."""
        loops = self._loops

        def begin(reactor: Any, address: SocketAddress) -> Deferred[Stream]:
            host, port = address.host, address.port
            if loops.owner(host, port) is None:
                return self._connect(reactor, address)
            if isinstance(host, Path):
                return self._connect(reactor, address).addCallback(noted, host)
            return connect_once(reactor, address, partial(loops.left, journey, host, port))

        def noted(stream: Stream, path: Path) -> Stream:
            loops.left_for(journey, path)
            return stream

        return begin

    async def _connected(
        self, addresses: list[SocketAddress], left: float, timeout: float, journey: Journey | None
    ) -> tuple[Stream, str]:
        connect = self._connect
        if journey is not None and self._loops.is_near(*addresses[0]):
            connect = self._connect_on(journey)
        race = Race(self._reactor, addresses, delay=STAGGER, connect=connect)

        def expired() -> DialError:
            now = self._reactor.seconds()
            silent = []
            for attempt in race.pending:
                error = DialTimeout(f"no answer within {timeout:g} s", address=str(attempt.address))
                error.elapsed = now - attempt.since
                silent.append(error)
            return most_telling([*silent, *race.failures])

        stream = await self._bounded(race.run(), left, expired)
        return stream, str(race.winner)

    def _bounded(self, waiting: Deferred[T], seconds: float, expired: Callable[[], DialError]) -> Deferred[T]:
        if waiting.called:
            return waiting  # what is on this machine connects at once, and needs no timer

        def timed_out(result: T | Failure, _: float) -> T | Failure:
            if isinstance(result, Failure) and isinstance(result.value, CancelledError):
                raise expired()
            return result

        return waiting.addTimeout(max(seconds, 0.0), self._reactor, timed_out)


_LONG_HOST = 64  # a longer text is no address; clients choose it, so it is not kept


@lru_cache(maxsize=1024)
def _on_loopback(host: str, port: int) -> Nearby | None:
    """What is on the loopback without a look-up."""
    address = LOCALHOST[0] if host == "localhost" else parse_ip(host)
    if address is None or not is_loopback(address):
        return None
    place = SocketAddress(address, port)
    return address, *socket_name(place), str(place)


def known_addresses(host: str, fixed: Mapping[str, tuple[IPAddress, ...]] = _NONE) -> tuple[IPAddress, ...]:
    """What C{host} is without a look-up: an address in any spelling, or a name in C{fixed}; or nothing."""
    literal = parse_ip(host)
    if literal is not None:
        return (literal,)
    return fixed.get(host_name(host) or host, ()) if fixed else ()
