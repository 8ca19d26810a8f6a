"""All that the clients on this machine have, in one look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lanrelay.clients import judge
from lanrelay.clients.finding import Finding, Reason, judged
from lanrelay.clients.judge import Resolve
from lanrelay.clients.places import Found, Read, read
from lanrelay.clients.servers import Server, servers
from lanrelay.edit.formats.tree import Broken, Foreign


class BrokenFile(NamedTuple):
    """
    A file that could not be read.

    @ivar said: with the line and the column.
    @ivar reason: C{not_understood} for one that is right, in a dialect that is not edited here.
    """

    found: Found
    said: str
    reason: Reason = "file_broken"


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
            foreign = isinstance(error, Foreign) and file.client.json5
            broken.append(BrokenFile(file, str(error), "not_understood" if foreign else "file_broken"))
        except OSError as error:
            broken.append(BrokenFile(file, f"it cannot be read: {error.strerror}"))
    return Survey(tuple(judged(found, relays=relays, resolve=resolve, npx=npx)), tuple(broken))


def entries(file: Read) -> list[Server]:
    """The servers of a file."""
    return list(servers(file))
