"""Makes HTML: what is escaped and what is not, tables, and how sizes and times are written for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape


class Html(str):
    """What is HTML already. Any other string is escaped before it gets into the page."""

    __slots__ = ()


def html(value: object) -> Html:
    """C{value} as HTML; C{Html} stays as it is."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, *content: object, **attributes: str) -> Html:
    """An element; C{class_} is C{class}, and C{data_x} is C{data-x}."""
    given = "".join(
        f' {key.strip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items()
    )
    return Html(f"<{name}{given}>{''.join(html(each) for each in content)}</{name}>")


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
    A heading and a table, whose rows are cards on a narrow screen.

    @param columns: C{#} before a name makes a column of numbers, C{=} one that is not narrowed for others.
    @param keys: ids by which the script knows a row again.
    """
    text = [tag("h2", heading, id=f"{name}-title")]
    if not rows:
        return Html(f"{text[0]}{tag('p', empty, class_='empty')}")
    # The roles are those that elements of tables have by themselves, until a style makes cards of them.
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
    """As long as one wants to read it; the script says the same."""
    whole = max(int(seconds), 0)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    if minutes:
        return f"{minutes} min {whole % 60} s"
    return f"{whole} s"


def clock(moment: str) -> Html:
    return tag("time", moment[:19].replace("T", " "), datetime=moment)


class Times:
    """
    How long ago something was; the script has these texts go on.

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


def _plain(moment: str) -> str:
    return moment[:19].replace("T", " ")
