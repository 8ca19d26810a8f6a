"""Tries which Host is accepted by a server that has refused the one it was sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from shlex import quote

from lanrelay.examine.look import Look
from lanrelay.examine.opener import Opener
from lanrelay.upstream.tls_sentences import is_host

MISDIRECTED = 421
REFUSING = (400, 403, MISDIRECTED)
"""The statuses with which servers refuse a Host (against DNS rebinding, or because no site has it)."""


def candidates(look: Look, opener: Opener) -> list[str]:
    """
    The upstream's name, the names of its certificate, localhost and the address; with port, and without.

    The Host that was sent already is not among them.
    """
    url = look.upstream.url
    names = [url.host, look.upstream.server_name, *_certified(opener), "localhost", str(opener.address.host)]
    port = url.port or opener.address.port
    found = [host for name in dict.fromkeys(names) if name for host in _written(name, port, tls=url.tls)]
    return [host for host in dict.fromkeys(found) if host != look.subject.host]


def _certified(opener: Opener) -> Iterator[str]:
    for certificate in opener.tls.chain[:1] if opener.tls is not None else ():
        yield from [name for name in certificate.names if is_host(name)][:5]


def _written(name: str, port: int, *, tls: bool) -> list[str]:
    if name.startswith("/"):
        return []
    host = f"[{name}]" if ":" in name else name
    return [host] if port == (443 if tls else 80) else [f"{host}:{port}", host]


async def host_that_works(
    look: Look, opener: Opener, accepts: Callable[[str], Awaitable[bool]]
) -> str | None:
    """The first of them that C{accepts} says yes to."""
    for host in candidates(look, opener):
        if await accepts(host):
            return host
    return None


def refused(look: Look, status: int, host: str | None) -> tuple[str, str]:
    """What a refused Host means, and what to do. C{host} is the one that works."""
    sent = look.subject.host
    if host is None:
        said = f"The server refuses the Host {sent} ({status}), and localhost and its address, too."
        return said, f"Let the server accept the Host {sent} (`allowed_hosts`, `server_name` and the like)."
    said = f"The server refuses the Host {sent} ({status}); it accepts {host}."
    if look.subject.listener is None:
        return said, f"lanrelay add {quote(look.subject.url)} --set host={quote(host)}"
    if not look.subject.preserved and host.startswith(("localhost", "127.")):  # as clients call the relay
        return said, f"host: preserve  # of listeners.{look.subject.listener}; or `host: {host}`"
    return said, f"host: {host}  # of listeners.{look.subject.listener}; or let the server accept {sent}"
