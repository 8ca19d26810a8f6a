"""How an examination looks on a terminal: a line for each check, and below it what to do."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from lanrelay.cli.home import homely
from lanrelay.config.complaints import printable
from lanrelay.edit.masking import mask, url
from lanrelay.examine.checks import Check, Examined, State

_WORDS: dict[State, str] = {"ok": "ok", "warn": "warn", "failed": "FAILED", "skipped": "--"}
_COLOURS: dict[State, str] = {"ok": "32", "warn": "33", "failed": "31", "skipped": "2"}

_LABEL = len("descriptors")

_LEAST = 24
"""Columns that a text needs beside its head; where there are fewer, it stands below."""

SeenFrom = tuple[str, Sequence[Check]]
"""From where, and what was found from there."""


class Report:
    """
    @param width: columns.
    @param colour: whether the terminal takes escape sequences.
    """

    def __init__(self, width: int, *, colour: bool = False) -> None:
        self._width = max(width, 40)
        self._colour = colour

    def targets(self, examined: Sequence[Examined]) -> Iterator[str]:
        """Each target once, with what was found from here and from the service side by side."""
        groups: dict[tuple[str, str, str | None], list[Examined]] = {}
        for one in examined:
            groups.setdefault((one.target, one.url, one.listener), []).append(one)
        for (target, place, listener), found in groups.items():
            title = url(target) if "://" in target else target
            beside = [url(place)] if url(place) != title else []
            if listener is not None and listener != target:
                beside.append(f"by the listener {listener}")
            where = " and ".join(_from(one.place) for one in found)
            yield self._bold(printable("  ".join((title, *beside, f"({where})"))))
            yield from self._side_by_side([(one.place, one.checks) for one in found])
            yield ""

    def machine(self, checks: Sequence[Check]) -> Iterator[str]:
        """What is no target's."""
        if checks:
            yield self._bold("This machine")
            yield from self._side_by_side([("here", checks)])
            yield ""

    def verdict(self, examined: Sequence[Examined], machine: Sequence[Check]) -> str:
        """The last line."""
        every = [check for one in examined for check in one.checks] + list(machine)
        failed = list(dict.fromkeys(one.target for one in examined if not one.ok))
        if any(check.state == "failed" for check in machine):
            failed.append("this machine")
        if failed:
            return printable(f"Something is wrong with: {', '.join(map(url, failed))}.")
        if any(check.state == "warn" for check in every):
            return "Nothing that would keep a client from working; see what is marked with `warn`."
        return "No problems found."

    # --- checks ---

    def _side_by_side(self, sides: Sequence[SeenFrom]) -> Iterator[str]:
        layers = list(dict.fromkeys(check.layer for _, checks in sides for check in checks))
        unseen = [
            layer
            for layer in layers
            if all(
                one.state == "skipped" and not one.facts
                for _, each in sides
                for one in each
                if one.layer == layer
            )
        ]
        for layer in layers:
            if layer in unseen:
                continue
            rows = [[check for check in checks if check.layer == layer] for _, checks in sides]
            if len(sides) > 1 and not _alike(rows):
                for (place, _), found in zip(sides, rows, strict=True):
                    for check in found:
                        yield from self._check(check, f"{layer} ({place})")
            else:
                for check in rows[0]:
                    yield from self._check(check, layer)
        if unseen:
            because = next(one.said for _, each in sides for one in each if one.layer == unseen[0])
            yield from self._line(f"  {', '.join(unseen)}: ", because, "skipped")

    def _check(self, check: Check, label: str) -> Iterator[str]:
        spent = _duration(check.seconds) if check.seconds >= 0.0005 else ""
        head = f"  {label:<{_LABEL}} {_WORDS[check.state]:<6} {spent:>7}  "
        yield from self._line(head, check.said, check.state)
        if check.remedy and check.state in ("warn", "failed"):
            # Not wrapped, so that it can be taken as it is, unless it is prose.
            remedy = homely(printable(mask(check.remedy)))
            narrow = self._width < _LABEL + 19 + _LEAST
            begin = f"{'':<{4 if narrow else _LABEL + 11}}to do: "
            if _is_prose(check.remedy):
                yield from self._line(begin, remedy)
            else:
                yield f"{begin}{remedy}"

    def _line(self, head: str, text: str, state: State | None = None) -> Iterator[str]:
        narrow = self._width - len(head) < _LEAST
        lines = textwrap.wrap(
            homely(printable(mask(text))),
            self._width,
            initial_indent="    " if narrow else head,
            subsequent_indent=" " * (4 if narrow else min(len(head), _LABEL + 19)),
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines = [head.rstrip(), *lines] if narrow else lines or [head]
        if self._colour and state is not None:
            lines[0] = lines[0].replace(_WORDS[state], f"\x1b[{_COLOURS[state]}m{_WORDS[state]}\x1b[0m", 1)
        yield from lines

    def _bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._colour else text


def _alike(rows: Sequence[Sequence[Check]]) -> bool:
    return len({tuple((check.state, check.cause, check.said) for check in row) for row in rows}) == 1


def _from(place: str) -> str:
    return "from here" if place == "here" else "from the service"


def _is_prose(remedy: str) -> bool:
    return remedy[:1].isupper()


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
