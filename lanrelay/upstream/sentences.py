"""What each failure is called and what to do about it: the sentences of L{lanrelay.upstream.explain}."""

from __future__ import annotations

import errno
from ipaddress import IPv4Network
from typing import Literal

from lanrelay import errors
from lanrelay.addresses import IPAddress, kind, parse_ip, unmapped
from lanrelay.errors import DialError, RelayError

Sentences = tuple[str, str]
"""What happened, and what to do."""

# --- words --------------------------------------------------------------------------------------------

AT_ONCE = 0.1
"""Seconds: an answer of this machine's own kernel. ARP gives up after a second or three."""

CARRIER_GRADE = IPv4Network("100.64.0.0/10")


def where(error: DialError) -> str:
    """The target, and the address if it says more."""
    target, address = error.target, error.address
    if target and address and target != address and not address.startswith("unix:"):
        return f"{target} ({address})"
    return target or address or "the upstream"


def _host(error: DialError) -> str:
    """The address alone, or what else is known of the other side."""
    ip = _ip(error)
    return str(ip) if ip is not None else error.target.rpartition(":")[0] or error.target or "the host"


def name(error: DialError) -> str:
    return error.target.rpartition(":")[0] or error.target or "it"


def _port(error: DialError) -> str:
    port = (error.address or error.target).rpartition(":")[2]
    return f"port {port}" if port.isdigit() else "that port"


def _ip(error: DialError) -> IPAddress | None:
    host, _, port = error.address.rpartition(":")
    text = host if port.isdigit() and (host.startswith("[") or ":" not in host) else error.address
    ip = parse_ip(text.strip("[]").partition("%")[0])
    return None if ip is None else unmapped(ip)


def _unix_path(error: DialError) -> str:
    for text in (error.address, error.target):
        if text.startswith("unix:"):
            return text.removeprefix("unix:")
    return ""


def seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def phrase(error: RelayError) -> str:
    return str(error).rstrip(".")


# --- the classes --------------------------------------------------------------------------------------


def relay(error: RelayError, _: str) -> Sentences:
    return (
        f"The relay failed: {phrase(error)}.",
        "Look at the relay's log, and report it if it makes no sense.",
    )


def start(error: errors.StartError, _: str) -> Sentences:
    place = f"listeners.{error.listener}: " if error.listener else ""
    remedy = error.remedy.rstrip(".") or "Correct the configuration and start again"
    return f"The relay cannot start: {place}{error.detail}.", f"{remedy[:1].upper()}{remedy[1:]}."


def dial(error: DialError, _: str) -> Sentences:
    return (
        f"No connection to {where(error)} could be made: {phrase(error)}.",
        "Check from this machine that the host can be reached on that port.",
    )


def no_such_name(error: DialError, platform: str) -> Sentences:
    if "valid host name" in error.detail:
        return f"The host name cannot be right: {phrase(error)}.", "Correct the name."
    if _is_multicast_name(error):
        return no_such_device(error)
    # On macOS getaddrinfo says EAI_NONAME when there is no network, too.
    offline = "Check that this machine has a network, check" if platform == "darwin" else "Check"
    return (
        f"There is no host named {name(error)} as far as this machine's name servers know.",
        f"{offline} the spelling, and whether the name is known only on another network (a VPN, a router's"
        " own domain); the host's IP address in `address` does without the name.",
    )


def name_server(error: DialError, _: str) -> Sentences:
    return (
        f"The name {name(error)} could not be looked up: {phrase(error)}.",
        "Check this machine's network and its name server (a VPN that went down leaves one behind that does"
        " not answer).",
    )


def name_timeout(error: DialError, _: str) -> Sentences:
    if _is_multicast_name(error):
        return no_such_device(error)
    return (
        f"No name server told the address of {name(error)} within {seconds(error.elapsed)}.",
        "Check this machine's network and its name server, or put the host's IP address in `address`.",
    )


def _is_multicast_name(error: DialError) -> bool:
    """Whether the device itself tells its address, and no name server (RFC 6762)."""
    return name(error).rstrip(".").lower().endswith(".local")


