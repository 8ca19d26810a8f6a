"""What C{/status.json} says of one thing: a listener, an upstream, a session, and so on."""

from __future__ import annotations

from typing import Any

from lanrelay.admin.counters import Count
from lanrelay.admin.failures import Failed
from lanrelay.admin.glance import bars, glance, mcp_path
from lanrelay.admin.leads import Lead
from lanrelay.admin.watched import Reload, WallClock, Watched
from lanrelay.errors import DialError
from lanrelay.listeners.service import ListenerService
from lanrelay.observe.accesslog import shown_path
from lanrelay.observe.logformat import moment
from lanrelay.observe.session import Session
from lanrelay.upstream.explain import explain
from lanrelay.upstream.upstream import Transition

Json = dict[str, Any]


def listener_item(listener: ListenerService, watched: Watched, now: float) -> Json:
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


def upstream_item(lead: Lead, wall: WallClock, now: float) -> Json:
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
        "last_error": None if upstream.last_error is None else _error_item(upstream.last_error),
        "noticed": None if upstream.noticed is None else _error_item(upstream.noticed),
        "history": [_transition_item(one, wall) for one in reversed(upstream.history)],
        **bars(upstream, now),
    }


def _transition_item(transition: Transition, wall: WallClock) -> Json:
    return {
        "at": moment(wall.at(transition.at)),
        "up": transition.up,
        "error": None if transition.error is None else _error_item(transition.error),
    }


def _error_item(error: DialError) -> Json:
    explanation = explain(error)
    return {"error": error.proxy_status, "what": explanation.what, "remedy": explanation.remedy}


def session_item(session: Session, watched: Watched) -> Json:
    now = watched.reactor.seconds()
    return {
        "id": session.id,
        "listener": session.listener,
        "kind": session.kind,
        "client": session.client,
        "method": session.method,
        "path": shown_path(session.path),
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


def failed_item(failed: Failed) -> Json:
    session = failed.session
    return {
        "listener": session.listener,
        "kind": session.kind,
        "client": session.client,
        "method": session.method,
        "path": shown_path(session.path),
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


def reload_item(reload: Reload) -> Json:
    return {
        "at": moment(reload.at),
        "by": reload.by,
        "ok": reload.ok,
        "errors": list(reload.errors),
        "changes": list(reload.changes),
    }


def count_item(count: Count) -> Json:
    return {
        "sessions": count.sessions,
        "failed": count.failed,
        "received": count.received,
        "sent": count.sent,
        "errors": dict(count.errors),
        "requests": {str(code): number for code, number in sorted(count.codes.items())},
    }
