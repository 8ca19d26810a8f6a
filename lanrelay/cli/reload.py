"""C{lanrelay reload}: has the running relay read its configuration anew."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import add_config, parser

    made = parser(
        "reload",
        "Have the running relay read its configuration anew. A wrong one changes nothing.",
        examples="""
            lanrelay reload                the relay with your own configuration
            lanrelay reload -c relay.yaml  the one that runs with this file
            lanrelay reload --json         what has changed, or is wrong, for programs
        """,
    )
    add_config(made)
    made.add_argument("--json", action="store_true", help="print the outcome as JSON, for programs")
    return made


def run(arguments: list[str]) -> int:
    """0 when the configuration is in force, 1 when not, 2 for a wrong command line."""
    return reload(parser().parse_args(arguments))


def reload(options: argparse.Namespace) -> int:
    """Wait for the outcome and say it."""
    from lanrelay.cli.asking import NotAsked, result
    from lanrelay.cli.options import NoConfiguration, config_of, failed, print_json
    from lanrelay.config.complaints import printable

    try:
        file = config_of(options, told=False)
        outcome = result(file, {"method": "reload"}, timeout=60.0, shown=True)
    except (NoConfiguration, NotAsked) as error:
        return failed(options, error)
    if options.json:
        print_json(outcome)
        return 0 if outcome["ok"] else 1
    if not outcome["ok"]:
        for complaint in outcome["errors"]:
            print(printable(complaint), file=sys.stderr)
        print("Nothing was changed.", file=sys.stderr)
        return 1
    for change in outcome["changes"]:
        print(printable(change))
    print("Reloaded." if outcome["changes"] else "Reloaded: nothing has changed.")
    return 0
