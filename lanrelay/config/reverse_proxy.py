"""Reads a reverse proxy: routes, header rules, and the guard against web pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeVar

from lanrelay.config import expand, guard, hosts, model, upstreams, values
from lanrelay.config.listeners import LISTENER, Reader
from lanrelay.config.place import Broken, Fields, Key, Place, Table, as_it_is
from lanrelay.config.readers import many, named, off_as, one, optional
from lanrelay.config.shapes import ANY_TEXT, ListOf, MapOf, Off, takes

T = TypeVar("T")

# --- header rules -------------------------------------------------------------------------------------


@takes(MapOf(ANY_TEXT))
def _values(place: Place) -> tuple[tuple[str, str], ...]:
    """Names and values; one that looks like a credential is not shown."""
    seen: set[str] = set()
    for word, child in place.entries():
        child.mask = expand.mask if expand.is_secret_name(word) else as_it_is
        if word.lower() in seen:
            child.complain_of_key("found the same field again, expected it once")
        seen.add(word.lower())
    return tuple(named(values.header_name, _value)(place).items())


def _value(place: Place) -> str:
    text = one(values.header_value)(place)
    # A value from a variable or a file counts as a secret, whatever the field is called.
    return model.Secret(text) if place.expanded or place.mask is expand.mask else text


HEADER_RULES = Table(
    "headers",
    {
        "set": Key(off_as((), _values), {}, mask=expand.mask),
        "add": Key(off_as((), _values), {}, mask=expand.mask),
        "remove": Key(many(one(values.header_name), can_be_off=True), []),
    },
)


@takes(HEADER_RULES)
def _rules(place: Place) -> model.HeaderRules:
    fields = place.fields(HEADER_RULES)
    kept = {name.lower() for word in ("set", "add") for name, _ in fields.get(word, ())}
    for name in fields.get("remove", ()):
        if name.lower() in kept:
            fields.complain("remove", f"expected no field that is also set or added ({name})")
    return fields.build(model.HeaderRules)


_RULES = off_as(model.HeaderRules(), _rules)

HEADERS = Table(
    "both-headers",
    {
        "request": Key(_RULES, HEADER_RULES, mask=expand.mask),
        "response": Key(_RULES, HEADER_RULES, mask=expand.mask),
    },
)

Headers = tuple[model.HeaderRules, model.HeaderRules]
_NO_HEADERS: Headers = (model.HeaderRules(), model.HeaderRules())


@takes(Off(), HEADERS)
def _headers(place: Place) -> Headers:
    if place.is_off():
        return _NO_HEADERS

    def pair(
        request: model.HeaderRules = _NO_HEADERS[0], response: model.HeaderRules = _NO_HEADERS[1]
    ) -> Headers:
        return request, response

    return place.fields(HEADERS).build(pair)


def merged(outer: model.HeaderRules, inner: model.HeaderRules) -> model.HeaderRules:
    """The rules of a listener and those of one of its routes, which win where both name a field."""
    named_inside = {name.lower() for name, _ in (*inner.set, *inner.add)}
    named_inside.update(name.lower() for name in inner.remove)

    def kept(rules: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        return tuple(rule for rule in rules if rule[0].lower() not in named_inside)

    removed = tuple(name for name in outer.remove if name.lower() not in named_inside)
    return model.HeaderRules(
        set=kept(outer.set) + inner.set, add=kept(outer.add) + inner.add, remove=removed + inner.remove
    )


# --- routes -------------------------------------------------------------------------------------------

_HOST = one(hosts.sent_host)

ROUTE = Table(
    "route",
    {
        "path": Key(one(hosts.route_path), required=True, mask=expand.mask_path),
        "upstream": Key(upstreams.HTTP_UPSTREAMS, required=True),
        "strip_prefix": Key(one(values.boolean), "false"),
        "host": Key(_HOST),
        "headers": Key(_headers),
    },
)


class _Route:
    """A route as it is written; the listener's keys are still to be put in."""

    def __init__(
        self,
        path: str,
        upstream: tuple[model.Upstream, ...],
        strip_prefix: bool = False,
        host: str | None = None,
        headers: Headers = _NO_HEADERS,
    ) -> None:
        self.path = path
        self.upstream = upstream
        self.strip_prefix = strip_prefix
        self.host = host
        self.headers = headers


@takes(ROUTE, ListOf(ROUTE))
def _routes(place: Place) -> tuple[_Route, ...]:
    lines: dict[str, int] = {}

    def route(item: Place) -> _Route:
        fields = item.fields(ROUTE)
        found = fields.build(_Route)
        if found.path in lines:
            fields.complain("path", f"expected a path of its own; line {lines[found.path]} has it too")
            raise Broken
        lines[found.path] = fields.given["path"].line
        return found

    return many(route)(place)


