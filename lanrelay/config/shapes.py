"""Notes at a reader what it takes. The JSON schema is made of that, without a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from lanrelay.config.place import Table

F = TypeVar("F", bound=Callable[..., Any])

# Plain classes, for each named tuple would make every start a tenth of a millisecond longer.


class Scalar:
    """
    A single text.

    @ivar convert: what becomes of it.
    """

    def __init__(self, convert: Callable[[str], object]) -> None:
        self.convert = convert


class Words:
    """One of these words."""

    def __init__(self, *words: str) -> None:
        self.words = words


class Whole:
    """A whole number, in decimal."""

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high


class Url:
    """A text that begins with one of these schemes."""

    def __init__(self, *schemes: str) -> None:
        self.schemes = schemes


class Off:
    """A word that switches off."""


class ListOf:
    """A list, each item of which this takes."""

    def __init__(self, item: Shape) -> None:
        self.item = item


class MapOf:
    """A map of names that the user chooses, each value of which this takes."""

    def __init__(self, value: Shape) -> None:
        self.value = value


Shape: TypeAlias = "Scalar | Words | Whole | Url | Off | ListOf | MapOf | Table | Callable[..., object]"
"""A callable is another reader, and stands for what that takes."""


def takes(*shapes: Shape) -> Callable[[F], F]:
    """Note at a reader, or at a function that converts a text, that it takes any of these."""

    def note(function: F) -> F:
        function.takes = shapes  # type: ignore[attr-defined]
        return function

    return note


def taken_by(function: Callable[..., object]) -> tuple[Shape, ...]:
    """What was noted, nothing where nothing was."""
    found: tuple[Shape, ...] = getattr(function, "takes", ())
    return found


ANY_TEXT = Scalar(str)
