"""Keeps web pages out: Host against DNS rebinding, Origin and Sec-Fetch-Site against other pages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from lanrelay.config.model import BrowserGuard, IPAddress
from lanrelay.errors import RemoteProtocolError, RequestDenied
from lanrelay.passage.rule import Asked, Reply, Rule, View
from lanrelay.wire.authority import Authority, parse_authority
from lanrelay.wire.events import RequestHead, ResponseHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.target import parse_target

EXPOSED = b"Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate"
"""The response fields that a page of an accepted origin may read."""

# Pages name the same few origins again and again, so they are remembered, unless they are longer than a name
# can be.
_KNOWN = 256
_LONGEST = 300

_ORIGIN = re.compile(rb"(https?)://([^/?#@]+)")
_PORTS = {"http": 80, "https": 443}
_CORS = frozenset({b"access-control-allow-origin", b"access-control-expose-headers"})
_GUARDED = BrowserGuard()
_ORIGINS = frozenset({b"origin"})
_PREFLIGHT = frozenset(
    b"access-control-request-" + what for what in (b"method", b"headers", b"private-network")
)

_WRONG_HOST = "Host is not one of this relay"
_NO_PROXY = "No proxy for other hosts"
_WRONG_PAGE = "Origin may not use this relay"


def check_browser(
    head: RequestHead,
    guard: BrowserGuard,
    local_address: IPAddress | None,
    *,
    place: str,
    secure: bool = False,
) -> None:
    """
    Let a request in, or say why not.

    @param local_address: the address on which the connection came in, C{None} for a unix socket.
    @param place: the configuration's key of the listener (C{"listeners.lan-mcp"}), for the remedy.
    @param secure: whether the listener speaks TLS.
    @raise RequestDenied: 421 for the Host, 403 for the Origin.
    """
    if guard.hosts is not None:
        _check_host(head, guard.hosts, local_address, place)
    if guard.origins is not None:
        # A page whose origin is the Host that was just accepted is our own; where any Host is accepted, it
        # could be any page.
        own = None if guard.hosts is None else own_origin(head, secure=secure)
        _check_origin(head, guard.origins, own, place)


def own_origin(head: RequestHead, *, secure: bool) -> bytes | None:
    """The relay's origin as this client names it, in the form of an Origin field; C{None} without a Host."""
    authority = _authority(head)
    if authority is None:
        return None
    return _origin("https" if secure else "http", authority)


def is_own_origin(head: RequestHead, guard: BrowserGuard = _GUARDED, *, secure: bool) -> bool:
    """
    Whether the Origin of a request that L{check_browser} let in is the relay's own: then no other page asks,
    and CORS does not matter.

    If C{guard} lets in any Host and any Origin, equal ones prove nothing.
    """
    origin, own = head.headers.get(b"origin"), own_origin(head, secure=secure)
    if origin is None or own is None or _normal_origin(origin) != own:
        return False
    return guard.hosts is not None or guard.origins is not None or _is_loopback_origin(own)


def guard_rule(guard: BrowserGuard, *, place: str, secure: bool) -> Rule:
    """As L{check_browser}."""

    def judge(view: View, asked: Asked) -> None:
        check_browser(asked.head(view), guard, asked.local, place=place, secure=secure)

    return Rule(
        looks_at=frozenset({b"origin", b"sec-fetch-site"}),
        sees=frozenset({b"sec-fetch-mode"}),
        judges_host=True,
        judge=judge,
    )


def page_rule(guard: BrowserGuard, *, secure: bool) -> Rule:
    """
    Where the upstream does not hear of pages: notes a page that was let in and is not the relay's own, and
    answers its preflight.
    """

    def judge(view: View, asked: Asked) -> Reply | None:
        head = asked.head(view)
        if b"origin" not in view or is_own_origin(head, guard, secure=secure):
            return None
        asked.page = view.get(b"origin")
        preflight = preflight_response(head)
        return None if preflight is None else Reply(preflight.status, preflight.headers)

    return Rule(looks_at=frozenset({b"origin"}), sees=_PREFLIGHT, judge=judge)


