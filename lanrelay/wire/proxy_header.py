"""
The header of the PROXY protocol, versions 1 and 2, which tells for whom a connection was made.

Source: U{https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt}, section 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, Literal

from lanrelay.errors import GreetingError

IPAddress = IPv4Address | IPv6Address
Version = Literal["v1", "v2"]

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V1_BEGIN: Final = b"PROXY "
_V1_MAX: Final = 107  # section 2.1: with its CRLF, and it says so of the longest UNKNOWN
_V2_HEAD: Final = 16
V2_MAX: Final = 4096
"""Bytes of a whole version 2 header, as in nginx; a client certificate can be in it, and is passed over."""

_PROXY, _LOCAL = 0x21, 0x20
_TCP4, _TCP6, _UNIX = 0x11, 0x21, 0x31
_LENGTHS: Final = {0x00: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}

# What section 2.1 asks for is stricter than what many parsers take: one space, no signs, no leading zeros.
_V1_LINE: Final = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
)
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The two ends of the connection that a client made."""

    source: IPAddress
    source_port: int
    destination: IPAddress
    destination_port: int


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """
    A header that was read.

    @ivar endpoints: C{None}: the peer speaks for itself (LOCAL), or for somebody whose address is not an IP
        address (UNKNOWN, UNSPEC, a unix socket): the connection's own addresses hold.
    @ivar length: its bytes; what comes after them is the client's.
    """

    endpoints: Endpoints | None
    length: int


def parse(received: bytes) -> ProxyHeader | None:
    """
    The header with which C{received} begins, of either version; C{None} when it is not whole yet.

    @raise GreetingError: no header begins like this, or it is too long, as soon as that can be told.
    """
    if received.startswith(SIGNATURE[: len(received)]):
        return _parse_v2(received)
    if received.startswith(_V1_BEGIN[: len(received)]):
        return _parse_v1(received)
    raise GreetingError("no PROXY header where one is due")


def build(version: Version, endpoints: Endpoints | None) -> bytes:
    """
    The header for a connection made on behalf of a client.

    @param endpoints: C{None} for a connection of our own (a health check) or a client without an IP address.
    """
    if version == "v1":
        return _build_v1(endpoints)
    if endpoints is None:
        return SIGNATURE + bytes((_LOCAL, 0, 0, 0))
    source, destination = _same_family(endpoints)
    ports = endpoints.source_port.to_bytes(2, "big") + endpoints.destination_port.to_bytes(2, "big")
    body = source.packed + destination.packed + ports
    family = _TCP4 if source.version == 4 else _TCP6
    return SIGNATURE + bytes((_PROXY, family)) + len(body).to_bytes(2, "big") + body


# --- version 1: a line ----------------------------------------------------------------------------------


def _build_v1(endpoints: Endpoints | None) -> bytes:
    if endpoints is None:
        return b"PROXY UNKNOWN\r\n"
    source, destination = _same_family(endpoints)
    return (
        f"PROXY TCP{source.version} {source} {destination}"
        f" {endpoints.source_port} {endpoints.destination_port}\r\n"
    ).encode("ascii")


def _parse_v1(received: bytes) -> ProxyHeader | None:
    end = received.find(b"\r\n", 0, _V1_MAX)
    if end < 0:
        if len(received) >= _V1_MAX or b"\n" in received:
            raise GreetingError("a PROXY line that does not end where it should")
        return None
    line, length = received[:end], end + 2
    if _V1_UNKNOWN.fullmatch(line) is not None:
        return ProxyHeader(None, length)
    match = _V1_LINE.fullmatch(line)
    if match is None:
        raise GreetingError("a malformed PROXY line")
    family, *words = [part.decode("ascii") for part in match.groups()]
    kind = IPv4Address if family == "TCP4" else IPv6Address
    try:
        endpoints = Endpoints(kind(words[0]), _port(words[2]), kind(words[1]), _port(words[3]))
        return ProxyHeader(endpoints, length)
    except AddressValueError:
        raise GreetingError("a PROXY line with something that is no address") from None


def _port(text: str) -> int:
    if int(text) > 65535:
        raise GreetingError("a PROXY line with something that is no port")
    return int(text)


# --- version 2: binary ------------------------------------------------------------------------------------


def _parse_v2(received: bytes) -> ProxyHeader | None:
    if len(received) < _V2_HEAD:
        return None
    command, family = received[12], received[13]
    if command not in (_PROXY, _LOCAL):
        raise GreetingError("a PROXY header of another version than 2, or with an unknown command")
    if family not in _LENGTHS:
        raise GreetingError("a PROXY header for something else than a stream")
    size = int.from_bytes(received[14:16], "big")
    length = _V2_HEAD + size
    if length > V2_MAX:
        raise GreetingError(f"a PROXY header of more than {V2_MAX} bytes")
    if command == _LOCAL:  # section 2.2: what is in it is passed over, addresses or not
        return None if len(received) < length else ProxyHeader(None, length)
    fixed = _LENGTHS[family]
    if size < fixed:
        raise GreetingError("a PROXY header that is too short for its addresses")
    if len(received) < length:
        return None
    body = received[_V2_HEAD:length]
    if not fixed:  # UNSPEC: what follows has no meaning
        return ProxyHeader(None, length)
    _check_extensions(body[fixed:])
    if family == _UNIX:
        return ProxyHeader(None, length)
    kind, width = (IPv4Address, 4) if family == _TCP4 else (IPv6Address, 16)
    return ProxyHeader(
        Endpoints(
            kind(body[:width]),
            int.from_bytes(body[2 * width : 2 * width + 2], "big"),
            kind(body[width : 2 * width]),
            int.from_bytes(body[2 * width + 2 : 2 * width + 4], "big"),
        ),
        length,
    )


def _check_extensions(rest: bytes) -> None:
    """The TLVs of section 2.2 are of no use here, but they must be some: a type, a length, and that much."""
    position = 0
    while position < len(rest):
        position += 3
        if position <= len(rest):
            position += int.from_bytes(rest[position - 2 : position], "big")
        if position > len(rest):
            raise GreetingError("a PROXY header whose extensions do not add up")


def _same_family(endpoints: Endpoints) -> tuple[IPAddress, IPAddress]:
    """Source and destination as one header can say them: mapped to IPv6 where only one of them is IPv4."""
    source, destination = _unmapped(endpoints.source), _unmapped(endpoints.destination)
    if source.version == destination.version:
        return source, destination
    return _mapped(source), _mapped(destination)


def _unmapped(address: IPAddress) -> IPAddress:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        return IPv6Address(int(address))  # a zone means nothing on the other machine
    return address


def _mapped(address: IPAddress) -> IPAddress:
    return IPv6Address(0xFFFF << 32 | int(address)) if address.version == 4 else address
