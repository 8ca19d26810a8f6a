"""C{/metrics}: the relay's figures as families; C{docs/monitoring.md} has them one by one."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator

from lanrelay.admin.counters import Count
from lanrelay.admin.glance import is_reachable
from lanrelay.admin.leads import Lead, leads
from lanrelay.admin.process_figures import process_figures
from lanrelay.admin.status import certificates
from lanrelay.admin.watched import Watched
from lanrelay.observe.metrics import Family, Histogram, Kind, expose
from lanrelay.observe.timeline import KINDS


def figures(watched: Watched) -> bytes:
    """
    The answer to a scrape.

    Labels are listeners, routes, upstreams, status codes and RFC 9209's words: all bounded by the
    configuration or a standard, none by what clients send.
    """
    return expose(_families(watched))


def figures_in_pieces(watched: Watched) -> Iterator[str]:
    """The same, a family at a time."""
    return (expose([family]).decode() for family in _families(watched))


def _families(watched: Watched) -> Iterator[Family]:
    yield from _about(watched)
    yield from _listeners(watched)
    yield from _sessions(watched)
    found = list(leads(watched.listeners))
    yield from _upstreams(found)
    yield _expiry(watched, found)
    yield from process_figures(watched.started)


def _about(watched: Watched) -> Iterator[Family]:
    build = Family("lanrelay_build_info", "gauge", "1, with the version in its labels.")
    build.add(1, {"version": watched.version, "python": platform.python_version()})
    yield build
    last = watched.reloads[-1] if watched.reloads else None
    outcome = Family(
        "lanrelay_config_last_reload_successful",
        "gauge",
        "Whether the configuration that was read last (at the start or at a reload) is in force.",
    )
    outcome.add(int(last is None or last.ok))
    yield outcome
    when = Family(
        "lanrelay_config_last_reload_success_timestamp_seconds",
        "gauge",
        "When the configuration in force was read, since the epoch.",
    )
    when.add(round(watched.configured, 3))
    yield when


def _listeners(watched: Watched) -> Iterator[Family]:
    listening = Family("lanrelay_listener_up", "gauge", "Whether the listener listens.")
    connections = Family("lanrelay_connections_open", "gauge", "Connections of clients that are open.")
    limit = Family(
        "lanrelay_connections_max", "gauge", "max_connections: over it, clients wait in the kernel's queue."
    )
    opened: dict[str, int] = {}
    most: dict[str, int] = {}
    up: dict[tuple[str, str], bool] = {}
    for listener in (*watched.listeners, *watched.draining):  # after a reload two may have one name
        name = listener.config.name
        opened[name] = opened.get(name, 0) + listener.open_connections
        if not listener.draining:
            most[name] = listener.config.max_connections
            up[name, listener.kind] = bool(listener.running and listener.bound)
    for (name, kind), listens in up.items():
        listening.add(int(listens), {"listener": name, "kind": kind})
    for name, count in opened.items():
        connections.add(count, {"listener": name})
    for name, count in most.items():
        limit.add(count, {"listener": name})
    yield from (listening, connections, limit)
    reached = Family(
        "lanrelay_listener_reachable",
        "gauge",
        "Whether it can be used, as far as is known: it listens, and an upstream of each group is not down.",
    )
    tools = Family(
        "lanrelay_mcp_tools", "gauge", "Tools of the MCP server behind it, as it told a client last."
    )
    sessions = Family(
        "lanrelay_mcp_sessions", "gauge", "MCP sessions that have begun and have not been ended."
    )
    for listener in watched.listeners:
        labels = {"listener": listener.config.name}
        if listener.relays:
            reached.add(int(is_reachable(listener)), labels)
        known = [server for server in listener.mcp_servers if server.known]
        if known:
            sessions.add(listener.mcp_sessions, labels)
        told = [server.tools for server in known if server.tools is not None]
        if told:
            tools.add(sum(told), labels)
    yield from (reached, tools, sessions)
    happened = Family("lanrelay_events_total", "counter", "What has happened, by kind; refusals, too.")
    for kind in KINDS:
        happened.add(watched.timeline.counts.get(kind, 0), {"kind": kind})
    yield happened


# --- what sessions came to ---


def _sessions(watched: Watched) -> Iterator[Family]:
    counts = {listener.config.name: Count() for listener in watched.listeners}
    counts.update(watched.counters.listeners)
    opened = dict.fromkeys(counts, 0)
    received = {name: count.received for name, count in counts.items()}
    sent = {name: count.sent for name, count in counts.items()}
    for session in watched.ledger:  # else a stream of days would be counted only at its end
        name = session.listener
        opened[name] = opened.get(name, 0) + 1
        received[name] = received.get(name, 0) + session.received
        sent[name] = sent.get(name, 0) + session.sent
    yield _each("lanrelay_sessions_open", "Connections and HTTP requests under way.", opened, kind="gauge")
    yield _each(
        "lanrelay_sessions_total",
        "Connections and HTTP requests that have ended.",
        {name: count.sessions for name, count in counts.items()},
    )
    yield _each("lanrelay_received_bytes_total", "Bytes from clients; of HTTP the content only.", received)
    yield _each("lanrelay_sent_bytes_total", "Bytes to clients; of HTTP the content only.", sent)
    yield _by_word(
        "lanrelay_session_errors_total", "Sessions that failed", counts, lambda count: count.errors
    )
    yield _by_word(
        "lanrelay_dial_failures_total",
        "Sessions that came to no connection, after all tries",
        counts,
        lambda count: count.dial_failures,
    )
    requests = Family("lanrelay_requests_total", "counter", 'HTTP requests; code "none" had no answer.')
    for name, count in counts.items():
        for code, number in sorted(_folded(count.codes).items()):
            requests.add(number, {"listener": name, "code": code})
    yield requests
    for name, text, of in _HISTOGRAMS:
        family = Family(name, "histogram", text)
        for listener, count in counts.items():
            histogram = of(count)
            if histogram.count:  # a forward has no requests
                family.add_histogram(histogram, {"listener": listener})
        yield family


_HISTOGRAMS: tuple[tuple[str, str, Callable[[Count], Histogram]], ...] = (
    (
        "lanrelay_request_duration_seconds",
        "From a request's head to the end of its answer; streams too, tunnels not.",
        lambda count: count.duration,
    ),
    (
        "lanrelay_response_start_seconds",
        "From a request's head to the head of its answer.",
        lambda count: count.answered,
    ),
    (
        "lanrelay_dial_duration_seconds",
        "What a dial that succeeded took, with its pauses and tries.",
        lambda count: count.dialed,
    ),
)


def _each(name: str, text: str, values: dict[str, int], *, kind: Kind = "counter") -> Family:
    family = Family(name, kind, text)
    for listener, value in values.items():
        family.add(value, {"listener": listener})
    return family


def _by_word(name: str, text: str, counts: dict[str, Count], of: Callable[[Count], dict[str, int]]) -> Family:
    family = Family(name, "counter", f"{text}, by the error word of RFC 9209.")
    for listener, count in counts.items():
        for word, number in sorted(of(count).items()):
            family.add(number, {"listener": listener, "error": word})
    return family


def _folded(codes: dict[int, int]) -> dict[str, int]:
    """No more labels than there are valid codes (RFC 9110 section 15), whatever an upstream answers."""
    found: dict[str, int] = {}
    for code, number in codes.items():
        label = "none" if code == 0 else str(code) if 100 <= code <= 599 else "other"
        found[label] = found.get(label, 0) + number
    return found


# --- upstreams ---


def _upstreams(found: list[Lead]) -> Iterator[Family]:
    kinds: tuple[tuple[str, str, Callable[[Lead], int | None], Callable[[int, int], int]], ...] = (
        (
            "lanrelay_upstream_up",
            "Whether it is taken to be there; always without health checks, absent before the first.",
            lambda lead: None if lead.upstream.state == "not known yet" else int(lead.upstream.up),
            min,
        ),
        (
            "lanrelay_upstream_connections_in_use",
            "Connections to it that serve a client.",
            lambda lead: lead.upstream.open,
            int.__add__,
        ),
        (
            "lanrelay_upstream_connections_idle",
            "Connections to it in the pool.",
            lambda lead: lead.idle,
            int.__add__,
        ),
        (
            "lanrelay_upstream_insecure",
            "1 where tls.verify is false: whoever answers is believed.",
            lambda lead: int(lead.upstream.insecure),
            max,
        ),
    )
    for name, text, of, merged in kinds:
        values: dict[tuple[tuple[str, str], ...], int] = {}
        for lead in found:
            key = tuple(lead.labels.items())
            value = of(lead)  # a listener may list an upstream twice, but no labels may come twice
            if value is None:
                continue
            values[key] = merged(values[key], value) if key in values else value
        family = Family(name, "gauge", text)
        for key, value in values.items():
            family.add(value, dict(key))
        yield family


def _expiry(watched: Watched, found: list[Lead]) -> Family:
    family = Family(
        "lanrelay_certificate_expiry_timestamp_seconds",
        "gauge",
        "When a certificate ends, since the epoch: a listener's own, or what an upstream showed last.",
    )
    ends: dict[tuple[tuple[str, str], ...], float] = {}
    for labels, info in certificates(watched, found):
        key = tuple(labels.items())
        end = info.not_after.timestamp()
        ends[key] = min(ends.get(key, end), end)
    for key, end in ends.items():
        family.add(end, dict(key))
    return family
