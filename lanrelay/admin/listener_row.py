"""A listener on the page: a row of figures, what is wrong with it, and what unfolds below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from lanrelay.admin import usage
from lanrelay.admin.graphs import WORDS, requests_graph, runs, strip
from lanrelay.admin.markup import (
    Html,
    Moment,
    badge,
    breakable,
    clock,
    copied,
    copy_button,
    days,
    hour_and_minute,
    html,
    prose,
    since,
    tag,
    word,
)
from lanrelay.admin.states import BAD, NONE, Shown, State, of_upstream
from lanrelay.config.kinds import kind_named

Json = dict[str, Any]

COLUMNS = (
    "Listener",
    "For clients",
    "Leads to",
    "Last hour",
    "24 hours",
    "First byte",
    "Certificate",
    "Open",
)


def part(key: str) -> str:
    """The listener's key as the names of its parts have it."""
    return quote(key, safe="", errors="replace")


def place(key: str) -> str:
    """The id of a listener's row."""
    return f"listener-{part(key)}"


def frame(key: str, name: str) -> Html:
    """The fixed part of a row, with the places for the parts that change."""
    at = part(key)
    log = f"/requests.json?listener={part(name)}"
    requests = tag(
        "details",
        tag("summary", "Requests", tag("span", f" of {name}", class_="hidden")),
        tag(
            "div",
            tag("p", tag("a", "The last 100 requests as JSON", href=log)),
            class_="requests",
            data_requests=log,
            tabindex="0",
            role="region",
            aria_label=f"The last requests of {name}",
        ),
        id=f"requests-{at}",
    )
    return Html(
        f'<li class="listener" id="{place(key)}">'
        f'<div class="facts-of" data-part="row-{at}"></div>'
        f'<div class="folds" id="folds-{at}">'
        f"{_fold('use', at, 'Use it', name)}{requests}{_fold('past', at, 'Details', name)}</div></li>"
    )


def _fold(kind: str, at: str, text: str, name: str) -> Html:
    summary = tag("summary", text, tag("span", f" of {name}", class_="hidden"))
    return Html(f'<details id="{kind}-of-{at}">{summary}<div data-part="{kind}-{at}"></div></details>')


# --- the row ---


def row(shown: Shown, now: Moment) -> Html:
    """Figures and what is wrong. Before midnight, no text in it changes with time alone."""
    one, upstreams = shown.listener, shown.upstreams
    state = shown.state
    single = upstreams[0] if len(upstreams) == 1 else None
    cells = [
        _name(shown, state, now),
        _for_clients(one),
        _leads_to(one, single),
        _hour(one, single),
        _day(single),
        _first_byte(one),
        _certificate(shown.certificates),
        html(f"{one.get('open', one['open_connections']):,}"),
    ]
    text = "".join(
        f'<div class="cell c{index}"><span class="label">{label}</span><div>{cell}</div></div>'
        for index, (label, cell) in enumerate(zip(COLUMNS, cells, strict=True))
    )
    parts = [f'<div class="facts {state.kind}">{text}</div>']
    if len(upstreams) > 1:
        parts += [_upstream(each, now) for each in upstreams]
    problem = shown.problem
    if problem is not None:
        parts.append(_problem(problem, one["name"], state, now))
    return Html("".join(parts))


def _name(shown: Shown, state: State, now: Moment) -> Html:
    one = shown.listener
    begun = one.get("since")
    if begun is None and len(shown.upstreams) == 1 and shown.upstreams[0]["history"]:
        begun = shown.upstreams[0]["history"][0]["at"]
    said = html(state.said)
    if begun is not None and state.kind != NONE:
        said = Html(f"{said} since {since(begun, now)}")
    return Html(f'<h3>{html(one["name"])}</h3><p class="state {state.kind}">{said}</p>')


def _for_clients(one: Json) -> Html:
    url = usage.told(one)
    shown = copied(url, f"the address of {one['name']}") if url else html("no address")
    kind = kind_named(one["kind"])
    words = (str(one["kind"]) if kind is None else kind.called) + (" with TLS" if one["tls"] else "")
    if usage.mcp_path(one) is not None:
        era = (one.get("mcp_server") or {}).get("era")
        words = f"{words} · MCP {era}" if era else f"{words} · MCP"
    return Html(f"{shown}{tag('p', words, class_='aside')}")


