"""Sentences at a terminal: their lines end between words, as a terminal's own do not."""

from __future__ import annotations

import os
from typing import IO

from lanrelay.cli.waiting import is_terminal

_WHOLE = (" ", "\t", "sudo ", "$ ")
"""How lines begin that are to be pasted, or stand in columns."""

_TO_DO = "To do: "


def wrapped(text: str, stream: IO[str]) -> str:
    """
    The text as C{stream} is to show it: as it is, unless that is a terminal, and says how wide it is.

    Lines that somebody pastes stay whole, and so does what stands between backticks.
    """
    width = _width(stream)
    if not width or all(len(line) <= width for line in text.split("\n")):
        return text
    return "\n".join(_wrapped(line, width) for line in text.split("\n"))


def _width(stream: IO[str]) -> int:
    """Its columns; 0 for none."""
    if not is_terminal(stream):
        return 0
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def _wrapped(line: str, width: int) -> str:
    if len(line) <= width or _is_whole(line):
        return line
    import textwrap  # late: few lines are longer

    # A blank that must not end a line is no blank while the lines are made.
    parts = line.split("`")
    parts[1::2] = [part.replace(" ", "\0") for part in parts[1::2]]
    lines = textwrap.wrap("`".join(parts), width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def _is_whole(line: str) -> bool:
    """Whether it is to be pasted; C{lanrelay trust: ...} is a sentence behind a command's name."""
    if line.startswith(_TO_DO):
        return line[len(_TO_DO) :][:1].islower()  # a sentence would begin with a capital
    if line.startswith("lanrelay "):
        return not line.split(" ", 2)[1].endswith(":")
    return line.startswith(_WHOLE)
