"""Where a client finds the status page, if it may see it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from lanrelay.addresses import is_loopback, parse_ip, unmapped
from lanrelay.listeners.service import ListenerService
from lanrelay.policy.rules import ClientRules
from lanrelay.transport.client import Client

_LOCALHOST: Final = frozenset({ip_address("127.0.0.1"), ip_address("::1")})


def address_for(client: Client | None, listeners: Iterable[ListenerService]) -> str:
    """
    The page's URL; empty where there is none, or where C{client} may not connect to it.

    @param client: the client of any listener; it can reach no more than the address that it has reached
        already, and loopback if it is on this machine.
    """
    if client is None or client.address is None or client.local is None:
        return ""
    own = unmapped(client.local)
    here = is_loopback(unmapped(client.address)) and is_loopback(own)
    for listener in listeners:
        if listener.kind != "admin" or not ClientRules(listener.config.clients).permits(client.address):
            continue
        for bound in listener.bound:
            name = bound.socket.getsockname()
            host = parse_ip(name[0].partition("%")[0]) if isinstance(name, tuple) else None
            if host is None:
                continue  # a unix socket
            host = unmapped(host)
            if here and (is_loopback(host) or host.is_unspecified):
                usual = host.is_unspecified or host in _LOCALHOST
                return f"http://{'localhost' if usual else host}:{name[1]}/"
            if not here and (host == own or (host.is_unspecified and host.version == own.version)):
                return f"http://{f'[{own}]' if own.version == 6 else own}:{name[1]}/"
    return ""
