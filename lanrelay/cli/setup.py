"""C{lanrelay setup}: from "No route to host" to a tool call that works."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli import options
    from lanrelay.clients.table import CLIENTS
    from lanrelay.setup.modes import MODES

    made = options.parser(
        "setup",
        "Have the clients on this machine reach the servers of the LAN: find them, look at each, trust what "
        "has to be trusted, add listeners, start the service, change the clients' files, and make the call "
        "that each client will make. What is done already is skipped.",
        examples="""
            lanrelay setup                           all servers that clients' files name
            lanrelay setup https://nas.lan/mcp       this server
            lanrelay setup --client claude-desktop   what this client's file names
            lanrelay setup --dry-run                 show what would be done
            lanrelay setup --yes --ca root.crt       without a question, trusting what the file proves
        """,
    )
    names = ", ".join(client.name for client in CLIENTS)
    made.add_argument("urls", metavar="URL", nargs="*", help="a server; without any, those that clients name")
    made.add_argument(
        "--client", metavar="NAME", action="append", default=[], help=f"only this client's files: {names}"
    )
    modes = f"the way to start the service: {', '.join(MODES)}"
    made.add_argument("--mode", metavar="MODE", choices=list(MODES), help=modes)
    made.add_argument("--no-service", action="store_true", help="install no service")
    made.add_argument("--fingerprint", metavar="HEX", help="SHA-256 of the CA, as its owner has read it")
    made.add_argument("--ca", metavar="FILE", type=Path, help="the CA's certificate (PEM)")
    made.add_argument("--system", action="store_true", help="for the whole machine, as root")
    made.add_argument("--yes", action="store_true", help="answer every question but that of trust with yes")
    made.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    options.add_config(made)
    return made


def run(arguments: list[str]) -> int:
    """0 where every server can be used, 1 where one cannot, 2 for a wrong command line."""
    from lanrelay.cli import looking
    from lanrelay.cli.conversation import Conversation, Refused
    from lanrelay.cli.setting_up import Setup, Stopped
    from lanrelay.cli.setup_servers import Server
    from lanrelay.config.complaints import ConfigErrors
    from lanrelay.config.default_path import NotFound
    from lanrelay.edit.formats.tree import NotEdited
    from lanrelay.errors import RelayError
    from lanrelay.setup.adding import Unusable, wanted
    from lanrelay.setup.installer import Failed

    chosen = parser().parse_args(arguments)
    chosen.server, chosen.file, chosen.format = [], None, None  # as looking has them
    wrong = looking.wrong_usage(chosen)
    try:
        targets = [(url, wanted(url)) for url in dict.fromkeys(chosen.urls)]
    except Unusable as error:
        wrong = wrong or str(error).rstrip(".")
    if wrong:
        print(f"lanrelay setup: {wrong}.", file=sys.stderr)
        return 2
    talk = Conversation("setup", yes=chosen.yes, dry_run=chosen.dry_run)
    setup = Setup(chosen, talk, [Server(target, url, named=True) for url, target in targets])
    try:
        return setup.run()
    except (Refused, RelayError, NotFound, NotEdited, Failed, Stopped) as error:
        talk.complain(str(error))
    except ConfigErrors as error:
        talk.complain(f"the configuration is not right, so it was not changed.\n{error}")
    except KeyboardInterrupt:
        talk.tell()
        setup.tell_what_is_in_force()
        raise
    setup.tell_what_is_in_force()
    return 1
