"""Changes the upstream's URLs in fields, and its cookies, to the relay's, and back."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from lanrelay.passage.rule import Asked, Rule, View
from lanrelay.wire.authority import format_authority, parse_authority
from lanrelay.wire.headers import Field, Headers, make_field

_PORTS = {"http": 80, "https": 443}

# RFC 3986 appendix B, for URLs with an authority: scheme, authority, path, the rest.
_URL = re.compile(rb"(?:([A-Za-z][A-Za-z0-9+.\-]*):)?//([^/?#]*)([^?#]*)(.*)", re.DOTALL)


class Site(NamedTuple):
    """
    An origin and a path prefix on it.

    @ivar scheme: C{"http"} or C{"https"}.
    @ivar host: lower case, without brackets and trailing dot.
    @ivar prefix: without its trailing slash; empty for all of the origin.
    """

    scheme: str
    host: str
    port: int
    prefix: bytes = b""

    @classmethod
    def at(cls, scheme: str, authority: bytes | str, prefix: bytes = b"") -> Site:
        """
        Make it from a Host field's value.

        @raise ValueError: it is no valid one.
        """
        parsed = parse_authority(authority, _PORTS[scheme])
        assert parsed.port is not None
        return cls(scheme=scheme, host=parsed.host.rstrip("."), port=parsed.port, prefix=prefix)

    @property
    def authority(self) -> bytes:
        """The authority as in a URL, without the scheme's own port."""
        port = None if self.port == _PORTS[self.scheme] else self.port
        return format_authority(self.host, port).encode("ascii")

    def named_by(self, scheme: bytes | None, authority: bytes) -> bool:
        """
        Whether these parts of a URL name this origin. C{http} counts for C{https}, too, for a server does not
        always know of the TLS in front of it.
        """
        try:
            parsed = parse_authority(authority)
        except ValueError:
            return False
        if parsed.host.rstrip(".") != self.host:
            return False
        said = self.scheme if scheme is None else scheme.decode("ascii").lower()
        if said == self.scheme:
            return (parsed.port or _PORTS[said]) == self.port
        if (said, self.scheme) == ("http", "https"):
            return parsed.port == self.port or (parsed.port in (None, 80) and self.port == 443)
        return False


class Places(NamedTuple):
    """
    The two sites of one route: C{upstream.prefix} plus a path there is C{relay.prefix} plus that path here.

    @ivar relay: as this client wrote it, for clients compare URLs with the origin to which they connected.
    @ivar aliases: other origins by which the upstream may call itself (the Host that it is sent).
    @ivar slash: whether the root of the upstream's site is spelled with a final slash.
    """

    upstream: Site
    relay: Site
    aliases: tuple[Site, ...] = ()
    slash: bool = False

    def to_relay(self, url: bytes) -> bytes:
        """
        A URL or an absolute path of the upstream, as the client reaches it.

        URLs outside of the upstream's prefix, or of another origin, stay as they are, and so do relative
        paths.
        """
        return _moved(url, (self.upstream, *self.aliases), self.upstream.prefix, self.relay)

    def to_upstream(self, url: bytes) -> bytes:
        """The other way round."""
        return _moved(url, (self.relay,), self.relay.prefix, self.upstream)


def _moved(url: bytes, sites: tuple[Site, ...], prefix: bytes, there: Site) -> bytes:
    if url[:1] == b"/" and url[:2] != b"//":
        end = re.search(rb"[?#]|\Z", url)
        assert end is not None
        path = move_path(url[: end.start()], prefix, there.prefix)
        return url if path is None else path + url[end.start() :]
    match = _URL.fullmatch(url)
    if match is None:
        return url
    scheme, authority, old_path, rest = match.groups()
    if not any(site.named_by(scheme, authority) for site in sites):
        return url
    path = move_path(old_path, prefix, there.prefix)
    if path is None:
        return url
    start = b"" if scheme is None else there.scheme.encode("ascii") + b":"
    return start + b"//" + there.authority + path + rest


def move_path(path: bytes, prefix: bytes, to: bytes) -> bytes | None:
    """
    Move a path from below one prefix to below another, by whole segments.

    @return: C{None} if it is not below C{prefix}.
    """
    if prefix == to:
        return path
    if prefix:
        if path != prefix and not path.startswith(prefix + b"/"):
            return None
        path = path[len(prefix) :]
    return to + path or b"/"


