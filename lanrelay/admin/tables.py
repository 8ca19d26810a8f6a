"""The tables of the page: open sessions, errors, certificates, reloads; and what happened when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lanrelay.admin.graphs import line_of_time
from lanrelay.admin.markup import (
    Html,
    Times,
    badge,
    days,
    html,
    lines,
    prose,
    seconds,
    section,
    since,
    size,
    tag,
    word,
)

Json = dict[str, Any]

SESSIONS = 100
"""How many open sessions the page shows; people do not read more, and C{/status.json} has them."""

EVENTS = 8
"""How many events are there to read before more are asked for."""


def sessions(document: Json, show: Times) -> Html:
    shown = document["sessions"][:SESSIONS]
    rows = [
        [
            tag("strong", one["listener"]),
            one["client"],
            asked(one),
            _reached(one),
            one["phase"],
            show.age(one["started"]),
            show.age(one["last_active"]),
            size(one["received"]),
            size(one["sent"]),
        ]
        for one in shown
    ]
    columns = ["=Listener", "=Client", "Request", "Leads to", "Phase", "#Age", "#Silent for", "#In", "#Out"]
    more = document["sessions_open"] - len(rows)
    note = f"and {more:,} more, which are younger; status.json has up to a thousand." if more else ""
    return section(
        "sessions",
        f"Open sessions ({document['sessions_open']:,})",
        columns,
        rows,
        keys=[f"session-{one['id']}" for one in shown],
        note=note,
        empty="Nothing is open.",
    )


def asked(one: Json) -> str:
    """A request with its status."""
    text = f"{one['method']} {one['path']}".strip() if one["method"] else one["kind"]
    return f"{text} {one['status']}" if one["status"] else str(text)


def _reached(one: Json) -> Html:
    if not one["address"] or one["address"] in one["target"]:
        return html(one["target"])
    return Html(f"{html(one['target'])} {tag('span', 'at ' + one['address'], class_='aside')}")


def failures(document: Json, show: Times) -> Html:
    rows = [
        [
            show.ago(one["last"]),
            f"{one['count']:,}",
            tag("strong", one["listener"]),
            asked(one),
            Html(f"{word(one['error'])} {prose(one['detail'])}"),
            lines([one["client"], f"in {one['phase']}"]),
        ]
        for one in document["failures"]
    ]
    columns = ["=Latest", "#Times", "=Listener", "Request", "Error, and what to do", "=Client"]
    return section("failures", "Last errors", columns, rows, empty="No session has failed since the start.")


def certificates(document: Json) -> Html:
    rows = [
        [
            _listener_of(one),
            one["upstream"] or "its own",
            lines([", ".join(one["names"]) or "no name", one["subject"]]),
            one["issuer"],
            one["not_after"][:10],
            _left(one),
        ]
        for one in document["certificates"]
    ]
    columns = ["=Listener", "Whose", "=For", "=Issued by", "=Ends", "#Left"]
    empty = "No listener has one, and no upstream has shown one yet."
    return section("certificates", "Certificates", columns, rows, empty=empty)


def _listener_of(one: Json) -> Html:
    name = tag("strong", one["listener"])
    return Html(f"{name} {html(one['route'])}") if one.get("route") else name


def _left(one: Json) -> Html:
    left = one["days_left"]
    if left < 0:
        return badge("bad", "expired")
    return badge("poor", days(left)) if one["ends_soon"] else html(days(left))


def reloads(document: Json, show: Times) -> Html:
    rows = [
        [
            show.ago(one["at"]),
            one["by"],
            badge("good", "in force") if one["ok"] else badge("bad", "refused"),
            lines(one["errors"] or one["changes"]),
        ]
        for one in document["reloads"]
    ]
    columns = ["=When", "=Asked by", "=Outcome", "Details"]
    return section("reloads", "Reloads", columns, rows, empty="None since the start.")


# --- events ---

KINDS = {
    "started": "none",
    "reloaded": "good",
    "refused": "bad",
    "down": "bad",
    "up": "good",
    "woke": "none",
    "certificate": "poor",
}


def events(found: Sequence[Json], now: str) -> Html:
    """The events on a line of time, and as a list, the latest first; the older ones unfold."""
    heading = tag("h2", "Events", id="events-title")
    if not found:
        return Html(f"{heading}{tag('p', 'Nothing has happened since the start.', class_='empty')}")
    items = [
        tag(
            "li",
            since(one["at"], now, exact=True),
            " ",
            badge(KINDS.get(one["kind"], "none"), one["kind"]),
            " ",
            tag("span", _said(one)),
        )
        for one in reversed(found)
    ]
    text = tag("ol", *items[:EVENTS], class_="events")
    if len(items) > EVENTS:
        older = tag("ol", *items[EVENTS:], class_="events")
        summary = tag(
            "summary", f"{len(items) - EVENTS} earlier one{'' if len(items) == EVENTS + 1 else 's'}"
        )
        text = Html(f"{text}{tag('details', summary, older, id='earlier')}")
    return Html(f"{heading}{line_of_time(found, KINDS, seconds(now))}{text}")


def _said(one: Json) -> Html:
    who, text = one.get("listener"), prose(one["text"])
    if who and not one["text"].startswith(who):
        text = Html(f"{tag('strong', who)} {text}")
    if one.get("count", 1) > 1:
        times = tag("span", f"{one['count']:,} times", class_="aside")
        text = Html(f"{text} {times}")
    return text
