"""All that the clients on this machine have, in one look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lanrelay.clients import judge
from lanrelay.clients.finding import Finding, judged
from lanrelay.clients.judge import Resolve
from lanrelay.clients.places import Found, Read, read
from lanrelay.clients.servers import Server, servers
from lanrelay.edit.formats.tree import Broken


class BrokenFile(NamedTuple):
    """A file that could not be read; C{said} has the line and the column."""

    found: Found
    said: str


class Survey(NamedTuple):
    """
    @ivar findings: in the order of the files, and in them of their entries.
    """

    findings: tuple[Finding, ...]
    broken: tuple[BrokenFile, ...]


def survey(
    files: Iterable[Found],
    *,
    relays: Mapping[int, str],
    resolve: Resolve = judge.resolve,
    npx: bool = True,
) -> Survey:
    """Read the files and judge what is in them."""
    found: list[Server] = []
    broken = []
    for file in files:
        try:
            found += entries(read(file))
        except Broken as error:
            broken.append(BrokenFile(file, str(error)))
        except OSError as error:
            broken.append(BrokenFile(file, f"it cannot be read: {error.strerror}"))
    return Survey(tuple(judged(found, relays=relays, resolve=resolve, npx=npx)), tuple(broken))


def entries(file: Read) -> list[Server]:
    """The servers of a file."""
    return list(servers(file))
