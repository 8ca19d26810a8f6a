"""What is measured: the rows of the table, each with its peers and its goals."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks import peers
from benchmarks.environment import CHECKOUT
from benchmarks.measure import LOAD_CORE, Failed, Program, Result, load, pinned, watched
from benchmarks.origins import DOWNLOAD, TICK, Origins, debian
from benchmarks.peers import Start

Run = Callable[[Origins, Program | None, int, float], Result]
"""Called with a relay, its port and the share of the usual load; without one the port is the origin's."""

Hold = Callable[[Origins, int, int], Sequence[object]]
"""Called with a relay's port and a number of connections: the command that holds them open."""


@dataclass(frozen=True)
class Goal:
    """Peer's figure / ours, against the best of C{peers}; without C{must} it is only shown."""

    peers: Sequence[str]
    must: float | None = None
    aim: float | None = None


@dataclass(frozen=True, kw_only=True)
class Workload:
    """
    @ivar origin: the origin to which the relays lead.
    @ivar measure: C{cpu} of the relay for each unit; C{p50} of what the load generator saw, or what of it was
        C{added} to the way without a relay; the longest C{pause} that it saw; C{memory} for each connection;
        C{start} until it accepts; CPU until it has C{ran} to its end.
    @ivar scale: the factor from seconds and units to C{unit}.
    @ivar least: below this figure, which no program can reach, the measurement is wrong.
    @ivar most: the highest figure that ours may have.
    @ivar kept: it is about connections that are open already; opening them is not counted.
    """

    name: str
    unit: str
    origin: str
    ours: Mapping[str, Start]
    peers: Mapping[str, Start]
    goals: Sequence[Goal]
    run: Run | None = None
    hold: Hold | None = None
    measure: str = "cpu"
    scale: float = 1e6
    least: float = 1.0
    most: float | None = None
    kept: bool = False


OURS = "lanrelay"


def ours(kind: str, secure: str = "") -> dict[str, Start]:
    return {
        OURS: peers.lanrelay("own", kind, secure=secure),
        "lanrelay on Twisted's transports": peers.lanrelay("twisted", kind, secure=secure),
    }


# --- load -------------------------------------------------------------------------------------------------


def _enough(amount: float, share: float) -> float:
    """
    So many seconds or bytes, but at least a second, for slow programs need that until each connection had its
    turn.
    """
    return max(1.0, amount * share)


def plain(mode: str, streams: int, amount: float, size: int) -> Run:
    def run(origins: Origins, relay: Program | None, port: int, share: float) -> Result:
        return load(origins.load, mode, port, streams, _enough(amount, share), size)

    return run


def tunnelled(kind: str, mode: str, streams: int, amount: float, size: int) -> Run:
    def run(origins: Origins, relay: Program | None, port: int, share: float) -> Result:
        there = f"127.0.0.1:{origins.port(kind)}"
        preface = f"CONNECT {there} HTTP/1.1\\r\\nHost: {there}\\r\\n\\r\\n"
        return load(origins.load, mode, port, streams, _enough(amount, share), size, preface)

    return run


def requests(origins: Origins, relay: Program | None, port: int, share: float) -> Result:
    """Requests on 32 connections, no two of them alike; each answer has to be the one to its request."""
    return load(origins.load, "requests", port, 32, _enough(1.5, share), 1024, relay.prefix if relay else "")


def varied(origins: Origins, relay: Program | None, port: int, share: float) -> Result:
    """As L{requests}; the heads differ in the target and in three fields."""
    return load(origins.load, "varied", port, 32, _enough(1.5, share), 1024)


def calls(origins: Origins, relay: Program | None, port: int, share: float) -> Result:
    """C{tools/call} of MCP by 32 clients, each with its session; each answer has to be its call's."""
    return load(origins.load, "mcp", port, 32, _enough(1.5, share), 0)


