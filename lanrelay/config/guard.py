"""Reads the guard against web pages: which Host and Origin values are let in."""

from __future__ import annotations

from collections.abc import Callable

from lanrelay.config import hosts
from lanrelay.config.place import Place
from lanrelay.config.readers import many, one
from lanrelay.config.shapes import takes


def _any_or(convert: Callable[[str], str]) -> Callable[[Place], tuple[str, ...] | None]:
    """A list that adds to what is always accepted; C{any}, alone or in it, accepts everything."""

    def word(text: str) -> str:
        return "" if text.lower() == "any" else convert(text)

    @takes(many(one(convert), can_be_off=True))
    def read(place: Place) -> tuple[str, ...] | None:
        found = many(one(word), can_be_off=True)(place)
        return None if "" in found else found

    return read


HOSTS = _any_or(hosts.guard_host)
ORIGINS = _any_or(hosts.guard_origin)
