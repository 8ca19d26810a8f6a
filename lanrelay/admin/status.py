"""What the relay is doing, as plain data made for JSON; C{docs/monitoring.md} has it field by field."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from lanrelay.admin.first_steps import first_steps
from lanrelay.admin.glance import events, reachable
from lanrelay.admin.items import (
    count_item,
    failed_item,
    listener_item,
    reload_item,
    session_item,
    upstream_item,
)
from lanrelay.admin.leads import Lead, leads
from lanrelay.admin.watched import Watched
from lanrelay.listeners.service import ListenerService
from lanrelay.observe.logformat import moment
from lanrelay.upstream.explain import explain
from lanrelay.upstream.upstream import Upstream

if TYPE_CHECKING:
    from lanrelay.trust.certificate import CertificateInfo

Json = dict[str, Any]

SESSIONS = 1000
"""How many open sessions the document holds at most; a session is 500 bytes of it."""

SOON = timedelta(days=14)
"""
From so long before its end a certificate is a problem: ACME clients should have renewed it by then. For one
with a short life it is the last quarter of that (Caddy's own live 12 hours).
"""


# --- readiness ---


def unready(watched: Watched) -> list[str]:
    """Why the relay cannot do all that it is configured to do, as sentences; empty when it can."""
    return list(_unready(watched.listeners))


def _unready(listeners: Iterable[ListenerService]) -> Iterator[str]:
    for listener in listeners:
        name = listener.config.name
        if not listener.running or not listener.bound:
            yield f"{name} does not listen"
        for group in listener.groups:
            states = [member.state for member in group.members]
            if "up" in states or "not checked" in states:
                continue
            for member, state in zip(group.members, states, strict=True):
                yield f"{name}: {member.name} is {state}{_because(member) if state == 'down' else ''}"


def not_checked(watched: Watched) -> list[str]:
    """The upstreams of which nothing is known because no health check looks at them, as sentences."""
    return [
        f"{lead.listener}: {lead.upstream.name} is not checked"
        for lead in leads(watched.listeners)
        if lead.upstream.state == "not checked"
    ]


def _because(upstream: Upstream) -> str:
    if upstream.last_error is None:
        return ""
    return f" ({upstream.last_error.proxy_status}): {explain(upstream.last_error).what}"


# --- the document ---


class Pieces:
    """
    What the document says of listeners, their upstreams and what has happened, kept for as long as it is
    true.

    A session, a dial or a check has only its own listener made anew. What depends on the minute is made anew
    once a minute: for a request for the document, all at once; for open pages, a few listeners at each look.

    @ivar made: how often the part of a listener was made.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._listeners: dict[ListenerService, tuple[int, Json, list[Json]]] = {}
        self._events: tuple[int, list[Json]] = (-1, [])
        self._failures: tuple[int, list[Json]] = (-1, [])
        self._old = 0  # how many that are a minute old may still be made anew
        self.made = 0

    def begin(self, *, few: int | None = None) -> None:
        """
        A look begins.

        @param few: how many listeners may be made anew for no other reason than that a minute has passed;
            C{None} for all.
        """
        self._old = len(self._listeners) if few is None else few
        touched = self._watched.ledger.touched
        if touched:
            for listener in [one for one in self._listeners if one.config.name in touched]:
                del self._listeners[listener]
            touched.clear()

    def listener(self, listener: ListenerService) -> tuple[Json, list[Json]]:
        """What is said of it, and of its upstreams."""
        watched = self._watched
        known = self._listeners.get(listener)
        now = time.time()
        minute = int(now // 60)
        if known is not None and known[0] != minute and self._old > 0:
            self._old -= 1
            known = None
        if known is None:
            self.made += 1
            found = [] if listener.draining else list(leads([listener]))
            upstreams = [upstream_item(lead, watched.wall, now) for lead in found]
            known = (minute, listener_item(listener, watched, now), upstreams)
            if watched.follows:
                self._listeners[listener] = known
        return known[1], known[2]

    def forget(self) -> None:
        """The listeners have changed."""
        self._listeners.clear()

    def events(self) -> list[Json]:
        """The same list as long as nothing else has happened."""
        timeline = self._watched.timeline
        if self._events[0] != timeline.version:
            self._events = (timeline.version, events(timeline))
        return self._events[1]

    def failures(self) -> list[Json]:
        """The same list as long as nothing else has failed."""
        failures = self._watched.counters.failures
        if self._failures[0] != failures.version:
            self._failures = (failures.version, [failed_item(one) for one in failures])
        return self._failures[1]

    @property
    def is_old(self) -> bool:
        """Whether a look would find something else."""
        minute = int(time.time() // 60)
        return (
            not self._watched.follows
            or len(self._watched.ledger) > 0  # bytes and phases of open sessions change without a word
            or bool(self._watched.ledger.touched)
            or self._events[0] != self._watched.timeline.version
            or not self._listeners
            or any(known[0] != minute for known in self._listeners.values())
        )


def pieces(watched: Watched) -> Pieces:
    """The pieces of the relay's document, made at the first call."""
    if watched.pieces is None:
        watched.pieces = Pieces(watched)
    found: Pieces = watched.pieces
    return found


def status(watched: Watched, *, sessions: int = SESSIONS, few: int | None = None) -> Json:
    """
    The whole of C{/status.json}.

    @param sessions: how many open sessions it holds at most, the oldest first.
    @param few: see L{Pieces.begin}.
    """
    document = _head(watched)
    kept = pieces(watched)
    kept.begin(few=few)
    made = [kept.listener(listener) for listener in (*watched.listeners, *watched.draining)]
    document["listeners"] = [one for one, _ in made]
    document["upstreams"] = [one for _, upstreams in made for one in upstreams]
    document["certificates"] = list(_certificates(watched, leads(watched.listeners), time.time()))
    document["sessions_open"] = len(watched.ledger)
    document["sessions"] = [session_item(one, watched) for one in watched.ledger.oldest(sessions)]
    document["failures"] = kept.failures()
    document.update(_reloads(watched))
    document["events"] = kept.events()
    document["counters"] = {name: count_item(one) for name, one in sorted(watched.counters.listeners.items())}
    return document


def _head(watched: Watched) -> Json:
    now = time.time()
    reasons = unready(watched)
    return {
        "version": watched.version,
        "pid": os.getpid(),
        "config": str(watched.config.path),
        "started": moment(watched.started),
        "now": moment(now),
        "uptime": round(max(now - watched.started, 0.0), 3),
        "ready": not reasons,
        "unready": reasons,
        "first_steps": first_steps(watched.config),
        "warnings": list(watched.config.warnings),
        "reachable": reachable(watched),
    }


def _reloads(watched: Watched) -> Json:
    reloads = [reload_item(one) for one in reversed(watched.reloads)]
    return {"last_reload": reloads[0] if reloads else None, "reloads": reloads}


# --- the same as text, in portions ---


def status_text(watched: Watched) -> Iterator[str]:
    """
    The whole of C{/status.json}, a little at a time; what happens meanwhile may show in the later pieces.

    Each piece takes a tenth of a millisecond or so; it is a line, or several that are short.
    """
    yield "{\n" + _members(_head(watched))
    kept = pieces(watched)
    kept.begin()
    listeners = [*watched.listeners, *watched.draining]
    yield from _list("listeners", (kept.listener(one)[0] for one in listeners))
    yield from _list("upstreams", (one for each in listeners for one in kept.listener(each)[1]))
    found = list(leads(watched.listeners))
    yield from _list("certificates", _certificates(watched, found, time.time()))
    yield f'  "sessions_open": {len(watched.ledger)},\n'
    sessions = watched.ledger.oldest(SESSIONS)
    yield from _list("sessions", (session_item(one, watched) for one in sessions))
    yield from _list("failures", kept.failures())
    yield _members(_reloads(watched))
    yield from _list("events", kept.events())
    yield '  "counters": {'
    before = ""
    for name, count in sorted(watched.counters.listeners.items()):
        yield f"{before}\n    {_text(name)}: {_text(count_item(count))}"
        before = ","
    yield "\n  }\n}\n" if before else "}\n}\n"


def _members(found: Json) -> str:
    return "".join(f"  {_text(key)}: {_text(value)},\n" for key, value in found.items())


def _list(key: str, items: Iterable[Json]) -> Iterator[str]:
    """An item a line."""
    before = f"  {_text(key)}: ["
    for item in items:
        yield f"{before}\n    {_text(item)}"
        before = ","
    yield "\n  ],\n" if before == "," else f"{before}],\n"


_text = json.dumps


# --- certificates ---


def certificates(watched: Watched, found: Iterable[Lead]) -> Iterator[tuple[dict[str, str], CertificateInfo]]:
    """Those that listeners show, then those that upstreams showed last; with what tells whose each is."""
    for listener in watched.listeners:
        own = watched.own_certificates.of(listener)
        if own is not None:
            yield {"listener": listener.config.name}, own
    for lead in found:
        info = lead.upstream.certificate
        if info is not None:
            yield lead.labels, info


def _certificates(watched: Watched, found: Iterable[Lead], now: float) -> Iterator[Json]:
    for labels, info in certificates(watched, found):
        left = info.not_after - datetime.fromtimestamp(now, timezone.utc)
        yield {
            "listener": labels["listener"],
            "route": labels.get("route", ""),
            "upstream": labels.get("upstream") or None,
            "address": labels.get("address", ""),
            "subject": info.subject,
            "issuer": info.issuer,
            "names": list(info.names),
            "not_before": info.not_before.isoformat(),
            "not_after": info.not_after.isoformat(),
            "days_left": left.days,
            "ends_soon": left < min(SOON, (info.not_after - info.not_before) / 4),
        }
