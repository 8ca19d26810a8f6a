"""C{host:port} and C{[::1]:443}, both ways, strictly."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

# RFC 3986 section 3.2.2: reg-name is unreserved, sub-delims and percent-encoded; IPv4 addresses are such
# names too. IPvFuture and zone identifiers (RFC 6874, withdrawn) are refused: nobody can dial the first,
# and the second means something on one machine only.
_AUTHORITY = re.compile(
    rb"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2}){1,255}))"
    rb"(?::(?P<port>[0-9]{0,5}))?"
)


class Authority(NamedTuple):
    """
    A host and a port.

    @ivar host: lower case, without brackets; an IPv6 address in its canonical form. A trailing dot is kept.
    @ivar port: C{None} when none was given and there is no default.
    """

    host: str
    port: int | None = None

    def __str__(self) -> str:
        return format_authority(self.host, self.port)


def parse_authority(text: bytes | str, default_port: int | None = None) -> Authority:
    """
    Read C{host}, C{host:port} or C{[v6]:port}; an empty port counts as none (RFC 3986 section 3.2.3).

    @raise ValueError: user information, a port out of 1 to 65535, a host that RFC 3986 does not know,
        non-ASCII.
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
    except UnicodeEncodeError:
        raise ValueError("the host is not ASCII") from None
    return (_known if len(raw) <= _LONGEST else _parse)(raw, default_port)


def _parse(raw: bytes, default_port: int | None) -> Authority:
    match = _AUTHORITY.fullmatch(raw)
    if match is None:
        raise ValueError("no valid host and port")
    v6, name, digits = match.groups()
    if v6 is not None:
        try:
            host = str(IPv6Address(v6.decode("ascii")))
        except AddressValueError:
            raise ValueError("no valid IPv6 address") from None
    else:
        host = name.decode("ascii").lower()
    if not digits:
        return Authority(host, default_port)
    port = int(digits)
    if not 1 <= port <= 65535:
        raise ValueError("no valid port")
    return Authority(host, port)


# The same few are named again and again; what is longer than a host and a port can be is not remembered.
_LONGEST = 263
_known = lru_cache(maxsize=512)(_parse)


def format_authority(host: str, port: int | None = None) -> str:
    """As a Host field or a CONNECT target says it: brackets around IPv6, the port if there is one."""
    text = f"[{host}]" if ":" in host else host
    return text if port is None else f"{text}:{port}"
