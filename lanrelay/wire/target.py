"""The four forms of a request target (RFC 9112 section 3.2)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.authority import Authority, parse_authority

_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+\-.]*)://([^/?]*)(.*)", re.DOTALL)
_PORTS = {"http": 80, "https": 443}


class RequestTarget(NamedTuple):
    """
    What a request target says.

    @ivar form: C{"origin"}, C{"absolute"}, C{"authority"} or C{"asterisk"}.
    @ivar scheme: that of the absolute form, C{"http"} or C{"https"}; else empty.
    @ivar authority: that of the absolute and the authority form, as parsed; without a port if none was
        written.
    @ivar path: path and query as an origin gets them; C{*} for an absolute OPTIONS without a path
        (RFC 9112 section 3.2.4), empty for the authority form.
    """

    form: Literal["origin", "absolute", "authority", "asterisk"]
    scheme: str = ""
    authority: Authority | None = None
    path: bytes = b""

    @property
    def port(self) -> int:
        """The port to connect to: as written, or the scheme's; 0 if there is neither."""
        if self.authority is not None and self.authority.port is not None:
            return self.authority.port
        return _PORTS.get(self.scheme, 0)


def parse_target(method: bytes, target: bytes) -> RequestTarget:
    """
    Tell the forms apart.

    @raise RemoteProtocolError: it has none of the forms, or one that the method does not allow.
    """
    if method == b"CONNECT":
        return _connect_target(target)
    if target[:1] == b"/":
        return RequestTarget(form="origin", path=target)
    if target == b"*":
        if method != b"OPTIONS":
            raise RemoteProtocolError("a target of * for another method than OPTIONS")
        return RequestTarget(form="asterisk", path=b"*")
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise RemoteProtocolError("no valid target")
    scheme = match[1].decode("ascii").lower()
    if scheme not in _PORTS:
        raise RemoteProtocolError("a target whose scheme is not http or https")
    try:
        authority = parse_authority(match[2])
    except ValueError as error:
        raise RemoteProtocolError(f"a target whose authority is not valid: {error}") from None
    path = match[3]
    if not path:
        path = b"*" if method == b"OPTIONS" else b"/"
    elif path[:1] == b"?":
        path = b"/" + path
    return RequestTarget(form="absolute", scheme=scheme, authority=authority, path=path)


@lru_cache(maxsize=1024)  # read twice for each tunnel, at 5 us; only what is valid is kept, and that is short
def _connect_target(target: bytes) -> RequestTarget:
    try:
        authority = parse_authority(target)
    except ValueError as error:
        raise RemoteProtocolError(f"a CONNECT target that is no host and port: {error}") from None
    if authority.port is None:
        raise RemoteProtocolError("a CONNECT target without a port")  # RFC 9110 section 9.3.6
    return RequestTarget(form="authority", authority=authority)


# Slashes and dots in all spellings that any server takes for them.
_DOT_SEGMENT = re.compile(rb"(?:^|[/\\]|%2[Ff]|%5[Cc])(?:\.|%2[Ee]){1,2}(?=$|[/\\;]|%2[Ff]|%5[Cc]|%3[Bb])")
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def has_dot_segments(path: bytes) -> bool:
    """
    Whether C{path} has a segment of C{.} or C{..} (RFC 3986 section 5.2.4), in any spelling.

    Clients resolve them before they send. A sender that leaves them wants two servers to read two different
    paths.
    """
    return (b"." in path or b"%" in path) and _DOT_SEGMENT.search(path) is not None


def comparable(path: bytes) -> bytes:
    """
    C{path} with all letters decoded that need no encoding, so that equal paths look alike (section 6.2.2.2).
    """
    return _ENCODED.sub(_decoded, path) if b"%" in path else path


def _decoded(match: re.Match[bytes]) -> bytes:
    letter = int(match[1], 16)
    return bytes((letter,)) if letter in _UNRESERVED else match[0]
