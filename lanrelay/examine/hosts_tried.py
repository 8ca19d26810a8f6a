"""Tries which Host or Origin is accepted by a server that has refused those it was sent."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from shlex import quote
from typing import Protocol

from lanrelay.examine.causes import WebLayer
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


class Accepts(Protocol):
    """Whether the server accepts a request with this Host (C{None}: the subject's), and with the Origin."""

    def __call__(self, host: str | None, *, origin: bool = True) -> Awaitable[bool]: ...


async def refusal_found(
    look: Look, opener: Opener, status: int, since: float, layer: WebLayer, accepts: Accepts
) -> bool:
    """
    Whether it is the Host or the Origin that the server has refused with C{status}; then the check has been
    noted.

    A 421 is always about the Host, whatever the other tries find.
    """
    if look.subject.origin is not None and await accepts(None, origin=False):
        _origin_refused(look, status, since, layer)
        return True
    host = await _host_that_works(look, opener, accepts)
    if host is None and status != MISDIRECTED:
        return False
    said, remedy = _refused(look, status, host)
    look.note(
        layer,
        "failed",
        said,
        since,
        cause="host_refused",
        remedy=remedy,
        status=status,
        host_that_works=host,
    )
    look.skip("the Host is refused")
    return True


def _origin_refused(look: Look, status: int, since: float, layer: WebLayer) -> None:
    look.note(
        layer,
        "failed",
        f"The server refuses the Origin {look.subject.origin} ({status}); it accepts a request without one.",
        since,
        cause="origin_refused",
        remedy=f"origin: strip  # of listeners.{look.subject.listener}",
        status=status,
    )
    look.skip("the Origin is refused")


async def _host_that_works(look: Look, opener: Opener, accepts: Accepts) -> str | None:
    """The first of the candidates that C{accepts} says yes to."""
    for host in candidates(look, opener):
        if await accepts(host):
            return host
    return None


def _refused(look: Look, status: int, host: str | None) -> tuple[str, str]:
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
