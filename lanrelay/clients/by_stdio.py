"""Has a client start C{lanrelay stdio} instead of another bridge, or where it cannot use a URL."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence

from lanrelay.clients import sent
from lanrelay.clients.finding import Finding
from lanrelay.clients.plan import LOOPBACK, Planned, sandbox
from lanrelay.clients.servers import Server, Word
from lanrelay.edit.formats.edit import Append, Change, Insert, Remove, Set
from lanrelay.edit.formats.tree import Table, at

_BEARER = ("--bearer-token", "--oauth2Bearer")
_KEPT = ("--header-file", "--ignore-tool")


def through_stdio(
    finding: Finding, ports: Mapping[str, int], program: str, *, without: Container[str] = ()
) -> Planned:
    """
    Have an entry start this program, which leads to the listener of its origin.

    Header fields and tool filters become its options. Of the environment only the variables stay that they
    refer to.

    @param ports: by origin.
    @param program: the absolute path of C{lanrelay}.
    @param without: names of header fields in lower case that the listener sends.
    """
    server = finding.server
    url = finding.targets[0].url
    between = url.text[url.scheme_end : url.host_start]
    options = list(_options(finding, without))
    words = [program, "stdio", f"http{between}{LOOPBACK}:{ports[url.origin]}{url.rest}", *options]
    notes: list[str] = []
    changes = _in_place(server, words) if server.words else _anew(server, words)
    changes += _environment(server, options, notes)
    changes += sandbox(server, notes)
    return Planned(tuple(changes), tuple(notes))


def _options(finding: Finding, without: Container[str]) -> Iterator[str]:
    server, spelled = finding.server, finding.spelling
    speaks = sent.transport(finding)
    if speaks is not None:
        yield from ("--transport", speaks)
    fields: list[tuple[str, str]] = []
    if spelled is None or spelled.bridge is None:
        fields += server.headers.items()
    else:
        for option in spelled.options:
            if option.name in spelled.bridge.headers and option.values:
                fields.append(sent.field_of(option.values))
            elif option.name in _BEARER and option.values:
                fields.append(("Authorization", f"Bearer {option.values[0]}"))
            elif option.name in _KEPT and option.values:
                yield from (option.name, option.values[0])
        variable = spelled.bridge.variables[1]
        if server.environment.get(variable) and "authorization" not in {name.lower() for name, _ in fields}:
            fields.append(("Authorization", f"Bearer ${{{variable}}}"))
    for name, value in fields:
        if name.lower() not in without:
            yield from ("--header", f"{name}: {value}")


def _in_place(server: Server, words: Sequence[str]) -> list[Change]:
    """The words of the entry become these, each where the one before it stood."""
    first = server.words[0]
    changes: list[Change] = []
    had: Sequence[Word] = server.words
    if not isinstance(first.path[-1], int):
        changes += _become(first, words[0])
        had, words = server.words[1:], words[1:]
        if not had:
            holder = first.path[:-1]
            arguments = at(server.read.root, (*holder, "args"))
            if arguments is not None:  # an empty list
                return [*changes, *(Append((*holder, "args"), word) for word in words)]
            return [*changes, Insert(holder, "args", list(words))]
    for word, new in zip(had, words, strict=False):
        changes += _become(word, new)
    changes += [Remove(word.path) for word in reversed(had[len(words) :])]
    changes += [Append(had[0].path[:-1], new) for new in words[len(had) :]]
    return changes


def _become(word: Word, new: str) -> list[Change]:
    return [] if word.text == new else [Set(word.path, 0, len(word.text), new)]


def _anew(server: Server, words: Sequence[str]) -> list[Change]:
    """An entry with a URL that the client cannot use becomes one with a program."""
    changes: list[Change] = [
        Insert(server.path, server.client.command, words[0]),
        Insert(server.path, "args", list(words[1:])),
        *(Remove(word.path) for word in server.urls),
    ]
    changes += [
        Remove((*server.path, key)) for key in ("type", "transport") if server.table.get(key) is not None
    ]
    return changes if server.headers_path is None else [*changes, Remove(server.headers_path)]


def _environment(server: Server, options: Sequence[str], notes: list[str]) -> list[Change]:
    path = server.environment_path
    if path is None:
        return []
    meant = {name for option in options for name in re.findall(r"\$\{(\w+)\}", option)}
    node = at(server.read.root, path)
    assert isinstance(node, Table)
    names = list(dict.fromkeys(entry.key for entry in node.entries))
    gone = [name for name in names if name not in meant]
    if gone:
        notes.append(f"Of its environment {', '.join(gone)} went: nothing refers to that any more.")
    if gone == names and node.block and not server.keeps_empty_maps:
        return [Remove(path)]
    return [Remove((*path, name)) for name in gone]
