"""C{lanrelay probe}: has the running relay reach an upstream, and shows each step."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

_WORDS = {
    "name": "name",
    "connect": "TCP",
    "proxy": "proxy",
    "tls": "TLS",
    "health": "health",
    "files": "files",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import add_config, parser

    made = parser(
        "probe",
        "Have the running relay reach an upstream as it would for a client, and show each step.",
        examples="""
            lanrelay probe home-mcp                what the listener home-mcp leads to
            lanrelay probe https://mcp.home.arpa   the upstream with this URL
            lanrelay probe home-mcp -c relay.yaml  by the relay that runs with this file
            lanrelay probe home-mcp --json         the steps, for programs
        """,
    )
    made.add_argument("upstream", metavar="UPSTREAM", help="the name of a listener, or an upstream's URL")
    add_config(made)
    made.add_argument("--json", action="store_true", help="print the outcome as JSON, for programs")
    return made


def run(arguments: list[str]) -> int:
    """0 when all of them were reached, 1 when not, 2 for a wrong command line."""
    return probe(parser().parse_args(arguments))


def probe(options: argparse.Namespace) -> int:
    """Ask for it, and print each step when it has been taken."""
    from lanrelay.cli.asking import NotAsked, ask
    from lanrelay.cli.options import NoConfiguration, config_of, failed, print_json

    as_json = options.json
    width = shutil.get_terminal_size().columns
    outcomes: list[dict[str, Any]] = []
    try:
        file = config_of(options, told=False)
        # A dial may take `connect`, `handshake` and `timeout`, each some seconds, for each of several.
        for last, said in ask(file, {"method": "probe", "upstream": options.upstream}, timeout=180.0):
            if last:
                outcomes = said
            elif not as_json:
                for line in lines(said, width):
                    print(line, flush=True)
    except (NoConfiguration, NotAsked) as error:
        return failed(options, str(error))
    if as_json:
        print_json(outcomes)
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
