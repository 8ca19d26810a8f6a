"""Whether a unit costs the same when there is more of everything beside it."""

from __future__ import annotations

from pathlib import Path

from benchmarks import peers
from benchmarks.measure import Program, Result
from benchmarks.origins import Origins
from benchmarks.peers import Start
from benchmarks.waits import OF_LOOPBACK
from benchmarks.workloads import OURS, Goal, Workload, open_events, requests

STREAMS = (10, 100, 1000, 9500)  # each takes two descriptors, of 20,000
BESIDE = (1, 60, 1000)


def with_streams(streams: int) -> Start:
    relay = peers.lanrelay("own", "reverse-proxy", more="max_connections: 12000")

    def start(origins: Origins, origin: str, folder: Path, port: int) -> Program:
        # A thousand events a second in all, so that each turn of the reactor finds as many.
        program = relay(origins, f"events-{streams}", folder, port)
        program.streams = streams
        return program

    return start


def shared_out(origins: Origins, relay: Program | None, port: int, share: float) -> Result:
    assert relay is not None
    return open_events(relay.streams, origins, relay, port, share)


def of_many(listeners: int) -> Start:
    def start(origins: Origins, origin: str, folder: Path, port: int) -> Program:
        number = origins.port(origin)
        hosts = ["127.0.0.1", *OF_LOOPBACK[1:listeners]]
        lines = [
            f"  of-{each}: {{type: reverse-proxy, listen: '{host}:{port}', upstream: 'http://127.0.0.1:{number}'}}"
            for each, host in enumerate(hosts)
        ]
        return peers.relay("\n".join(["log: {access: false}", "listeners:", *lines, ""]), folder)

    return start


def _named(count: int, first: int, what: str) -> str:
    return OURS if count == first else f"with {count:,} {what}"


GROWTH = [
    Workload(
        name=f"Growth: server-sent events, a thousand a second on {STREAMS[0]} streams and on more",
        unit="us/event",
        origin="",
        ours={_named(count, STREAMS[0], "streams"): with_streams(count) for count in STREAMS},
        peers={},
        goals=[Goal([_named(count, STREAMS[0], "streams")]) for count in STREAMS[1:]],
        run=shared_out,
    ),
    Workload(
        name=f"Growth: HTTP to HTTP, 1 KB, of {BESIDE[0]} listener and of more",
        unit="us/request",
        origin="http",
        ours={_named(count, BESIDE[0], "listeners"): of_many(count) for count in BESIDE},
        peers={},
        goals=[Goal([_named(count, BESIDE[0], "listeners")]) for count in BESIDE[1:]],
        run=requests,
        kept=True,
    ),
]
