"""Makes a status document of the relay's shape, of any size, for tests of what is made of it."""

from __future__ import annotations

from typing import Any

from lanrelay.observe.logformat import moment

Json = dict[str, Any]

NOW = 1_795_165_325.0
"""Seconds since the epoch; the document tells what happened until then."""

# Kind, URL of its upstream and MCP facts; they come in turn.
_KINDS: tuple[tuple[str, str, Json | None], ...] = (
    (
        "reverse-proxy",
        "https://mcp.home.example",
        {"server": "everything", "version": "2.0.1", "era": "2025-06-18", "tools": 11, "sessions": 3},
    ),
    ("reverse-proxy", "http://printer.lan:631", None),
    ("connect-proxy", "", None),
    ("tcp-forward", "tcp://db.lan:5432", None),
    ("socks-proxy", "", None),
    ("reverse-proxy", "https://very-long-name-of-a-host.department.company.internal:8443/some/path", None),
    ("tcp-forward", "tcp://cache.lan:6379", None),
)

REFUSED: Json = {
    "error": "connection_refused",
    "what": "Nothing listens on port 631 of printer.lan (192.168.1.40).",
    "remedy": "Start it, or correct the port in `upstream`.",
}


def document(count: int = 7, *, down: tuple[int, ...] = (1,), now: float = NOW) -> Json:
    """
    One with C{count} listeners, then the page itself.

    @param down: which of them are.
    """
    found: Json = {
        "version": "0.4.0",
        "pid": 4711,
        "config": "/etc/lanrelay/relay.yaml",
        "started": moment(now - 3 * 86400),
        "now": moment(now),
        "uptime": 3 * 86400.0,
        "ready": not down,
        "unready": [],
        "warnings": [],
        "listeners": [],
        "upstreams": [],
        "certificates": [],
        "sessions_open": 2,
        "sessions": [_session(number, now) for number in (7, 8)],
        "failures": [],
        "last_reload": None,
        "reloads": [],
        "counters": {},
        "events": events(now),
    }
    for index in range(count):
        _add(found, index, index in down, now)
    found["listeners"].append(
        {
            **_listener("admin", "admin", 28081, now),
            "leads_to": "/, /healthz, /readyz, /status.json, /metrics",
        }
    )
    leading = [one["listener"] for one in found["upstreams"]]
    found["reachable"] = {"up": len(leading) - len(down), "of": len(leading)}
    return found


