"""Clients' files for tests: public examples, with names and tokens replaced, and what they become."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lanrelay.clients.finding import Finding, judged
from lanrelay.clients.places import Found, Read, of_content
from lanrelay.clients.row import Scope
from lanrelay.clients.servers import servers
from lanrelay.clients.table import named

FILES = Path(__file__).parent / "files"

OWNERS = {
    "17": "claude-code",
    "19": "vscode",
    "20": "vscode",
    "21": "windsurf",
    "23": "cline",
    "25": "continue",
    "26": "lmstudio",
    "27": "gemini",
    "28": "codex",
    "29": "goose",
    "31": "kiro",
    "32": "librechat",
    "33": "anythingllm",
    "35": "copilot",
    "40": "zed",
    "41": "opencode",
    "42": "hermes",
    "43": "vibe",
    "44": "qwen",
    "45": "amp",
    "46": "mcporter",
    "47": "jan",
    "48": "claude-code",
    "49": "antigravity",
}
"""By the number of the file; all others are Claude Desktop's."""

IN_CONTAINERS = ("20", "32")


def resolve(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The only name that leads to the LAN."""
    known = {"graylog.internal.example.net": ("10.9.9.9",)}
    return {name: known[name] for name in names if name in known}


def found(path: Path, client: str = "", scope: Scope = "user") -> Found:
    """The file as one of a client."""
    row = named(client or OWNERS.get(path.name[:2], "claude-desktop"))
    assert row is not None
    wanted = "container" if path.name[:2] in IN_CONTAINERS else scope
    files = next(files for files in row.files if files.scope == wanted)
    return Found(row, files, path)


def read(path: Path, client: str = "") -> Read:
    """
    The file, read.

    @raise Broken: it is not in its format.
    """
    return of_content(found(path, client), path.read_bytes())


def findings(read: Read, *, npx: bool = True) -> list[Finding]:
    """What is found in it, where the relay has one listener."""
    return judged(servers(read), relays={27101: "nine"}, resolve=resolve, npx=npx)
