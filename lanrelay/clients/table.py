"""
The clients: a row for each, with where its files are and how an entry in them looks.

C{APP} in a path is the folder of the users' programs' settings (C{~/Library/Application Support}, or
C{${XDG_CONFIG_HOME:-~/.config}}); C{${NAME:-else}} is a variable of the environment; C{*} stands for any
name. A path that begins with none of these and not with C{~} or C{/} is looked for in the working folder and
above it, up to the root of the repository.
"""

from __future__ import annotations

from lanrelay.clients.agents import AGENTS
from lanrelay.clients.apps import APPS
from lanrelay.clients.editors import EDITORS
from lanrelay.clients.row import CODE, SERVERS, Client

CLIENTS: tuple[Client, ...] = (*APPS, *AGENTS, *EDITORS)

OTHER = Client(
    "file",
    "the client",
    (),
    "have the client read the file",
    form="",
    holders=(
        SERVERS,
        *CODE,
        ("context_servers",),
        ("mcp_servers",),
        ("extensions",),
        ("mcp",),
        ("amp.mcpServers",),
    ),
    urls=("url", "serverUrl", "httpUrl", "uri", "baseUrl"),
)
"""A file that was named, of a client that was not."""


def named(name: str) -> Client | None:
    """The row of this name."""
    return next((client for client in CLIENTS if client.name == name), None)
