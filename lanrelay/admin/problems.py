"""What is wrong with a listener: the cause, a sentence for it and one for what to do, and a command."""

from __future__ import annotations

from shlex import quote
from typing import Any

from lanrelay.admin.watched import Watched
from lanrelay.errors import DialError, HostRefused, TlsOnPlain
from lanrelay.examine.causes import cause_of
from lanrelay.listeners.service import ListenerService
from lanrelay.upstream.explain import explain
from lanrelay.upstream.upstream import Upstream

Json = dict[str, Any]


def problem_of(listener: ListenerService, watched: Watched) -> Json | None:
    """The worst there is; C{None} if it can be used, as far as is known."""
    if not (listener.running and listener.bound) and not listener.draining:
        return {
            "cause": "not_running",
            "sentence": f"{listener.config.name} does not listen.",
            "remedy": "Look at the relay's log.",
            "command": "lanrelay doctor",
            "since": watched.pulses.of(listener.config.name).since,
            "line": line_of(watched, listener.config.name),
        }
    for group in listener.groups:
        if any(_fault(member) is None for member in group.members):
            continue
        member = group.members[0]
        error = _fault(member)
        if error is not None:
            return _problem(listener, member, error, watched)
    for group in listener.groups:
        for member in group.members:
            if member.noticed is not None:
                return _problem(listener, member, member.noticed, watched)
    return None


def _fault(upstream: Upstream) -> DialError | None:
    """Why it cannot be used now."""
    if not upstream.up or upstream.health is None:
        return upstream.last_error
    return None


def _problem(listener: ListenerService, upstream: Upstream, error: DialError, watched: Watched) -> Json:
    name = listener.config.name
    explanation = explain(error)
    return {
        "cause": _cause(error),
        "sentence": explanation.what,
        "remedy": explanation.remedy,
        "command": _command(name, _cause(error)),
        "since": round(watched.wall.at(upstream.changed), 3),
        "line": line_of(watched, name, upstream.name),
    }


def _cause(error: DialError) -> str:
    if isinstance(error, HostRefused):
        return "host_refused"
    if isinstance(error, TlsOnPlain):
        return "tls_on_plain"
    return cause_of(error) or error.proxy_status


def _command(name: str, cause: str) -> str:
    if cause in ("unknown_ca", "self_signed", "pin_differs"):
        return f"lanrelay trust {quote(name)}"
    return f"lanrelay doctor {quote(name)}"


def line_of(watched: Watched, listener: str, url: str = "") -> str | None:
    """C{relay.yaml:12}."""
    lines = watched.lines
    line = lines.get((listener, url)) or lines.get((listener, ""))
    return None if line is None else f"{watched.config.path.name}:{line}"
