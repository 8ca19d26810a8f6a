"""C{lanrelay probe}: has the running relay reach an upstream, and shows each step."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

_WORDS = {
    "name": "name",
    "connect": "TCP",
    "proxy": "proxy",
    "tls": "TLS",
    "health": "health",
    "files": "files",
}


def run(arguments: list[str]) -> int:
    """0 when all of them were reached, 1 when not, 2 for a wrong command line."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="lanrelay probe",
        description="Have the running relay reach an upstream as it would for a client, and show each step.",
    )
    parser.add_argument("upstream", metavar="UPSTREAM", help="the name of a listener, or an upstream's URL")
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help="the configuration file")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON, for programs")
    options = parser.parse_args(arguments)
    if options.config is None:
        print("lanrelay probe: say by which relay: lanrelay probe UPSTREAM -c FILE", file=sys.stderr)
        return 2
    return probe(options.config, options.upstream, as_json=options.json)


def probe(file: Path, upstream: str, *, as_json: bool) -> int:
    """Ask for it, and print each step when it has been taken."""
    from lanrelay.cli.asking import NotAsked, ask

    width = shutil.get_terminal_size().columns
    outcomes: list[dict[str, Any]] = []
    try:
        # A dial may take `connect`, `handshake` and `timeout`, each some seconds, for each of several.
        for last, said in ask(file, {"method": "probe", "upstream": upstream}, timeout=180.0):
            if last:
                outcomes = said
            elif not as_json:
                for line in lines(said, width):
                    print(line, flush=True)
    except NotAsked as error:
        print(f"lanrelay probe: {_plain(error)}", file=sys.stderr)
        return 1
    if as_json:
        import json

        print(json.dumps(outcomes, indent=2))
    else:
        for outcome in outcomes:
            how = "reached" if outcome["ok"] else "NOT reached"
            print(f"{_plain(outcome['upstream'])}: {how}, {duration(outcome['seconds'])}")
    return 0 if all(outcome["ok"] for outcome in outcomes) else 1


def lines(said: dict[str, Any], width: int) -> list[str]:
    """What the relay says on the way, for the terminal."""
    step = said.get("step")
    if step is None:
        return [f"{_plain(said['upstream'])} ({_plain(said['listener'])}{_plain(said['route'])})"]
    state = "" if step["ok"] else "FAILED: "
    head = f"  {_WORDS.get(step['name']) or _plain(step['name']):<7} {duration(step['seconds']):>8}  "
    text = _plain(f"{state}{step['said']}")
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head]


def duration(seconds: float) -> str:
    """C{3 ms}, C{1.25 s}."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _plain(text: object) -> str:
    from lanrelay.config.complaints import printable

    return printable(str(text))
