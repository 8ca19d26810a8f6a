"""Reads what every listener has, and the kinds that are not of HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from lanrelay.addresses import is_loopback, unmapped
from lanrelay.config import expand, hosts, model, nodes, reverse_proxy, upstreams, values
from lanrelay.config.place import Broken, Fields, Key, Place, Table, as_it_is
from lanrelay.config.readers import many, named, off_as, one, optional, path
from lanrelay.config.values import Unfit

# --- what every listener has ----------------------------------------------------------------------------


def listen(place: Place) -> tuple[model.ListenAddress, ...]:
    def address(item: Place) -> model.ListenAddress:
        found = one(lambda text: hosts.listen_address(text, item.context.path))(item)
        if isinstance(found, model.UnixAddress) and not item.expanded:
            item.shown = expand.escape(str(found))
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

_FROM_ZERO = one(values.duration_from_zero)
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
        "drain": Key(_FROM_ZERO, "3s"),
    },
)


def _timeouts(place: Place) -> model.Timeouts:
    fields = place.fields(TIMEOUTS)
    tunnel = fields.get("tunnel", None)
    return fields.build(model.Timeouts, **({} if tunnel is None else {"half_closed": tunnel}))


TYPES = ("tcp-forward", "reverse-proxy", "connect-proxy", "socks-proxy", "exec")


def _type(text: str) -> str:
    if text in TYPES:
        return text
    from lanrelay.config.habits import meant_type  # for what is wrong only

    meant = meant_type(text)
    expected = f"expected {', '.join(TYPES[:-1])} or {TYPES[-1]}"
    raise Unfit(f'{expected}; did you mean "{meant}"?' if meant else expected)


LISTENER = Table(
    "listener",
    {
        "type": Key(one(_type), required=True),
        "enabled": Key(one(values.boolean), "true"),
        "listen": Key(listen, required=True),
        "listen_mode": Key(one(values.mode), "0600"),
        "tls": Key(optional(lambda place: place.fields(SERVER_TLS).build(model.ServerTls)), "none"),
        "clients": Key(CLIENTS, "loopback"),
        "max_connections": Key(one(values.number(1, 1_000_000)), "4096"),
        "accept_proxy": Key(many(one(hosts.client_rule), can_be_off=True), "none"),
        "timeouts": Key(_timeouts, TIMEOUTS),
        "access_log": Key(off_as(False, one(values.boolean))),
    },
)

# --- tcp-forward ------------------------------------------------------------------------------------------

TCP_FORWARD = Table(
    "tcp-forward",
    {
        "upstream": Key(upstreams.FORWARD_UPSTREAMS, required=True),
        **upstreams.GROUP.keys,
    },
    extends=LISTENER,
)


def _tcp_forward(fields: Fields, more: dict[str, object]) -> model.Listener:
    members = fields.get("upstream", ())
    group = upstreams.group(fields, members, always_checked=False)
    return fields.build(
        model.TcpForward, without=("type", "upstream", *upstreams.GROUP.keys), upstreams=group, **more
    )


# --- forward proxies --------------------------------------------------------------------------------------

AUTH = Table(
    "auth",
    {
        "users": Key(named(values.user_name, one(values.password)), mask=expand.mask),
        "file": Key(path),
    },
)


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

FORWARD_PROXY = Table(
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
            expected = f'expected "auth" to be set as well, for {_exposed(addresses)} is not loopback'
            fields.complain("listen", expected)
        if "allow" not in fields.given:
            allow: tuple[model.DestinationRule, ...] = _PRIVATE_AND_PUBLIC
            if _only_loopback_may_connect(fields, addresses):
                allow += (_LOOPBACK,)  # which nobody can write: written, the word is for all names
            else:
                fields.shown["allow"] = [str(rule.word) for rule in allow]
            more = {**more, "allow": allow}
        return fields.build(make, without=("type",), **more)

    return build


_PRIVATE_AND_PUBLIC = (model.DestinationRule(word="private"), model.DestinationRule(word="public"))
# A web page can have a name of its own turn to 127.0.0.1 while it is looked at.
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


# --- exec -------------------------------------------------------------------------------------------------


def _command(place: Place) -> tuple[str, ...]:
    command = many(one(values.argument))(place)
    if not command[0]:
        raise Unfit("expected a program")
    if place.is_scalar() and any(letter.isspace() for letter in command[0]):
        raise Unfit(
            "expected a list, program and arguments one by one, as in [npx, server]; there is no shell"
        )
    return command


def _variables(place: Place) -> dict[str, str]:
    """Variables by name; what looks like a credential is not shown."""
    for word, child in place.entries():
        child.mask = expand.mask if expand.is_secret_name(word) else as_it_is
    return named(values.variable_name, one(values.argument))(place)


_PROTOCOLS: tuple[Literal["raw", "mcp-http"], ...] = ("raw", "mcp-http")

EXEC = Table(
    "exec",
    {
        "command": Key(_command, required=True),
        "cwd": Key(path, "."),
        "env": Key(off_as({}, _variables), {}, mask=expand.mask),
        "protocol": Key(one(values.choice(_PROTOCOLS)), "raw"),
        "shared": Key(one(values.boolean), "false"),
        "hosts": Key(reverse_proxy.GUARD_HOSTS, "none"),
        "origins": Key(reverse_proxy.GUARD_ORIGINS, "none"),
        "max_processes": Key(one(values.number(1, 10_000)), "8"),
        "stop_timeout": Key(_FROM_ZERO, "2s"),
    },
    extends=LISTENER,
)


def _exec(fields: Fields, more: dict[str, object]) -> model.Listener:
    folder: Path = fields.place.context.folder
    if "cwd" not in fields.given:
        fields.shown["cwd"] = expand.escape(str(folder))
    if fields.get("protocol", "raw") == "mcp-http":
        more = {**more, "timeouts": _idle_sessions(fields)}
    else:
        for word in ("hosts", "origins"):
            if fields.get(word, ()) != ():
                fields.complain(word, 'expected "protocol: mcp-http" beside it: raw has no such thing')
    guard = model.BrowserGuard(hosts=fields.get("hosts", ()), origins=fields.get("origins", ()))
    more = {**more, "guard": guard}
    if fields.get("shared", False) and fields.get("protocol", "raw") != "mcp-http":
        fields.complain("shared", 'expected "protocol: mcp-http" beside it: a connection cannot be shared')
    return fields.build(
        model.Exec, without=("type", "hosts", "origins"), **{"cwd": fields.get("cwd", folder), **more}
    )


IDLE_SESSION = 1800.0
"""Seconds: the default of C{timeouts.tunnel} for MCP's sessions."""