# --- the listener -------------------------------------------------------------------------------------


_ORIGIN: tuple[Literal["auto", "strip", "keep", "upstream"], ...] = ("auto", "strip", "keep", "upstream")
_FORWARDED: tuple[Literal["none", "x-forwarded", "rfc7239"], ...] = ("none", "x-forwarded", "rfc7239")
_REWRITE: tuple[model.Rewrite, ...] = ("location", "cookies", "endpoint", "oauth")


@takes(many(one(values.choice(_REWRITE)), can_be_off=True))
def _rewrite(place: Place) -> frozenset[model.Rewrite]:
    return frozenset(many(one(values.choice(_REWRITE)), can_be_off=True)(place))


POOL = Table(
    "pool",
    {
        "size": Key(off_as(0, one(values.number(0, 10_000))), "32"),
        "idle": Key(one(values.duration), "4s"),
    },
)


@takes(Off(), POOL)
def _pool(place: Place) -> model.Pool:
    if place.is_off():
        return model.Pool(size=0)
    return place.fields(POOL).build(model.Pool)


TABLE = Table(
    "reverse-proxy",
    {
        "upstream": Key(upstreams.HTTP_UPSTREAMS),
        "routes": Key(_routes),
        **upstreams.GROUP.keys,
        "host": Key(_HOST, "upstream"),
        "hosts": Key(guard.HOSTS, "none"),
        "origins": Key(guard.ORIGINS, "none"),
        "origin": Key(one(values.choice(_ORIGIN)), "auto"),
        "headers": Key(_headers, HEADERS),
        "forwarded": Key(off_as("none", one(values.choice(_FORWARDED))), "none"),
        "rewrite": Key(_rewrite, list(_REWRITE)),
        "sse_keepalive": Key(optional(one(values.duration)), "15s"),
        "session_recovery": Key(off_as(False, one(values.boolean)), "true"),
        "mcp": Key(optional(one(hosts.request_path)), "none", mask=expand.mask_path),
        "max_body": Key(optional(one(values.size)), "none"),
        "pool": Key(_pool, POOL),
    },
    extends=LISTENER,
)


_NOT_FIELDS = ("type", "upstream", "routes", *upstreams.GROUP.keys, "host", "hosts", "origins", "headers")


def _build(fields: Fields, more: dict[str, object]) -> model.Listener:
    """
    @raise Broken: complaints have been made.
    """
    if "upstream" in fields.given and "routes" in fields.given:
        fields.complain("routes", 'expected either "upstream" or "routes", not both')
    if "upstream" not in fields.given and "routes" not in fields.given:
        fields.missing('expected either "upstream" or "routes"', "upstream")
    written: tuple[_Route, ...] = fields.get("routes", ())
    if "upstream" in fields.values:
        written = (_Route("/", fields.values["upstream"]),)
    own = _own_host(fields.get("listen", ()))
    routes = [_completed(route, fields, own) for route in written]
    routes.sort(key=lambda route: len(route.path), reverse=True)
    guarded = model.BrowserGuard(hosts=fields.get("hosts", ()), origins=fields.get("origins", ()))
    return fields.build(model.ReverseProxy, without=_NOT_FIELDS, routes=tuple(routes), guard=guarded, **more)


def _own_host(listen: Iterable[model.ListenAddress]) -> str:
    """As a client on this machine names the listener."""
    for address in listen:
        if isinstance(address, (model.TcpAddress, model.LocalhostAddress)) and address.port:
            return f"localhost:{address.port}"
    return "localhost"


def _completed(route: _Route, fields: Fields, own: str) -> model.Route:
    """A route with what it takes over from its listener."""
    listener = fields.get("headers", _NO_HEADERS)
    host: str = fields.get("host", "upstream") if route.host is None else route.host
    group = upstreams.group(fields, route.upstream, always_checked=True)
    if group.health is not None and group.health.path is not None and host != "upstream":
        # The upstream may let in no other Host than the one that clients send.
        asked = own if host == "preserve" else host
        group = group._replace(health=group.health._replace(host=asked))
    return model.Route(
        path=route.path,
        upstreams=group,
        strip_prefix=route.strip_prefix,
        host=host,
        request_headers=merged(listener[0], route.headers[0]),
        response_headers=merged(listener[1], route.headers[1]),
    )


READER = Reader(TABLE, _build)
