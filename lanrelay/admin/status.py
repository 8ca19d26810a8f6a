"""What the relay is doing, as plain data made for JSON; C{docs/monitoring.md} has it field by field."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

from lanrelay.admin.counters import Count
from lanrelay.admin.failures import Failed
from lanrelay.admin.first_steps import first_steps
from lanrelay.admin.glance import bars, events, glance, mcp_path, reachable
from lanrelay.admin.leads import Lead, leads
from lanrelay.admin.watched import Reload, WallClock, Watched
from lanrelay.errors import DialError
from lanrelay.listeners.service import ListenerService
from lanrelay.observe.logformat import moment
from lanrelay.observe.session import Session
from lanrelay.upstream.explain import explain
from lanrelay.upstream.upstream import Transition, Upstream

if TYPE_CHECKING:
    from lanrelay.trust.certificate import CertificateInfo

Json = dict[str, Any]

SESSIONS = 1000
"""How many open sessions the document holds at most; a session is 500 bytes of it."""

SOON = timedelta(days=14)
"""
Before its end a certificate is a problem: ACME clients should have renewed it by then. Of one that lives for
less, it is the last quarter of its life (Caddy's own live 12 hours).
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
    """The upstreams of which nothing is known because nobody looks, as sentences."""
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


def status(watched: Watched, *, sessions: int = SESSIONS) -> Json:
    """
    The whole of C{/status.json}.

    @param sessions: how many of those that are open it holds at most, the oldest first.
    """
    now = time.time()
    reasons = unready(watched)
    found = list(leads(watched.listeners))
    reloads = [_reload(one) for one in reversed(watched.reloads)]
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
        "listeners": [
            _listener(listener, watched, now) for listener in (*watched.listeners, *watched.draining)
        ],
        "upstreams": [_upstream(lead, watched.wall, now) for lead in found],
        "certificates": list(_certificates(watched, found, now)),
        "sessions_open": len(watched.ledger),
        "sessions": [_session(one, watched) for one in islice(watched.ledger, sessions)],
        "failures": [_failed(one) for one in watched.counters.failures],
        "last_reload": reloads[0] if reloads else None,
        "reloads": reloads,
        "events": events(watched.timeline),
        "counters": {name: _count(one) for name, one in sorted(watched.counters.listeners.items())},
    }


def _listener(listener: ListenerService, watched: Watched, now: float) -> Json:
    return {
        "name": listener.config.name,
        "kind": listener.kind,
        "addresses": [bound.name for bound in listener.bound],
        "listening": bool(listener.running and listener.bound),
        "draining": listener.draining,
        "tls": listener.config.tls is not None,
        "mcp": mcp_path(listener),
        "leads_to": listener.leads_to(),
        "open_connections": listener.open_connections,
        "max_connections": listener.config.max_connections,
        **glance(listener, watched, now),
    }


def _upstream(lead: Lead, wall: WallClock, now: float) -> Json:
    upstream = lead.upstream
    labels = lead.labels
    return {
        "listener": lead.listener,
        "route": lead.route,
        "url": upstream.name,
        "address": labels["address"],
        "up": {"up": True, "down": False}.get(upstream.state),
        "checked": lead.checked,
        "open": upstream.open,
        "idle": lead.idle,
        "insecure": upstream.insecure,
        "last_error": None if upstream.last_error is None else _error(upstream.last_error),
        "noticed": None if upstream.noticed is None else _error(upstream.noticed),
        "history": [_transition(one, wall) for one in reversed(upstream.history)],
        **bars(upstream, now),
    }


def _transition(transition: Transition, wall: WallClock) -> Json:
    return {
        "at": moment(wall.at(transition.at)),
        "up": transition.up,
        "error": None if transition.error is None else _error(transition.error),
    }


def _error(error: DialError) -> Json:
    explanation = explain(error)
    return {"error": error.proxy_status, "what": explanation.what, "remedy": explanation.remedy}


def _session(session: Session, watched: Watched) -> Json:
    now = watched.reactor.seconds()
    return {
        "id": session.id,
        "listener": session.listener,
        "kind": session.kind,
        "client": session.client,
        "method": session.method,
        "path": session.path.partition("?")[0],
        "target": session.target,
        "address": session.address,
        "phase": session.phase,
        "status": session.status,
        "started": moment(session.started),
        "age": round(now - session.opened, 3),
        "last_active": moment(watched.wall.at(session.last_active)),
        "silent_for": round(now - session.last_active, 3),
        "received": session.received,
        "sent": session.sent,
    }


def _failed(failed: Failed) -> Json:
    session = failed.session
    return {
        "listener": session.listener,
        "kind": session.kind,
        "client": session.client,
        "method": session.method,
        "path": session.path.partition("?")[0],
        "target": session.target,
        "address": session.address,
        "phase": session.phase,
        "status": session.status,
        "error": session.error,
        "detail": session.detail,
        "ended_by": session.ended_by,
        "count": failed.count,
        "first": moment(failed.first),
        "last": moment(failed.last),
    }


def _reload(reload: Reload) -> Json:
    return {
        "at": moment(reload.at),
        "by": reload.by,
        "ok": reload.ok,
        "errors": list(reload.errors),
        "changes": list(reload.changes),
    }


def _count(count: Count) -> Json:
    return {
        "sessions": count.sessions,
        "failed": count.failed,
        "received": count.received,
        "sent": count.sent,
        "errors": dict(count.errors),
        "requests": {str(code): number for code, number in sorted(count.codes.items())},
    }


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
