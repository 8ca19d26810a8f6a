"""Where the relay itself listens, and so where its listeners must not lead."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from lanrelay.addresses import parse_ip, unmapped
from lanrelay.config.kinds import kind_named
from lanrelay.config.model import IPAddress
from lanrelay.listeners.service import ListenerService

_EVERY_IPV4, _EVERY_IPV6 = IPv4Address(0), IPv6Address(0)


class OwnPlaces(NamedTuple):
    """
    @ivar forbidden: the ports to which no proxy may lead, each with what is there.
    @ivar addresses: by port: the addresses, each with the name of the listener.
    @ivar paths: of unix sockets, each with the name of the listener.
    """

    forbidden: dict[int, str]
    addresses: dict[int, tuple[tuple[IPAddress, str], ...]]
    paths: dict[str, str]


def own_places(listeners: Iterable[ListenerService]) -> OwnPlaces:
    """The places of listeners whose sockets are open."""
    found = OwnPlaces({}, {}, {})
    for listener in listeners:
        listener_name = listener.config.name
        names = [bound.socket.getsockname() for bound in listener.bound]
        found.paths.update((name, listener_name) for name in names if isinstance(name, str) and name)
        what = _forbidden(listener)
        for host, port in _bound_to(listener):
            found.addresses[port] = (*found.addresses.get(port, ()), (host, listener_name))
            if what:
                found.forbidden[port] = what
    return found


def _forbidden(listener: ListenerService) -> str:
    """What the listener is, if other listeners must not lead to it; else empty."""
    kind = kind_named(listener.kind)
    if kind is not None:
        return f"the relay's own forward proxy {listener.config.name}" if kind.proxy else ""
    return f"the relay's own {listener.kind} page"


def _bound_to(listener: ListenerService) -> Iterator[tuple[IPAddress, int]]:
    """The addresses and ports that it listens on."""
    for bound in listener.bound:
        name = bound.socket.getsockname()
        host = parse_ip(name[0].partition("%")[0]) if isinstance(name, tuple) else None
        if host is None:
            continue  # a unix socket
        yield unmapped(host), name[1]
        if host == _EVERY_IPV6 and not bound.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            yield _EVERY_IPV4, name[1]  # one of systemd's, which serves both families
