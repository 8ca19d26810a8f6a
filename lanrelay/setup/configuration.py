"""
The relay's configuration, changed by range: every byte that a change does not concern stays.

Every function turns text into text, and reads the result anew: it must say what it said, with the change and
nothing else. Before the file is written, L{checked} says whether it is right as a whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lanrelay.config import model
from lanrelay.config.kinds import kind_of
from lanrelay.edit.formats import commas
from lanrelay.edit.formats.edit import FORMATS, Remove, apply, decode
from lanrelay.edit.formats.tree import (
    Broken,
    NotEdited,
    Splice,
    Table,
    at,
    line_end,
    line_start,
    newline,
    plain,
    splice,
)
from lanrelay.edit.formats.yaml_text import end_of, written

FIRST_PORT, LAST_PORT = 28100, 28999
"""Ports of listeners that are added: the same origin gets the same one on all of a person's machines."""

_YAML = FORMATS["yaml"]


class Serving(NamedTuple):
    """A listener that leads to an origin as it is."""

    name: str
    port: int


def port_for(origin: str, taken: Container[int]) -> int:
    """
    The port of an origin's listener.

    @param origin: C{https://nas.lan}, C{tcp://nas.lan:5432}: with the port only where it is not the scheme's.
    @param taken: ports that cannot be had.
    @raise NotEdited: all are taken.
    """
    count = LAST_PORT - FIRST_PORT + 1
    first = int.from_bytes(hashlib.sha256(origin.lower().encode()).digest()[:8], "big") % count
    for step in range(count):
        port = FIRST_PORT + (first + step) % count
        if port not in taken:
            return port
    raise NotEdited(f"no port from {FIRST_PORT} to {LAST_PORT} is free")


def name_for(host: str, taken: Container[str]) -> str:
    """A listener's name from a host: C{nas} of C{nas.lan}; with a number where that is taken."""
    literal = ":" in host or re.fullmatch(r"[0-9.]+", host) is not None
    stem = host if literal else host.partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:56] or "listener"
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def ports_of(config: model.Config) -> set[int]:
    """The TCP ports that a configuration has."""
    addresses = [address for listener in config.listeners for address in listener.listen]
    if config.admin is not None:
        addresses += config.admin.listen
    return {
        address.port
        for address in addresses
        if isinstance(address, (model.TcpAddress, model.LocalhostAddress))
    }


def serving(config: model.Config, origin: str) -> Serving | None:
    """The listener on loopback that leads to an origin, whatever the path."""
    for listener in config.listeners:
        routes = kind_of(listener).routes(listener)
        if not routes or not listener.enabled or listener.tls is not None:
            continue
        [route, *others] = routes
        urls = {str(member.url) for member in route.upstreams.members}
        if others or route.path != "/" or route.strip_prefix or urls != {origin}:
            continue
        for address in listener.listen:
            if isinstance(address, (model.LocalhostAddress, model.TcpAddress)) and not address.port:
                continue  # one that only the log tells
            if isinstance(address, model.LocalhostAddress) or (
                isinstance(address, model.TcpAddress) and str(address.host) in ("127.0.0.1", "0.0.0.0")
            ):
                return Serving(listener.name, address.port)
    return None


def add_listener(text: str, name: str, body: Mapping[str, Any]) -> str:
    """
    The text with a listener more, at the end of C{listeners}.

    @param text: may be empty, as that of a file that is not there yet.
    @param body: its keys, with texts, lists and maps.
    @raise Broken: the text is no YAML.
    @raise NotEdited: there is a listener of this name, or C{listeners} is nothing that a key can be added to.
    """
    root = _YAML.parse(text)
    if not isinstance(root, Table):
        raise NotEdited("the file is no map")
    entry = root.entry("listeners")
    end = newline(text) if "\n" in text else "\n"
    if entry is None:
        before = text if not text or text.endswith("\n") else text + end
        if before:
            before += end
        after = before + end.join(["listeners:", *_block(name, body, 2), ""])
    else:
        holder = entry.value
        if not isinstance(holder, Table):
            raise NotEdited('"listeners" is no map')
        if holder.get(name) is not None:
            raise NotEdited(f'there is a listener "{name}" already')
        if holder.block and holder.entries:
            indent = holder.entries[0].start - line_start(text, holder.entries[0].start)
            behind = line_end(text, end_of(text, holder))
            # Comments of the last listener stand further right than its name.
            comment = re.compile(rf"\r?\n {{{indent + 1},}}#[^\r\n]*")
            while found := comment.match(text, behind):
                behind = found.end()
            gap = end if len(holder.entries) > 1 and _is_parted(text, holder) else ""
            added = end + gap + end.join(_block(name, body, indent))
            after = splice(text, [Splice(behind, behind, added)])
        else:
            ranges = [(each.start, each.value.end) for each in holder.entries]
            new = f"{name}: {written(body)}"
            after = splice(text, commas.append(text, holder, ranges, new))
    expected = plain(root)
    expected.setdefault("listeners", {})[name] = _as_read(body)
    _judge(after, expected)
    return after


def remove_listener(text: str, name: str) -> str:
    """
    The text without a listener, and its own lines.

    @raise Broken: the text is no YAML.
    @raise NotEdited: it is not there, or is the only one.
    """
    holder = at(_YAML.parse(text), ("listeners",))
    after = apply(_YAML, text, [Remove(("listeners", name))])
    entry = holder.entry(name) if isinstance(holder, Table) and holder.block else None
    if entry is None:
        return after
    if not text.endswith("\n"):
        return after.removesuffix("\n").removesuffix("\r")  # of an empty line before it
    # The empty line that parted it from the one above goes too, where nothing of the listeners follows.
    start = line_start(text, entry.start)
    above = line_start(after, start - 1) if start else 0
    follows = after[start:].split("\n", 1)[0]
    if start and not after[above:start].strip() and (not follows.strip() or not follows.startswith(" ")):
        return after[:above] + after[start:]
    return after


def checked(path: Path, content: bytes) -> model.Config:
    """
    The configuration that a file with this content would be.

    @raise ConfigErrors: it would be wrong.
    """
    from lanrelay.config.load import load

    return load(path, content=content)


def text_of(content: bytes | None) -> tuple[str, bytes]:
    """
    The text of a file, and the mark before it.

    @raise Broken: it is no UTF-8.
    """
    return decode(content or b"")


def _is_parted(text: str, holder: Table) -> bool:
    """Whether there is an empty line before the last key and its comments."""
    above = text[: line_start(text, holder.entries[-1].start)].split("\n")[:-1]
    while above and above[-1].lstrip().startswith("#"):
        above.pop()
    return bool(above) and not above[-1].strip()


def _judge(after: str, expected: object) -> None:
    try:
        found = plain(_YAML.parse(after))
    except Broken as error:
        raise NotEdited(f"the changed text would be wrong ({error})") from None
    if found != expected:
        raise NotEdited("the changed text would mean something else")


def _block(key: str, value: Any, indent: int) -> Iterable[str]:
    """Lines of a key with its value; a map that has only texts stays on lines of its own."""
    head = " " * indent + written(key) + ":"
    if isinstance(value, Mapping):
        yield head
        for inner, each in value.items():
            yield from _block(inner, each, indent + 2)
    else:
        yield f"{head} {written(value)}"


def _as_read(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_read(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_read(each) for each in value]
    return value
