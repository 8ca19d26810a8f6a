"""The layers of the network: the route to each address, and whether the address takes a connection."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from lanrelay.addresses import IPAddress, kind, parse_ip
from lanrelay.errors import ConnectionRefused, DialError, DialForbidden, Unroutable
from lanrelay.examine import causes
from lanrelay.examine.checks import Cause, Check
from lanrelay.examine.look import Look, side_by_side
from lanrelay.examine.network import is_tunnel
from lanrelay.examine.opener import Opener, connect_to, target_of
from lanrelay.examine.routes import Route, call, is_neighbour
from lanrelay.policy.rules import DestinationRules
from lanrelay.upstream import sentences
from lanrelay.upstream.race import SocketAddress, from_errno
from lanrelay.upstream.sentences import CARRIER_GRADE

if TYPE_CHECKING:
    from lanrelay.examine.handshake import Shown

AT_ONCE = 0.05
"""Seconds: a failure as quick as this is the kernel's own; ARP takes a second to find nobody."""

_LATER = 1.0  # seconds until the attempt that shows whether it was an accident
_NOBODYS = IPv4Address("198.51.100.1")  # an example's (RFC 5737): its route is the default one
_GATEWAY_PORTS = (53, 80, 443)


async def reach(look: Look, addresses: Sequence[SocketAddress], tls: Shown | None) -> Opener | None:
    """
    Look at every address by itself; gives the way to the first that connects.

    A failure of one address is no fault if another one is good.
    """
    tried = await side_by_side([partial(_try, look, address, tls) for address in addresses])
    reached = [way for way, _ in tried if way is not None]
    checks = [check for _, each in tried for check in each]
    if reached:
        checks = [replace(one, state="warn") if one.state == "failed" else one for one in checks]
    look.checks += [check for check in checks if check.layer == "route"]
    if reached:
        _judge_proxies(look, [one.host for one in addresses if not isinstance(one.host, Path)])
    look.checks += [check for check in checks if check.layer == "connect"]
    return reached[0] if reached else None


async def _try(look: Look, address: SocketAddress, tls: Shown | None) -> tuple[Opener | None, list[Check]]:
    way = Opener(look.means, look.upstream, address, look.timeout, tls)
    route: Route | None = None
    checks: list[Check] = []
    if not isinstance(address.host, Path):
        route, check = await _route(look, address, address.host)
        checks.append(check)
        if check.state == "failed":
            said = f"Not looked at, for there is no route to {address}."
            skipped = Check(layer="connect", state="skipped", said=said, facts={"address": str(address)})
            return None, [check, skipped]
    since = look.now()
    try:
        stream = await way.connect()
    except DialError as error:
        check = look.failed("connect", error, since, address=str(address))
        if isinstance(error, Unroutable) and not isinstance(address.host, Path):
            cause = await _no_route(look, address, address.host, route, error)
            check = causes.unroutable(check, error, cause, platform=look.means.platform, place=look.place)
        return None, [*checks, check]
    stream.loseConnection()
    seconds = look.now() - since
    said = f"{address} took the connection."
    facts: dict[str, object] = {"address": str(address)}
    if look.means.platform == "darwin" and await _is_gateway(look, address.host, route):
        said += " It is the router here, which macOS lets every program reach: no proof for other devices."
        facts["exempt"] = True
    good = Check(
        layer="connect",
        state="ok",
        seconds=seconds,
        said=said,
        facts=facts,
    )
    return way, [*checks, good]


# --- the route ------------------------------------------------------------------------------------------


async def _route(look: Look, address: SocketAddress, host: IPAddress) -> tuple[Route | None, Check]:
    since = look.now()
    sort = kind(host)
    facts: dict[str, object] = {"address": str(host), "class": sort}
    try:
        route = await look.means.route(host)
    except OSError as reason:
        error = from_errno(reason.errno or 0, address)
        error.target = _label(look)
        check = look.failed("route", error, since, **facts)
        if not isinstance(error, DialForbidden):
            check = causes.told(check, "no_route", sentences.no_route(error))
        return None, check
    if route is None:
        said = f"{host} is a {sort} address; this system does not tell the way to it."
        return None, Check(layer="route", state="skipped", said=said, facts=facts)
    source = f" from {route.source}" if route.source else ""
    if sort == "loopback":
        said = f"{host} is this machine itself."
    elif is_tunnel(route.interface):
        over = f" over {route.gateway}" if route.gateway else ""
        said = f"{host} ({sort}) is reached through a VPN, by {route.interface}{over}{source}."
    elif route.on_link:
        said = f"{host} ({sort}) is on this machine's own network, by {route.interface}{source}."
    else:
        said = f"{host} ({sort}) is reached over {route.gateway}, by {route.interface}{source}."
    facts |= {
        "on_link": route.on_link,
        "interface": route.interface,
        "source": route.source,
        "gateway": route.gateway,
    }
    return route, Check(layer="route", state="ok", seconds=look.now() - since, said=said, facts=facts)