def _add(found: Json, index: int, down: bool, now: float) -> None:
    kind, url, facts = _KINDS[index % len(_KINDS)]
    name = f"{url.partition('://')[2].partition('.')[0] or kind}-{index}"[:64]
    one = _listener(name, kind, 28082 + index, now)
    one["leads_to"] = url or "where its clients ask"
    if facts:
        one["mcp"], one["url"] = "/mcp", one["url"] + "/mcp"
    one["mcp_server"] = facts
    counts = [(minute * (index + 3)) % 17 * (minute % 5) for minute in range(60)]
    one["hour"] = {"requests": counts, "errors": [each // 9 if down else 0 for each in counts]}
    one["first_byte_ms"] = None if down else 4.2 + 17 * index
    if url.startswith("https"):
        one["certificate_days"] = 60 + index
        found["certificates"].append(_certificate(name, url, 60 + index))
    found["listeners"].append(one)
    if not url:
        return
    if down:
        one["since"] = now - 4 * 60
        one["problem"] = {
            "cause": REFUSED["error"],
            "sentence": REFUSED["what"],
            "remedy": REFUSED["remedy"],
            "command": "lanrelay doctor " + name,
            "since": now - 4 * 60,
            "line": f"relay.yaml:{12 + index}",
        }
        found["unready"].append(f"{name}: {url} is down (connection_refused): {REFUSED['what']}")
    error = REFUSED if down else None
    found["upstreams"].append(
        {
            "listener": name,
            "route": "",
            "url": url,
            "address": "192.168.1.20:443" if index % 3 == 0 else "",
            "up": not down,
            "checked": True,
            "open": index % 4,
            "idle": index % 3,
            "insecure": False,
            "last_error": error,
            "noticed": None,
            "history": [{"at": moment(one["since"]), "up": not down, "error": error}],
            "minutes": cells(60, 60, now, down=4 if down else 0, slow=index % 4 == 3),
            "hours": cells(24, 3600, now, down=1 if down else 0, slow=index % 5 == 4),
        }
    )


def _listener(name: str, kind: str, port: int, now: float) -> Json:
    scheme = {"socks-proxy": "socks5h", "tcp-forward": "tcp"}.get(kind, "http")
    return {
        "name": name,
        "kind": kind,
        "addresses": [f"127.0.0.1:{port}", f"[::1]:{port}"],
        "listening": True,
        "draining": False,
        "tls": False,
        "mcp": None,
        "mcp_server": None,
        "leads_to": "",
        "open_connections": 3,
        "max_connections": 4096,
        "url": f"{scheme}://localhost:{port}",
        "since": now - 3 * 86400 + 2,
        "open": 3,
        "hour": {"requests": [0] * 60, "errors": [0] * 60},
        "first_byte_ms": None,
        "certificate_days": None,
        "problem": None,
    }


def cells(count: int, seconds: int, now: float, *, down: int = 0, slow: bool = False) -> list[Json]:
    """The cells of a bar: the last C{down} of them are down, and some before are slow."""
    begin = now // seconds * seconds - (count - 1) * seconds
    found: list[Json] = []
    for index in range(count):
        state, why = "up", None
        if index < count // 6:
            state = "unchecked"
        elif slow and count // 2 <= index < count // 2 + 3:
            state, why = "slow", "it answered after 2.4 s"
        elif index >= count - down:
            state, why = "down", REFUSED["what"]
        found.append({"state": state, "why": why, "at": begin + index * seconds})
    return found


def events(now: float) -> list[Json]:
    """Something of everything, the latest last."""

    def event(ago: float, kind: str, text: str, listener: str | None = None) -> Json:
        at = now - ago
        return {
            "at": at,
            "kind": kind,
            "listener": listener,
            "upstream": None,
            "text": text,
            "count": 1,
            "last": at,
        }

    return [
        event(70000, "started", "lanrelay 0.4.0 was started."),
        event(60000, "woke", "The machine slept for 8 h 2 min."),
        event(41000, "reloaded", "`relay.yaml` is in force: printer was added."),
        event(40000, "down", "http://printer.lan:631 is down: nobody listens.", "printer-1"),
        event(36000, "up", "http://printer.lan:631 is up again after 1 h 6 min.", "printer-1"),
        event(30000, "refused", "`relay.yaml` stayed as it was: line 12: unknown key `upsteam`."),
        event(20000, "certificate", "https://mcp.home.example shows a new certificate, until 2027-01-30."),
        event(9000, "reloaded", "`relay.yaml` is in force: nothing is different."),
        event(240, "down", "http://printer.lan:631 is down: nobody listens.", "printer-1"),
    ]


def _session(number: int, now: float) -> Json:
    return {
        "id": number,
        "listener": "mcp-0",
        "kind": "reverse-proxy",
        "client": f"127.0.0.1:5000{number}",
        "method": "POST",
        "path": "/mcp",
        "target": "https://mcp.home.example",
        "address": "192.168.1.20:443",
        "phase": "body",
        "status": 200,
        "started": moment(now - 125),
        "age": 125.0,
        "last_active": moment(now - 3),
        "silent_for": 3.0,
        "received": 312,
        "sent": 15360,
    }


def _certificate(listener: str, url: str, left: int) -> Json:
    return {
        "listener": listener,
        "route": "",
        "upstream": url,
        "address": "",
        "subject": "CN=mcp.home.example",
        "issuer": "CN=Home CA",
        "names": ["mcp.home.example"],
        "not_before": "2026-01-01T00:00:00+00:00",
        "not_after": "2027-01-30T00:00:00+00:00",
        "days_left": left,
        "ends_soon": False,
    }
