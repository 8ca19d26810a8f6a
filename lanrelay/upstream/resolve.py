"""Names to addresses, in threads of their own, so that a name that hangs delays nothing else."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from lanrelay.addresses import IPAddress, host_name, parse_ip
from lanrelay.errors import DialError, LocalLimit, NameServerFailed, NoSuchName
from lanrelay.upstream.look_ups import LookUps

FRESH = 5.0
"""Seconds for which a look-up under way is shared. After a change of network the old one hangs on."""

PER_NAME = 2
"""Look-ups of one name at a time, so that one that hangs for ever does not take ever more threads."""

LOCALHOST = (IPv4Address("127.0.0.1"), IPv6Address("::1"))

GetAddrInfo = Callable[..., Any]
Resolved = tuple[IPAddress, ...] | DialError


class Resolver:
    """
    Looks names up with the system's C{getaddrinfo}: hosts file, DNS, mDNS, whatever it is told to ask.

    No answer is kept: the system has a cache if it wants one, and a laptop that moves must not hear of
    yesterday's network. No thread is started before the first look-up.

    Names of the configuration are looked up whenever somebody asks: there are only so many of them. Names
    that clients choose have a budget (L{LookUps}), whose look-ups nobody else shares or waits for.

    @param getaddrinfo: called in a thread as C{socket.getaddrinfo} is.
    @param start: starts a thread that runs what it is given.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        getaddrinfo: GetAddrInfo = socket.getaddrinfo,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._reactor = reactor
        self._getaddrinfo = getaddrinfo
        self._start = start or _start_daemon
        self._lookups: dict[_Key, list[_Lookup]] = {}
        self._running = 0
        self._stopped = False

    async def resolve(self, host: str, look_ups: LookUps | None = None) -> tuple[IPAddress, ...]:
        """
        The addresses of C{host}, in the system's order, at least one.

        Addresses in any spelling and localhost (RFC 6761 section 6.3) are answered at once. Cancelling ends
        this caller's wait; the look-up goes on for the others.

        @param look_ups: on whose account it goes, where L{takes_a_look_up}; the caller has a place there.
        @raise NoSuchName: there is no such name, it has no address, or it can be no name.
        @raise NameServerFailed: it could not be looked up.
        @raise LocalLimit: the system has no thread or no descriptor for it.
        """
        address = parse_ip(host)
        if address is not None:
            return (address,)
        name = host_name(host)
        if name is None:
            raise NoSuchName(f"{host[:80]!r} is not a valid host name")
        if _is_localhost(name):
            return LOCALHOST
        return await self._wait_for((look_ups, name))

    def renew(self) -> None:
        """
        Ask anew for all that is being looked up: the network may be another one.

        Callers go on waiting, for the new answer.
        """
        lookups, self._lookups = self._lookups, {}
        for key, running in lookups.items():
            waiters = [waiter for lookup in running for waiter in lookup.waiters]
            for lookup in running:
                lookup.waiters = []
            if not waiters:
                continue
            try:
                self._look_up(key, self._reactor.seconds()).waiters += waiters
            except DialError as error:
                _tell(waiters, error)

    def stop(self) -> None:
        """Resolved nobody any more; threads that hang are left to the end of the process."""
        self._stopped = True
        lookups, self._lookups = self._lookups, {}
        for running in lookups.values():
            for lookup in running:
                waiters, lookup.waiters = lookup.waiters, []
                for waiter in waiters:
                    waiter.cancel()

    @property
    def running(self) -> int:
        """Look-ups under way, those that nobody waits for any more too."""
        return self._running

    def _wait_for(self, key: _Key) -> Deferred[tuple[IPAddress, ...]]:
        running = self._lookups.get(key, [])
        now = self._reactor.seconds()
        lookup = running[-1] if running else None
        if lookup is None or (now - lookup.started > FRESH and len(running) < PER_NAME):
            lookup = self._look_up(key, now)
        waiter: Deferred[tuple[IPAddress, ...]] = Deferred(self._leave)
        lookup.waiters.append(waiter)
        return waiter

    def _leave(self, waiter: Deferred[tuple[IPAddress, ...]]) -> None:
        for running in self._lookups.values():
            for lookup in running:
                if waiter in lookup.waiters:
                    lookup.waiters.remove(waiter)

    def _look_up(self, key: _Key, now: float) -> _Lookup:
        look_ups, name = key
        if self._stopped:
            raise NameServerFailed("the relay is stopping")
        lookup = _Lookup(now)

        def run() -> None:  # in a thread of its own
            answer = _ask(self._getaddrinfo, name)
            if self._stopped:
                return
            try:
                self._reactor.callFromThread(self._answered, key, lookup, answer)
            except OSError:
                pass  # the reactor has closed its waker: the process is ending

        try:
            self._start(run)
        except RuntimeError as error:  # "can't start new thread"
            raise LocalLimit(f"no thread for the look-up of a name: {error}") from None
        self._running += 1
        if look_ups is not None:
            look_ups.threads += 1
        self._lookups.setdefault(key, []).append(lookup)
        return lookup

    def _answered(self, key: _Key, lookup: _Lookup, answer: Resolved | Exception) -> None:
        self._running -= 1
        running = self._lookups.get(key, [])
        if lookup in running:
            running.remove(lookup)
            if not running:
                del self._lookups[key]
        waiters, lookup.waiters = lookup.waiters, []
        _tell(waiters, answer)
        if key[0] is not None:
            key[0].ended()