def no_such_device(error: DialError) -> Sentences:
    waited = f" within {seconds(error.elapsed)}" if error.elapsed >= 0.1 else ""
    return (
        f"No device on this machine's network answered to the name {name(error)}{waited}.",
        "Switch the device on or wake it, and check that it is on the same network and still has that name: a"
        " name in .local goes over no router and no VPN. The device's IP address in `address` does without.",
    )


def refused(error: DialError, _: str) -> Sentences:
    path = _unix_path(error)
    if path:
        if error.errno == errno.ENOENT:
            return f"There is no socket {path}.", "Start the program that makes it, or correct the path."
        return f"Nothing listens on the socket {path}.", "Start the program that serves it."
    ip = _ip(error)
    name = f" ({error.target})" if error.target and error.target != error.address else ""
    if ip is not None and kind(ip) in ("loopback", "unspecified"):
        return (
            f"Nothing on this machine listens on {_port(error)} of {ip}{name}.",
            "Start the program that should be there, or correct the port.",
        )
    return (
        f"{_host(error)} is there, but nothing listens on its {_port(error)}{name}.",
        "Start the program on that host, correct the port, or let the program listen on the host's network"
        " address and not on its 127.0.0.1 alone.",
    )


def timeout(error: DialError, _: str) -> Sentences:
    ip = _ip(error)
    if ip is None or kind(ip) == "public":
        remedy = "Check that the host is up, and that no firewall on the way drops the connection."
    else:
        remedy = (
            "Check that the host is on and awake, that this machine is on its network (or the VPN is up), and"
            " that no firewall over there drops the connection."
        )
    return f"{where(error)} did not answer within {seconds(error.elapsed)}.", remedy


def unroutable(error: DialError, platform: str) -> Sentences:
    cause = why_unroutable(error, platform)
    if cause == "host_down":
        return host_down(error)
    return kept_from_lan(error, platform) if cause == "local_network_privacy" else no_route(error)


def why_unroutable(
    error: DialError, platform: str
) -> Literal["host_down", "local_network_privacy", "no_route"]:
    """What "no route to host" means, as far as the error tells."""
    ip = _ip(error)
    sort = "" if ip is None else kind(ip)
    tunnel = ip is not None and ip in CARRIER_GRADE
    slow = error.elapsed >= AT_ONCE and error.errno not in (errno.ENETUNREACH, errno.EADDRNOTAVAIL)
    if slow or error.errno == errno.EHOSTDOWN:  # which macOS says at once, for a while after ARP gave up
        return "host_down"
    # The local network privacy of macOS 15: EHOSTUNREACH at once, for what is on the machine's own network.
    # An address of a tunnel (Tailscale's 100.64.0.0/10) does not come under it, and a link-local one that
    # cannot be reached is most often of another link.
    local = sort == "private" and not tunnel and error.errno != errno.ENETUNREACH
    return "local_network_privacy" if platform == "darwin" and local else "no_route"


def host_down(error: DialError) -> Sentences:
    """On the machine's own network nobody says that the address is his."""
    seen = "host is down" if error.errno == errno.EHOSTDOWN else "no route to host"
    return (
        f"{_host(error)} does not answer on its own network ({where(error)}: {seen} after"
        f" {seconds(error.elapsed)}).",
        "Switch the host on or wake it, and check that this is still its address.",
    )


def kept_from_lan(error: DialError, platform: str) -> Sentences:
    """Local network privacy; elsewhere something that does the same."""
    if platform != "darwin":
        return (
            f"Something on this machine keeps this program from its own network: the connection to"
            f' {where(error)} was turned down at once, with "no route to host".',
            "Look at this machine's firewall or security software, and allow Python connections to the"
            " local network.",
        )
    return (
        f"macOS does not let this program reach the local network: the connection to {where(error)} was"
        f' turned down at once, with "no route to host".',
        "Allow it in System Settings > Privacy & Security > Local Network, or start the relay from"
        " Terminal or as a launchd daemon, which need no permission (if the network is up at all).",
    )


def no_route(error: DialError) -> Sentences:
    """The kernel knows no way, or a router on it does not."""
    ip = _ip(error)
    if ip is not None and ip.version == 6 and kind(ip) == "public":
        return (
            f"This machine's network has no way to the IPv6 address {where(error)}.",
            "Use a network with IPv6, or put the host's IPv4 address in `address`.",
        )
    if ip is not None and kind(ip) == "link-local":
        return (
            f"This machine has no route to {where(error)}, which is an address of one link only.",
            "Check that this machine is on that link, and that the address names it (`%en0` behind it), or"
            " use another address of the host.",
        )
    return (
        f"This machine has no route to {where(error)}.",
        "Check that the network, or the VPN that leads there, is up.",
    )


