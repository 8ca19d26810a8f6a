"""What a row of the table of clients says."""

from __future__ import annotations

from typing import Literal, NamedTuple

Scope = Literal["user", "project", "local", "profile", "managed", "container"]
Transport = Literal["stdio", "http", "sse"]

ANY = "*"
"""In the path to the servers: any key."""

SERVERS = ("mcpServers",)
CODE = (("servers",),)


class Files(NamedTuple):
    """
    Files of a client.

    @ivar systems: C{sys.platform}s on which it is looked for.
    @ivar form: the format, where it is not the client's usual one.
    @ivar holders: ways to the servers, where they are not the client's usual ones.
    @ivar kept: the client keeps the file in memory and writes it back, so it must not run meanwhile.
    @ivar synced: the client carries the file to other machines.
    """

    scope: Scope
    path: str
    systems: tuple[str, ...] = ("darwin", "linux")
    form: str = ""
    holders: tuple[tuple[str, ...], ...] = ()
    kept: bool = False
    synced: bool = False


class Native(NamedTuple):
    """
    How an entry looks that has a URL in place of a program.

    @ivar url: its key; C{sse_url} that of a server with SSE, where it is another.
    @ivar type: the key for the type; empty where there is none.
    @ivar http: the word of the type for Streamable HTTP, and C{sse} that for SSE; C{None} for none at all.
    @ivar keeps_environment: such an entry has variables, too.
    """

    url: str = "url"
    type: str = ""
    http: str = ""
    sse: str | None = ""
    sse_url: str = ""
    keeps_environment: bool = False


class Client(NamedTuple):
    """
    A row.

    @ivar form: C{json}, C{jsonc}, C{toml} or C{yaml}.
    @ivar holders: ways from the root of a file to its servers: a map by name, or a list of maps with C{name}.
    @ivar urls: keys under which an entry has its URL; the first that is there counts for the client.
    @ivar takes: what an entry may be; a URL that the client cannot use is none of them.
    @ivar native: an entry with a URL; C{None} where that is not known, or where there is none.
    @ivar untyped: what a URL without a type means.
    @ivar typed: it refuses a URL without a type.
    @ivar dead: words for a type that the client no longer knows.
    @ivar environment: the key of the program's environment.
    @ivar headers: the way to the header fields.
    @ivar locked: a folder C{FILE.lock} is made by whoever writes the file.
    @ivar json5: it reads more than JSON with comments, which is no mistake then, but is not edited.
    @ivar processes: names of the program while it runs.
    @ivar restart: what to do so that it reads the file.
    """

    name: str
    called: str
    files: tuple[Files, ...]
    restart: str
    form: str = "json"
    holders: tuple[tuple[str, ...], ...] = (SERVERS,)
    urls: tuple[str, ...] = ("url",)
    takes: tuple[Transport, ...] = ("stdio", "http", "sse")
    native: Native | None = None
    untyped: Transport = "http"
    typed: bool = False
    dead: tuple[str, ...] = ()
    command: str = "command"
    environment: str = "env"
    headers: tuple[str, ...] = ("headers",)
    locked: bool = False
    json5: bool = False
    processes: tuple[str, ...] = ()
