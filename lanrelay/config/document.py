"""Reads the top level of the file, and checks what concerns several listeners."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Literal

from lanrelay.config import expand, guard, hosts, listeners, model, values
from lanrelay.config.complaints import excerpt
from lanrelay.config.control import default_paths
from lanrelay.config.loops import complain_of_loops
from lanrelay.config.place import Broken, Context, Fields, Key, Place, Table
from lanrelay.config.readers import off_as, one, optional, path
from lanrelay.config.shapes import ANY_TEXT, takes
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
        "hosts": Key(guard.HOSTS, "none"),
    },
)


@takes(LOG)
def _log(place: Place) -> model.Log:
    fields = place.fields(LOG)
    if fields.get("rotate", None) is not None and fields.absent("file"):
        fields.complain("rotate", 'expected "file" to be set as well, for only that is rotated')
    return fields.build(model.Log)


@takes(ADMIN)
def _admin(place: Place) -> model.Admin:
    fields = place.fields(ADMIN)
    return fields.build(model.Admin, without=(), **listeners.clients_are_stated(fields))


@takes(ANY_TEXT)
def named_control(place: Place) -> model.Control:
    """The control socket where the file says it is."""

    def address(text: str) -> model.Control:
        if not text:
            raise Unfit("expected unix:PATH or off")
        path = hosts.unix_path(text.removeprefix("unix:"), place.context.path)
        return model.Control(paths=(path,), named=True)

    found = one(address)(place)
    if not place.expanded:
        place.shows = lambda: expand.escape(f"unix:{found.paths[0]}")
    return found


def _here(place: Place) -> Place:
    """Listeners are read last, for C{log.access} is their default."""
    if not place.entries():
        raise Unfit("expected at least one listener, as NAME: and its keys")
    return place


FILE = Table(
    "file",
    {
        "log": Key(_log, LOG),
        "admin": Key(optional(_admin)),
        "control": Key(optional(named_control)),
        "listeners": Key(_here, required=True),
    },
)


def read(root: Place, absolute: Path) -> model.Config:
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
    _one_listener_each(root.context)
    context = root.context
    control = fields.get("control")
    if "control" not in fields.given:
        control = model.Control(paths=default_paths(absolute, environment=context.environment))
    return fields.build(
        model.Config,
        path=absolute,
        listeners=found,
        control=control,
        warnings=tuple(context.warnings),
        included=context.included,
    )


def _listeners(fields: Fields, place: Place, log: model.Log) -> tuple[model.Listener, ...]:
    found: list[tuple[model.Listener, Place]] = []
    named: dict[str, Place] = {}
    empty = ""
    for name, child in place.entries():
        if child.is_nothing():
            empty = name
        elif empty and name in listeners.every_key():
            child.complain_of_key(
                f"found a key beside the listener {excerpt(empty)}, which has none: this is indentation; "
                "expected it further to the right, if it belongs to that listener"
            )
            fields.broken = True
            continue
        try:
            values.listener_name(name)
        except Unfit as error:
            child.complain_of_key(f"found a listener of this name, {error}")
        place.context.note_line(child)
        try:
            read = child.read(partial(listeners.listener, name=name, access_log=log.access))
            found.append((read, child))
        except Broken:
            fields.broken = True
        named[name] = child
    place.shows = lambda: {name: child.shown for name, child in named.items()}
    complain_of_loops(found)
    return tuple(listener for listener, _ in found)


# --- one address, one listener ----------------------------------------------------------------------------

_LOOPBACKS = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_EVERY = (IPv4Address(0), IPv6Address(0))


def _one_listener_each(context: Context) -> None:
    """Complain of each address that something before it listens on already."""
    # By the port and family, or by the whole text of what has none: the host, and who listens there.
    taken: dict[tuple[int, int] | str, dict[model.IPAddress | None, Place]] = {}
    for place, addresses in sorted(context.listening, key=lambda entry: entry[0].line):
        for address, item in zip(addresses, place.items(), strict=True):
            clashes = []
            for port, host in _occupied(address):
                others = taken.setdefault(port, {})
                clashes.append(_first_clash(others, host))
                others.setdefault(host, item)
            first = next(filter(None, clashes), None)
            if first is not None:
                item.complain(
                    f"expected an address of its own; {first.path} (line {first.line}) listens there too"
                )


def _first_clash(others: dict[model.IPAddress | None, Place], host: model.IPAddress | None) -> Place | None:
    """Who listens where C{host} cannot be bound any more: there, or on every address of the family."""
    if host is not None and host.is_unspecified:
        return next(iter(others.values()), None)
    return others.get(host) or next((others[every] for every in _EVERY if every in others), None)


def _occupied(address: model.ListenAddress) -> Iterator[tuple[tuple[int, int] | str, model.IPAddress | None]]:
    if isinstance(address, (model.TcpAddress, model.LocalhostAddress)):
        if address.port == 0:
            return  # any that is free
        hosts_ = _LOOPBACKS if isinstance(address, model.LocalhostAddress) else (address.host,)
        for host in hosts_:
            yield (address.port, host.version), host
    else:
        yield str(address), None
