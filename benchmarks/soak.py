"""C{python -m benchmarks.soak}: do hours of load leave descriptors and memory as they were?"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import environment, peers
from benchmarks.__main__ import ended_by_signals
from benchmarks.measure import (
    LOAD_CORE,
    Failed,
    Program,
    free_port,
    load,
    pinned,
    plain_environment,
    stop_all,
)
from benchmarks.origins import Missing, Origins

GROWTH = 3_000_000  # bytes that the allocator may leave; a leak of 30 bytes a connection is more
QUIET = 20.0  # seconds within which what was open has ended; idle connections to upstreams are kept for 4
SEGMENTS = 10


@dataclass(frozen=True)
class State:
    descriptors: int
    memory: int

    def __str__(self) -> str:
        return f"{self.descriptors} descriptors, {self.memory / 1e6:.1f} MB"


def verdict(states: list[State]) -> str:
    """
    What has grown from the first third of the states, which is for warming up, to the last; empty for
    nothing.

    Memory grows with the largest number of things that, by chance, were ever under way at once, and shrinks
    only in part. So the maximum of the beginning is compared with the usual value at the end.
    """
    third = max(1, len(states) // 3)
    first, last = states[:third], states[-third:]
    grown = []
    descriptors = last[-1].descriptors - max(state.descriptors for state in first)
    if descriptors > 0:
        grown.append(f"{descriptors} more descriptors")
    memory = statistics.median(state.memory for state in last) - max(state.memory for state in first)
    if memory > GROWTH:
        grown.append(f"{memory / 1e6:.1f} MB more memory")
    return " and ".join(grown)


def main() -> int:
    options = _options()
    environment.from_debian(install=False)
    ended_by_signals()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lanrelay-soak-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        folder.chmod(0o755)
        try:
            origins = Origins(folder / "origins", environment.Environment(None))
            for transport in options.transports.split(","):
                if options.connections:
                    faults += _short(origins, folder, transport, options.connections)
            if options.minutes:
                for transport in options.transports.split(",")[:1]:
                    faults += _mixed(origins, folder, transport, options.minutes * 60)
        except (Missing, Failed) as error:
            faults.append(str(error))
        except KeyboardInterrupt:
            print("interrupted")
            return 130
        finally:
            stop_all()
    print("\n".join(["FAILED:", *faults]) if faults else "good: descriptors and memory are where they were")
    return 1 if faults else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument(
        "--connections", type=int, default=100_000, help="of each kind and transport (100000)"
    )
    parser.add_argument("--minutes", type=float, default=60, help="of mixed load (60)")
    parser.add_argument(
        "--transports", default="own,twisted", help="the mixed load takes the first (own,twisted)"
    )
    return parser.parse_args()


# --- many short connections -------------------------------------------------------------------------------


def _short(origins: Origins, folder: Path, transport: str, wanted: int) -> list[str]:
    there = f"127.0.0.1:{origins.port('echo')}"
    connect = f"CONNECT {there} HTTP/1.1\\r\\nHost: {there}\\r\\n\\r\\n"
    faults = []
    for kind, words in (("tcp-forward", []), ("connect-proxy", [connect])):
        port, origin = free_port(), "echo" if kind == "tcp-forward" else "tunnelled"
        relay = peers.lanrelay(transport, kind)(origins, origin, folder / f"{transport}-{kind}", port)
        relay.listening(port)

        def make(count: int, port: int = port, words: list[str] = words) -> int:
            made = 0
            while made < count:
                made += load(origins.load, "connect", port, 16, 2, 64, *words).units
            return made

        before = _quiet(relay)
        make(max(1000, wanted // 10))  # to warm up
        states = [_quiet(relay, before.descriptors)]
        made = make(wanted)
        states.append(_quiet(relay, before.descriptors))
        relay.stop()
        said = verdict(states)
        name = f"{kind}, {transport} transports"
        print(
            f"{name}: {made} connections; {states[0]} before, {states[1]} after: {said or 'good'}", flush=True
        )
        faults += [f"{name}: {said}"] if said else []
    return faults


def _quiet(relay: Program, descriptors: int = 0) -> State:
    """Its state when it has nothing to do: at the latest after L{QUIET} seconds."""
    until = time.monotonic() + QUIET
    time.sleep(1)
    while relay.descriptors() > descriptors and time.monotonic() < until and descriptors:
        time.sleep(0.5)
    relay.check_alive()
    return State(relay.descriptors(), relay.memory())


# --- everything at once -----------------------------------------------------------------------------------


def _mixed(origins: Origins, folder: Path, transport: str, seconds: float) -> list[str]:
    relay, ports = _relay(origins, folder / f"mixed-{transport}", transport)
    for port in ports.values():
        relay.listening(port)
    fresh = _quiet(relay)
    ports |= {
        "echo-origin": origins.port("echo"),
        "source-origin": origins.port("source"),
        "nobody": free_port(),
    }
    print(f"mixed load, {transport} transports, for {seconds / 60:g} minutes; {fresh} at first", flush=True)
    settled = fresh.descriptors + 2  # the pipe for splicing is made with the first bulk
    states: list[State] = []
    faults: list[str] = []
    done: Counter[str] = Counter()
    for number in range(SEGMENTS):
        told = _clients(ports, seconds / SEGMENTS, origins.root)
        done.update(told["done"])
        faults += told["failures"]
        states.append(_quiet(relay, settled))
        share = (number + 1) / SEGMENTS
        print(
            f"  after {share:4.0%}: {states[-1]}; {done.total()} visits, {len(faults)} failures", flush=True
        )
    print(f"  {', '.join(f'{name} {count}' for name, count in sorted(done.items()))}")
    log = (relay.folder / "log").read_text(errors="replace")
    bugs = [line for line in log.splitlines() if "[critical]" in line or "Traceback" in line]
    said = verdict(states)
    relay.stop()
    faults = faults[:20] + bugs[:20]
    if states[-1].descriptors > settled:
        faults.append(f"{states[-1].descriptors - settled} descriptors that a fresh relay has not")
    return [f"mixed load: {fault}" for fault in [*faults, *([said] if said else [])]]


def _relay(origins: Origins, folder: Path, transport: str) -> tuple[Program, dict[str, int]]:
    """A relay with a listener of each kind; gives their ports by name."""
    secure = f"tls: {{ca: '{origins.root}'}}"
    listeners = {
        "forward": f"type: tcp-forward, upstream: 'tcp://127.0.0.1:{origins.port('echo')}'",
        "source": f"type: tcp-forward, upstream: 'tcp://127.0.0.1:{origins.port('source')}'",
        "secured": f"type: tcp-forward, upstream: 'tcp://127.0.0.1:{origins.port('echo')}', "
        f"tls: {{cert: '{origins.certificate}', key: '{origins.key}'}}",
        "http": f"type: reverse-proxy, upstream: 'http://127.0.0.1:{origins.port('http')}'",
        "https": "type: reverse-proxy, "
        f"upstream: {{url: 'https://localhost:{origins.port('https')}', {secure}}}",
        "upload": f"type: reverse-proxy, upstream: 'http://127.0.0.1:{origins.port('sink')}'",
        "events": f"type: reverse-proxy, upstream: 'http://127.0.0.1:{origins.port('events')}'",
        "connect": "type: connect-proxy",
    }
    ports = {name: free_port() for name in listeners}
    lines = [
        f"  {name}: {{{words}, listen: '127.0.0.1:{ports[name]}'}}\n" for name, words in listeners.items()
    ]
    return peers.relay("log: {access: false}\nlisteners:\n" + "".join(lines), folder, transport), ports


def _clients(ports: dict[str, int], seconds: float, root: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.mixed", json.dumps(ports), seconds, root]
    process = subprocess.Popen(
        pinned(command, LOAD_CORE),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=environment.CHECKOUT,
        env=plain_environment(),
    )
    try:
        output, errors = process.communicate(timeout=seconds + 200)
    except subprocess.TimeoutExpired:
        raise Failed("clients that do not end") from None
    finally:
        process.kill()
    try:
        said: dict[str, Any] = json.loads(output)
    except ValueError:
        raise Failed(f"the clients: {errors[-1000:]}") from None
    return said


if __name__ == "__main__":
    sys.exit(main())
