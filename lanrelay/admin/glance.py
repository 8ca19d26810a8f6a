"""What a listener shows at a glance: its URL, its state, its last hour, what is wrong with it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from lanrelay.admin.problems import problem_of
from lanrelay.admin.watched import Watched
from lanrelay.config.kinds import kind_named, scheme_of
from lanrelay.listeners.service import ListenerService
from lanrelay.observe.rings import Cell
from lanrelay.observe.session import Session
from lanrelay.observe.timeline import Happening
from lanrelay.upstream.upstream import Upstream

if TYPE_CHECKING:
    from lanrelay.trust.certificate import CertificateInfo

Json = dict[str, Any]


# --- a listener ---------------------------------------------------------------------------------------


def mcp_path(listener: ListenerService) -> str | None:
    """The path of its MCP endpoint, as far as the configuration tells."""
    kind = kind_named(listener.kind)  # C{None}: the admin page itself
    return None if kind is None else kind.mcp(listener.config)


def url_of(listener: ListenerService) -> str | None:
    """What a client on this machine is told; C{None} where it does not listen."""
    if not listener.bound:
        return None
    place = listener.bound[0].name
    secure = listener.config.tls is not None
    scheme = "http" if kind_named(listener.kind) is None else scheme_of(listener.config)
    path = mcp_path(listener) or ""
    if place.startswith("unix:"):
        return place if scheme == "tcp" else f"{scheme}+{place}{path and ':' + path}"
    if secure:
        scheme = {"http": "https", "tcp": "tls"}.get(scheme, scheme)
    host, _, port = place.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"{scheme}://{host}:{port}{path}"


def glance(listener: ListenerService, watched: Watched, now: float) -> Json:
    """@param now: wall-clock seconds since the epoch."""
    name = listener.config.name
    requests, errors = watched.pulses.hour(name)
    waited = watched.pulses.first_byte(name)
    problem = problem_of(listener, watched)
    return {
        "url": url_of(listener),
        "since": round(_since(listener, watched) if problem is None else problem["since"], 3),
        "open": listener.open_connections,
        "hour": {"requests": requests, "errors": errors},
        "first_byte_ms": None if waited is None else round(waited * 1000, 1),
        "certificate_days": _days_left(listener, watched, now),
        "mcp_server": _mcp_server(listener),
        "problem": problem,
    }


def _mcp_server(listener: ListenerService) -> Json | None:
    known = next((server for server in listener.mcp_servers if server.known), None)
    if known is None:
        return None
    return {
        "server": known.server,
        "version": known.version,
        "era": known.era,
        "tools": known.tools,
        "sessions": listener.mcp_sessions,
    }


def _since(listener: ListenerService, watched: Watched) -> float:
    """When an upstream of it last changed its state, or else when the listener began."""
    begun = watched.pulses.of(listener.config.name).since
    changes = [
        watched.wall.at(member.changed)
        for group in listener.groups
        for member in group.members
        if member.history
    ]
    return max([begun, *changes])


def _days_left(listener: ListenerService, watched: Watched, now: float) -> int | None:
    """Whole days until the first of the certificates ends, its own or an upstream's."""
    ends = [info.not_after.timestamp() for info in certificates_of(listener, watched)]
    return int((min(ends) - now) // 86400) if ends else None


def certificates_of(listener: ListenerService, watched: Watched) -> Iterator[CertificateInfo]:
    """The certificates that the listener shows, and those that its upstreams showed last."""
    own = watched.own_certificates.of(listener)
    if own is not None:
        yield own
    for group in listener.groups:
        for member in group.members:
            if member.certificate is not None:
                yield member.certificate


# --- an upstream --------------------------------------------------------------------------------------


def bars(upstream: Upstream, now: float) -> Json:
    """
    While nothing changes, the very same lists are given; the caller must not change them.

    @param now: wall-clock seconds since the epoch.
    """
    seen = upstream.trail.minutes(now), upstream.trail.hours(now)
    had = _bars.get(upstream)
    if had is None or had[0] != seen:
        minutes, hours = ([_cell(one) for one in cells] for cells in seen)
        had = _bars[upstream] = seen, {"minutes": minutes, "hours": hours}
    return had[1]


_bars: WeakKeyDictionary[Upstream, tuple[object, Json]] = WeakKeyDictionary()


def _cell(cell: Cell) -> Json:
    return {"state": cell.state, "why": cell.why, "at": cell.at}


# --- the relay ----------------------------------------------------------------------------------------


def events(happenings: Iterable[Happening]) -> list[Json]:
    """The latest last."""
    return [event(one) for one in happenings]


def event(one: Happening) -> Json:
    return {
        "at": round(one.at, 3),
        "kind": one.kind,
        "listener": one.listener,
        "upstream": one.upstream,
        "text": one.text,
        "count": one.count,
        "last": round(one.last, 3),
    }


def reachable(watched: Watched) -> Json:
    """How many of the listeners that lead somewhere can be used, as far as is known."""
    leading = [listener for listener in watched.listeners if listener.relays]
    return {"up": sum(1 for listener in leading if is_reachable(listener)), "of": len(leading)}


def is_reachable(listener: ListenerService) -> bool:
    """The listener listens, and each of its groups has an upstream that is not known to be down."""
    return bool(listener.running and listener.bound) and all(
        any(member.up and not (member.health is None and member.last_error) for member in group.members)
        for group in listener.groups
    )


# --- requests -----------------------------------------------------------------------------------------


def requests(watched: Watched, names: Iterable[str]) -> list[tuple[Session, str]]:
    """The latest sessions of each of these listeners that have ended, with its name; the latest last."""
    return sorted(((one, name) for name in names for one in watched.counters.recent(name)), key=by_end)


def requests_text(watched: Watched, names: Iterable[str]) -> Iterator[str]:
    """The whole of C{/requests.json}, one request at a time."""
    before = '{"requests": ['
    for one, name in requests(watched, names):
        yield f"{before}\n  {json.dumps(request(one, name))}"
        before = ","
    yield "\n]}\n" if before == "," else f"{before}]}}\n"


def by_end(found: tuple[Session, str]) -> float:
    """When it ended."""
    return found[0].started + found[0].duration


def request(one: Session, listener: str) -> Json:
    return {
        "at": round(one.started, 3),
        "listener": listener,
        "method": one.method or None,
        "rpc": one.rpc or None,
        "status": one.status or None,
        "seconds": round(one.duration, 4),
        "first_byte": None if one.first_byte is None else round(one.first_byte, 4),
        "received": one.received,
        "bytes": one.sent,
        "error": one.error or None,
    }


def names(watched: Watched) -> list[str]:
    """The names of the listeners that have requests to show."""
    return [listener.config.name for listener in watched.listeners]


def now() -> float:
    """Wall-clock seconds since the epoch."""
    return time.time()
