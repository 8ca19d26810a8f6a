"""Reads a listener: what every kind has, and then what its own has."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lanrelay.addresses import is_loopback, unmapped
from lanrelay.config import expand, hosts, kinds, model, nodes, upstreams, values
from lanrelay.config.place import Broken, Fields, Key, Place, Table
from lanrelay.config.readers import many, off_as, one, optional, path
from lanrelay.config.shapes import Words, takes
from lanrelay.config.values import Unfit

# --- what every listener has ----------------------------------------------------------------------------


@takes(many(one(str)))
def listen(place: Place) -> tuple[model.ListenAddress, ...]:
    def address(item: Place) -> model.ListenAddress:
        found = one(lambda text: hosts.listen_address(text, item.context.path))(item)
        if isinstance(found, model.UnixAddress) and not item.expanded:
            item.shows = lambda: expand.escape(str(found))
        return found

    return many(address)(place)


CLIENTS = many(one(hosts.client_rule))

SERVER_TLS = Table(
    "tls",
    {
        "cert": Key(path, required=True),
        "key": Key(path, required=True),
        "passphrase": Key(optional(one(values.passphrase)), "none", mask=expand.mask),
        "client_ca": Key(many(path, can_be_off=True), "none"),
        "alpn": Key(upstreams.ALPN, "none"),
        "min_version": Key(one(upstreams.TLS_VERSION), "1.2"),
    },
)

FROM_ZERO = one(values.duration_from_zero)
_DURATION = one(values.duration)
_OR_NEVER = optional(_DURATION)

TIMEOUTS = Table(
    "timeouts",
    {
        "connect": Key(_DURATION, "5s"),
        "handshake": Key(_DURATION, "10s"),
        "head": Key(_OR_NEVER, "10s"),
        "body": Key(_OR_NEVER, "60s"),
        "response": Key(_OR_NEVER, "never"),
        "stream": Key(_OR_NEVER, "never"),
        "tunnel": Key(_OR_NEVER, "never"),
        "keepalive": Key(_OR_NEVER, "75s"),
        "close": Key(_DURATION, "5s"),
        "drain": Key(FROM_ZERO, "3s"),
    },
)


@takes(TIMEOUTS)
def _timeouts(place: Place) -> model.Timeouts:
    fields = place.fields(TIMEOUTS)
    tunnel = fields.get("tunnel", None)
    return fields.build(model.Timeouts, **({} if tunnel is None else {"half_closed": tunnel}))


@takes(Words(*(kind.word for kind in kinds.KINDS)))
def _type(text: str) -> str:
    if kinds.kind_named(text) is not None:
        return text
    from lanrelay.config.habits import meant_type  # for what is wrong only

    meant = meant_type(text)
    *words, last = (kind.word for kind in kinds.KINDS)
    expected = f"expected {', '.join(words)} or {last}"
    raise Unfit(f'{expected}; did you mean "{meant}"?' if meant else expected)


@takes(SERVER_TLS)
def _server_tls(place: Place) -> model.ServerTls:
    return place.fields(SERVER_TLS).build(model.ServerTls)


LISTENER = Table(
    "listener",
    {
        "type": Key(one(_type), required=True),
        "enabled": Key(one(values.boolean), "true"),
        "listen": Key(listen, required=True),
        "listen_mode": Key(one(values.mode), "0600"),
        "tls": Key(optional(_server_tls), "none"),
        "clients": Key(CLIENTS, "loopback"),
        "max_connections": Key(one(values.number(1, 1_000_000)), "4096"),
        "accept_proxy": Key(many(one(hosts.client_rule), can_be_off=True), "none"),
        "timeouts": Key(_timeouts, TIMEOUTS),
        "access_log": Key(off_as(False, one(values.boolean))),
    },
)

# --- any listener -----------------------------------------------------------------------------------------


class Reader(NamedTuple):
    """
    How a kind of listener is read.

    @ivar build: from the fields, and what else the record is made of.
    """

    table: Table
    build: Callable[[Fields, dict[str, object]], model.Listener]


def reader(kind: kinds.Kind) -> Reader:
    """That of a kind, imported when a file has such a listener."""
    found: Reader = kinds.named(kind.reader)
    return found


def every_key() -> dict[str, Key]:
    """What any listener may have; for what is wrong only."""
    return {word: key for kind in kinds.KINDS for word, key in reader(kind).table.keys.items()}


def _siblings() -> list[Table]:
    return [reader(kind).table for kind in kinds.KINDS]


LISTENER.siblings = _siblings  # and of all tables that extend it


def listener(place: Place, *, name: str, access_log: bool) -> model.Listener:
    """
    @param access_log: what C{log.access} says.
    @raise Broken: complaints have been made.
    """
    if not isinstance(place.node, nodes.Mapping):
        raise Unfit('expected a map with the keys "type", "listen" and those of the type')
    kind = kinds.kind_named(_peek(place, "type"))
    place.disabled = values.is_off(_peek(place, "enabled"))
    if kind is None:
        # Nobody knows which keys belong here; those that every listener has are judged nevertheless.
        unsure = Table("listener", {})
        unsure.keys = {
            word: Key(_unread) if word not in LISTENER.keys else key for word, key in every_key().items()
        }
        clients_are_stated(place.fields(unsure))
        raise Broken
    table, build = reader(kind)
    fields = place.fields(table)
    stated = clients_are_stated(fields)
    tls: model.ServerTls | None = fields.get("tls", None)
    if tls is not None and kind.http(fields.get) and not set(tls.alpn) <= {"http/1.0", "http/1.1"}:
        fields.complain("tls", f'expected no other "alpn" than http/1.1, which is what a {kind.word} speaks')
    more: dict[str, object] = {"name": name, **stated}
    if "access_log" not in fields.given:
        fields.shows["access_log"] = lambda: "true" if access_log else "false"
        more["access_log"] = access_log
    return build(fields, more)


def _unread(place: Place) -> None:
    return None


def _peek(place: Place, word: str) -> str:
    """The text of a key that decides how the others are read; what is wrong with it is said later."""
    assert isinstance(place.node, nodes.Mapping)
    for key, node in place.node.entries:
        if key.text == word:
            try:
                return place.child(node, f".{word}").text()
            except Unfit:
                return ""
    return ""


def is_loopback_address(address: model.ListenAddress) -> bool:
    """Whether only this machine can reach it. What systemd or launchd will hand over is judged then."""
    return not isinstance(address, model.TcpAddress) or is_loopback(unmapped(address.host))


def exposed(addresses: tuple[model.ListenAddress, ...]) -> str:
    """What a complaint calls the address that is not loopback."""
    return "this" if len(addresses) == 1 else "one of them"


def clients_are_stated(fields: Fields) -> dict[str, object]:
    """
    A listener that is open to the network must say to whom.

    Also notes what is listened on, to be compared with what others listen on.

    @return: what the record has to hold for a socket that a service manager will hand over.
    """
    addresses: tuple[model.ListenAddress, ...] = fields.get("listen", ())
    if addresses and not fields.place.disabled:
        fields.place.context.listening.append((fields.given["listen"], addresses))
    if "clients" not in fields.given and not all(map(is_loopback_address, addresses)):
        fields.complain(
            "listen",
            f'expected "clients" to be set as well, for {exposed(addresses)} is not loopback: '
            "who may connect, such as private",
        )
    handed = any(isinstance(one, (model.SystemdSocket, model.LaunchdSocket)) for one in addresses)
    unstated = handed and "clients" not in fields.given
    return {"clients": model.UnstatedClients(model.LOOPBACK_CLIENTS)} if unstated else {}
