"""What the commands for clients' files look at: the files, and the relay's listeners."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lanrelay.cli.home import home
from lanrelay.cli.options import add_config
from lanrelay.clients.places import Found, find, given
from lanrelay.clients.survey import Survey, survey
from lanrelay.clients.table import CLIENTS, named

if TYPE_CHECKING:
    from lanrelay.cli.conversation import Conversation
    from lanrelay.config.model import Config


class Listeners(NamedTuple):
    """
    The relay's ports on loopback.

    @ivar file: the configuration; C{None} where there is none, or where it is not right.
    @ivar relays: the listener of each port that leads to one place.
    @ivar proxies: those of forward proxies.
    """

    file: Path | None
    relays: Mapping[int, str]
    proxies: Mapping[int, str]


def options(parser: argparse.ArgumentParser) -> None:
    """Which files and which entries."""
    names = ", ".join(client.name for client in CLIENTS)
    parser.add_argument(
        "--client",
        metavar="NAME",
        action="extend",
        nargs="+",
        default=[],
        help=f"only this client's files: {names}",
    )
    parser.add_argument(
        "--server",
        metavar="NAME",
        action="extend",
        nargs="+",
        default=[],
        help="only the servers of this name",
    )
    parser.add_argument("--file", metavar="PATH", type=Path, help="this file, wherever it is")
    parser.add_argument("--format", metavar="NAME", help="with --file: the client whose file it is")
    add_config(parser)


def wrong_usage(chosen: argparse.Namespace) -> str:
    """What is wrong with the options; empty for nothing."""
    unknown = unknown_client([*chosen.client, *([chosen.format] if chosen.format else [])])
    if unknown:
        return unknown
    if chosen.format and chosen.file is None:
        return "--format goes with --file"
    return ""


def unknown_client(names: Sequence[str]) -> str:
    """What is wrong with names of clients; empty for nothing."""
    for name in names:
        if named(name) is None:
            known = ", ".join(client.name for client in CLIENTS)
            return f'found the client "{name}", expected one of: {known}'
    return ""


def files(chosen: argparse.Namespace) -> list[Found]:
    """
    The clients' files that are there, as far as they were asked for.

    @raise FileNotFoundError: a file was named that is not there.
    """
    if chosen.file is not None:
        if not chosen.file.is_file():
            raise FileNotFoundError(f"There is no file {chosen.file}.")
        client = chosen.format or (chosen.client[0] if len(chosen.client) == 1 else None)
        path = Path(os.path.abspath(chosen.file))
        # A client's own file is that, however it was named: it may have to be quit.
        known = [
            each for each in find(folder=Path.cwd()) if os.path.realpath(each.path) == os.path.realpath(path)
        ]
        known = [each for each in known if client is None or each.client.name == client]
        return known or [given(path, named(client) if client else None)]
    wanted = [client for client in CLIENTS if not chosen.client or client.name in chosen.client]
    return find(folder=Path.cwd(), clients=wanted)


def look(chosen: argparse.Namespace, listeners: Listeners, talk: Conversation) -> Survey:
    """
    Read the files and judge their entries.

    @raise FileNotFoundError: as L{files}.
    """
    found = files(chosen)
    with talk.waiting("looking up names"):
        seen = survey(found, relays=listeners.relays, npx=shutil.which("npx") is not None)
    if chosen.server:
        seen = seen._replace(
            findings=tuple(each for each in seen.findings if each.server.name in chosen.server)
        )
    return seen


def listeners(chosen: Path | None, talk: Conversation) -> Listeners:
    """The relay's listeners; none, and a complaint, for a configuration that is not right."""
    from lanrelay.config.default_path import NotFound
    from lanrelay.config.default_path import find as find_file

    try:
        file = find_file(chosen)
    except NotFound as error:
        if os.environ.get("LANRELAY_CONFIG"):
            talk.complain(str(error))
        return Listeners(None, {}, {})
    from lanrelay.config.load import ConfigErrors, load

    if chosen is None:
        talk.tell(f"The relay's configuration is {home(file)}.")
    try:
        return of_config(load(file))
    except ConfigErrors as error:
        talk.complain(f"{file} is not right, so what leads to the relay is not known:\n{error}")
        return Listeners(None, {}, {})


def of_config(config: Config) -> Listeners:
    """The ports of a configuration."""
    from lanrelay.config import model
    from lanrelay.config.kinds import kind_of

    relays: dict[int, str] = {}
    proxies: dict[int, str] = {}
    for listener in config.listeners:
        if not listener.enabled:
            continue
        ports = proxies if kind_of(listener).proxy else relays
        for address in listener.listen:
            if isinstance(address, model.LocalhostAddress) or (
                isinstance(address, model.TcpAddress)
                and (address.host.is_loopback or address.host.is_unspecified)
            ):
                ports[address.port] = listener.name
    return Listeners(config.path, relays, proxies)