def _label(look: Look) -> str:
    via = look.upstream.via
    return str(target_of(look.upstream)) if via is None else f"{via.host}:{via.port}"


# --- "no route to host" ---------------------------------------------------------------------------------


async def _no_route(
    look: Look, address: SocketAddress, host: IPAddress, route: Route | None, error: DialError
) -> Cause:
    """Which of the three causes of "no route to host" it is."""
    if error.errno == errno.EHOSTDOWN:
        return "host_down"
    if error.errno != errno.EHOSTUNREACH:
        return "no_route"
    near = kind(host) == "private" and host not in CARRIER_GRADE
    if not (near if route is None else route.on_link) or (route and is_tunnel(route.interface)):
        return "no_route"  # what is behind a VPN is no local network
    kept = near and error.elapsed <= AT_ONCE and await _again(look, address)
    if kept and look.means.platform != "darwin":
        kept = await _gateway_answers(look)
    return "local_network_privacy" if kept else "host_down"


async def _again(look: Look, address: SocketAddress) -> bool:
    """Whether the attempt fails as quickly a second later."""
    await look.means.pause(_LATER)
    try:
        stream = await connect_to(look.means, address, _label(look), look.timeout)
    except DialError as error:
        return isinstance(error, Unroutable) and error.elapsed <= AT_ONCE
    stream.abortConnection()
    return False


async def _gateway(look: Look) -> IPAddress | None:
    """The next router on the way out."""
    try:
        route = await look.means.route(_NOBODYS)
    except OSError:
        return None
    return None if route is None or route.gateway is None else parse_ip(route.gateway)


async def _is_gateway(look: Look, host: object, route: Route | None) -> bool:
    """Whether the target is the gateway, which local network privacy does not hide. Not yet seen on a Mac."""
    return route is not None and route.on_link and host == await _gateway(look)


async def _gateway_answers(look: Look) -> bool:
    """Whether the next router takes a connection, or refuses one, or answers to its address (ARP)."""
    gateway = await _gateway(look)
    if gateway is None:
        return False

    async def answers(port: int) -> bool:
        try:
            stream = await connect_to(look.means, SocketAddress(gateway, port), "", look.timeout)
        except DialError as error:
            return isinstance(error, ConnectionRefused)
        stream.abortConnection()
        return True

    call(gateway)
    if any(await side_by_side([partial(answers, port) for port in _GATEWAY_PORTS])):
        return True
    until = look.now() + _LATER
    while not is_neighbour(gateway) and look.now() < until:
        await look.means.pause(0.1)
    return is_neighbour(gateway)


# --- rules ----------------------------------------------------------------------------------------------


def _judge_proxies(look: Look, addresses: Sequence[IPAddress]) -> None:
    """Note a failed check if every forward proxy of the configuration refuses to lead its clients there."""
    url = look.upstream.url
    reasons = []
    for proxy in look.subject.proxies:
        rules = DestinationRules(proxy.allow, proxy.deny)
        reason = rules.judge_name(url.host, url.port)
        if reason is None:
            judged = [rules.judge_address(url.host, url.port, address) for address in addresses]
            reason = None if None in judged else judged[0]
        if reason is None:
            return
        reasons.append((proxy.name, reason))
    if reasons:
        name, reason = reasons[0]
        look.note(
            "route",
            "warn",
            f"The proxy {name} would not lead its clients there: {reason}.",
            look.now(),
            cause="address_denied",
            remedy=f'allow: ["{url.host}:{url.port}"]  # of listeners.{name}, beside what is there',
        )
