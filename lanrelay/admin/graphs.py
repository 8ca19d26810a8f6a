"""Draws: requests of an hour, the state of an upstream over time, events on a line; as SVG in the page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from lanrelay.admin.markup import Html, hour_and_minute, html, tag

Json = dict[str, Any]

WIDTH = 240
"""The width of a graph and of a strip in their own units; the style stretches them to fill their column."""

LONG = 200
"""Characters of a reason that each cell of a bar repeats; there are 84 cells for an upstream."""

_HIGH = 24

WORDS = {"up": "up", "slow": "slow", "down": "down", "unchecked": "not checked"}

# Bottom and height of a cell, so that states differ in more than colour.
_SHAPES = {"up": (2, 6), "slow": (2, 6), "down": (0, 8), "unchecked": (6, 2)}


_STATE_AND_WHY = itemgetter("state", "why")

# --- requests ---


def requests_graph(requests: Sequence[int], errors: Sequence[int]) -> Html:
    """A bar for each minute; its red part is what failed."""
    count, failed = sum(requests), sum(errors)
    label = f"Requests of the last {len(requests)} minutes: {count:,}, of which {failed:,} failed"
    if count:
        most = max(requests)
        label += f"; at most {most:,} in a minute"
    drawn = f'<path class="base" d="M0 {_HIGH - 0.5}h{WIDTH}"/>'
    top = max(requests, default=0)
    if top:
        drawn += f'<path class="asked" d="{_bars(requests, top)}"/>'
        if failed:
            drawn += f'<path class="failed" d="{_bars(errors, top)}"/>'
    return _svg("graph", _HIGH, label, drawn)


def _bars(counts: Sequence[int], top: int) -> str:
    step = WIDTH // len(counts)
    return "".join(
        [
            f"M{index * step} {_HIGH}v-{min(max(count * _HIGH // top, 2), _HIGH)}h{step - 1}V{_HIGH}z"
            for index, count in enumerate(counts)
            if count
        ]
    )


# --- states ---


def strip(cells: Sequence[Json], span: str, seconds: int) -> Html:
    """
    A cell for each minute or hour, which says what it was and why.

    @param span: of all cells together, for those who hear it.
    @param seconds: of one cell.
    @return: nothing where the upstream was not checked in any of them.
    """
    if all(cell["state"] == "unchecked" for cell in cells):
        return Html("")  # it was not checked
    drawn, heard, place = [], [], 0
    for state, why, first, last, count in runs(cells):
        kind = state if state in WORDS else "unchecked"
        drawn.append(f'<g class="{kind}">')
        for cell in cells[place : place + count]:
            drawn.append(_cell(kind, state, why, cell["at"], seconds, place, len(cells)))
            place += 1
        drawn.append("</g>")
        heard.append(_told(state, why, first, last + seconds))
    if len(heard) > 6:
        heard = [f"{len(heard) - 6} changes, and then {heard[-6]}", *heard[-5:]]
    return _svg("strip", 8, f"{span}: {', '.join(heard)}", "".join(drawn))


@lru_cache(maxsize=1024)  # most cells of a moment are alike in all bars
def _cell(kind: str, state: str, why: str | None, at: float, seconds: int, place: int, of: int) -> str:
    step = WIDTH // of
    wide = step - max(step // 5, 1)
    low, high = _SHAPES[kind]
    if why and len(why) > LONG:
        why = f"{why[: LONG - 1]}…"  # what unfolds below has all of it
    text = _told(state, why, at, at + seconds)
    return f'<path d="M{place * step} {low}h{wide}v{high}h-{wide}z"><title>{html(text)}</title></path>'


def _told(state: str, why: str | None, begin: float, end: float) -> str:
    """A minute is told by its begin alone."""
    when = hour_and_minute(begin)
    if end - begin > 60:
        when += f" to {hour_and_minute(end)}"
    text = f"{when} {WORDS.get(state, state)}"
    return f"{text}: {why}" if why else text


def runs(cells: Sequence[Json]) -> Iterator[tuple[str, str | None, float, float, int]]:
    """Neighbours that are alike: their state, why, where the first and the last begin, and how many."""
    for (state, why), group in groupby(cells, key=_STATE_AND_WHY):
        alike = list(group)
        yield state, why, alike[0]["at"], alike[-1]["at"], len(alike)


# --- events ---

SPANS = ((3600, 300), (6 * 3600, 900), (86400, 3600), (7 * 86400, 6 * 3600), (60 * 86400, 86400))
"""Seconds that a line of time may hold, and those to which its end is rounded up, so that it seldom moves."""


def line_of_time(events: Sequence[Json], kinds: dict[str, str], now: float) -> Html:
    """
    A mark for each event, the oldest to the left.

    @param kinds: which kind of event is good, poor or bad.
    """
    oldest = events[0]["at"]
    for span, grain in SPANS:
        end = (now // grain + 1) * grain
        if oldest >= end - span:
            break
    begin = end - span
    drawn = ['<path class="base" d="M0 12h1000M250 8v8M500 8v8M750 8v8"/>']
    for one in events:
        at = (one["at"] - begin) / span * 1000
        if at >= 0:
            kind = kinds.get(one["kind"], "none")
            text = f"{_moment(one['at'], 86400)} {one['text']}"
            drawn.append(
                f'<path class="mark {kind}" d="M{min(at, 1000):.1f} 3v18"><title>{html(text)}</title></path>'
            )
    count = f"{len(events)} event{'' if len(events) == 1 else 's'}"
    label = f"{count} from {_moment(begin, span)} to {_moment(end, span)}, told below"
    ticks = [
        tag("span", _moment(begin + span * quarter / 4, span), class_=f"tick at-{quarter}")
        for quarter in range(5)
    ]
    svg = (
        f'<svg class="timeline" viewBox="0 0 1000 24" preserveAspectRatio="none" role="img" '
        f'aria-label="{html(label)}">{"".join(drawn)}</svg>'
    )
    return Html(f'{svg}<div class="ticks" aria-hidden="true">{"".join(ticks)}</div>')


def _moment(at: float, span: float) -> str:
    when = time.localtime(at)
    return time.strftime("%H:%M" if span <= 86400 else "%d.%m. %H:%M", when)


def _svg(kind: str, high: int, label: str, drawn: str) -> Html:
    return Html(
        f'<svg class="{kind}" viewBox="0 0 {WIDTH} {high}" preserveAspectRatio="none" role="img" '
        f'aria-label="{html(label)}">{drawn}</svg>'
    )