def forbidden(error: DialError, _: str) -> Sentences:
    path = _unix_path(error)
    if path:
        return (
            f"The relay's user may not open the socket {path}.",
            "Change the mode or the group of the socket or its folder, or run the relay as a user that may.",
        )
    return (
        f"This machine forbids the connection to {where(error)}.",
        "Look at this machine's firewall or security software, and allow Python outgoing connections there.",
    )


def denied(error: DialError, _: str) -> Sentences:
    if "`deny`" in error.detail:
        remedy = "If it should be reached, take that rule out of the listener's `deny`, or make it narrower."
    elif "`allow`" in error.detail:
        remedy = "If it should be reached, add a rule for it to the listener's `allow`."
    else:
        remedy = "No rule can permit it; use another destination."
    return f"This listener may not connect to {error.target or 'it'}: {phrase(error)}.", remedy


def no_destination(error: DialError, _: str) -> Sentences:
    return (
        f"{name(error)} leads to {_ip(error) or 'an address'}, which is no address to connect to.",
        "Put the host's own address there; a name server that blocks a name answers so, too, and a program on"
        " this machine is at 127.0.0.1.",
    )


def leads_back(error: DialError, _: str) -> Sentences:
    return (
        f"The connection to {where(error)} would lead back to this relay: {phrase(error)}.",
        "Look where the name leads from this machine (name server, hosts file), or correct the port.",
    )


def peer_closed(error: DialError, _: str) -> Sentences:
    return (
        f"{where(error)} took the connection and ended it at once.",
        "Look at the log over there: it may be starting or full, refuse this machine, or expect another"
        " protocol (TLS or none).",
    )


def local_limit(error: DialError, platform: str) -> Sentences:
    if error.errno == errno.EADDRNOTAVAIL:
        darwin = platform == "darwin"
        setting = "net.inet.ip.portrange.first" if darwin else "net.ipv4.ip_local_port_range"
        change = "Lower" if darwin else "Widen"
        return (
            f"All local ports are in use for connections to {where(error)}.",
            f"{change} `{setting}` with sysctl, which holds for IPv6 too, or have fewer connections to it"
            " (`max_connections`).",
        )
    return (
        f"The relay itself has no means left for another connection: {phrase(error)}.",
        "Raise the limit of open files (`ulimit -n`) under which it runs, or lower `max_connections`.",
    )


def check_failed(error: DialError, _: str) -> Sentences:
    return (
        f"{where(error)} is there but does not pass the health check: {phrase(error)}.",
        "Look at the log over there, or correct `health` (its `path` and `status`).",
    )


def host_refused(error: errors.HostRefused, _: str) -> Sentences:
    host = f'the Host "{error.host}"' if error.host else "the Host that it was sent"
    if error.preserved:
        remedy = (
            "Set `host` of this listener to a name that the server lets in (`upstream`: that of its URL)."
        )
    else:
        remedy = "Set `host: preserve` for this listener, or let the server accept that name."
    return f"{where(error)} does not let in {host}: {phrase(error)}.", remedy


def tls_on_plain(error: DialError, _: str) -> Sentences:
    return (
        f"{where(error)} speaks TLS on this port, and was asked without: its URL begins with `http://`.",
        "Write `https://` for `http://` in that URL, or take the port that speaks plain HTTP.",
    )


OF_PARENTS = (errors.ParentRefused, errors.ParentTimeout, errors.ParentMalformed)
"""These name the parent proxy by themselves."""


def _parent(error: DialError) -> str:
    return f"The parent proxy {error.parent}" if error.parent else "The parent proxy"


def parent_refused(error: errors.ParentRefused, _: str) -> Sentences:
    if error.status == 407 or (error.permanent and not error.status and not error.reply):
        remedy = "Put a name and a password that it accepts into its URL: SCHEME://NAME:PASSWORD@HOST:PORT."
    elif error.permanent:
        remedy = "Let the parent's own configuration allow that destination and its port, or go without it."
    else:
        remedy = "Look at the log over there: most likely the parent could not reach the destination itself."
    return f"{_parent(error)} does not lead to {error.target or 'the target'}: {phrase(error)}.", remedy


