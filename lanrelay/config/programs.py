"""Reads an C{exec}: a program for each connection, or behind MCP over HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from lanrelay.config import expand, guard, model, nodes, values
from lanrelay.config.listeners import FROM_ZERO, LISTENER, TIMEOUTS, Reader
from lanrelay.config.place import Fields, Key, Place, Shown, Table, as_it_is
from lanrelay.config.readers import many, named, off_as, one, path
from lanrelay.config.shapes import ANY_TEXT, MapOf, takes
from lanrelay.config.values import Unfit


@takes(many(one(values.argument)))
def _command(place: Place) -> tuple[str, ...]:
    if place.is_scalar():
        place.mask = _program_alone
    command = many(one(values.argument))(place)
    if not command[0]:
        raise Unfit("expected a program")
    if place.is_scalar() and any(letter.isspace() for letter in command[0]):
        raise Unfit(
            "expected a list, program and arguments one by one, as in [npx, server]; there is no shell"
        )
    return command


@takes(MapOf(ANY_TEXT))
def _variables(place: Place) -> dict[str, str]:
    """Variables by name; what looks like a credential is not shown."""
    for word, child in place.entries():
        child.mask = expand.mask if expand.is_secret_name(word) else as_it_is
    return named(values.variable_name, one(values.argument))(place)


def _program_alone(text: str) -> str:
    """Of a command line in one piece: its arguments may be secret."""
    words = text.split(None, 1)
    return text if len(words) < 2 else f"{words[0]} {expand.HIDDEN}"


def _shown_command(written: Shown) -> Shown:
    """As it stands in the file, without what its arguments call a credential."""
    if isinstance(written, str) or not isinstance(written, Sequence):
        return written
    shown: list[Shown] = []
    names_secret = False  # the argument before it names one
    for word in written:
        text = str(word)
        shown.append(expand.mask(text) if names_secret else _shown_argument(text))
        names_secret = text.startswith("-") and "=" not in text and expand.is_secret_name(text)
    return shown


def _shown_argument(word: str) -> str:
    """C{--token=...}, C{Authorization: ...} and a URL with a password have theirs masked."""
    found = _NAMED_VALUE.fullmatch(word)
    if found is not None and expand.is_secret_name(found["name"]):
        return found["name"] + found["sign"] + expand.mask(found["value"])
    return expand.mask_url(word) if "://" in word else word


_NAMED_VALUE = re.compile(r"(?P<name>[\w.-]+)(?P<sign>=|:\s*)(?P<value>.*)", re.DOTALL)

_PROTOCOLS: tuple[Literal["raw", "mcp-http"], ...] = ("raw", "mcp-http")

TABLE = Table(
    "exec",
    {
        "command": Key(_command, required=True),
        "cwd": Key(path, "."),
        "env": Key(off_as({}, _variables), {}, mask=expand.mask),
        "protocol": Key(one(values.choice(_PROTOCOLS)), "raw"),
        "shared": Key(one(values.boolean), "false"),
        "hosts": Key(guard.HOSTS, "none"),
        "origins": Key(guard.ORIGINS, "none"),
        "max_processes": Key(one(values.number(1, 10_000)), "8"),
        "stop_timeout": Key(FROM_ZERO, "2s"),
    },
    extends=LISTENER,
)


def _build(fields: Fields, more: dict[str, object]) -> model.Listener:
    folder: Path = fields.place.context.folder
    if "cwd" not in fields.given:
        fields.shows["cwd"] = lambda: expand.escape(str(folder))
    command = fields.given.get("command")
    if command is not None:
        fields.shows["command"] = lambda: _shown_command(command.written())
    if fields.get("protocol", "raw") == "mcp-http":
        more = {**more, "timeouts": _idle_sessions(fields)}
    else:
        for word in ("hosts", "origins"):
            if fields.get(word, ()) != ():
                fields.complain(word, 'expected "protocol: mcp-http" beside it: raw has no such thing')
    guarded = model.BrowserGuard(hosts=fields.get("hosts", ()), origins=fields.get("origins", ()))
    more = {**more, "guard": guarded}
    if fields.get("shared", False) and fields.get("protocol", "raw") != "mcp-http":
        fields.complain("shared", 'expected "protocol: mcp-http" beside it: a connection cannot be shared')
    return fields.build(
        model.Exec, without=("type", "hosts", "origins"), **{"cwd": fields.get("cwd", folder), **more}
    )


IDLE_SESSION = 1800.0
"""Seconds: the default of C{timeouts.tunnel} for MCP's sessions."""
IDLE_SESSION_SHOWN = "30m"


def _idle_sessions(fields: Fields) -> model.Timeouts:
    timeouts: model.Timeouts = fields.get("timeouts", model.TIMEOUTS)
    given = fields.given.get("timeouts")
    node = given.node if given is not None else None
    if isinstance(node, nodes.Mapping) and any(key.text == "tunnel" for key, _ in node.entries):
        return timeouts

    def shown() -> Shown:
        of_file = given.shown if given is not None else {}
        assert isinstance(of_file, Mapping)
        defaults = TIMEOUTS.defaults()
        assert isinstance(defaults, Mapping)
        return {**defaults, **of_file, "tunnel": IDLE_SESSION_SHOWN}

    fields.shows["timeouts"] = shown
    return timeouts._replace(tunnel=IDLE_SESSION)


READER = Reader(TABLE, _build)
