"""Reads forward proxies: C{connect-proxy} and C{socks-proxy}."""

from __future__ import annotations

from collections.abc import Callable

from lanrelay.addresses import is_loopback
from lanrelay.config import expand, hosts, model, upstreams, values
from lanrelay.config.listeners import LISTENER, Reader, exposed, is_loopback_address
from lanrelay.config.place import Fields, Key, Place, Table
from lanrelay.config.readers import many, named, off_as, one, optional, path
from lanrelay.config.shapes import takes
from lanrelay.config.values import Unfit

AUTH = Table(
    "auth",
    {
        "users": Key(named(values.user_name, one(values.password)), mask=expand.mask),
        "file": Key(path),
    },
)


@takes(AUTH)
def _auth(place: Place) -> model.Auth:
    fields = place.fields(AUTH)
    if len(fields.given) != 1 and not fields.broken:
        raise Unfit('expected either "users" or "file"')
    if fields.values.get("users") == {}:
        fields.complain("users", "expected at least one NAME: PASSWORD")
    return fields.build(model.Auth)


def _name(text: str) -> str:
    found = hosts.host(text)
    if ":" in found or found.replace(".", "").isdigit():
        raise Unfit("expected a host name")
    return found


_RULES = one(hosts.destination_rule)

TABLE = Table(
    "forward-proxy",
    {
        "allow": Key(many(_RULES)),
        "deny": Key(many(_RULES, can_be_off=True), "none"),
        "auth": Key(optional(_auth), "none", mask=expand.mask),
        "parent": Key(upstreams.PARENT, "none", mask=expand.mask_url),
        "parent_bypass": Key(many(_RULES, can_be_off=True), "none"),
        "resolve": Key(off_as({}, named(_name, many(one(hosts.ip)))), "none"),
    },
    extends=LISTENER,
)


def _forward_proxy(
    make: Callable[..., model.Listener],
) -> Callable[[Fields, dict[str, object]], model.Listener]:
    def build(fields: Fields, more: dict[str, object]) -> model.Listener:
        addresses: tuple[model.ListenAddress, ...] = fields.get("listen", ())
        if fields.absent("auth") and not all(map(is_loopback_address, addresses)):
            expected = f'expected "auth" to be set as well, for {exposed(addresses)} is not loopback'
            fields.complain("listen", expected)
        if "allow" not in fields.given:
            allow: tuple[model.DestinationRule, ...] = _PRIVATE_AND_PUBLIC
            if _only_loopback_may_connect(fields, addresses):
                allow += (_LOOPBACK,)  # which nobody can write: written, the word is for all names
            else:
                fields.shows["allow"] = lambda: [str(rule.word) for rule in _PRIVATE_AND_PUBLIC]
            more = {**more, "allow": allow}
        return fields.build(make, without=("type",), **more)

    return build


_PRIVATE_AND_PUBLIC = (model.DestinationRule(word="private"), model.DestinationRule(word="public"))
# A web page can make a name of its own turn into 127.0.0.1 while the page is open.
_LOOPBACK = model.DestinationRule(word="loopback", implied=True)


def _only_loopback_may_connect(fields: Fields, addresses: tuple[model.ListenAddress, ...]) -> bool:
    """
    Because of C{clients}, or because nobody else can reach the address.

    Behind a PROXY header the client is another than the peer, so then C{clients} alone decides.
    """
    clients: tuple[model.ClientRule, ...] = fields.get("clients", model.LOOPBACK_CLIENTS)
    if all(
        rule.word == "loopback" or (rule.network and _is_loopback_network(rule.network)) for rule in clients
    ):
        return True
    return all(map(is_loopback_address, addresses)) and not fields.get("accept_proxy", ())


def _is_loopback_network(network: model.IPNetwork) -> bool:
    return is_loopback(network.network_address) and is_loopback(network.broadcast_address)


def _reader(word: str, record: type[model.ForwardProxy]) -> Reader:
    return Reader(Table(word, {}, extends=TABLE), _forward_proxy(record))


CONNECT = _reader("connect-proxy", model.ConnectProxy)
SOCKS = _reader("socks-proxy", model.SocksProxy)
