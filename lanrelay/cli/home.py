"""Paths as people write them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from shlex import quote


def home(path: Path | str) -> str:
    """With C{~} for the user's own folder."""
    text, own = str(path), os.path.expanduser("~")
    return "~" + text[len(own) :] if own != "/" and text.startswith(own + "/") else text


def homely(text: str) -> str:
    """Prose with C{~} for the user's own folder, where a shell would take it as that."""
    own = os.path.expanduser("~")
    if own in ("/", "~"):
        return text
    return re.sub(rf"(?<![^\s(`]){re.escape(own)}(?=/)", "~", text)


def shown(words: Sequence[str]) -> str:
    """A command as one would type it."""
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    short = home(word)
    return f"~/{quote(short[2:])}" if short != word else quote(word)
