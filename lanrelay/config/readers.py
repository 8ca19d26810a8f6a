"""Readers: how the value at a place becomes what a record holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lanrelay.config import expand, nodes
from lanrelay.config.complaints import excerpt
from lanrelay.config.place import Broken, Place, as_it_is
from lanrelay.config.shapes import ANY_TEXT, ListOf, MapOf, Off, Scalar, takes
from lanrelay.config.values import Unfit

T = TypeVar("T")


def one(convert: Callable[[str], T]) -> Callable[[Place], T]:
    """A single text."""

    @takes(Scalar(convert))
    def read(place: Place) -> T:
        value = convert(place.text())
        if not place.is_scalar() or place.is_nothing():
            raise Unfit("expected a single value")
        return value

    return read


def optional(read: Callable[[Place], T]) -> Callable[[Place], T | None]:
    """A value that can be off."""
    return off_as(None, read)


def off_as(off: T, read: Callable[[Place], T]) -> Callable[[Place], T]:
    """A value that can be off, which then means this."""

    @takes(read, Off())
    def read_or_off(place: Place) -> T:
        if not place.is_off():
            return read(place)
        place.mask = as_it_is  # the word is no secret
        return off

    return read_or_off


def many(read: Callable[[Place], T], *, can_be_off: bool = False) -> Callable[[Place], tuple[T, ...]]:
    """A list, or one value for a list of one; never empty unless it can be off."""

    @takes(read, ListOf(read), *((Off(),) if can_be_off else ()))
    def read_all(place: Place) -> tuple[T, ...]:
        if place.is_off():
            if can_be_off:
                return ()
            raise Unfit("expected at least one entry; this cannot be switched off")
        found = []
        broken = False
        items = place.items()
        for item in items:
            try:
                found.append(item.read(read))
            except Broken:
                broken = True
        if isinstance(place.node, nodes.Sequence):
            place.shows = lambda: [item.shown for item in items]
        else:
            place.shows = lambda: items[0].shown
        if broken:
            raise Broken
        return tuple(found)

    return read_all


def named(name: Callable[[str], str], read: Callable[[Place], T]) -> Callable[[Place], dict[str, T]]:
    """A map whose keys the user chooses. Two keys that mean the same name are a complaint."""

    @takes(MapOf(read))
    def read_all(place: Place) -> dict[str, T]:
        found: dict[str, T] = {}
        children: dict[str, Place] = {}
        broken = False
        for word, child in place.entries():
            try:
                proper = name(word)
            except Unfit as error:
                child.complain_of_key(f"found the key {excerpt(word)}, {error}")
                broken = True
                proper = word
            else:
                if proper in found:
                    child.complain_of_key("found the same name again, expected it once")
                    broken = True
            try:
                found[proper] = child.read(read)
            except Broken:
                broken = True
            children[word] = child
        place.shows = lambda: {word: child.shown for word, child in children.items()}
        if broken:
            raise Broken
        return found

    return read_all


@takes(ANY_TEXT)
def path(place: Place) -> Path:
    """A path, shown absolute."""
    found = one(place.context.path)(place)
    place.context.note_file(found, place)
    if not place.expanded:
        place.shows = lambda: expand.escape(str(found))
    return found