def wrk(origins: Origins, relay: Program | None, port: int, share: float) -> Result:
    """The same request all the time, with Host alone, on 32 connections."""
    seconds = round(max(1, 2 * share))
    command = [debian("wrk"), "-t1", "-c32", f"-d{seconds}s", "--latency", f"http://127.0.0.1:{port}/"]
    done = subprocess.run(pinned(command, LOAD_CORE), capture_output=True, text=True, timeout=60)
    found = re.search(r"(\d+) requests in ([\d.]+)s", done.stdout)
    if found is None or "errors" in done.stdout or "Non-2xx" in done.stdout:
        raise Failed(f"wrk: {done.stdout}{done.stderr}")
    return Result(int(found[1]), float(found[2]))


def download(origins: Origins, relay: Program | None, port: int, share: float) -> Result:
    preface = "GET /down HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"
    return load(origins.load, "fetch", port, 1, DOWNLOAD, 0, preface)


def upload(origins: Origins, relay: Program | None, port: int, share: float) -> Result:
    size = round(DOWNLOAD * share)
    preface = f"POST /up HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: {size}\\r\\n\\r\\n"
    return load(origins.load, "upload", port, 1, size, 0, preface)


def events(
    streams: int, period: int, origins: Origins, relay: Program | None, port: int, share: float
) -> Result:
    preface = "GET /events HTTP/1.1\\r\\nHost: localhost\\r\\nAccept: text/event-stream\\r\\n\\r\\n"
    return load(
        origins.load, "events", port, streams, max(3.5 if streams > 1 else 1, 6 * share), period, preface
    )


def open_events(
    period: int, origins: Origins, relay: Program | None, port: int, share: float, streams: int = 0
) -> Result:
    """Only the cost of events on open streams, C{period} ms apart on each."""
    assert relay is not None
    preface = "GET /events HTTP/1.1\\r\\nHost: localhost\\r\\nAccept: text/event-stream\\r\\n\\r\\n"
    return watched(relay, origins.load, port, streams or relay.streams, max(1.5, 3 * share), period, preface)


_REQUEST = "GET /held HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"


def echoed(origins: Origins, port: int, count: int) -> Sequence[object]:
    return origins.load, "hold", port, count, 0, 64


def answered(origins: Origins, port: int, count: int) -> Sequence[object]:
    return origins.load, "hold", port, count, 0, 0, _REQUEST


def streaming(origins: Origins, port: int, count: int) -> Sequence[object]:
    """Event streams, of which only the head comes."""
    preface = "GET /silent HTTP/1.1\\r\\nHost: localhost\\r\\nAccept: text/event-stream\\r\\n\\r\\n"
    return origins.load, "hold", port, count, 0, 1, preface


def secured(origins: Origins, port: int, count: int) -> Sequence[object]:
    return sys.executable, CHECKOUT / "benchmarks" / "holder.py", port, count, origins.root


# --- the table --------------------------------------------------------------------------------------------

_HAPROXY = {"HAProxy": peers.haproxy()}
_HAPROXIES = {
    **_HAPROXY,
    "HAProxy, 256 KB buffers": peers.haproxy("tune.bufsize 262144"),
    "HAProxy, splice": peers.haproxy(defaults="option splice-auto"),
}
_TUNED = ("HAProxy, 256 KB buffers", "HAProxy, splice")
_NGINX = {"nginx": peers.nginx_proxy()}
_NGINXES = {
    "nginx, 64 KB, unbuffered": _NGINX["nginx"],
    "nginx, 64 KB buffers": peers.nginx_proxy(peers.NGINX_BUFFERED),
}
_FORWARDS = {
    "socat": peers.socat,
    "portforward": peers.scripted("portforward"),
    "asyncio": peers.scripted("asyncio"),
    "pproxy": peers.pproxy_forward,
    "threads": peers.scripted("threads"),
}
_TUNNELS = {
    "proxy.py": peers.proxy_py(),
    "asyncio": peers.scripted("asyncio"),
    "pproxy": peers.pproxy_connect,
    "threads": peers.scripted("threads"),
}
_REVERSE_PROXIES = {
    "proxy.py": peers.proxy_py(),
    "mitmproxy": peers.mitmproxy,
    "twisted.web.proxy": peers.scripted("twisted.web"),
    "threads": peers.scripted("threads-http"),
}
_PROXIES = {**_REVERSE_PROXIES, "proxy.py as a forward proxy": peers.proxy_py(forward=True)}


