"""The status page as HTML, made of the status document alone; whole, or in parts for what has changed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from lanrelay.admin import listener_row, tables
from lanrelay.admin.markup import Html, Times, badge, clock, copied, days, html, prose, seconds, since, tag
from lanrelay.admin.states import BAD, POOR, Overall, Shown, listeners, overall
from lanrelay.admin.tables import SESSIONS

__all__ = ["SESSIONS", "Renderer"]

Json = dict[str, Any]

Made = dict[str, tuple[object, Html]]
"""What was made, by its name, with what it was made of."""

ROWS = 12
"""
How many rows a look makes anew when only their figures have changed; each takes some 0.15 ms. When
all of 60 have, as at the end of each minute, the last of them follow four looks later.
"""

SECTIONS = ("events", "failures", "sessions", "certificates", "reloads")
"""Below the listeners."""

ICONS = {"good": "1a7f37", "poor": "bf8700", "bad": "cf222e", "none": "6e7781"}
"""The colour of the sign in the browser's tab, by the mood."""


class Drawn(NamedTuple):
    """
    The row of a listener as it was made last.

    @ivar today: the day, as a date.
    @ivar look: the number of the look for which it was made.
    """

    shown: Shown
    today: str
    look: int
    made: Html

    def differs(self, shown: Shown, today: str) -> bool:
        """Whether more than figures differs."""
        before = self.shown
        return (before.state, before.problem, self.today) != (shown.state, shown.problem, today)