def cookie_to_relay(value: bytes, places: Places) -> bytes:
    """
    One Set-Cookie value as a browser accepts it from the relay: without Domain, with its Path below the
    relay's prefix, and on a plain-HTTP listener without Secure and what needs it (C{SameSite=None},
    Partitioned). Cookies named C{__Host-} and C{__Secure-} keep it, for no browser takes them without.
    """
    parts = value.split(b";")
    name = parts[0].partition(b"=")[0].strip(b" \t").lower()
    plain = places.relay.scheme == "http" and not name.startswith((b"__host-", b"__secure-"))
    kept = parts[:1]
    for part in parts[1:]:
        key, _, setting = part.partition(b"=")
        key, setting = key.strip(b" \t").lower(), setting.strip(b" \t")
        if key == b"domain" or (plain and key in (b"secure", b"partitioned")):
            continue
        if plain and key == b"samesite" and setting.lower() == b"none":
            continue
        if key == b"path" and setting[:1] == b"/" and not name.startswith(b"__host-"):
            path = move_path(setting, places.upstream.prefix, places.relay.prefix)
            if path is not None and path != setting:
                # RFC 6265 section 5.1.4: a path that ends in a slash would miss the prefix itself.
                path = places.relay.prefix if path == places.relay.prefix + b"/" else path
                part = part[: len(part) - len(part.partition(b"=")[2])] + (path or b"/")
        kept.append(part)
    return b";".join(kept)


_IDENTITY = make_field(b"Accept-Encoding", b"identity")
_LOCATIONS = frozenset({b"location", b"content-location"})
_PLAIN_ONLY = frozenset({b"strict-transport-security", b"alt-svc"})
_COOKIES = frozenset({b"set-cookie"})
_REQUEST = frozenset({b"referer", b"destination"})


def _locations_to_relay(headers: Headers, places: Places) -> Headers:
    return headers.mapped(_LOCATIONS, lambda field: _with_value(field, places.to_relay(field[2])))


def _cookies_to_relay(headers: Headers, places: Places) -> Headers:
    headers = headers.mapped(_COOKIES, lambda field: _with_value(field, cookie_to_relay(field[2], places)))
    return headers.without(_PLAIN_ONLY) if places.relay.scheme == "http" else headers


def rewrite_request(headers: Headers, places: Places, rewrite: Collection[str]) -> Headers:
    """Rewrite Referer and Destination (RFC 4918 section 10.3), wherever C{"location"} is rewritten."""
    if "location" not in rewrite:
        return headers
    return headers.mapped(_REQUEST, lambda field: _with_value(field, places.to_upstream(field[2])))


def request_rule(rewrite: Collection[str]) -> Rule:
    """As L{rewrite_request}."""

    def change(view: View, asked: Asked) -> Headers:
        return view if asked.places is None else rewrite_request(view, asked.places, rewrite)

    return Rule(looks_at=_REQUEST if "location" in rewrite else frozenset(), change=change)


def _change_locations(view: View, asked: Asked) -> Headers:
    return view if asked.places is None else _locations_to_relay(view, asked.places)


def _change_cookies(view: View, asked: Asked) -> Headers:
    return view if asked.places is None else _cookies_to_relay(view, asked.places)


def answer_rules(rewrite: Collection[str]) -> list[Rule]:
    """
    @param rewrite: C{"location"} for Location and Content-Location, C{"cookies"} for Set-Cookie and, on a
        plain-HTTP listener, against HSTS and Alt-Svc; other words do not concern fields.
    """
    rules = []
    if "location" in rewrite:
        rules.append(Rule(looks_at=_LOCATIONS, change=_change_locations))
    if "cookies" in rewrite:
        rules.append(Rule(looks_at=_COOKIES | _PLAIN_ONLY, change=_change_cookies))
    return rules


def asks_for_events(method: bytes, fields: Headers) -> bool:
    """Whether the answer may be an MCP event stream with an endpoint."""
    if method != b"GET":
        return False
    accept = fields.get(b"accept")
    return accept is not None and accept.lower().find(b"text/event-stream") >= 0


EVENT_STREAMS = Rule(
    sees=frozenset({b"accept", b"accept-encoding"}),
    concerns=lambda fields, method: asks_for_events(method, fields),
    change=lambda view, asked: view.replaced_by(_IDENTITY),
)
"""Asks for an event stream without an encoding, which would hide the endpoint that it names."""


def _with_value(field: Field, value: bytes) -> Field:
    return field if value == field[2] else make_field(field[1], value)
