"""C{lanrelay manual}: a page for man(1) of each command, made of what C{--help} prints."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_SECTION = "1"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import parser

    made = parser(
        "manual",
        "Write a manual page of each command into a folder, which is made where it is missing. man finds "
        "those in ~/.local/share/man/man1 where ~/.local/bin is on PATH.",
        examples="""
            lanrelay manual ~/.local/share/man/man1  for yourself
            lanrelay manual /usr/local/share/man/man1  for everybody, as root
        """,
    )
    made.add_argument("folder", metavar="DIR", type=Path, help="where to write them")
    return made


def run(arguments: list[str]) -> int:
    """0; 1 where the folder cannot be written to; 2 for a wrong command line."""
    options = parser().parse_args(arguments)
    folder: Path = options.folder
    count = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages():
            (folder / name).write_text(text, "utf-8")
            count += 1
    except OSError as error:
        print(f"lanrelay manual: {folder} cannot be written to: {error.strerror}.", file=sys.stderr)
        return 1
    print(f"{folder} has {count} pages now; `man lanrelay` is the first.")
    return 0


def pages() -> Iterator[tuple[str, str]]:
    """The name and the text of each."""
    from lanrelay.cli.completion import parser_of
    from lanrelay.cli.main import COMMANDS

    yield f"lanrelay.{_SECTION}", _overview(COMMANDS)
    for name, what in COMMANDS.items():
        made = parser_of(name)
        assert made is not None, name
        yield f"lanrelay-{name}.{_SECTION}", _page(name, what, made)


# --- pages --------------------------------------------------------------------------------------------


def _overview(commands: dict[str, str]) -> str:
    lines = [
        *_head("lanrelay", "a relay from loopback to the LAN"),
        ".SH SYNOPSIS",
        r".B lanrelay",
        r".I COMMAND",
        r".RI [ OPTION\ ... ]",
        ".SH DESCRIPTION",
        "A relay from loopback to the LAN, for programs that may not reach private addresses themselves. One "
        "YAML file says what leads where.",
        ".SH COMMANDS",
    ]
    for name, what in commands.items():
        lines += [".TP", f".BR lanrelay\\-{_text(name)} (1)", _sentence(what)]
    lines += [
        ".SH FILES",
        ".TP",
        _bold("~/.config/lanrelay/relay.yaml"),
        "The configuration, where no other is named; else",
        _bold("/etc/lanrelay/relay.yaml") + ".",
        ".SH ENVIRONMENT",
        ".TP",
        ".B LANRELAY_CONFIG",
        "The configuration, before those.",
    ]
    return "\n".join(lines) + "\n"


def _page(name: str, what: str, made: argparse.ArgumentParser) -> str:
    usage = _usage(made)
    lines = [
        *_head(f"lanrelay-{name}", what),
        ".SH SYNOPSIS",
        *_literal(usage.removeprefix("usage: ")),
        ".SH DESCRIPTION",
        _text(_joined(made.description)),
        *_options(made),
    ]
    for action in made._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                lines += [
                    f".SH LANRELAY {_text(name.upper())} {_text(word.upper())}",
                    _text(_joined(inner.description)),
                    *_options(inner, within=True),
                    *_examples(inner, within=True),
                ]
    lines += [*_examples(made), ".SH SEE ALSO", ".BR lanrelay (1)"]
    return "\n".join(lines) + "\n"


def _head(name: str, what: str) -> list[str]:
    from lanrelay.version import __version__

    return [
        f'.TH "{name.upper()}" "{_SECTION}" "" "lanrelay {__version__}" "lanrelay"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(what)}",
    ]


def _options(made: argparse.ArgumentParser, *, within: bool = False) -> Iterator[str]:
    shown = [
        action
        for action in made._actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction)
    ]
    if not shown:
        return
    if not within:
        yield ".SH OPTIONS"
    formatter = argparse.HelpFormatter(made.prog)
    for action in shown:
        yield ".TP"
        yield _bold(_uncoloured(formatter._format_action_invocation(action)))
        # As the formatter does it, so that %(default)s and the like are filled in.
        yield _sentence(_joined(formatter._expand_help(action)) if action.help else "")


def _examples(made: argparse.ArgumentParser, *, within: bool = False) -> Iterator[str]:
    _, found, text = (made.epilog or "").partition("examples:\n")
    if found:
        yield ".PP" if within else ".SH EXAMPLES"
        yield from _literal(text)


def _usage(made: argparse.ArgumentParser) -> str:
    """As at a terminal of 80 columns, whatever this one has."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        return _uncoloured(made.format_usage())
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _uncoloured(text: str) -> str:
    """Python 3.14 colours it at a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# --- roff ---------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    """Prose that roff takes as it stands, in ASCII."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    text = text.replace("~", "\\(ti").replace("^", "\\(ha")
    text = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _bold(text: str) -> str:
    return f"\\fB{_text(text)}\\fR"


def _literal(text: str) -> list[str]:
    """Lines that stay lines."""
    return [".nf", *(_text(line) or "\\&" for line in text.rstrip("\n").splitlines()), ".fi"]


def _joined(text: str | None) -> str:
    return " ".join((text or "").split())


def _sentence(text: str) -> str:
    return _text(f"{text[:1].upper()}{text[1:]}".rstrip(".") + ".") if text else "\\&"
