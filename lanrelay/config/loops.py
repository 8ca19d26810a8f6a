"""Listeners that lead to themselves, by what the file alone says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lanrelay.addresses import is_loopback, is_unspecified, parse_ip, unmapped
from lanrelay.config import model
from lanrelay.config.place import Place

Dialed = tuple[model.IPAddress, int] | Path
"""An address and a port, or the path of a unix socket."""

_LOCALHOST = tuple(ip for ip in map(parse_ip, ("127.0.0.1", "::1")) if ip is not None)


def complain_of_loops(listeners: Sequence[tuple[model.Listener, Place]]) -> None:
    """
    Complain of each listener that leads to itself, or to others and by them back: no connection through it
    would ever come to an end.

    Names are not looked up, nor is it known here which addresses the machine has; the relay looks at both
    when it connects.
    """
    running = [(one, place) for one, place in listeners if one.enabled]
    ways = {
        one.name: [
            other.name
            for dialed in _dialed(one)
            for other, _ in running
            if any(_is_at(address, dialed) for address in other.listen)
        ]
        for one, _ in running
    }
    for one, place in running:
        turn = _turn(one.name, ways)
        if turn:
            _leads(place).complain(f"expected another way; this one leads back: {' -> '.join(turn)}")


def _turn(start: str, ways: dict[str, list[str]]) -> list[str]:
    """The way from a listener to itself; empty for none."""
    seen: set[str] = set()
    paths = [[start]]
    while paths:
        path = paths.pop(0)
        for name in ways[path[-1]]:
            if name == start:
                return [*path, name]
            if name not in seen:
                seen.add(name)
                paths.append([*path, name])
    return []


def _leads(place: Place) -> Place:
    """The key that says where a listener leads to."""
    keys = dict(place.entries())
    return next((keys[word] for word in ("upstream", "routes", "parent") if word in keys), place)


def _dialed(listener: model.Listener) -> Iterator[Dialed]:
    """What it connects to, as far as no name has to be looked up."""
    if isinstance(listener, model.ForwardProxy):
        if listener.parent is not None:
            yield from _at(listener.parent.host, listener.parent.port)
        return
    groups: list[model.Upstreams] = []
    if isinstance(listener, model.TcpForward):
        groups = [listener.upstreams]
    elif isinstance(listener, model.ReverseProxy):
        groups = [route.upstreams for route in listener.routes]
    for group in groups:
        for upstream in group.members:
            to = upstream.via or upstream.address or upstream.url
            if isinstance(to, model.UpstreamUrl) and to.unix_path is not None:
                yield to.unix_path
            else:
                yield from _at(to.host, to.port)


def _at(host: str, port: int) -> Iterator[Dialed]:
    address = parse_ip(host)
    if address is not None:
        yield unmapped(address), port
    elif host == "localhost" or host.endswith(".localhost"):
        yield from ((each, port) for each in _LOCALHOST)


def _is_at(address: model.ListenAddress, dialed: Dialed) -> bool:
    """Whether a connection to C{dialed} comes to who listens on C{address}."""
    if isinstance(dialed, Path):
        return isinstance(address, model.UnixAddress) and address.path == dialed
    host, port = dialed
    if isinstance(address, model.LocalhostAddress):
        return address.port == port and host in _LOCALHOST
    if not isinstance(address, model.TcpAddress) or address.port != port:
        return False
    every = is_unspecified(address.host) and address.host.version == host.version and is_loopback(host)
    return every or unmapped(address.host) == host
