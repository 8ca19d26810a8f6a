"""The status page as HTML, made of the status document alone; whole, or in parts for what has changed."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any

from lanrelay.admin.markup import Html, Times, badge, clock, html, lines, section, size, tag

Json = dict[str, Any]

SESSIONS = 100
"""How many open sessions the page shows; people do not read more, and C{/status.json} has them."""


# --- the page ---


def page(document: Json) -> tuple[bytes, bytes]:
    """
    The whole page, readable without its script.

    @return: the page, and its C{Content-Security-Policy}: nothing but its own style and script may run.
    """
    frame, style, script, policy = _files()
    parts = render(document, moving=True)
    sections = "\n".join(
        f'<section data-part="{name}" aria-labelledby="{name}-title">{parts[name]}</section>'
        for name in SECTIONS
    )
    text = frame.substitute(
        parts,
        title=html(title(document)),
        now=clock(document["now"]),
        sections=sections,
        style=style,
        script=script,
    )
    return text.encode("utf-8", "replace"), policy


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


def title(document: Json) -> str:
    """For the browser's tab."""
    count = len(_problems(document))
    return f"{'ready' if document['ready'] else 'not ready'}{f' ({count})' if count else ''} · lanrelay"


# --- its parts ---

SECTIONS = ("listeners", "upstreams", "sessions", "failures", "certificates", "reloads")


def render(document: Json, *, moving: bool) -> dict[str, Html]:
    """
    The parts that the script replaces, by name.

    @param moving: with the texts that change with time alone; without them, equal parts say that nothing has
        happened, and the script fills them in.
    """
    show = Times(document["now"] if moving else None)
    return {
        "state": _state(document),
        "about": _about(document, show),
        "problems": _problem_list(document),
        "listeners": _listeners(document),
        "upstreams": _upstreams(document, show),
        "sessions": _sessions(document, show),
        "failures": _failures(document, show),
        "certificates": _certificates(document),
        "reloads": _reloads(document, show),
    }


def _state(document: Json) -> Html:
    if not document["ready"]:
        return badge("bad", "Not ready")
    return badge("good", "Ready")


def _about(document: Json, show: Times) -> Html:
    version, path = html(document["version"]), tag("code", document["config"])
    return Html(f"Version {version} with {path}, running for {show.age(document['started'])}.")


def _problems(document: Json) -> list[tuple[str, str]]:
    """How bad, and a sentence; without those that say the same twice."""
    found = [("bad", reason) for reason in document["unready"]]
    found += [
        ("bad", f"{one['listener']}: the certificate of {one['url']} is NOT verified (tls.verify: false)")
        for one in document["upstreams"]
        if one["insecure"]
    ]
    for one in document["certificates"]:
        days = one["days_left"]
        whose = one["upstream"] or "this listener"
        if days < 0:
            found.append(("bad", f"{one['listener']}: the certificate of {whose} has expired"))
        elif one["ends_soon"]:
            found.append(("poor", f"{one['listener']}: the certificate of {whose} ends in {_days(days)}"))
    last = document["last_reload"]
    if last is not None and not last["ok"]:
        found.append(("bad", "The last reload was refused: the configuration from before is in force"))
    found += [("poor", sentence) for sentence in document["warnings"]]
    return list(dict.fromkeys(found))


def _problem_list(document: Json) -> Html:
    found = _problems(document)
    if not found:
        return Html("")
    words = {"bad": "Problem", "poor": "Note"}
    items = [tag("li", badge(kind, words[kind]), " ", sentence) for kind, sentence in found]
    return tag("ul", *items, class_="problems")


def _listeners(document: Json) -> Html:
    rows = [
        [
            tag("strong", one["name"]),
            one["kind"] + (" with TLS" if one["tls"] else ""),
            _listens_on(one),
            one["leads_to"],
            f"{one['open_connections']:,}",
        ]
        for one in document["listeners"]
    ]
    return section("listeners", "Listeners", ["=Name", "=Kind", "=Listens on", "Leads to", "#Open"], rows)


def _listens_on(one: Json) -> Html:
    if one["draining"]:
        return badge("none", "replaced, ends with its connections")
    return lines(one["addresses"]) if one["listening"] else badge("bad", "does not listen")


