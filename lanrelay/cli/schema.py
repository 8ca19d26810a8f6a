"""C{lanrelay schema}: the JSON schema of the configuration, for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import parser

    return parser(
        "schema",
        "Print the JSON schema of relay.yaml. With it editors complete keys and mark mistakes: VS Code, Zed, "
        "Helix and others that have the YAML language server. It lies beside relay.yaml, whose first line "
        "names it.",
        examples="""
            lanrelay schema > relay.schema.json                     write it
            # yaml-language-server: $schema=relay.schema.json  the first line of relay.yaml
        """,
    )


def run(arguments: list[str]) -> int:
    """0; 2 for a wrong command line."""
    parser().parse_args(arguments)
    import json

    from lanrelay.config.schema import schema

    print(json.dumps(schema(), indent=2))
    return 0