def bulk(streams: int) -> Workload:
    return Workload(
        name=f"TCP forward, bulk, {streams} stream{'s' if streams > 1 else ''}",
        unit="s/GB",
        origin="source",
        ours=ours("tcp-forward"),
        peers={**_HAPROXIES, **_FORWARDS},
        run=plain("down", streams, 1.5e9, 0),
        goals=[Goal(["HAProxy"], 1.5, 2.3), Goal(_TUNED, 0.6, 0.9), Goal([*_FORWARDS], 1.0, 2.5)],
        scale=1e9,
        least=0.02,
    )


def idle(
    name: str,
    hold: Hold,
    origin: str,
    mine: dict[str, Start],
    theirs: Start,
    most: float | None,
    *,
    goal: tuple[float, float] | None = None,
) -> Workload:
    return Workload(
        name=f"Memory, 1,000 idle {name}",
        unit="KB each",
        origin=origin,
        ours=mine,
        peers={"HAProxy": theirs},
        hold=hold,
        goals=[Goal(["HAProxy"], *(goal or ()))],
        measure="memory",
        scale=1e-3,
        least=0.2,
        most=most,
    )


WORKLOADS = [
    bulk(1),
    bulk(8),
    Workload(
        name="TCP forward, 64-byte ping-pong on 32 connections",
        unit="us/round trip",
        origin="echo",
        ours=ours("tcp-forward"),
        peers={**_HAPROXY, **_FORWARDS},
        run=plain("pingpong", 32, 1.5, 64),
        goals=[Goal(["HAProxy"], 0.65, 0.80), Goal([*_FORWARDS])],
    ),
    Workload(
        name="TCP forward, ping-pong on one connection, p50",
        unit="us",
        origin="echo",
        ours=ours("tcp-forward"),
        peers=_HAPROXY,
        run=plain("pingpong", 1, 1, 64),
        goals=[Goal(["HAProxy"], 1 / 1.15, 1 / 1.15)],
        measure="p50",
        scale=1.0,
    ),
    Workload(
        name="TCP forward, connect + echo + close",
        unit="us/connection",
        origin="echo",
        ours=ours("tcp-forward"),
        peers={**_HAPROXY, **_FORWARDS},
        run=plain("connect", 16, 1.5, 64),
        goals=[Goal(["HAProxy"], 0.75, 0.90), Goal([*_FORWARDS], 2, 3)],
    ),
    Workload(
        name="HTTP to HTTP, 1 KB, keep-alive",
        unit="us/request",
        origin="http",
        ours=ours("reverse-proxy"),
        peers={**_NGINX, **_PROXIES},
        run=requests,
        kept=True,
        goals=[Goal(["nginx"], 0.55, 0.80), Goal([*_PROXIES], 3, 6)],
    ),
    Workload(
        name="HTTP to HTTPS (verified), 1 KB, keep-alive",
        unit="us/request",
        origin="https",
        ours=ours("reverse-proxy"),
        peers={**_NGINX, **_REVERSE_PROXIES},
        run=requests,
        kept=True,
        goals=[Goal(["nginx"], 0.50, 0.75), Goal([*_REVERSE_PROXIES], 3, 6)],
    ),
    *(
        Workload(
            name=f"{to}, 1 KB, {what}",
            unit="us/request",
            origin="https" if "HTTPS" in to else "http",
            ours=ours("reverse-proxy"),
            peers=_NGINX,
            run=run,
            kept=True,
            goals=[Goal(["nginx"], must, 0.85)],
        )
        for what, run, must in (
            ("heads that differ in three fields", varied, 0.65),
            ("wrk, Host alone", wrk, 0.60),
        )
        for to in ("HTTP to HTTP", "HTTP to HTTPS")
    ),
    *(
        Workload(
            name=f"MCP, tools/call, {what} as the answer",
            unit="us/call",
            origin=origin,
            ours=ours("reverse-proxy"),
            peers={**_NGINX, "Caddy": peers.caddy},
            run=calls,
            kept=True,
            goals=[Goal(["nginx"], *nginx), Goal(["Caddy"], *caddy)],
        )
        for what, origin, nginx, caddy in (
            ("JSON", "mcp", (0.65, 0.90), (3, 4)),
            ("an event stream", "calls", (0.50, 0.80), (2, 3)),
        )
    ),
    Workload(
        name="HTTP to HTTPS, 1 GB down",
        unit="s/GB",
        origin="https",
        ours=ours("reverse-proxy"),
        peers=_NGINXES,
        run=download,
        goals=[Goal([*_NGINXES], 0.95, 1.1)],
        scale=1e9,
        least=0.05,
    ),
    Workload(
        name="HTTP to HTTPS, 1 GB up",
        unit="s/GB",
        origin="https",
        ours=ours("reverse-proxy"),
        peers=_NGINXES,
        run=upload,
        goals=[Goal([*_NGINXES], 0.80, 0.95)],
        scale=1e9,
        least=0.05,
    ),
    Workload(
        name="CONNECT tunnel, set-up",
        unit="us/tunnel",
        origin="tunnelled",
        ours=ours("connect-proxy"),
        peers={"squid": peers.squid, "tinyproxy": peers.tinyproxy, **_TUNNELS},
        run=tunnelled("echo", "connect", 16, 1.5, 64),
        goals=[Goal(["squid"], 1.3, 1.6), Goal([*_TUNNELS], 2, 3)],
    ),
    Workload(
        name="CONNECT tunnel, bulk",
        unit="s/GB",
        origin="tunnelled",
        ours=ours("connect-proxy"),
        peers={"squid": peers.squid, "tinyproxy": peers.tinyproxy, **_TUNNELS},
        run=tunnelled("source", "down", 1, 1.5e9, 0),
        goals=[Goal(["squid", "tinyproxy"], 1.5, 2.5), Goal([*_TUNNELS], 1.0, 2.5)],
        scale=1e9,
        least=0.02,
    ),
    Workload(
        name="Server-sent events, what is added to their latency, p50",
        unit="us",
        origin="ticks",
        ours=ours("reverse-proxy"),
        peers=_NGINX,
        run=partial(events, 1, TICK),
        goals=[Goal(["nginx"], 1.0, 1.3)],
        measure="added",
        scale=1.0,
    ),
    Workload(
        name="Server-sent events, 1,000 streams at one a second, all delivered",
        unit="us/event",
        origin="events",
        ours=ours("reverse-proxy"),
        peers=_NGINX,
        run=partial(events, 1000, 1000),
        goals=[Goal(["nginx"])],
    ),
    Workload(
        name="Server-sent events, 1,000 open streams at one a second",
        unit="us/event",
        origin="events",
        ours=ours("reverse-proxy"),
        peers=_NGINX,
        run=partial(open_events, 1000, streams=1000),
        goals=[Goal(["nginx"], 0.70, 1.0)],
    ),
    idle("forwarded pairs", echoed, "echo", ours("tcp-forward"), peers.haproxy(), 3),
    idle(
        "pairs with TLS to the upstream",
        answered,
        "https",
        ours("tcp-forward", secure="upstream"),
        peers.HAPROXY_TO_TLS,
        45,
        goal=(0.85, 1.0),
    ),
    idle(
        "pairs with TLS from the client",
        secured,
        "echo",
        ours("tcp-forward", secure="downstream"),
        peers.HAPROXY_FROM_TLS,
        45,
        goal=(0.85, 1.0),
    ),
    idle(
        "event streams, HTTP to HTTPS",
        streaming,
        "https",
        ours("reverse-proxy"),
        peers.HAPROXY_TO_HTTPS,
        45,
    ),
    idle(
        "clients of HTTP to HTTPS after a request",
        answered,
        "https",
        ours("reverse-proxy"),
        peers.HAPROXY_TO_HTTPS,
        None,
    ),
    Workload(
        name="Start to listening, conf/relay.yaml",
        unit="ms",
        origin="",
        ours={OURS: peers.lanrelay_as_shipped},
        peers={"importing the reactor": peers.importing_the_reactor},
        goals=[Goal(["importing the reactor"], 1 / 1.4, 1 / 1.4)],
        measure="start",
        scale=1e3,
        least=10,
        most=200,
    ),
]