def _upstreams(document: Json, show: Times) -> Html:
    rows = [
        [
            _listener_of(one),
            _upstream_name(one),
            _upstream_state(one, show),
            f"{one['open']:,}",
            f"{one['idle']:,}",
            _upstream_notes(one, show, f"history-{index}"),
        ]
        for index, one in enumerate(document["upstreams"])
    ]
    columns = ["=Listener", "Upstream", "=State", "#In use", "#Idle", "Last error and history"]
    return section("upstreams", "Upstreams", columns, rows, empty="No listener has an upstream of its own.")


def _listener_of(one: Json) -> Html:
    route = one.get("route")
    return (
        tag("strong", one["listener"])
        if not route
        else Html(f"{tag('strong', one['listener'])} {html(route)}")
    )


def _upstream_name(one: Json) -> Html:
    name = html(one["url"])
    if one["address"]:
        name = Html(f"{name} {tag('span', 'at ' + one['address'], class_='aside')}")
    if one["insecure"]:
        name = Html(f"{name} {badge('bad', 'not verified')}")
    return name


def _upstream_state(one: Json, show: Times) -> Html:
    if not one["checked"]:
        state = badge("none", "not checked")
    elif one["up"] is None:
        state = badge("none", "not known yet")
    elif one["up"]:
        state = badge("good", "up")
    else:
        state = badge("bad", "down")
    if one["history"]:
        state = Html(f"{state} for {show.age(one['history'][0]['at'])}")
    return state


def _upstream_notes(one: Json, show: Times, key: str) -> Html:
    text = Html("")
    for error in (one["last_error"], one["noticed"]):
        if error is not None:
            text = Html(f"{text}{_explained(error['error'], error['what'], error['remedy'])}")
    changes = one["history"]
    if changes:
        items = [
            tag("li", clock(each["at"]), " ", "up" if each["up"] else "down", _because(each["error"]))
            for each in changes
        ]
        count = f"{len(changes)} change{'s' if len(changes) > 1 else ''} of state"
        text = Html(f"{text}{tag('details', tag('summary', count), tag('ol', *items), id=key)}")
    return text or html("none")


def _because(error: Json | None) -> str:
    return "" if error is None else f" ({error['error']}): {error['what']}"


def _sessions(document: Json, show: Times) -> Html:
    shown = document["sessions"][:SESSIONS]
    rows = [
        [
            tag("strong", one["listener"]),
            one["client"],
            _asked(one),
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


def _asked(one: Json) -> str:
    asked = f"{one['method']} {one['path']}".strip() if one["method"] else one["kind"]
    return f"{asked} {one['status']}" if one["status"] else asked


def _reached(one: Json) -> Html:
    if not one["address"] or one["address"] in one["target"]:
        return html(one["target"])
    return Html(f"{html(one['target'])} {tag('span', 'at ' + one['address'], class_='aside')}")


def _failures(document: Json, show: Times) -> Html:
    rows = [
        [
            show.ago(one["last"]),
            f"{one['count']:,}",
            tag("strong", one["listener"]),
            _asked(one),
            _explained(one["error"], one["detail"], ""),
            lines([one["client"], f"in {one['phase']}"]),
        ]
        for one in document["failures"]
    ]
    columns = ["=Latest", "#Times", "=Listener", "Request", "Error, and what to do", "=Client"]
    return section("failures", "Last errors", columns, rows, empty="No session has failed since the start.")


def _explained(word: str, what: str, remedy: str) -> Html:
    # The sentences have keys and commands between backticks.
    pieces = f"{what} {remedy}".strip().split("`")
    text = [tag("code", piece) if index % 2 else html(piece) for index, piece in enumerate(pieces)]
    broken = Html(html(word).replace("_", "_<wbr>"))  # the words are longer than a telephone is wide
    return Html(f"{tag('code', broken)} {''.join(text)}")


def _certificates(document: Json) -> Html:
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
    columns = ["=Listener", "Whose", "For", "Issued by", "=Ends", "#Left"]
    empty = "No listener has one, and no upstream has shown one yet."
    return section("certificates", "Certificates", columns, rows, empty=empty)


def _left(one: Json) -> Html:
    days = one["days_left"]
    if days < 0:
        return badge("bad", "expired")
    return badge("poor", _days(days)) if one["ends_soon"] else html(_days(days))


def _days(days: int) -> str:
    return "less than a day" if days < 1 else f"{days:,} day{'s' if days > 1 else ''}"


def _reloads(document: Json, show: Times) -> Html:
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
    empty = "None since the start."
    return section("reloads", "Reloads", columns, rows, empty=empty)
