"""What the status endpoints say, as plain data made for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lanrelay.admin.counters import Counters
from lanrelay.config import model
from lanrelay.listeners.base import ListenerService
from lanrelay.observe.ledger import Ledger
from lanrelay.observe.logformat import moment
from lanrelay.observe.session import Session
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.upstream.explain import explain
from lanrelay.upstream.upstream import Upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """
    The parts of the running relay that the endpoints look at.

    @ivar started: wall-clock seconds since the epoch.
    @ivar listeners: those that were started; the service keeps the list.
    """

    version: str
    config: model.Config
    started: float
    reactor: Any
    ledger: Ledger
    counters: Counters
    listeners: Sequence[ListenerService]


def groups(listener: ListenerService) -> Sequence[UpstreamGroup]:
    """What a listener leads to; a forward proxy leads to what its clients ask for, so to none."""
    found: Sequence[UpstreamGroup] = getattr(listener, "groups", ())
    return found


def unready(watched: Watched) -> list[str]:
    """Why the relay cannot do all that it is configured to do, as sentences; empty when it can."""
    return list(_unready(watched.listeners))


def _unready(listeners: Sequence[ListenerService]) -> Iterator[str]:
    for listener in listeners:
        name = listener.config.name
        if not listener.running or not listener.bound:
            yield f"{name} does not listen"
        for group in groups(listener):
            if not any(member.up for member in group.members):
                for member in group.members:
                    yield f"{name}: {member.name} is down{_because(member)}"


def _because(upstream: Upstream) -> str:
    if upstream.last_error is None:
        return ""
    return f" ({upstream.last_error.proxy_status}): {explain(upstream.last_error).what}"


def status(watched: Watched) -> dict[str, object]:
    """The whole of C{/status.json}."""
    now = watched.reactor.seconds()
    reasons = unready(watched)
    return {
        "version": watched.version,
        "config": str(watched.config.path),
        "started": moment(watched.started),
        "ready": not reasons,
        "unready": reasons,
        "warnings": list(watched.config.warnings),
        "listeners": [_listener(listener) for listener in watched.listeners],
        "upstreams": [
            _upstream(listener, upstream)
            for listener in watched.listeners
            for group in groups(listener)
            for upstream in group.members
        ],
        "sessions": [_session(session, now) for session in watched.ledger],
        "counters": {name: asdict(count) for name, count in sorted(watched.counters.listeners.items())},
    }


def _listener(listener: ListenerService) -> dict[str, object]:
    return {
        "name": listener.config.name,
        "kind": listener.kind,
        "addresses": [bound.name for bound in listener.bound],
        "leads_to": listener.leads_to(),
        "open_connections": listener.open_connections,
    }


def _upstream(listener: ListenerService, upstream: Upstream) -> dict[str, object]:
    error = upstream.last_error
    last_error: dict[str, str] | None = None
    if error is not None:
        explanation = explain(error)
        last_error = {
            "error": error.proxy_status,
            "what": explanation.what,
            "remedy": explanation.remedy,
        }
    return {
        "listener": listener.config.name,
        "url": upstream.name,
        "up": upstream.up,
        "open": upstream.open,
        "insecure": upstream.insecure,
        "last_error": last_error,
    }


def _session(session: Session, now: float) -> dict[str, object]:
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
        "started": moment(session.started),
        "age": round(now - session.opened, 3),
        "silent_for": round(now - session.last_active, 3),
        "received": session.received,
        "sent": session.sent,
    }