def _server(one: Json) -> Html:
    """The MCP server behind it, as far as it has said who it is."""
    facts = one.get("mcp_server")
    if not facts:
        return Html("")
    words = [f"{facts.get('server') or 'MCP'} {facts.get('version') or ''}".strip()]
    for count, what in ((facts.get("tools"), "tool"), (facts.get("sessions"), "session")):
        if count is not None:
            words.append(f"{count:,}\N{NO-BREAK SPACE}{what}{'' if count == 1 else 's'}")
    return tag("p", " · ".join(words), class_="aside")


def _leads_to(one: Json, single: Json | None) -> Html:
    server = _server(one)
    if single is None:
        return Html(f"{tag('p', one['leads_to'], class_='leads')}{server}")
    more = Html("")
    if single["address"]:
        more = tag("p", f"at {single['address']}", class_="aside")
    if single["insecure"]:
        more = Html(f"{more}{badge('bad', 'not verified')}")
    return Html(f'<p class="leads">{breakable(_with_route(single))}</p>{more}{server}')


def _with_route(one: Json) -> str:
    route = one.get("route")
    return f"{route} → {one['url']}" if route and route != "/" else str(one["url"])


def _hour(one: Json, single: Json | None) -> Html:
    hour = one.get("hour")
    drawn = Html("")
    if hour:
        count, failed = sum(hour["requests"]), sum(hour["errors"])
        said = html(f"{count:,} request{'' if count == 1 else 's'}" if count else "no requests")
        if failed:
            said = Html(f'{said}, <span class="failures">{failed:,} failed</span>')
        drawn = Html(f'{requests_graph(hour["requests"], hour["errors"])}<p class="aside">{said}</p>')
    if single is not None:
        drawn = Html(f"{strip(single.get('minutes') or (), 'Last hour', 60)}{drawn}")
    return drawn or NOTHING


def _day(single: Json | None) -> Html:
    if single is None:
        return NOTHING
    cells = single.get("hours") or ()
    if not cells:
        return NOTHING
    return Html(f'{strip(cells, "Last 24 hours", 3600)}<p class="aside">{_day_said(single)}</p>')


def _day_said(one: Json) -> str:
    """How bad the last day was, of which only what the relay has seen counts."""
    cells = one["hours"]
    hours, minutes = _seen(cells), _seen(one.get("minutes") or ())
    if not hours:
        return "not checked"
    worst = _worst(hours)
    if len(hours) == len(cells):
        return "never down" if worst == "up" else f"{worst} in {hours.count(worst)} h"
    # When it began lately, hours would say too much; the minutes do not, if they know all of it.
    seen, unit = (minutes, "min") if len(hours) <= 2 and _worst(minutes) == worst else (hours, "h")
    how_often = "never down," if worst == "up" else f"{worst} in {seen.count(worst)} of"
    return f"{how_often} {len(seen)}\N{NO-BREAK SPACE}{unit}\N{NO-BREAK SPACE}seen"


_SEEN = ("down", "slow", "up")  # the worst first


def _worst(states: Sequence[str]) -> str:
    return next((state for state in _SEEN if state in states), "")


def _seen(cells: Sequence[Json]) -> list[str]:
    """What it was where the relay has looked."""
    return [cell["state"] for cell in cells if cell["state"] in _SEEN]


def _first_byte(one: Json) -> Html:
    return NOTHING if one.get("first_byte_ms") is None else html(milliseconds(one["first_byte_ms"]))


def milliseconds(value: float) -> str:
    if value < 10:
        return f"{value:.1f} ms"
    return f"{value:,.0f} ms" if value < 1000 else f"{value / 1000:,.1f} s"


NOTHING = Html('<span class="nothing" aria-hidden="true">–</span><span class="hidden">none</span>')


def _certificate(found: Sequence[Json]) -> Html:
    if not found:
        return NOTHING
    first = min(found, key=lambda each: each["days_left"])
    left = first["days_left"]
    if left < 0:
        return badge("bad", "expired")
    text = "< 1 d" if left < 1 else f"{left:,} d"
    return badge("poor", text) if first["ends_soon"] else tag("span", text, title=f"{days(left)} left")