def parent_timeout(error: DialError, _: str) -> Sentences:
    return (
        f"{_parent(error)} took the connection, but opened no way to {error.target or 'the target'}"
        f" within {seconds(error.elapsed)}.",
        "Check that the destination can be reached from the parent, or raise `timeouts.connect`.",
    )


def parent_malformed(error: DialError, _: str) -> Sentences:
    return (
        f"{_parent(error)} does not answer as one: {phrase(error)}.",
        "Correct its URL: its port, and `http://` or `socks5://` as it speaks.",
    )


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def stream(error: RelayError, _: str) -> Sentences:
    return f"The connection broke: {phrase(error)}.", "Look at the log of the other side, and try again."


def silence(error: RelayError, _: str) -> Sentences:
    return (
        f"The connection was idle for too long: {phrase(error)}.",
        "Let the programs send something from time to time, or raise `timeouts.tunnel` or `timeouts.stream`.",
    )


def truncated(_: RelayError, __: str) -> Sentences:
    return (
        "The other side cut the TLS connection without its proper end, so what came may be incomplete.",
        "Try again, and look at the log of the other side if it happens often.",
    )


def broken(error: RelayError, _: str) -> Sentences:
    return (
        f"The TLS connection broke: {phrase(error)}.",
        "Try again; if it happens often, look at the log of the other side and at what is on the way.",
    )


def exchange(error: RelayError, _: str) -> Sentences:
    return f"The upstream failed: {phrase(error)}.", "Look at the log of the upstream."


def response_timeout(error: RelayError, _: str) -> Sentences:
    return (
        f"The upstream took the request and did not answer in time: {phrase(error)}.",
        "Look at the upstream, or give it longer with `timeouts.response`.",
    )


def incomplete(_: RelayError, __: str) -> Sentences:
    return (
        "The upstream closed the connection before its answer was whole.",
        "Look at its log: it may have crashed, been restarted, or run into a time limit of its own.",
    )


def malformed(error: RelayError, _: str) -> Sentences:
    return (
        f"The upstream's answer is not proper HTTP: {phrase(error)}.",
        "Check that the URL has the right port and scheme (`https://` for one that speaks TLS).",
    )


def upgrade(_: RelayError, __: str) -> Sentences:
    return (
        "The upstream switched to another protocol without being asked.",
        "Look at the log of the upstream.",
    )


def loop(_: RelayError, __: str) -> Sentences:
    return (
        "The request has come back to the listener that sent it on.",
        "Correct the upstream's URL, which leads back to the relay.",
    )


def program(error: RelayError, _: str) -> Sentences:
    return f"The program failed: {phrase(error)}.", "Look at what it wrote to the relay's log."


def program_not_started(error: RelayError, _: str) -> Sentences:
    return (
        f"The program could not be started: {phrase(error)}.",
        "Correct `command` (a path from the root is safest), `cwd`, or PATH in `env` of this listener.",
    )


def too_many_programs(error: RelayError, _: str) -> Sentences:
    return (
        f"No more programs are started: {phrase(error)}.",
        "End one, or raise `max_processes` of this listener.",
    )


def protocol(error: RelayError, _: str) -> Sentences:
    return f"What was sent is not proper HTTP: {phrase(error)}.", "Correct the program that sent it."


def other_protocol(error: errors.OtherProtocol, _: str) -> Sentences:
    if error.protocol == "TLS":
        remedy = (
            "Write `http://` for `https://` in the client's URL, or give this listener a certificate (`tls`)."
        )
    else:
        remedy = "Name a listener of the type socks-proxy to that client, or this one as an HTTP proxy."
    return f"The request was refused: {phrase(error)}.", remedy


def greeting(error: RelayError, _: str) -> Sentences:
    return (
        f"What the client said first was refused: {phrase(error)}.",
        "Correct the program that sent it, or the type or `accept_proxy` of the listener.",
    )


def request_denied(error: errors.RequestDenied, _: str) -> Sentences:
    remedy = error.remedy.rstrip(".") or "Change the listener's configuration if it should be let in"
    return f"The request was refused: {phrase(error)}.", f"{capital(remedy)}."
