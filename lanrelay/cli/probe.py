"""C{lanrelay probe}: a name for C{lanrelay doctor TARGET --from service}."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import add_config, parser

    made = parser(
        "probe",
        "Have the running relay look at an upstream as a client would meet it: `lanrelay doctor TARGET "
        "--from service` by another name.",
        examples="""
            lanrelay probe home-mcp                what the listener home-mcp leads to
            lanrelay probe https://mcp.home.arpa   the upstream with this URL
            lanrelay probe home-mcp -c relay.yaml  by the relay that runs with this file
            lanrelay probe home-mcp --json         for programs
        """,
    )
    made.add_argument("targets", metavar="TARGET", nargs=1, help="a listener, a URL, or HOST:PORT")
    add_config(made)
    made.add_argument("--json", action="store_true", help="print one JSON document, for programs")
    made.set_defaults(place="service", timeout=5.0)
    return made


def run(arguments: list[str]) -> int:
    """As L{lanrelay.cli.doctor.run}."""
    from lanrelay.cli.doctor import Doctor

    return Doctor(parser().parse_args(arguments)).run()