def _upstream(one: Json, now: Moment) -> Html:
    """One of several."""
    state = of_upstream(one)
    at = one["history"][0]["at"] if one["history"] else None
    said = html(state.said)
    if at is not None and state.kind != NONE:
        said = Html(f"{said} since {since(at, now)}")
    name = breakable(_with_route(one))
    if one["address"]:
        name = Html(f'{name} <span class="aside">at {html(one["address"])}</span>')
    if one["insecure"]:
        name = Html(f"{name} {badge('bad', 'not verified')}")
    return Html(
        f'<div class="facts upstream {state.kind}">'
        f'<div class="cell c0"><p class="state {state.kind}">{said}</p></div>'
        f'<div class="cell c2"><p class="leads">{name}</p></div>'
        f'<div class="cell c3">{strip(one.get("minutes") or (), "Last hour", 60)}</div>'
        f'<div class="cell c4">{strip(one.get("hours") or (), "Last 24 hours", 3600)}</div></div>'
    )


def _problem(problem: Json, name: str, state: State, now: Moment) -> Html:
    kind = "bad" if state.kind == BAD else "poor"
    text = [Html(f"<p><strong>{prose(problem['sentence'])}</strong></p>")]
    if problem.get("remedy"):
        text.append(tag("p", prose(problem["remedy"])))
    if problem.get("command"):
        text.append(tag("p", copied(problem["command"], f"the remedy for {name}")))
    last = [word(problem["cause"])] if problem.get("cause") else []
    if problem.get("since") is not None:
        last.append(Html(f"since {since(problem['since'], now)}"))
    if problem.get("line"):
        last.append(html(problem["line"]))
    if last:
        text.append(tag("p", Html(" · ".join(last)), class_="aside"))
    label = html(f"What is wrong with {name}")
    return Html(f'<div class="problem {kind}" role="group" aria-label="{label}">{"".join(text)}</div>')


# --- what unfolds ---


def use(listener: Json, leads_to: Sequence[str]) -> Html:
    """What clients need, to copy."""
    found = usage.snippets(listener, leads_to)
    if not found:
        return tag("p", "Nothing to copy: no client can connect to it by an address.", class_="aside")
    text = [
        f"<figure><figcaption>{html(each.client)}{_to(each.place)}</figcaption>"
        f"<pre><code>{html(each.text)}</code></pre>"
        f"{copy_button(f'for {each.client}')}</figure>"
        for each in found
    ]
    guessed = ""
    if usage.mcp_path(listener) is not None and not listener["mcp"]:
        guessed = tag(
            "p",
            prose(
                "It speaks MCP; at which path is not in the configuration. This takes `/mcp` for it: "
                "the key `mcp` of the listener says another."
            ),
            class_="aside",
        )
    return Html(f'{guessed}<div class="snippets">{"".join(text)}</div>')


def _to(file: str) -> Html:
    return Html(f' <span class="aside">{html(file)}</span>') if file else Html("")


def past(shown: Shown) -> Html:
    """Where it listens, and when the state of each upstream changed."""
    one = shown.listener
    facts = [("Listens on", ", ".join(one["addresses"]) or "nothing"), ("Leads to", one["leads_to"])]
    text = [_facts(facts)]
    for each in shown.upstreams:
        items = [*_changes(each), *_unreached(each)]
        facts = [("In use", f"{each['open']:,}"), ("Idle", f"{each['idle']:,}")]
        heading = tag("h4", _with_route(each))
        error = each["noticed"] or each["last_error"]
        said = Html("")
        if error is not None:
            said = tag("p", word(error["error"]), " ", prose(f"{error['what']} {error['remedy']}"))
        text.append(Html(f"{heading}{_facts(facts)}{said}"))
        if items:
            text.append(tag("ol", *(tag("li", item) for item in items)))
    return Html("".join(text))


def _facts(pairs: Sequence[tuple[str, str]]) -> Html:
    return tag(
        "dl", *(Html(f"<div><dt>{html(key)}</dt><dd>{html(value)}</dd></div>") for key, value in pairs)
    )


def _changes(one: Json) -> Iterator[Html]:
    for each in one["history"]:
        error = each["error"]
        why = html("") if error is None else Html(f" {word(error['error'])} {prose(error['what'])}")
        yield Html(f"{clock(each['at'])} {'up' if each['up'] else 'down'}{why}")


def _unreached(one: Json) -> Iterator[Html]:
    """The hours of the bar that were not good, as text."""
    for state, why, first, last, _ in runs(one.get("hours") or ()):
        if state in ("slow", "down"):
            text = f"{hour_and_minute(first)} to {hour_and_minute(last + 3600)}: {WORDS[state]}"
            yield html(f"{text} at times{f', {why}' if why else ''}")
