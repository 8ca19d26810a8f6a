"""What command lines have in common: the configuration file, examples, and JSON for failures, too."""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

_WIDTH = 79


def parser(command: str, description: str, *, examples: str) -> argparse.ArgumentParser:
    """
    A command's parser, whose help ends with examples.

    @param examples: lines, each a command and, two blanks or more after it, what it does.
    """
    made = argparse.ArgumentParser(
        prog=f"lanrelay {command}",
        description=textwrap.fill(description, _WIDTH),
        epilog=_examples(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.set_defaults(command=command)
    return made


def subparser(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help: str, *, examples: str
) -> argparse.ArgumentParser:
    """The parser of one of a command's actions, with examples of its own."""
    return actions.add_parser(
        name,
        help=help,
        description=textwrap.fill(f"{help[0].upper()}{help[1:]}.", _WIDTH),
        epilog=_examples(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _examples(text: str) -> str:
    pairs = [
        re.split(r" {2,}", line.strip(), maxsplit=1) for line in text.strip().splitlines() if line.strip()
    ]
    longest = max(len(pair[0]) for pair in pairs)
    lines = [f"  {command.ljust(longest)}  {' '.join(what)}".rstrip() for command, *what in pairs]
    if max(map(len, lines)) > _WIDTH:
        lines = [f"  {command}" + "".join(f"\n      {one}" for one in what) for command, *what in pairs]
    return "\n".join(("examples:", *lines))


def add_config(parser: argparse.ArgumentParser) -> None:
    """C{-c FILE}, which may be left out."""
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        type=Path,
        help="the configuration file (default: $LANRELAY_CONFIG, else ~/.config/lanrelay/relay.yaml, else "
        "/etc/lanrelay/relay.yaml)",
    )


class NoConfiguration(Exception):
    """
    No file was named, and there is none where one is looked for; the text is a sentence.

    @ivar advice: another, of what to do.
    """

    def __init__(self, sentence: str, advice: str) -> None:
        super().__init__(sentence)
        self.advice = advice


def config_of(options: argparse.Namespace, *, told: bool = True) -> Path:
    """
    The file that C{-c} names, or that stands for it.

    @param told: the output of the command names it anyway; else it is said here, on standard error.
    @raise NoConfiguration: there is none.
    """
    given: Path | None = options.config
    if given is not None:
        return given
    from lanrelay.config.complaints import printable
    from lanrelay.config.default_path import NotFound, find

    try:
        found = find(None)
    except NotFound as error:
        raise NoConfiguration(str(error), error.advice) from None
    if not told:
        print(f"lanrelay {options.command}: with {printable(str(found))}", file=sys.stderr)
    return found


def failed(options: argparse.Namespace, why: Exception) -> int:
    """
    Say why nothing came of it: on standard error, and under C{--json} as the document, too.

    @param why: its text is a sentence; what it has as C{advice}, another.
    @return: the exit status.
    """
    from lanrelay.cli.home import homely
    from lanrelay.config.complaints import printable

    sentence = f"{why} {getattr(why, 'advice', '')}".rstrip()
    if getattr(options, "json", False):
        print_json({"ok": False, "error": sentence})
    else:
        from lanrelay.cli.wrapping import wrapped

        said = f"lanrelay {options.command}: {printable(homely(sentence))}"
        print(wrapped(said, sys.stderr), file=sys.stderr)
    return 1


def print_json(document: Any) -> None:
    """The one document that standard output gets under C{--json}."""
    print(json.dumps(document, indent=2))
