"""Makes HTML: what is escaped and what is not, tables, and how sizes and times are written for people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from html import escape

Moment = str | float
"""As the status document has them: ISO 8601, or seconds since the epoch."""


class Html(str):
    """What is HTML already. Any other string is escaped before it gets into the page."""

    __slots__ = ()


def html(value: object) -> Html:
    """C{value} as HTML; C{Html} stays as it is."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, *content: object, **attributes: str) -> Html:
    """An element; C{class_} is C{class}, and C{data_x} is C{data-x}."""
    given = "".join([_attribute(key, value) for key, value in attributes.items()])
    inside = "".join([each if isinstance(each, Html) else escape(str(each)) for each in content])
    return Html(f"<{name}{given}>{inside}</{name}>")


@lru_cache(maxsize=1024)  # most are the same in each row
def _attribute(key: str, value: str) -> str:
    return f' {key.strip("_").replace("_", "-")}="{escape(value)}"'


def section(
    name: str,
    heading: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    keys: Sequence[str] = (),
    note: str = "",
    empty: str = "None.",
) -> Html:
    """
    A heading and a table; on a narrow screen its rows are cards.

    @param columns: C{#} before a name makes a column of numbers, C{=} one that does not become narrower for
        the others.
    @param keys: ids by which the script knows a row again.
    """
    text = [tag("h2", heading, id=f"{name}-title")]
    if not rows:
        return Html(f"{text[0]}{tag('p', empty, class_='empty')}")
    # Elements of tables have these roles by themselves, but lose them when a style makes cards of them.
    head, before = [], []
    for column in columns:
        label, kind = column.lstrip("#="), {"#": "number", "=": "name"}.get(column[0], "text")
        head.append(tag("th", label, scope="col", role="columnheader", class_=kind))
        before.append(f'<td role="cell" class="{kind}" data-label="{escape(label)}"><div>')
    body = []
    for index, row in enumerate(rows):
        cells = [f"{start}{html(cell)}</div></td>" for start, cell in zip(before, row, strict=True)]
        attributes = {"id": keys[index]} if keys else {}
        body.append(tag("tr", Html("".join(cells)), role="row", **attributes))
    text.append(
        tag(
            "table",
            tag("thead", tag("tr", *head, role="row"), role="rowgroup"),
            tag("tbody", *body, role="rowgroup"),
            role="table",
            aria_labelledby=f"{name}-title",
        )
    )
    if note:
        text.append(tag("p", note, class_="empty"))
    return Html("".join(text))


def badge(kind: str, text: str) -> Html:
    """A word with a colour and a sign; neither says more than the word."""
    return tag("span", text, class_=f"badge {kind}")


def lines(texts: Sequence[str]) -> Html:
    return Html("<br>".join(html(each) for each in texts))


def size(count: int) -> str:
    """Bytes for people."""
    if count < 1024:
        return f"{count} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1023.95 or unit == "TiB":
            break
    return f"{value:,.1f} {unit}"


def duration(seconds: float) -> str:
    """A duration, no more exact than a reader wants it; the script writes it in the same way."""
    whole = max(int(seconds), 0)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    if minutes:
        return f"{minutes} min {whole % 60} s"
    return f"{whole} s"


def days(count: int) -> str:
    return "less than a day" if count < 1 else f"{count:,} day{'s' if count > 1 else ''}"


def clock(moment: Moment) -> Html:
    return tag("time", _plain(moment), datetime=_iso(moment))


def since(moment: Moment, now: Moment, *, exact: bool = False) -> Html:
    """
    The time of the day, or the day if it was not today; the text stays as it is until midnight.

    @param exact: both, if it was not today.
    """
    at, today = time.localtime(seconds(moment)), time.localtime(seconds(now))
    text = time.strftime("%H:%M", at)
    if at[:3] != today[:3]:
        day = f"{at.tm_mday} {_MONTHS[at.tm_mon - 1]}"
        if at.tm_year != today.tm_year:
            day = f"{day} {at.tm_year}"
        text = f"{day} {text}" if exact else day
    return tag("time", text, datetime=_iso(moment), title=_plain(moment))


@lru_cache(maxsize=256)
def hour_and_minute(moment: float) -> str:
    return time.strftime("%H:%M", time.localtime(moment))


def seconds(moment: Moment) -> float:
    """Since the epoch."""
    return datetime.fromisoformat(moment).timestamp() if isinstance(moment, str) else moment


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Times:
    """
    How long ago something was; the script keeps these texts up to date.

    @param now: a moment; C{None} to leave the texts to the script.
    """

    def __init__(self, now: str | None) -> None:
        self.now = now

    def age(self, moment: str) -> Html:
        return tag("time", self._text(moment, ""), datetime=moment, data_form="age", title=_plain(moment))

    def ago(self, moment: str) -> Html:
        return tag("time", self._text(moment, " ago"), datetime=moment, data_form="ago", title=_plain(moment))

    def _text(self, moment: str, after: str) -> str:
        if self.now is None:
            return ""
        passed = datetime.fromisoformat(self.now) - datetime.fromisoformat(moment)
        return duration(passed.total_seconds()) + after


def _plain(moment: Moment) -> str:
    return _iso(moment)[:19].replace("T", " ")


def _iso(moment: Moment) -> str:
    if isinstance(moment, str):
        return moment
    return datetime.fromtimestamp(moment).astimezone().isoformat(timespec="milliseconds")


# --- sentences ---


def prose(text: str) -> Html:
    """A sentence that has keys and commands between backticks."""
    pieces = text.strip().split("`")
    return Html(
        "".join(tag("code", piece) if index % 2 else html(piece) for index, piece in enumerate(pieces))
    )


def word(text: str) -> Html:
    """A word of RFC 9209; some are longer than a telephone is wide."""
    return tag("code", Html(html(text).replace("_", "_<wbr>")))


def breakable(url: str) -> Html:
    """A URL; a long one is broken where its parts end."""
    return Html(html(url).replace(".", ".<wbr>").replace("/", "/<wbr>").replace("/<wbr>/", "//"))


def copied(text: str, what: str) -> Html:
    """Something to copy, with a button, which is shown only where the script runs."""
    return Html(f'<span class="copied">{tag("code", text)}{copy_button(what)}</span>')


def copy_button(what: str) -> Html:
    """Copies the code beside it."""
    return Html(f'<button type="button" class="copy" aria-label="{html(f"Copy {what}")}">{_SHEETS}</button>')


_SHEETS = '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3"/></svg>'