def origin_rule(policy: str) -> Rule:
    """
    Changes what the upstream hears of a page.

    @param policy: for a page of the relay's own: C{"keep"}, C{"strip"}, or C{"upstream"}, which makes it one
        of the upstream's. Of another page the upstream hears only if C{asked.page} does not name it.
    """

    def change(view: View, asked: Asked) -> Headers:
        if asked.page is not None or policy == "strip":
            return view.without(_ORIGINS)
        return view if policy == "keep" else view.mapped(_ORIGINS, lambda _: asked.origin)

    return Rule(looks_at=_ORIGINS, change=change)


# --- Host ---------------------------------------------------------------------------------------------


def _check_host(head: RequestHead, hosts: Iterable[str], local: IPAddress | None, place: str) -> None:
    if len(head.headers.all(b"host")) > 1:
        raise RequestDenied(
            "several Host fields", http_status=421, remedy="Send one Host.", words=_WRONG_HOST
        )
    try:
        authority = _authority(head)
    except (ValueError, RemoteProtocolError):
        raise RequestDenied(
            f"the Host {_shown(head.headers.get(b'host') or head.target)} is no valid host and port",
            http_status=421,
            remedy="Send the host name and port of the relay.",
            words=_WRONG_HOST,
        ) from None
    if authority is None:  # only HTTP/1.0 may leave Host out, and no browser speaks that
        return
    host = _normal_host(authority.host)
    if _is_loopback(host) or (local is not None and _address(host) == _unmapped(local)):
        return
    if any(_normal_host(name) == host for name in hosts):
        return
    shown = _shown(authority.host.encode("ascii"))
    if head.target[:1] not in (b"/", b"*"):
        raise RequestDenied(
            f"a request for {shown} as a proxy gets it, and this is none",
            http_status=421,
            remedy="Set HTTP_PROXY and the like to a listener of the type connect-proxy.",
            words=_NO_PROXY,
        )
    raise RequestDenied(
        f"the Host {shown} is not one of this relay",
        http_status=421,
        remedy=f"If {shown} is meant to lead here, add it to {place}.hosts.",
        words=_WRONG_HOST,
    )


def _authority(head: RequestHead) -> Authority | None:
    """The server that the request names: an absolute target wins over Host (RFC 9112 section 3.2.2)."""
    if head.target[:1] != b"/":
        target = parse_target(head.method, head.target)
        if target.authority is not None:
            return target.authority
    host = head.headers.get(b"host")
    return None if host is None else parse_authority(host)


def _normal_host(host: str) -> str:
    host = host.lower().removesuffix(".").removeprefix("[").removesuffix("]")
    address = _address(host)
    return host if address is None else str(address)


def _address(host: str) -> IPAddress | None:
    """
    A literal address, if it has its normal spelling; browsers write no other, so odd ones need not pass.
    """
    try:
        return _unmapped(ip_address(host))
    except ValueError:
        return None


