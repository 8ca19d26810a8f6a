"""Who is at the other end of a stream that was accepted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lanrelay.addresses import IPAddress, parse_ip, unmapped, unmapped_host

if TYPE_CHECKING:
    from lanrelay.wire.proxy_header import Endpoints

Hop = tuple[str, str]
"""A listener of the relay, and the address of the relay's own that it connected to."""


@dataclass(slots=True)
class Client:
    """
    The client that connected; after a PROXY header, the client that it names, and where that one connected
    to.

    It never changes. It is not frozen, because that would cost each connection 2 us.

    @ivar name: for logs: C{"127.0.0.1:50123"} or C{"unix"}.
    @ivar address: C{None} for a unix socket.
    @ivar local: the address on which it came in; C{None} for a unix socket.
    @ivar secure: it came over TLS.
    @ivar hops: its way through the relay itself, if it came through that before.
    @ivar port: beside C{address}, and C{local_port} beside C{local}; 0 for a unix socket.
    """

    name: str
    address: IPAddress | None
    local: IPAddress | None
    secure: bool
    port: int = 0
    local_port: int = 0
    hops: tuple[Hop, ...] = ()

    @property
    def endpoints(self) -> Endpoints | None:
        """For a PROXY header to an upstream; C{None} for a unix socket."""
        if self.address is None or self.local is None:
            return None
        from lanrelay.wire.proxy_header import Endpoints  # only for upstreams that get such a header

        return Endpoints(self.address, self.port, self.local, self.local_port)


def accepted_from(peer: Any, local: Any, *, secure: bool) -> Client:
    """The client that connected from C{peer} to C{local}, the names of two sockets."""
    if not isinstance(peer, tuple):
        return Client(name="unix", address=None, local=None, secure=secure)
    (shown, address), port = _host(peer[0]), peer[1]
    return Client(f"{shown}:{port}", address, _host(local[0])[1], secure, port, local[1])


def spoken_for(peer: Client, endpoints: Endpoints) -> Client:
    """The client for whom C{peer} speaks, by its PROXY header."""
    source, local = unmapped(endpoints.source), unmapped(endpoints.destination)
    return replace(
        peer,
        name=f"{_bracketed(str(source))}:{endpoints.source_port}",
        address=source,
        local=local,
        port=endpoints.source_port,
        local_port=endpoints.destination_port,
    )


@lru_cache(maxsize=1024)
def _host(name: str) -> tuple[str, IPAddress | None]:
    """The host of a socket's name: as it stands before a port, and its address. Mostly they are the same."""
    host = unmapped_host(name)
    return _bracketed(host), parse_ip(host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
