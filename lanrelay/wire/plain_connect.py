"""The head of a C{CONNECT} in which there is nothing for a proxy to think about."""

from __future__ import annotations

from typing import Final

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.http1 import Http1Server
from lanrelay.wire.target import RequestTarget, parse_target

# No other decides anything about a tunnel; and none of these is secret, so that a head may be kept.
_PLAIN: Final = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"host",
        b"pragma",
        b"proxy-connection",
        b"user-agent",
    }
)
_LONGEST: Final = 512  # Firefox's and Chromium's have 200 to 260 bytes, curl's 100


def read_plain_connect(data: bytes) -> RequestTarget | None:
    """
    Where a C{CONNECT} leads whose head is whole, with nothing behind it, and plain.

    L{Http1Server} itself judges the head, so no judgement can differ.

    @return: C{None}: it is none of these, or not valid. What it is, the general reader says.
    """
    if len(data) > _LONGEST or not data.startswith(b"CONNECT ") or not data.endswith(b"\r\n\r\n"):
        return None
    for line in data[:-4].split(b"\r\n")[1:]:
        if line.partition(b":")[0].lower() not in _PLAIN:
            return None
    wire = Http1Server()
    try:
        wire.receive(data)
    except RemoteProtocolError:
        return None
    head = wire.request
    if head is None or not wire.request_complete or wire.buffered:
        return None
    return parse_target(head.method, head.target)
