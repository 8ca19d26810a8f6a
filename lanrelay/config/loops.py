"""Listeners that lead to themselves, by what the file alone says."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from lanrelay.addresses import is_loopback, is_unspecified, parse_ip, unmapped
from lanrelay.config import model
from lanrelay.config.kinds import kind_of, upstreams_of
from lanrelay.config.place import Place

Dialed = tuple[model.IPAddress, int] | Path
"""An address and a port, or the path of a unix socket."""

_LOCALHOST = tuple(ip for ip in map(parse_ip, ("127.0.0.1", "::1")) if ip is not None)


def complain_of_loops(listeners: Sequence[tuple[model.Listener, Place]]) -> None:
    """
    Complain of each listener that leads to itself, or to others and by them back: no connection through it
    would ever come to an end.

    This looks up no names and does not know which addresses the machine has; the relay looks at both when it
    connects.
    """
    running = [(one, place) for one, place in listeners if one.enabled]
    there: dict[int | Path | None, list[model.Listener]] = {}  # by port, or by the path of a unix socket
    for one, _ in running:
        for address in one.listen:
            at = there.setdefault(_number(address), [])
            if not at or at[-1] is not one:
                at.append(one)
    ways = {
        one.name: [
            other.name
            for dialed in _dialed(one)
            for other in there.get(dialed if isinstance(dialed, Path) else dialed[1], ())
            if any(_is_at(address, dialed) for address in other.listen)
        ]
        for one, _ in running
    }
    endless = _endless(ways)
    for one, place in running:
        turn = _turn(one.name, ways) if one.name in endless else []
        if turn:
            _leads(place).complain(f"expected another way; this one leads back: {' -> '.join(turn)}")


def _endless(ways: dict[str, list[str]]) -> set[str]:
    """
    The listeners from which a way goes on without end. Mostly there are none, so no way has to be followed.
    """
    comes_from: dict[str, list[str]] = {}
    left = {name: len(nexts) for name, nexts in ways.items()}
    for name, nexts in ways.items():
        for following in nexts:
            comes_from.setdefault(following, []).append(name)
    ends = [name for name, number in left.items() if number == 0]
    while ends:
        end = ends.pop()
        del left[end]
        for name in comes_from.get(end, ()):
            left[name] -= 1
            if left[name] == 0:
                ends.append(name)
    return set(left)


def _turn(start: str, ways: dict[str, list[str]]) -> list[str]:
    """The shortest way from a listener to itself; empty for none."""
    before: dict[str, str] = {}
    names = deque([start])
    while names:
        here = names.popleft()
        for name in ways[here]:
            if name == start:
                path = [start]
                while here != start:
                    path.append(here)
                    here = before[here]
                return [start, *reversed(path)]
            if name not in before:
                before[name] = here
                names.append(name)
    return []


def _leads(place: Place) -> Place:
    """The key that says where a listener leads to."""
    keys = dict(place.entries())
    return next((keys[word] for word in ("upstream", "routes", "parent") if word in keys), place)


def _dialed(listener: model.Listener) -> Iterator[Dialed]:
    """What it connects to, as far as no name has to be looked up."""
    parent = kind_of(listener).parent(listener)
    if parent is not None:
        yield from _at(parent.host, parent.port)
    for upstream in upstreams_of(listener):
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


def _number(address: model.ListenAddress) -> int | Path | None:
    """What two listeners at one place have in common: the port, or the path of a unix socket."""
    if isinstance(address, model.UnixAddress):
        return address.path
    return address.port if isinstance(address, (model.TcpAddress, model.LocalhostAddress)) else None


def _is_at(address: model.ListenAddress, dialed: Dialed) -> bool:
    """Whether a connection to C{dialed} comes to a listener on C{address}."""
    if isinstance(dialed, Path):
        return isinstance(address, model.UnixAddress) and address.path == dialed
    host, port = dialed
    if isinstance(address, model.LocalhostAddress):
        return address.port == port and host in _LOCALHOST
    if not isinstance(address, model.TcpAddress) or address.port != port:
        return False
    every = is_unspecified(address.host) and address.host.version == host.version and is_loopback(host)
    return every or unmapped(address.host) == host
