"""C{lanrelay check}: validates a configuration file and prints what it comes to."""

from __future__ import annotations

import sys
from pathlib import Path


def run(arguments: list[str]) -> int:
    """0 for a file that is right, 1 for one that is not, 2 for a wrong command line."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="lanrelay check",
        description="Check a configuration file and print it with its defaults. Secrets are masked.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help="the configuration file")
    options = parser.parse_args(arguments)
    if options.config is None:
        print("lanrelay check: say which file to check: lanrelay check -c FILE", file=sys.stderr)
        return 2
    return check(options.config)


def check(file: Path) -> int:
    """Print the effective configuration, or all that is wrong."""
    from lanrelay.config.load import ConfigErrors, examine

    try:
        loaded = examine(file)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return 1
    for warning in loaded.config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    print(render(loaded.effective, unicode=encoding == "utf8"), end="")
    return 0


def render(tree: object, *, unicode: bool = True) -> str:
    """
    As YAML that reads well: every scalar is text to us, so none needs quotes for looking like a number.

    @param unicode: whether letters beyond ASCII may stand for themselves.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        yaml_implicit_resolvers: dict[str, list[tuple[str, object]]] = {}  # noqa: RUF012

        def ignore_aliases(self, data: object) -> bool:
            return True

    text: str = yaml.dump(tree, Dumper=Dumper, sort_keys=False, allow_unicode=unicode, width=1000)
    return text
