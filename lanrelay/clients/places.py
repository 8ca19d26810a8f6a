"""Finds the clients' files that are there, and reads them."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lanrelay.clients.row import Client, Files
from lanrelay.clients.table import CLIENTS, OTHER
from lanrelay.edit.formats.edit import FORMATS, Format, decode
from lanrelay.edit.formats.tree import Broken, Node, Table

LARGEST = 32 * 1024 * 1024
"""Bytes. Claude Code's file grows to some megabytes with its history of projects."""


class Found(NamedTuple):
    """
    A file of a client.

    @ivar path: as the client names it; it may be a symbolic link.
    """

    client: Client
    files: Files
    path: Path

    @property
    def format(self) -> Format:
        """The file's format."""
        name = self.files.form or self.client.form
        if self.path.suffix == ".jsonc":
            name = "jsonc"
        return FORMATS[name or _by_suffix(self.path)]

    @property
    def holders(self) -> tuple[tuple[str, ...], ...]:
        """Ways to the servers in it."""
        return self.files.holders or self.client.holders


class Read(NamedTuple):
    """A file's text, without the mark before it."""

    found: Found
    content: bytes
    text: str
    mark: bytes
    root: Node


def find(
    *,
    folder: Path,
    environment: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
    clients: Sequence[Client] = CLIENTS,
) -> list[Found]:
    """
    All files that are there, each once.

    @param folder: the working folder, for what belongs to a project.
    """
    found: dict[tuple[str, str], Found] = {}
    above = list(_above(folder))
    for client in clients:
        for files in client.files:
            if platform not in files.systems:
                continue
            for path in _paths(files, above, environment, platform):
                # Two builds of a client, or a link, may lead to one file; a client has it once.
                key = (client.name + repr(files.holders), os.path.realpath(path))
                found.setdefault(key, Found(client, files, path))
    return list(found.values())


def given(path: Path, client: Client | None) -> Found:
    """A file that was named on the command line, of this client if that is known."""
    if client is None:
        same = [
            (each, files)
            for each in CLIENTS
            for files in each.files
            if Path(files.path).name == path.name and path.name not in _USUAL
        ]
        client, files = same[0] if same else (OTHER, Files("user", ""))
        return Found(client, files._replace(scope="user", kept=False), path)
    files = next((each for each in client.files if Path(each.path).name == path.name), client.files[0])
    return Found(client, files._replace(scope="user", kept=False), path)


_USUAL = ("mcp.json", ".mcp.json", "settings.json", "config.toml", "config.yaml", "config.json")
"""Names that several clients use."""


def read(found: Found) -> Read:
    """
    @raise Broken: it is not in its format; then nothing of it is looked at.
    @raise OSError: it cannot be read.
    """
    with open(found.path, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise Broken(1, 1, f"found more than {LARGEST // (1024 * 1024)} MB")
    return of_content(found, content)


def of_content(found: Found, content: bytes) -> Read:
    """
    @raise Broken: as L{read}.
    """
    text, mark = decode(content)
    root = found.format.parse(text, found.holders)
    if not isinstance(root, Table):
        raise Broken(1, 1, "found no map at the top")
    return Read(found, content, text, mark, root)


_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def _paths(
    files: Files, above: Sequence[Path], environment: Mapping[str, str], platform: str
) -> Iterator[Path]:
    home = environment.get("HOME") or os.path.expanduser("~")

    def variable(match: re.Match[str]) -> str:
        return environment.get(match[1]) or match[2]

    text = files.path
    if text.startswith("APP/"):
        app = "~/Library/Application Support" if platform == "darwin" else "${XDG_CONFIG_HOME:-~/.config}"
        text = app + text[3:]
    text = _VARIABLE.sub(variable, text)
    if text.startswith("~/"):
        text = home + text[1:]
    bases = [Path("/")] if text.startswith("/") else above
    for base in bases:
        # What stands before the pattern is no pattern.
        if "*" in text:
            head, star, rest = text.partition("*")
            pattern = glob.escape(os.path.join(base, head)) + star + rest
            yield from (Path(name) for name in sorted(glob.glob(pattern)) if os.path.isfile(name))
        elif (base / text).is_file():
            yield base / text


def _above(folder: Path) -> Iterator[Path]:
    """The folder, and those above it up to the root of its repository."""
    yield folder
    inside = [each for each in (folder, *folder.parents) if (each / ".git").exists()]
    if inside:
        for each in folder.parents:
            if folder == inside[0] or each == inside[0].parent:
                return
            yield each


def _by_suffix(path: Path) -> str:
    return {".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}.get(path.suffix, "jsonc")