def _idle_sessions(fields: Fields) -> model.Timeouts:
    timeouts: model.Timeouts = fields.get("timeouts", model.TIMEOUTS)
    node = fields.given["timeouts"].node if "timeouts" in fields.given else None
    if isinstance(node, nodes.Mapping) and any(key.text == "tunnel" for key, _ in node.entries):
        return timeouts
    shown = fields.given["timeouts"].shown if node is not None else {}
    if isinstance(shown, dict):
        defaults = {word: str(key.default) for word, key in TIMEOUTS.keys.items()}
        fields.shown["timeouts"] = {**defaults, **shown, "tunnel": "30m"}
    return timeouts._replace(tunnel=IDLE_SESSION)


# --- any listener -----------------------------------------------------------------------------------------

KINDS: dict[str, tuple[Table, Callable[[Fields, dict[str, object]], model.Listener]]] = {
    "tcp-forward": (TCP_FORWARD, _tcp_forward),
    "reverse-proxy": (reverse_proxy.make_table(LISTENER), reverse_proxy.build),
    "connect-proxy": (Table("connect-proxy", {}, extends=FORWARD_PROXY), _forward_proxy(model.ConnectProxy)),
    "socks-proxy": (Table("socks-proxy", {}, extends=FORWARD_PROXY), _forward_proxy(model.SocksProxy)),
    "exec": (EXEC, _exec),
}


EVERY_KEY = frozenset(word for _table, _ in KINDS.values() for word in _table.keys)

for _table, _ in KINDS.values():
    _table.siblings = tuple(other for other, _ in KINDS.values() if other is not _table)


_HTTP = ("reverse-proxy", "connect-proxy")


def listener(place: Place, *, name: str, access_log: bool) -> model.Listener:
    """
    @param access_log: what C{log.access} says.
    @raise Broken: complaints have been made.
    """
    if not isinstance(place.node, nodes.Mapping):
        raise Unfit('expected a map with the keys "type", "listen" and those of the type')
    kind = _peek(place, "type")
    place.excused = values.is_off(_peek(place, "enabled"))
    if kind not in KINDS:
        # Which keys belong here is not known; what every listener has is judged nevertheless.
        every = {word: key for table, _ in KINDS.values() for word, key in table.keys.items()}
        unsure = Table("listener", {})
        unsure.keys = {
            word: Key(_unread) if word not in LISTENER.keys else key for word, key in every.items()
        }
        clients_are_stated(place.fields(unsure))
        raise Broken
    table, build = KINDS[kind]
    fields = place.fields(table)
    stated = clients_are_stated(fields)
    tls: model.ServerTls | None = fields.get("tls", None)
    if tls is not None and kind in _HTTP and not set(tls.alpn) <= {"http/1.0", "http/1.1"}:
        fields.complain("tls", f'expected no other "alpn" than http/1.1, which is what a {kind} speaks')
    more: dict[str, object] = {"name": name, **stated}
    if "access_log" not in fields.given:
        fields.shown["access_log"] = "true" if access_log else "false"
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


def _exposed(addresses: tuple[model.ListenAddress, ...]) -> str:
    """The first address that is not loopback."""
    return "this" if len(addresses) == 1 else "one of them"


def clients_are_stated(fields: Fields) -> dict[str, object]:
    """
    Who opens a port to the network must say to whom.

    Also notes what is listened on, to be compared with what others listen on.

    @return: what the record has to know for a socket that a service manager will hand over.
    """
    addresses: tuple[model.ListenAddress, ...] = fields.get("listen", ())
    if addresses and not fields.place.excused:
        fields.place.context.listening.append((fields.given["listen"], addresses))
    if "clients" not in fields.given and not all(map(is_loopback_address, addresses)):
        fields.complain(
            "listen",
            f'expected "clients" to be set as well, for {_exposed(addresses)} is not loopback: '
            "who may connect, such as private",
        )
    handed = any(isinstance(one, (model.SystemdSocket, model.LaunchdSocket)) for one in addresses)
    unstated = handed and "clients" not in fields.given
    return {"clients": model.UnstatedClients(model.LOOPBACK_CLIENTS)} if unstated else {}
