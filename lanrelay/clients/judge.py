"""Where a URL leads: to this machine, the LAN, the public network, or nowhere that can be known."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal, NamedTuple

Leads = Literal["loopback", "lan", "public", "container", "placeholder", "variable", "not_a_url"]

LOOKING = 1.0
"""Seconds in all for the names that are looked up."""

_LAN = [
    ip_network(each)
    for each in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
        *("fc00::/7", "fe80::/10"),
    )
]
_SUFFIXES = (".local", ".lan", ".home", ".internal", ".home.arpa")

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#\s]*)(?P<rest>[/?#].*)?", re.IGNORECASE | re.DOTALL
)
_VARIABLE = re.compile(r"\$\{|\$[A-Za-z_]|%\w+%|\{\{|\{(?:env|file):|\$\(")
_PLACEHOLDER = re.compile(
    r"[<>{}\[\]*|]|\.\.\.|(?:^|[-_.])(?:your|my-?ip|changeme|ip-?address|hostname|server-?ip)(?:[-_.]|$)"
    r"|^x+(?:\.x+)*$|\.x+(?:\.|$)|^(?:host|ip)$",
    re.IGNORECASE,
)
_SHOUTED = re.compile(r"[A-Z][A-Z0-9]*(?:[_-][A-Z0-9]+)+")

Resolve = Callable[[Iterable[str]], Mapping[str, tuple[str, ...]]]
"""Names -> their addresses; those that are not known within the time are left out."""


class Url(NamedTuple):
    """
    A URL, and what of its text is the origin.

    @ivar host: lower case, without brackets and a final dot.
    @ivar origin: where in the text scheme and authority stand, user and password left out: two ranges.
    """

    text: str
    scheme: str
    host: str
    port: int
    rest: str
    scheme_end: int
    host_start: int
    host_end: int

    @property
    def origin(self) -> str:
        """C{https://nas.lan}, C{http://[fd00::1]:8080}; the port only when it is not the scheme's."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"http": 80, "https": 443}[self.scheme]
        return f"{self.scheme}://{host}" + ("" if self.port == usual else f":{self.port}")

    @property
    def path(self) -> str:
        """The path, without query and fragment."""
        return re.split(r"[?#]", self.rest)[0]


def parse(text: str) -> Url | Literal["variable", "placeholder", "not_a_url"]:
    """The URL, or why it is none."""
    found = _URL.fullmatch(text.strip())
    if found is None:
        return "variable" if _VARIABLE.search(text) else "not_a_url"
    shift = text.index(found[0][:4])
    authority = found["authority"]
    if _VARIABLE.search(authority):
        return "variable"
    start = authority.rfind("@") + 1
    host_port = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(?::([0-9]*))?", authority[start:])
    if host_port is None or not host_port[1]:
        return "placeholder" if _PLACEHOLDER.search(authority[start:]) else "not_a_url"
    host = host_port[1].strip("[]")
    if _PLACEHOLDER.search(host) or _SHOUTED.fullmatch(host):
        return "placeholder"
    if host_port[2] and not 0 < int(host_port[2]) < 65536:
        return "not_a_url"
    scheme = found["scheme"].lower()
    return Url(
        text=text,
        scheme=scheme,
        host=host.lower().rstrip("."),
        port=int(host_port[2] or {"http": 80, "https": 443}[scheme]),
        rest=found["rest"] or "",
        scheme_end=shift + found.end("scheme"),
        host_start=shift + found.start("authority") + start,
        host_end=shift + found.end("authority"),
    )


def is_variable(text: str) -> bool:
    """Whether a text has a part that a client replaces, as C{${VAR}} and C{{env:VAR}}."""
    return _VARIABLE.search(text) is not None


def by_form(host: str) -> Literal["loopback", "lan", "public", "container", "name"]:
    """Where a host is, as far as its text tells; C{name} asks to be looked up."""
    address = _address(host)
    if address is not None:
        return _of_address(address)
    if host == "localhost" or host.endswith(".localhost"):
        return "loopback"
    if host.endswith((".docker.internal", ".containers.internal")):
        return "container"
    if host.endswith(_SUFFIXES) or "." not in host:
        return "lan"
    return "name"


def judge(hosts: Iterable[str], resolve: Resolve) -> dict[str, Leads]:
    """Where each of these hosts is; all names are looked up at once."""
    judged: dict[str, Leads] = {}
    names = []
    for host in dict.fromkeys(hosts):
        form = by_form(host)
        if form == "name":
            names.append(host)
        else:
            judged[host] = form
    found = resolve(names) if names else {}
    for name in names:
        places = {_of_address(ip_address(each.partition("%")[0])) for each in found.get(name, ())}
        judged[name] = "lan" if places == {"lan"} else "loopback" if places == {"loopback"} else "public"
    return judged


def resolve(names: Iterable[str], *, within: float = LOOKING) -> dict[str, tuple[str, ...]]:
    """The system's resolver, for all names at once, a second in all; it cannot be hurried, so it is left."""
    found: dict[str, tuple[str, ...]] = {}

    def look(name: str) -> None:
        try:
            answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found[name] = tuple(str(answer[4][0]) for answer in answers)

    threads = [threading.Thread(target=look, args=(name,), daemon=True) for name in names]
    for each in threads:
        each.start()
    until = time.monotonic() + within
    for each in threads:
        each.join(max(0.0, until - time.monotonic()))
    return dict(found)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    if re.fullmatch(r"[0-9a-fx.]+", host) and host[:1].isdigit():
        try:
            return IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001
        except (OSError, ValueError):
            pass
    return None


def _of_address(address: IPv4Address | IPv6Address) -> Literal["loopback", "lan", "public"]:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_unspecified:
        return "loopback"
    return "lan" if any(address in network for network in _LAN) else "public"
