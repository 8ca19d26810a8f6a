"""The servers in a client's file, whatever its keys are called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from lanrelay.clients.places import Read
from lanrelay.clients.row import ANY, Client, Scope, Transport
from lanrelay.clients.table import OTHER
from lanrelay.edit.formats.tree import Items, Node, Path, Scalar, Table, at, text_of

_TYPES: dict[str, Transport] = {
    **dict.fromkeys(("stdio", "local", "command"), "stdio"),
    **dict.fromkeys(
        ("http", "https", "streamable-http", "streamablehttp", "streamable_http", "streamable", "remote"),
        "http",
    ),
    "sse": "sse",
}


class Word(NamedTuple):
    """A text of the entry, and where it stands."""

    text: str
    path: Path


class Server(NamedTuple):
    """
    One entry.

    @ivar path: the way to it from the root of the file.
    @ivar words: command and arguments.
    @ivar urls: in the order in which the client heeds them.
    @ivar unread: a URL under a key that the client does not heed, where it has nothing else.
    @ivar type: as it is written; empty for none.
    @ivar environment: only what is text; C{environment_path} is C{None} where the entry has none.
    """

    read: Read
    name: str
    scope: Scope
    path: Path
    table: Table
    words: tuple[Word, ...]
    urls: tuple[Word, ...]
    unread: Word | None
    type: str
    environment: Mapping[str, str]
    environment_path: Path | None
    headers: Mapping[str, str]
    headers_path: Path | None

    @property
    def client(self) -> Client:
        """Whose it is."""
        return self.read.found.client

    @property
    def transport(self) -> Transport | None:
        """How the client talks to it; C{None} for a way that nobody knows."""
        if self.words or not self.urls:
            return "stdio"
        if self.type:
            return _TYPES.get(self.type.lower())
        if self.urls[0].path[-1] == "httpUrl":
            return "http"
        return self.client.untyped

    @property
    def keeps_empty_maps(self) -> bool:
        """Whether a map without keys can be written where one with keys was."""
        return self.read.found.format.name != "yaml"

    @property
    def disabled(self) -> bool:
        """The client has it switched off."""
        return self.flag("disabled") is True or self.flag("enabled") is False or self.flag("active") is False

    def flag(self, key: str) -> bool | None:
        """The truth value of a key of the entry."""
        node = self.table.get(key)
        return node.value if isinstance(node, Scalar) and isinstance(node.value, bool) else None


def servers(read: Read) -> Iterator[Server]:
    """All entries of a file, in its order."""
    seen: set[Path] = set()
    for holder in read.found.holders:
        for path, node in _below(read.root, holder, ()):
            for name, where, entry in _entries(node, path):
                if where not in seen:
                    seen.add(where)
                    local = ANY in holder and read.found.files.scope == "user"
                    yield _server(read, name, "local" if local else read.found.files.scope, where, entry)


def _below(node: Node, steps: tuple[str, ...], path: Path) -> Iterator[tuple[Path, Node]]:
    if not steps:
        yield path, node
    elif isinstance(node, Table):
        for entry in node.entries:
            if steps[0] in (entry.key, ANY) and node.entry(entry.key) is entry:
                yield from _below(entry.value, steps[1:], (*path, entry.key))


def _entries(node: Node, path: Path) -> Iterator[tuple[str, Path, Table]]:
    if isinstance(node, Table):
        for entry in node.entries:
            if isinstance(entry.value, Table) and node.entry(entry.key) is entry:
                yield entry.key, (*path, entry.key), entry.value
    elif isinstance(node, Items):
        for number, item in enumerate(node.items):
            if isinstance(item, Table):
                yield text_of(item.get("name")) or str(number + 1), (*path, number), item


def _server(read: Read, name: str, scope: Scope, path: Path, entry: Table) -> Server:
    client = read.found.client
    remote, remote_path = entry, path
    transport = entry.get("transport")
    if isinstance(transport, Table):
        remote, remote_path = transport, (*path, "transport")
    urls = tuple(
        Word(text, (*remote_path, key))
        for key in client.urls
        if (text := text_of(remote.get(key))) is not None
    )
    program, program_path = entry, path
    old = entry.get(client.command)
    if isinstance(old, Table):  # very old files of Zed
        program, program_path = old, (*path, client.command)
    environment_path: Path | None = (*program_path, client.environment)
    environment = at(program, (client.environment,))
    if not isinstance(environment, Table):
        environment_path, environment = None, Table(0, 0)
    headers_path: Path | None = (*remote_path, *client.headers)
    headers = at(remote, client.headers)
    if not isinstance(headers, Table):
        headers_path, headers = None, Table(0, 0)
    words = tuple(_words(program, program_path, "path" if program is not entry else client.command))
    kinds = (remote.get(key) for key in ("type", "transport", "transportType"))
    return Server(
        read=read,
        name=name,
        scope=scope,
        path=path,
        table=entry,
        words=words,
        urls=urls,
        unread=None if urls or words else _first(remote, remote_path, OTHER.urls),
        type=next((text for kind in kinds if (text := text_of(kind)) is not None), ""),
        environment=texts(environment),
        environment_path=environment_path,
        headers=texts(headers),
        headers_path=headers_path,
    )


def _first(table: Table, path: Path, keys: Sequence[str]) -> Word | None:
    found = ((key, text_of(table.get(key))) for key in keys)
    return next((Word(text, (*path, key)) for key, text in found if text), None)


def texts(table: Table) -> dict[str, str]:
    """What of a map is text."""
    return {
        entry.key: entry.value.value
        for entry in table.entries
        if isinstance(entry.value, Scalar) and isinstance(entry.value.value, str)
    }


def _words(entry: Table, path: Path, command: str) -> Iterator[Word]:
    for key in (command, "args"):
        node = entry.get(key)
        if isinstance(node, Items):
            for number, item in enumerate(node.items):
                text = text_of(item)
                # To the client a value that is no text is a word, too, so the words behind it keep their
                # places.
                yield Word("" if text is None else text, (*path, key, number))
        elif (text := text_of(node)) is not None and text:
            yield Word(text, (*path, key))
