"""Reads the top level of the file, and checks what concerns several listeners."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal

from lanrelay.config import expand, hosts, listeners, model, reverse_proxy, values
from lanrelay.config.place import Broken, Fields, Key, Place, Shown, Table
from lanrelay.config.readers import off_as, one, optional, path
from lanrelay.config.values import Unfit

_LEVELS: tuple[Literal["debug", "info", "warn", "error"], ...] = ("debug", "info", "warn", "error")
_FORMATS: tuple[Literal["text", "json"], ...] = ("text", "json")

LOG = Table(
    "log",
    {
        "level": Key(one(values.choice(_LEVELS)), "info"),
        "format": Key(one(values.choice(_FORMATS)), "text"),
        "access": Key(off_as(False, one(values.boolean)), "true"),
        "file": Key(optional(path), "none"),
        "rotate": Key(optional(one(values.size)), "none"),
        "keep": Key(one(values.number(0, 10_000)), "5"),
    },
)

ADMIN = Table(
    "admin",
    {
        "listen": Key(listeners.listen, required=True),
        "clients": Key(listeners.CLIENTS, "loopback"),
        "hosts": Key(reverse_proxy.GUARD_HOSTS, "none"),
    },
)


def _admin(place: Place) -> model.Admin:
    fields = place.fields(ADMIN)
    listeners.clients_are_stated(fields)
    return fields.build(model.Admin)


def _control(place: Place) -> model.UnixAddress:
    def address(text: str) -> model.UnixAddress:
        if not text:
            raise Unfit("expected unix:PATH or off")
        return model.UnixAddress(path=hosts.unix_path(text.removeprefix("unix:"), place.context.path))

    found = one(address)(place)
    if not place.expanded:
        place.shown = expand.escape(str(found))
    return found


def _here(place: Place) -> Place:
    """Listeners are read last, for C{log.access} is their default."""
    if not place.entries():
        raise Unfit("expected at least one listener, as NAME: and its keys")
    return place


FILE = Table(
    "file",
    {
        "log": Key(lambda place: place.fields(LOG).build(model.Log), LOG),
        "admin": Key(optional(_admin)),
        "control": Key(optional(_control)),
        "listeners": Key(_here, required=True),
    },
)


def read(root: Place, absolute: Path) -> tuple[model.Config, Shown]:
    """
    @param absolute: the file.
    @raise Broken: complaints have been made.
    """
    try:
        fields = root.fields(FILE)
    except Unfit as error:
        root.complain(str(error))
        raise Broken from None
    log: model.Log = fields.get("log", model.Log())
    found: tuple[model.Listener, ...] = ()
    if "listeners" in fields.values:
        found = _listeners(fields, fields.values["listeners"], log)
    config = fields.build(model.Config, path=absolute, listeners=found, warnings=tuple(root.context.warnings))
    return config, root.shown


def _listeners(fields: Fields, place: Place, log: model.Log) -> tuple[model.Listener, ...]:
    found: list[model.Listener] = []
    taken = _Taken()
    if "admin" in fields.values and fields.values["admin"] is not None:
        taken.claim("admin", fields.given["admin"], fields.values["admin"].listen)
    shown: dict[str, Shown] = {}
    for name, child in place.entries():
        try:
            values.listener_name(name)
        except Unfit as error:
            child.complain_of_key(f"found a listener of this name, {error}")
        try:
            listener = child.read(partial(listeners.listener, name=name, access_log=log.access))
        except Broken:
            fields.broken = True
            continue
        shown[name] = child.shown
        found.append(listener)
        if listener.enabled:
            taken.claim(child.path, child, listener.listen)
    place.shown = shown
    return tuple(found)


# --- one address, one listener ----------------------------------------------------------------------------

_LOOPBACKS = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class _Taken:
    """The addresses that are listened on; complains of the second that wants one."""

    def __init__(self) -> None:
        # By the port, or the whole text of what has none: who has it, in which line.
        self._by_port: dict[int | str, list[tuple[model.IPAddress | None, str, int]]] = {}

    def claim(self, owner: str, place: Place, addresses: tuple[model.ListenAddress, ...]) -> None:
        """
        @param place: of the map that has the key C{listen}.
        """
        at = dict(place.entries())["listen"]
        items = at.items()
        for address, item in zip(addresses, items, strict=True):
            for port, host in _occupied(address):
                others = self._by_port.setdefault(port, [])
                clash = next((other for other in others if _same(host, other[0])), None)
                others.append((host, owner, item.line))
                if clash is not None:
                    whose = "the same list" if clash[1] == owner else clash[1]
                    item.complain(
                        f"expected an address of its own; {whose} (line {clash[2]}) listens there too"
                    )
                    break


def _occupied(address: model.ListenAddress) -> Iterator[tuple[int | str, model.IPAddress | None]]:
    if isinstance(address, model.TcpAddress):
        if address.port:
            yield address.port, address.host
    elif isinstance(address, model.LocalhostAddress):
        if address.port:
            for host in _LOOPBACKS:
                yield address.port, host
    else:
        yield str(address), None


def _same(one: model.IPAddress | None, other: model.IPAddress | None) -> bool:
    """Whether both cannot be bound at once: equal, or one of them is every address of that family."""
    if one is None or other is None:
        return True
    return one.version == other.version and (one == other or one.is_unspecified or other.is_unspecified)
