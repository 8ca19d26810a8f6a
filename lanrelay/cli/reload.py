"""C{lanrelay reload}: has the running relay read its configuration anew."""

from __future__ import annotations

import sys
from pathlib import Path


def run(arguments: list[str]) -> int:
    """0 when the configuration is in force, 1 when not, 2 for a wrong command line."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="lanrelay reload",
        description="Have the running relay read its configuration anew. A wrong one changes nothing.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help="the configuration file")
    options = parser.parse_args(arguments)
    if options.config is None:
        print("lanrelay reload: say of which relay: lanrelay reload -c FILE", file=sys.stderr)
        return 2
    return reload(options.config)


def reload(file: Path) -> int:
    """Wait for the outcome and say it."""
    from lanrelay.cli.asking import NotAsked, result
    from lanrelay.config.complaints import printable

    try:
        outcome = result(file, {"method": "reload"}, timeout=60.0)
    except NotAsked as error:
        print(f"lanrelay reload: {printable(str(error))}", file=sys.stderr)
        return 1
    if not outcome["ok"]:
        for complaint in outcome["errors"]:
            print(printable(complaint), file=sys.stderr)
        print("Nothing was changed.", file=sys.stderr)
        return 1
    for change in outcome["changes"]:
        print(printable(change))
    print("Reloaded." if outcome["changes"] else "Reloaded: nothing has changed.")
    return 0