class Renderer:
    """
    Makes the page and its parts.

    The parts of a listener are kept, and made anew only when the document says something else of it: so the
    end of a session costs one row, not 60.
    """

    def __init__(self) -> None:
        self._made: Made = {}
        self._drawn: dict[str, Drawn] = {}
        self._look = 0

    def page(self, document: Json) -> tuple[bytes, bytes]:
        """
        The whole page, readable without its script.

        @return: the page, and its C{Content-Security-Policy}: nothing but its own style and script may run.
        """
        frame, style, script, policy = _files()
        title, parts = self.look(document, moving=True)
        sections = "\n".join(
            f'<section data-part="{name}" aria-labelledby="{name}-title">{parts[name]}</section>'
            for name in SECTIONS
        )
        text = frame.substitute(
            parts,
            listeners=_filled(parts["listeners"], parts),
            title=html(title),
            icon=ICONS[parts["mood"]],
            now=clock(document["now"]),
            sections=sections,
            style=style,
            script=script,
        )
        return text.encode("utf-8", "replace"), policy

    def ahead(self, document: Json) -> Iterator[str]:
        """
        Draw what L{page} keeps of each listener; one at each step, and yield empty texts.

        So a page of many listeners takes several turns of the reactor, none of which is long.
        """
        for each in listeners(document):
            had = self._drawn.get(each.key)
            if had is None or had.shown != each or had.today != document["now"][:10]:
                self._draw(each, document["now"])
            self._folds(self._made, [each])
            yield ""
        self._events(self._made, document)
        yield ""

    def look(self, document: Json, *, moving: bool) -> tuple[str, dict[str, Html]]:
        """
        The title for the browser's tab, and what the script replaces, by name.

        @param moving: with the texts that change with time alone. Without them, equal parts show that nothing
            has happened, and the script fills them in.
        """
        show = Times(document["now"] if moving else None)
        shown = list(listeners(document))
        whole = overall(document, shown)
        before, self._made = self._made, {}
        names = [(each.key, each.listener["name"]) for each in shown]
        return f"{whole.headline} · lanrelay", {
            "mood": Html(whole.mood),
            "state": _state(whole),
            "about": _about(document, show),
            "first": _first_steps(document),
            "problems": _problem_list(document, shown),
            "listeners": self._once(before, "listeners", names, partial(_listeners, names)),
            **self._rows(shown, document["now"], most=None if moving else ROWS),
            **self._folds(before, shown),
            "events": self._events(before, document),
            "failures": tables.failures(document, show),
            "sessions": tables.sessions(document, show),
            "certificates": self._once(
                before, "certificates", document["certificates"], partial(tables.certificates, document)
            ),
            "reloads": tables.reloads(document, show),
        }

    def _events(self, before: Made, document: Json) -> Html:
        """Time alone moves the line of time every five minutes at most."""
        happened, now = document.get("events") or (), document["now"]
        seen = (happened, int(seconds(now)) // 300)
        return self._once(before, "events", seen, partial(tables.events, happened, now))

    def _rows(self, shown: Sequence[Shown], now: str, *, most: int | None) -> dict[str, Html]:
        """
        @param most: how many of the rows in which only figures have changed are made anew; C{None}: all.
        """
        self._look += 1
        before, self._drawn = self._drawn, {}
        today, late = now[:10], []
        for each in shown:
            had = before.get(each.key)
            if had is not None and had.shown == each and had.today == today:
                self._drawn[each.key] = had
            elif most is None or had is None or had.differs(each, today):
                self._draw(each, now)
            else:
                self._drawn[each.key] = had
                late.append((had.look, each))
        late.sort(key=itemgetter(0))  # the others have waited for longer
        for _, each in late[:most]:
            self._draw(each, now)
        return {f"row-{listener_row.part(each.key)}": self._drawn[each.key].made for each in shown}

    def _draw(self, each: Shown, now: str) -> None:
        self._drawn[each.key] = Drawn(each, now[:10], self._look, listener_row.row(each, now))

    def _folds(self, before: Made, shown: Sequence[Shown]) -> dict[str, Html]:
        """What unfolds below the rows."""
        folds = {}
        for each in shown:
            key, one = listener_row.part(each.key), each.listener
            leads = [str(upstream["url"]) for upstream in each.upstreams]
            told = [one.get(name) for name in ("kind", "tls", "addresses", "url", "mcp", "mcp_server")]
            known = [_without(upstream, "minutes") for upstream in each.upstreams]
            for name, seen, make in (
                (f"use-{key}", (told, leads), partial(listener_row.use, one, leads)),
                (f"past-{key}", (told, one["leads_to"], known), partial(listener_row.past, each)),
            ):
                folds[name] = self._once(before, name, seen, make)
        return folds

    def _once(self, before: Made, name: str, seen: object, make: Callable[[], Html]) -> Html:
        """What was made of this before, or else what is made of it now."""
        had = before.get(name)
        kept = self._made[name] = had if had is not None and had[0] == seen else (seen, make())
        return kept[1]


def _without(found: Json, key: str) -> Json:
    return {name: value for name, value in found.items() if name != key}


def policy() -> bytes:
    """The page's C{Content-Security-Policy}."""
    return _files()[3]


@lru_cache(maxsize=1)
def _files() -> tuple[Template, str, str, bytes]:
    folder = Path(__file__).parent
    frame, style, script = (
        (folder / name).read_text("utf-8") for name in ("page.html", "page.css", "page.js")
    )
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Template(frame), style, script, policy.encode()


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _filled(frame: str, parts: dict[str, Html]) -> str:
    """The rows of the listeners where their places are."""
    pieces = frame.split('data-part="')
    text = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition('">')
        text.append(f'data-part="{name}">{parts[name]}{rest}')
    return "".join(text)


# --- above the listeners ---


def _state(whole: Overall) -> Html:
    return tag("span", whole.headline, class_=f"state {whole.mood}")


def _about(document: Json, show: Times) -> Html:
    version, path = html(document["version"]), tag("code", document["config"])
    return Html(f"Version {version} with {path}, running for {show.age(document['started'])}.")


def _first_steps(document: Json) -> Html:
    """What to do first, until a client has asked for something."""
    steps = document.get("first_steps")
    asked = any(count["sessions"] for name, count in document["counters"].items() if name != "admin")
    if not steps or asked or document["sessions_open"]:
        return Html("")
    items = [
        tag(
            "li",
            tag("h3", one["title"]),
            tag("p", prose(one["text"])),
            tag("p", copied(one["command"], one["title"])),
        )
        for one in steps
    ]
    heading = tag("h2", "Three things to do first", id="first-title")
    return Html(
        f'<section class="first" aria-labelledby="first-title">{heading}{tag("ol", *items)}</section>'
    )


def _problem_list(document: Json, shown: Sequence[Shown]) -> Html:
    words = {BAD: "Problem", POOR: "Note"}
    items = [
        tag("li", tag("span", badge(kind, words[kind])), tag("span", sentence))
        for kind, sentence in dict.fromkeys(_problems(document, shown))
    ]
    return tag("ul", *items, class_="problems") if items else Html("")


def _problems(document: Json, shown: Sequence[Shown]) -> Iterator[tuple[str, Html]]:
    """
    How bad each problem is, and a sentence. A listener is only named here; its row says what is wrong.
    """
    named = set()
    for each in shown:
        state, problem = each.state, each.problem
        if state.kind not in (BAD, POOR) and problem is None:
            continue
        named.add(each.listener["name"])
        link = tag("a", each.listener["name"], href=f"#{listener_row.place(each.key)}")
        if state.kind in (BAD, POOR):
            verb = "" if state.said.startswith("does") else "has " if state.said[0].isdigit() else "is "
            said = html(f"{verb}{state.said}")
            begun = each.listener.get("since") or (problem or {}).get("since")
            if begun is not None:
                said = Html(f"{said} since {since(begun, document['now'])}")
        else:
            said = html("needs a look")
        yield BAD if state.kind == BAD else POOR, Html(f"{link} {said}")
    for reason in document["unready"]:
        if reason.partition(":")[0] not in named:
            yield POOR, html(reason)
    for one in document["upstreams"]:
        if one["insecure"]:
            text = f"{one['listener']}: the certificate of {one['url']} is NOT verified (tls.verify: false)"
            yield BAD, html(text)
    for one in document["certificates"]:
        left = one["days_left"]
        whose = one["upstream"] or "this listener"
        if left < 0:
            yield BAD, html(f"{one['listener']}: the certificate of {whose} has expired")
        elif one["ends_soon"]:
            yield POOR, html(f"{one['listener']}: the certificate of {whose} ends in {days(left)}")
    last = document["last_reload"]
    if last is not None and not last["ok"]:
        yield BAD, html("The last reload was refused: the configuration from before is in force")
    for sentence in document["warnings"]:
        yield POOR, html(sentence)


# --- the listeners ---


def _listeners(names: Sequence[tuple[str, str]]) -> Html:
    """@param names: the keys of the listeners, each with its name."""
    heading = tag("h2", "Listeners", id="listeners-title")
    if not names:
        empty = "There are none: the configuration has no listener that is enabled."
        return Html(f"{heading}{tag('p', empty, class_='empty')}")
    columns = "".join(
        f'<span class="c{index}">{label}</span>' for index, label in enumerate(listener_row.COLUMNS)
    )
    rows = "".join(listener_row.frame(key, name) for key, name in names)
    return Html(
        f'{heading}<div class="columns" aria-hidden="true">{columns}</div><ul class="listeners">{rows}</ul>'
    )