def _unmapped(address: IPAddress) -> IPAddress:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_loopback(host: str) -> bool:
    """localhost, *.localhost, 127.0.0.0/8, ::1; C{host} is normal."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


# --- Origin -------------------------------------------------------------------------------------------


def _check_origin(head: RequestHead, origins: Iterable[str], own: bytes | None, place: str) -> None:
    headers = head.headers
    sent = headers.all(b"origin")
    if len(sent) > 1:
        raise RequestDenied("several Origin fields", remedy="Send one Origin.", words=_WRONG_PAGE)
    if not sent:
        if b"cross-site" not in headers.tokens(b"sec-fetch-site"):
            return
        if head.method == b"GET" and headers.all(b"sec-fetch-mode") == [b"navigate"]:
            return  # a person has followed a link
        raise RequestDenied(
            "a request from a page of another site, without an Origin",
            remedy=_origin_remedy("its Origin, which the page must send", place),
            words=_WRONG_PAGE,
        )
    origin = _normal_origin(sent[0])
    if origin is not None and (origin == own or _is_loopback_origin(origin)):
        return
    said = (origin or sent[0]).lower()
    if any(_listed(entry) == said for entry in origins):
        return
    shown = _shown(sent[0])
    raise RequestDenied(
        f"a page of the origin {shown} may not use this relay",
        remedy=_origin_remedy(shown, place),
        words=_WRONG_PAGE,
    )


def _origin_remedy(shown: str, place: str) -> str:
    if not place.startswith("listeners."):  # no other page may use the admin page
        return "Open the relay's own page."
    return f"If that page may use it, add {shown} to {place}.origins."


@lru_cache(maxsize=_KNOWN)
def _origin(scheme: str, authority: Authority) -> bytes:
    """
    An origin as browsers write it (RFC 6454 section 6.2), without the scheme's own port and without a
    trailing dot.
    """
    port = None if authority.port == _PORTS[scheme] else authority.port
    return f"{scheme}://{Authority(_normal_host(authority.host), port)}".encode("ascii")


def _normal_origin(value: bytes) -> bytes | None:
    """The origin in its normal form; C{None} for what is no origin of the web, also for C{null}."""
    return _known_origin(value) if len(value) <= _LONGEST else _judged_origin(value)


def _judged_origin(value: bytes) -> bytes | None:
    match = _ORIGIN.fullmatch(value.lower())
    if match is None:
        return None
    try:
        return _origin(match[1].decode("ascii"), parse_authority(match[2]))
    except ValueError:
        return None


_known_origin = lru_cache(maxsize=_KNOWN)(_judged_origin)


def _listed(entry: str) -> bytes:
    raw = entry.lower().encode("utf-8")
    return _normal_origin(raw) or raw


def _is_loopback_origin(origin: bytes) -> bool:
    match = _ORIGIN.fullmatch(origin)
    assert match is not None
    return _is_loopback(_normal_host(parse_authority(match[2]).host))


def _shown(value: bytes) -> str:
    """A value for a message: printable, and cut to the length of a name (RFC 1035 section 2.3.4)."""
    text = "".join(
        chr(byte) if 0x21 <= byte < 0x7F and byte not in b"\"'<>&\\" else "?" for byte in value[:255]
    )
    return f"'{text}'" + ("..." if len(value) > 255 else "")


# --- CORS, where the Origin is stripped ---------------------------------------------------------------


def preflight_response(head: RequestHead) -> ResponseHead | None:
    """
    The relay's own answer to the preflight of an origin that L{check_browser} let in.

    @return: C{None} if it is no preflight (Fetch section 3.2.2).
    """
    headers = head.headers
    origin, method = headers.get(b"origin"), headers.get(b"access-control-request-method")
    if head.method != b"OPTIONS" or origin is None or method is None:
        return None
    fields = [
        (b"Access-Control-Allow-Origin", origin),
        (b"Access-Control-Allow-Methods", method),
    ]
    wanted = b", ".join(headers.all(b"access-control-request-headers"))
    if wanted:
        fields.append((b"Access-Control-Allow-Headers", wanted))
    if b"true" in headers.tokens(b"access-control-request-private-network"):
        fields.append((b"Access-Control-Allow-Private-Network", b"true"))
    fields.append((b"Access-Control-Max-Age", b"600"))
    fields.append((b"Vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"))
    return ResponseHead(status=204, reason=b"No Content", headers=Headers(fields))


CORS = Rule(
    sees=_CORS | {b"vary"},
    beside=lambda asked: asked.page is not None,
    change=lambda view, asked: view if asked.page is None else with_cors(view, asked.page),
)
"""Lets a page read the answer that was let in, but of which the upstream has not heard."""


def with_cors(headers: Headers, origin: bytes) -> Headers:
    """
    A response's fields for a page of C{origin}. The upstream's own CORS fields are removed, for it has not
    heard of the page. But the fields that it exposes stay exposed, and it alone says whether a page that
    sends cookies may read the answer.
    """
    exposed = b", ".join([EXPOSED, *headers.all(b"access-control-expose-headers")])
    headers = headers.without(_CORS)
    headers = headers.added(b"Access-Control-Allow-Origin", origin)
    headers = headers.added(b"Access-Control-Expose-Headers", exposed)
    if {b"origin", b"*"}.isdisjoint(headers.tokens(b"vary")):
        headers = headers.added(b"Vary", b"Origin")
    return headers