def takes_a_look_up(host: str) -> bool:
    """Whether L{Resolver.resolve} needs a thread for it."""
    name = None if parse_ip(host) is not None else host_name(host)
    return name is not None and not _is_localhost(name)


def _is_localhost(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")


_Key = tuple[LookUps | None, str]


class _Lookup:
    def __init__(self, started: float) -> None:
        self.started = started
        self.waiters: list[Deferred[tuple[IPAddress, ...]]] = []


def _tell(waiters: list[Deferred[tuple[IPAddress, ...]]], answer: Resolved | Exception) -> None:
    for waiter in waiters:
        if isinstance(answer, tuple):
            waiter.callback(answer)
        elif isinstance(answer, DialError):
            waiter.errback(type(answer)(answer.detail))  # each its own: the dialer writes into it
        else:
            waiter.errback(answer)


def _start_daemon(run: Callable[[], None]) -> None:
    # A daemon thread, so that the interpreter's exit does not wait for a name server.
    Thread(target=run, name="look-up", daemon=True).start()


def _out_of_descriptors() -> bool:
    opened: list[int] = []
    try:
        while len(opened) < _NEEDED:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return False


_NEEDED = 4  # a file of the system's, a socket for each of two name servers, and one of another thread's


_NO_NAME = {
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
}


def _ask(getaddrinfo: GetAddrInfo, name: str) -> Resolved | Exception:
    try:
        rows = getaddrinfo(name, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except socket.gaierror as error:
        text = (error.strerror or "no answer").rstrip(".")
        if _out_of_descriptors():  # glibc calls that a name that does not exist, even of localhost
            return LocalLimit(os.strerror(errno.EMFILE))
        if error.errno in _NO_NAME:
            return NoSuchName(f"no such name: {text}")
        if error.errno == getattr(socket, "EAI_MEMORY", None):
            return LocalLimit(text)
        return NameServerFailed(text)
    except UnicodeError:
        return NoSuchName("not a valid host name")
    except OSError as error:
        kind = LocalLimit if error.errno in (errno.EMFILE, errno.ENFILE) else NameServerFailed
        return kind(error.strerror or str(error))
    except Exception as error:
        return error  # a bug: it is raised where somebody waits for it
    found: list[IPAddress] = []
    for family, _, _, _, place in rows:
        if family == socket.AF_INET:
            found.append(IPv4Address(place[0]))
        elif family == socket.AF_INET6:
            # A link-local address is of no use without its interface.
            found.append(IPv6Address(f"{place[0]}%{place[3]}" if place[3] else place[0]))
    return tuple(dict.fromkeys(found)) or NoSuchName("the name has no address")
