"""The first layer: what the system's resolver makes of the name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred

from lanrelay.addresses import IPAddress, parse_ip
from lanrelay.errors import DialError, NameTimeout
from lanrelay.examine.checks import Check
from lanrelay.examine.look import Look
from lanrelay.examine.opener import target_of
from lanrelay.upstream.race import SocketAddress, interleaved

_MOST = 16
"""Addresses that are examined; a name with hundreds is meant for balancing, or to annoy."""


async def look_up(look: Look) -> list[SocketAddress]:
    """The addresses in the order in which they are tried; if there are none, a check says why."""
    since = look.now()
    upstream, via = look.upstream, look.upstream.via
    if upstream.url.unix_path is not None and via is None:
        look.note(
            "name",
            "ok",
            f"{upstream.url.unix_path} is a socket on this machine.",
            since,
            url=look.subject.url,
            addresses=[],
        )
        return [SocketAddress(upstream.url.unix_path)]
    target = target_of(upstream)
    host, port = (target.host, target.port) if via is None else (via.host, via.port)
    try:
        found = await _resolve(look, host)
    except DialError as error:
        error.target = f"{host}:{port}"
        error.elapsed = look.now() - since
        look.checks.append(_unknown(look, error, host, since))
        return []
    said = f"{host} is {_listed(found)}." if parse_ip(host) is None else f"{host} is an address."
    if via is not None:
        said = f"The parent proxy {said} It looks up {target.host} itself."
    elif upstream.address is not None:
        said += await _beside(look)
    look.note("name", "ok", said, since, url=look.subject.url, addresses=[str(one) for one in found])
    return interleaved([SocketAddress(address, port) for address in found])[:_MOST]


async def _resolve(look: Look, host: str) -> tuple[IPAddress, ...]:
    asking = Deferred.fromCoroutine(look.means.resolver.resolve(host))
    late = f"the name was not resolved within {look.timeout:g} s"
    return await look.means.bounded(asking, look.timeout, lambda: NameTimeout(late))


async def _beside(look: Look) -> str:
    """Where C{address} is used instead of a name, what the system makes of the name."""
    host, address = look.upstream.url.host, look.upstream.address
    if address is None or parse_ip(host) is not None or host == address.host:
        return ""
    try:
        found = await _resolve(look, host)
    except DialError:
        return f" The name {host} is not known on this machine, and `address` does without it."
    return f" It stands for {host}, which is {_listed(found)} as far as this machine knows."


def _unknown(look: Look, error: DialError, host: str, since: float) -> Check:
    check = look.failed("name", error, since, url=look.subject.url, addresses=[])
    if check.cause not in ("name_unknown", "name_no_answer"):
        return check
    remedy, line = check.remedy or "", f"`address: 192.168.1.20:{target_of(look.upstream).port}` beside `url`"
    if "`address`" in remedy:
        remedy = f"{remedy.removesuffix('.')} ({line}, for one)."
    else:
        remedy = f"{remedy} An IP address does without the name ({line}, for one)."
    check = replace(check, remedy=remedy.lstrip())
    if host.endswith(".local"):
        local = " A .local name is answered by the host itself (mDNS), and in its own network alone."
        if look.means.platform == "linux":
            local += " On Linux that takes libnss-mdns or systemd-resolved."
        return replace(check, said=check.said + local)
    return check


def _listed(addresses: Sequence[IPAddress]) -> str:
    shown = ", ".join(map(str, addresses[:_MOST]))
    return f"{shown} and {len(addresses) - _MOST} more" if len(addresses) > _MOST else shown
