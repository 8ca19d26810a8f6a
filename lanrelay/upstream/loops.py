"""Connections of the relay to itself, and which of them lead round in a circle."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lanrelay.addresses import IPAddress, is_loopback, is_unspecified, unmapped, unmapped_host
from lanrelay.transport.client import Hop
from lanrelay.transport.stream import handle_of

Host = IPAddress | Path
"""An address, or the path of a unix socket."""

HOPS_MAX = 16
"""How often one way may lead through the relay; a name may lead to another of its addresses at each turn."""

_AT_ONCE = 1024  # connections to oneself that nobody has accepted yet; more are forgotten, the oldest first


class Journey(NamedTuple):
    """
    How it came to a dial.

    @ivar listener: the one that dials.
    @ivar hops: how the client came to it, as far as that was through the relay itself.
    """

    listener: str
    hops: tuple[Hop, ...] = ()


class Loops:
    """
    Knows of each connection that the relay makes to itself by which way it came.

    A listener may lead to another one, and a proxy to a listener that goes on through the same proxy. But a
    listener that connects to the same address for the second time on one way would do so for ever: each turn
    takes two descriptors, until there are none. A way that is long beyond all use counts as endless, too,
    because a name may lead to another address at each turn.

    The two ends of such a connection know each other by the address from which it was made; on a unix socket
    by the process and the order, for they are accepted as they come.

    @ivar ports: who listens on a port, and on which address.
    """

    def __init__(self) -> None:
        self.ports: Mapping[int, tuple[tuple[IPAddress, str], ...]] = {}
        self._paths: dict[str, str] = {}
        self._under_way: dict[tuple[str, int], tuple[Hop, ...]] = {}
        self._by_path: dict[str, deque[tuple[Hop, ...]]] = {}

    def listening(
        self, ports: Mapping[int, tuple[tuple[IPAddress, str], ...]], paths: Mapping[str, str]
    ) -> None:
        """Who listens where, from now on: on ports, and on the paths of unix sockets."""
        self.ports = ports
        self._paths = {os.path.realpath(path): listener for path, listener in paths.items()}
        self._by_path.clear()

    def is_near(self, host: Host, port: int) -> bool:
        """Whether there could be a listener of ours; this is quick."""
        return bool(self._paths) if isinstance(host, Path) else port in self.ports

    def owner(self, address: Host, port: int) -> str | None:
        """The listener that a connection to there leads to."""
        if isinstance(address, Path):
            return self._paths.get(os.path.realpath(address)) if self._paths else None
        there = self.ports.get(port)
        if there is None:
            return None
        plain = _without_zone(address)
        for bound, listener in there:
            if plain == bound or (
                is_unspecified(bound) and bound.version == plain.version and _is_here(address, port)
            ):
                return listener
        return None

    def refusal(self, journey: Journey, address: Host, port: int) -> str | None:
        """Why C{address} may not be dialed on this way, as a phrase."""
        owner = self.owner(address, port)
        if owner is None:
            return None
        if owner == journey.listener:
            return f"{_text(address, port)} is where {owner} itself listens"
        hop = (journey.listener, _text(address, port))
        if hop not in journey.hops:
            if len(journey.hops) < HOPS_MAX:
                return None
            return f"it leads on without end: {' -> '.join(each for each, _ in journey.hops)}"
        turn = [listener for listener, _ in journey.hops[journey.hops.index(hop) :]]
        return f"it leads round in a circle: {' -> '.join([*turn, journey.listener])}"

    def left(self, journey: Journey, address: IPAddress, port: int, name: Any) -> None:
        """
        A connection to a listener of ours is being made.

        @param name: the socket's own, before anybody can have accepted it.
        """
        while len(self._under_way) >= _AT_ONCE:
            del self._under_way[next(iter(self._under_way))]
        self._under_way[unmapped_host(name[0]), name[1]] = (
            *journey.hops,
            (journey.listener, _text(address, port)),
        )

    def left_for(self, journey: Journey, path: Path) -> None:
        """A connection to a unix socket of ours was made, which nobody can have accepted yet."""
        waiting = self._by_path.setdefault(os.path.realpath(path), deque(maxlen=_AT_ONCE))
        waiting.append((*journey.hops, (journey.listener, _text(path, 0))))

    def arrived(self, peer: Any, local: Any, stream: Any) -> tuple[Hop, ...]:
        """
        How a client came.

        @param peer: the name of its socket, and C{local} that of ours.
        """
        if isinstance(peer, tuple):
            return self._under_way.pop((unmapped_host(peer[0]), peer[1]), ()) if self._under_way else ()
        if not self._by_path or not isinstance(local, str):
            return ()
        path = os.path.realpath(local)
        waiting = self._by_path.get(path)
        if not waiting or _peer_pid(stream) != os.getpid():
            return ()
        hops = waiting.popleft()
        if not waiting:
            del self._by_path[path]
        return hops


def _peer_pid(stream: Any) -> int:
    """The process at the other end of a unix socket; 0 where nobody tells."""
    sock = handle_of(stream)
    if sock is None:
        return 0
    try:
        if hasattr(socket, "SO_PEERCRED"):
            return int(struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
        if sys.platform == "darwin":
            return int(sock.getsockopt(0, 0x002))  # SOL_LOCAL, LOCAL_PEERPID of <sys/un.h>
    except OSError:
        pass  # it has gone
    return 0


def _text(address: Host, port: int) -> str:
    if isinstance(address, Path):
        return f"unix:{address}"
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _without_zone(address: IPAddress) -> IPAddress:
    plain = unmapped(address)
    return type(plain)(int(plain))


def _is_here(address: IPAddress, port: int) -> bool:
    """Whether it is one of this machine's: then the kernel connects to it from itself."""
    if is_loopback(address):
        return True
    plain = unmapped(address)
    family = socket.AF_INET6 if plain.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((str(plain), port))  # which sends nothing
            return bool(asking.getsockname()[0] == str(plain))
    except OSError:
        return False  # no way leads there
