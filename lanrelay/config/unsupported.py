"""What the configuration knows and the relay cannot do yet. A feature that is built deletes its line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _is_set(value: object) -> bool:
    return bool(value)


# By the name of the key: when a value asks for the feature, and what the complaint calls it.
NOT_YET: dict[str, tuple[Callable[[Any], bool], str]] = {}


def reason(key: str, value: object) -> str:
    """
    What is not supported yet about this value, as a noun; empty when nothing is.

    @param key: the name of the key, C{TABLE.KEY}.
    """
    if key not in NOT_YET:
        return ""
    asks, what = NOT_YET[key]
    return what if asks(value) else ""
