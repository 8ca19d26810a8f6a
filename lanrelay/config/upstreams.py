"""Reads upstreams: URLs, trust, health checks, retries, and how several are tried."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from lanrelay.config import expand, hosts, model, values
from lanrelay.config.place import Broken, Fields, Key, Place, Shown, Table
from lanrelay.config.readers import many, off_as, one, optional, path
from lanrelay.config.shapes import ANY_TEXT, Off, Scalar, Url, takes
from lanrelay.config.values import Unfit

TLS_VERSION = values.choice(("1.2", "1.3", "1.1", "1.0"))

ALPN = many(one(values.protocol_name), can_be_off=True)

# --- trust --------------------------------------------------------------------------------------------


@takes(ANY_TEXT)
def _authority(place: Place) -> Path | Literal["system"]:
    return "system" if place.text() == "system" else path(place)


UPSTREAM_TLS = Table(
    "upstream-tls",
    {
        "ca": Key(many(_authority), "system"),
        "pin": Key(many(one(values.pin), can_be_off=True), "none"),
        "server_name": Key(optional(one(hosts.host))),
        "cert": Key(optional(path), "none"),
        "key": Key(optional(path), "none"),
        "passphrase": Key(optional(one(values.passphrase)), "none", mask=expand.mask),
        "min_version": Key(one(TLS_VERSION), "1.2"),
        "alpn": Key(ALPN, "none"),
        "verify": Key(off_as(False, one(values.boolean)), "true"),
    },
)


@takes(UPSTREAM_TLS)
def trust(place: Place) -> model.Trust:
    fields = place.fields(UPSTREAM_TLS)
    both_or_none(fields)
    if not fields.absent("passphrase") and fields.absent("key"):
        fields.complain("passphrase", 'expected a "key" beside it, which the passphrase is for')
    if fields.get("pin", ()) and not fields.get("verify", True):
        fields.complain("verify", 'expected no such value beside "pin", which is verified')
    if fields.get("pin", ()) and "ca" not in fields.given:
        # Pins alone: they replace the system's roots, which a default of "system" would bring back.
        fields.shows["ca"] = None
        return fields.build(model.Trust, ca=())
    return fields.build(model.Trust)


def both_or_none(fields: Fields) -> None:
    """A certificate is of no use without its key, nor the key without it."""
    for word, other in (("cert", "key"), ("key", "cert")):
        if not fields.absent(word) and fields.absent(other):
            fields.complain(word, f'expected "{other}" to be set as well')


# --- one upstream -------------------------------------------------------------------------------------

PARENT = optional(one(hosts.parent_proxy))
_TRUST = model.Trust()
_SEND_PROXY: tuple[Literal["v1", "v2"], ...] = ("v1", "v2")


@takes(ANY_TEXT)
def _later(place: Place) -> Place:
    """The readers of these keys are made for each kind of listener and each URL; see L{_upstream}."""
    return place


UPSTREAM = Table(
    "upstream",
    {
        "url": Key(_later, required=True, mask=expand.mask_url),
        "address": Key(_later),
        "via": Key(PARENT, "none", mask=expand.mask_url),
        "send_proxy": Key(optional(one(values.choice(_SEND_PROXY))), "none"),
        "tls": Key(trust, UPSTREAM_TLS, field="trust"),
    },
)


def _map_for(url: model.UpstreamUrl, written: Callable[[], Shown]) -> Shown:
    """What stands for a URL alone."""
    tls = {"tls": UPSTREAM_TLS.defaults()} if url.tls else {}
    return {"url": written(), "via": "none", "send_proxy": "none", **tls}


def _upstream(schemes: tuple[str, ...]) -> Callable[[Place], model.Upstream]:
    """A URL alone, or a map."""

    def url_of(place: Place) -> model.UpstreamUrl:
        url = one(lambda text: hosts.upstream_url(text, schemes, place.context.path))(place)
        if url.unix_path is not None and not place.expanded:
            place.shows = lambda: expand.escape(str(url))
        return url

    @takes(Url(*schemes), UPSTREAM)
    def read(place: Place) -> model.Upstream:
        if place.is_scalar():
            place.mask = expand.mask_url
            url = place.read(url_of)
            place.context.note_line(place, str(url))
            place.shows = partial(_map_for, url, place.shows or place.written)
            return model.Upstream(url=url)
        fields = place.fields(UPSTREAM)
        if "url" not in fields.values:
            raise Broken
        url = fields.given["url"].read(url_of)
        place.context.note_line(fields.given["url"], str(url))
        if fields.get("tls", _TRUST).alpn and url.scheme == "https":
            fields.complain(
                "tls",
                'expected no "alpn", for the relay speaks HTTP/1.1 to it; a tls:// forward passes others',
            )
        if not url.tls:
            fields.shows["tls"] = None
            if "tls" in fields.given:
                fields.complain("tls", f"expected no such key, for {_plain(url)} is not encrypted")
        if url.unix_path is not None and not fields.absent("via"):
            fields.complain("via", "expected no such key beside a unix socket, which is on this machine")
        return fields.build(model.Upstream, url=url, address=_address(fields, url))

    return read


def _plain(url: model.UpstreamUrl) -> str:
    return "a unix socket" if url.unix_path is not None else f"{url.scheme}://"


def _address(fields: Fields, url: model.UpstreamUrl) -> model.TargetAddress | None:
    """What to dial instead of the URL's host; its port, where it has none, is the URL's."""
    if "address" not in fields.given:
        return None
    try:
        found = fields.given["address"].read(optional(one(lambda text: hosts.target_address(text, url.port))))
    except Broken:
        fields.broken = True
        return None
    if found is not None and url.unix_path is not None:
        fields.complain("address", "expected no such key beside a unix socket")
    return found


FORWARD_UPSTREAMS = many(_upstream(hosts.FORWARD_SCHEMES))
HTTP_UPSTREAMS = many(_upstream(hosts.HTTP_SCHEMES))

# --- several ------------------------------------------------------------------------------------------


@takes(many(one(values.statuses)))
def _statuses(place: Place) -> tuple[tuple[int, int], ...]:
    return tuple(item for group in many(one(values.statuses))(place) for item in group)


HEALTH = Table(
    "health",
    {
        "path": Key(optional(one(hosts.request_path)), "none", mask=expand.mask_path),
        "status": Key(_statuses, "200-399,401,405,406"),
        "interval": Key(one(values.duration), "15s"),
        "down_interval": Key(one(values.duration), "2s"),
        "timeout": Key(one(values.duration), "3s"),
        "rise": Key(one(values.number(1, 1000)), "1"),
        "fall": Key(one(values.number(1, 1000)), "2"),
    },
)

RETRY = Table(
    "retry",
    {
        "for": Key(off_as(0.0, one(values.duration_from_zero)), "3s", field="duration"),
        "backoff": Key(one(values.duration), "100ms"),
    },
)


@takes(Scalar(values.boolean), Off(), HEALTH)
def _health(place: Place) -> model.Health | None:
    if place.is_off():
        return None
    if place.is_scalar():
        if place.text().lower() not in values.ON:
            raise Unfit("expected a map, true, or off")
        place.shows = HEALTH.defaults
        return model.Health()
    return place.fields(HEALTH).build(model.Health)


@takes(Off(), RETRY)
def _retry(place: Place) -> model.Retry:
    if place.is_off():
        return model.Retry(duration=0.0)
    return place.fields(RETRY).build(model.Retry)


_BALANCE: tuple[model.Balance, ...] = ("first", "round-robin", "least-connections")

GROUP = Table(
    "upstreams",
    {
        "balance": Key(one(values.choice(_BALANCE)), "first"),
        "health": Key(_health),
        "retry": Key(_retry, RETRY),
    },
)
"""Keys of a listener that has upstreams."""


def group(fields: Fields, members: tuple[model.Upstream, ...], *, always_checked: bool) -> model.Upstreams:
    """
    The upstreams of a listener or of one of its routes.

    @param fields: of the listener.
    @param always_checked: health checks are on by default even for a single upstream.
    """
    default = model.Health() if always_checked or len(members) > 1 else None
    if "health" not in fields.given:
        fields.shows["health"] = HEALTH.defaults if default is not None else lambda: "off"
    return model.Upstreams(
        members=members,
        balance=fields.get("balance", "first"),
        health=fields.get("health", default),
        retry=fields.get("retry", model.Retry()),
    )
