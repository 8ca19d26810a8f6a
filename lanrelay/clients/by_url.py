"""Has a client that can use a URL do so itself, in place of the bridge of an entry."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Literal

from lanrelay.clients import sent
from lanrelay.clients.finding import Finding
from lanrelay.clients.judge import is_variable
from lanrelay.clients.plan import LOOPBACK, Planned
from lanrelay.clients.servers import Server
from lanrelay.edit.formats.edit import Change, Insert, Remove, Set
from lanrelay.edit.formats.tree import NotEdited, text_of

_FILTERS = ("--ignore-tool", "--header-file")

# Keys that only an entry with a program has; some clients refuse one that has both.
_OF_PROGRAMS = ("cwd", "envFile", "env_vars", "sandboxEnabled", "sandbox", "dev", "working_directory")


def can(finding: Finding) -> bool:
    """Whether there is a bridge, and a client that does without one."""
    spelled = finding.spelling
    return spelled is not None and spelled.bridge is not None and finding.server.client.native is not None


def through_url(
    finding: Finding, ports: Mapping[str, int], *, without: Container[str] = ()
) -> tuple[Planned, Literal["http", "sse"]]:
    """
    Have the entry be one with a URL; and how the client will speak to it.

    @param ports: by origin.
    @param without: names of header fields in lower case that the listener sends.
    @raise NotEdited: the bridge does something that the client cannot.
    """
    server, native, spelled = finding.server, finding.server.client.native, finding.spelling
    assert native is not None
    assert spelled is not None
    if spelled.option(*_FILTERS) is not None:
        raise NotEdited("its bridge filters tools or reads headers from a file, which the client cannot")
    url = finding.targets[0].url
    speaks = sent.transport(finding) or ("sse" if url.path.rstrip("/").endswith("/sse") else "http")
    word = native.sse if speaks == "sse" else native.http
    if word is None:
        raise NotEdited(f"{server.client.called} cannot speak HTTP with SSE by itself")
    between = url.text[url.scheme_end : url.host_start]
    key = native.sse_url if speaks == "sse" and native.sse_url else native.url
    changes: list[Change] = [
        *_typed(server, native.type, word),
        Insert(server.path, key, f"http{between}{LOOPBACK}:{ports[url.origin]}{url.rest}"),
        *_headers(server, _fields(finding, without)),
    ]
    gone = [server.client.command, "args", *_OF_PROGRAMS]
    if not native.keeps_environment:
        gone.append(server.client.environment)
    changes += [Remove((*server.path, each)) for each in gone if server.table.get(each) is not None]
    return Planned(tuple(changes)), speaks


def _fields(finding: Finding, without: Container[str]) -> dict[str, str]:
    fields = {name: value for name, value in sent.headers(finding).items() if name.lower() not in without}
    for name, value in fields.items():
        if is_variable(value):
            raise NotEdited(f"the value of its field {name} is a variable of the bridge's")
    return fields


def _typed(server: Server, key: str, word: str) -> list[Change]:
    had = text_of(server.table.get("type"))
    if key and had is not None:
        return [Set((*server.path, "type"), 0, len(had), word)] if had != word else []
    if key:
        return [Insert(server.path, key, word)]
    return [Remove((*server.path, "type"))] if had is not None else []


def _headers(server: Server, fields: Mapping[str, str]) -> list[Change]:
    if not fields:
        return []
    first, *more = server.client.headers
    value: Mapping[str, object] = fields
    for key in reversed(more):
        value = {key: value}
    if server.table.get(first) is not None:
        raise NotEdited(f'there is a key "{first}" already')
    return [Insert(server.path, first, value)]
