"""
C{python -m benchmarks.bridges}: C{lanrelay stdio} beside other programs that stand between a client that
starts programs and an MCP server over HTTP.

Each is started as a client would start it, once it is installed: no C{npx} and no C{uvx} is in the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environment import CHECKOUT, compile_the_relay
from benchmarks.measure import Failed, plain_environment

HERE = Path(__file__).resolve().parent
BEGIN, END = "## Bridges from stdio to HTTP", "<!-- end of the bridges -->"
PATIENCE = 30.0
CALLS = 300
"""Of a tool, one after the other, in each round."""

OURS, KNOWN = "lanrelay stdio", "lanrelay stdio, which knows the server"
DIRECT = "without a bridge"

HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


@dataclass(frozen=True)
class Bridge:
    """
    @ivar command: called with a URL.
    @ivar environ: what is added to its environment.
    @ivar remembers: whether it may keep what it has learnt from one start to the next.
    """

    name: str
    command: Callable[[str], list[str]]
    environ: dict[str, str] = field(default_factory=dict)
    remembers: bool = False


# --- what is installed ----------------------------------------------------------------------------------

FROM_PYPI = (("mcp-stdio", "0.45.2"), ("mcp-proxy", "0.13.0"), ("fastmcp-remote", "4.1.4"))
FROM_NPM = (("mcp-remote", "0.15.1"), ("supergateway", "4.0.0"))


def bridges(folder: Path, install: bool) -> tuple[list[Bridge], dict[str, str]]:
    """Ours and those of the others that are installed; and why the rest is left out."""
    lanrelay = [sys.executable, "-m", "lanrelay.cli.main", "stdio"]
    here = {"PYTHONPATH": str(CHECKOUT)}
    found = [
        Bridge(OURS, lambda url: [*lanrelay, "--no-cache", url], here),
        Bridge(KNOWN, lambda url: [*lanrelay, url], here, remembers=True),
    ]
    left_out: dict[str, str] = {}
    for name, version in (*FROM_PYPI, *FROM_NPM):
        made = folder / f"{name}-{version}"
        try:
            if not made.exists():
                if not install:
                    raise Failed("it is not installed; --install does that")
                _install(name, version, made)
            found.append(_other(name, version, made))
        except (OSError, Failed, subprocess.SubprocessError) as error:
            left_out[name] = str(error)
    return found, left_out


def _install(name: str, version: str, folder: Path) -> None:
    print(f"installing {name} {version}", flush=True)
    try:
        if (name, version) in FROM_PYPI:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            words = ["-m", "pip", "install", "-q", "--disable-pip-version-check", f"{name}=={version}"]
            subprocess.run([folder / "bin" / "python", *words], check=True)
        else:
            words = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefix"]
            subprocess.run(["npm", *words, str(folder), f"{name}@{version}"], check=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _other(name: str, version: str, folder: Path) -> Bridge:
    shown = f"{name} {version}"
    if (name, version) in FROM_PYPI:
        program = str(folder / "bin" / name)
        words: dict[str, Callable[[str], list[str]]] = {
            "mcp-stdio": lambda url: [program, url],
            "mcp-proxy": lambda url: [program, "--transport", "streamablehttp", url],
            "fastmcp-remote": lambda url: [program, url, "--auth", "none"],
        }
        # It would ask the package index for a newer version of itself.
        return Bridge(shown, words[name], {"FASTMCP_CHECK_FOR_UPDATES": "off"})
    node = shutil.which("node")
    if node is None:
        raise Failed("node is not here")
    package = folder / "node_modules" / name / "dist"
    if name == "mcp-remote":
        script = str(package / "proxy.js")
        return Bridge(shown, lambda url: [node, script, url, "--transport", "http-only"])
    script = str(package / "index.js")
    return Bridge(shown, lambda url: [node, script, "--streamableHttp", url, "--logLevel", "none"])


# --- one run --------------------------------------------------------------------------------------------


class Run:
    """A bridge with its client: one line for each message."""

    def __init__(self, bridge: Bridge, url: str, folder: Path) -> None:
        environ = {
            "HOME": str(folder),
            "MCP_REMOTE_CONFIG_DIR": str(folder / "mcp-remote"),
            "XDG_STATE_HOME": str(folder / "state"),
            **bridge.environ,
        }
        self._rest = b""
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            bridge.command(url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=plain_environment(**environ),
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()

    def say(self, message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):
            os.write(self._in, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def ask(self, id: int, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
        """The answer; C{None} if it ends without one."""
        self.say({"id": id, "method": method, "params": params})
        until = time.perf_counter() + PATIENCE
        while True:
            line, found, rest = self._rest.partition(b"\n")
            if found:
                self._rest = rest
                message: dict[str, Any] = json.loads(line)
                if message.get("id") == id and "method" not in message:
                    return message
                continue
            left = until - time.perf_counter()
            if left <= 0 or not select.select([self._out], [], [], left)[0]:
                raise Failed(f"no answer to {method} within {PATIENCE:.0f} s")
            data = os.read(self._out, 1 << 16)
            if not data:
                return None
            self._rest += data

    def greet(self) -> dict[str, Any] | None:
        return self.ask(0, "initialize", HELLO)

    def call(self, id: int) -> None:
        arguments = {"text": f"hello {id}"}
        answer = self.ask(id, "tools/call", {"name": "echo", "arguments": arguments})
        if answer is None or answer["result"]["content"][0]["text"] != arguments["text"]:
            raise Failed(f"a call was answered wrongly: {answer}")

    def memory(self) -> float:
        """MB in memory of all processes that it has started; shared memory counts for each of them."""
        total = 0
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with suppress(OSError, IndexError):
                    stat = (folder / "stat").read_text().rpartition(")")[2].split()
                    if int(stat[3]) == self.process.pid:  # its session
                        total += int((folder / "statm").read_text().split()[1])
        return total * os.sysconf("SC_PAGESIZE") / 1e6

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        with suppress(OSError):
            os.killpg(self.process.pid, 9)
        self.process.wait()
        self.process.stdout.close()


@contextmanager
def origin() -> Iterator[str]:
    """The URL of a server."""
    server = subprocess.Popen([sys.executable, HERE / "bridge_origin.py"], stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/mcp"
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def direct(url: str) -> float:
    """The median of a call, in milliseconds, by a client of the server itself."""
    import http.client

    _, _, place, path = url.split("/", 3)
    connection = http.client.HTTPConnection(place)
    took = []
    for number in range(CALLS):
        params = {"name": "echo", "arguments": {"text": f"hello {number}"}}
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
        before = time.perf_counter()
        connection.request("POST", f"/{path}", body, {"Content-Type": "application/json"})
        json.loads(connection.getresponse().read())
        took.append((time.perf_counter() - before) * 1000)
    connection.close()
    return statistics.median(took)


# --- the figures ----------------------------------------------------------------------------------------

_BESIDE = ": other work ran on it, and a quiet one shows lower figures for all"

FIGURES = {
    "up": ("first answer, server up", "ms"),
    "down": ("first answer, server down", "ms"),
    "call": ("a call, p50", "ms"),
    "added": ("added to a call, p50", "ms"),
    "memory": ("RSS", "MB"),
}


@dataclass
class Row:
    """@ivar said: what it says while the server is down."""

    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FIGURES})
    said: str = ""
    failed: str = ""


def measure(bridge: Bridge, url: str, nowhere: str, folder: Path, row: Row, bare: float) -> None:
    """
    One round of one bridge.

    @param nowhere: a URL where nobody listens.
    @param bare: the median of a call without a bridge.
    """
    if bridge.remembers and not (folder / "state").exists():
        for place in (url, nowhere):  # in use it would know both
            _teach(bridge, place, url, folder)
    run = Run(bridge, url, folder)
    try:
        if run.greet() is None:
            raise Failed("it ended without an answer")
        up = (time.perf_counter() - run.began) * 1000
        run.say({"method": "notifications/initialized"})
        if run.ask(1, "tools/list", {}) is None:
            raise Failed("it ended without the list of tools")
        for number in range(2, 22):
            run.call(number)
        took = []
        for number in range(22, 22 + CALLS):
            before = time.perf_counter()
            run.call(number)
            took.append((time.perf_counter() - before) * 1000)
        memory = run.memory()
    finally:
        run.end()
    run = Run(bridge, nowhere, folder)
    try:
        answer = run.greet()
        down = (time.perf_counter() - run.began) * 1000
        if answer is None:
            row.said = f"nothing, and ends with {run.process.wait(5)}"
        elif "error" in answer:
            row.said = f"error {answer['error'].get('code')}: {answer['error'].get('message')}"
        else:
            row.said = "the server's answer, from memory" if bridge.remembers else "an answer of its own"
    finally:
        run.end()
    call = statistics.median(took)
    found = {"up": up, "down": down, "call": call, "added": call - bare, "memory": memory}
    for name, value in found.items():
        row.values[name].append(value)


def _teach(bridge: Bridge, place: str, url: str, folder: Path) -> None:
    """Have it meet the server at C{place}, so that it knows it when none is there any more."""
    port = int(place.split(":")[2].partition("/")[0])
    relaying: subprocess.Popen[bytes] | None = None
    if place != url:
        # The server keeps its port; for a moment a forwarder at the other place leads there.
        there = int(url.split(":")[2].partition("/")[0])
        relaying = subprocess.Popen(
            [sys.executable, "-c", _LEADS, str(port), str(there)], stdout=subprocess.PIPE
        )
        assert relaying.stdout is not None
        relaying.stdout.readline()
    run = Run(bridge, place, folder)
    try:
        run.greet()
        run.say({"method": "notifications/initialized"})
        run.ask(1, "tools/list", {})
    finally:
        run.end()
        if relaying is not None:
            relaying.kill()
            relaying.wait()
            assert relaying.stdout is not None
            relaying.stdout.close()


_LEADS = """
import socket, sys, threading
def copy(one, other):
    while data := one.recv(65536): other.sendall(data)
    other.shutdown(socket.SHUT_WR)
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
while True:
    one, _ = listening.accept()
    other = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    for pair in ((one, other), (other, one)): threading.Thread(target=copy, args=pair, daemon=True).start()
"""


def table(rounds: int, folder: Path, install: bool) -> list[str]:
    """The section, in lines."""
    import socket

    found, left_out = bridges(folder, install)
    rows = {bridge.name: Row() for bridge in found}
    bare: list[float] = []
    with tempfile.TemporaryDirectory(prefix="lanrelay-bench-") as made, origin() as url:
        taken = socket.create_server(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}/mcp"
        taken.close()
        for number in range(rounds):
            bare.append(direct(url))
            turn = found[number % len(found) :] + found[: number % len(found)]
            for bridge in turn:
                home = Path(made) / bridge.name.replace(" ", "-").replace(",", "")
                home.mkdir(exist_ok=True)
                row = rows[bridge.name]
                if row.failed:
                    continue
                try:
                    measure(bridge, url, nowhere, home, row, bare[-1])
                except (Failed, OSError, KeyError, subprocess.SubprocessError) as error:
                    row.failed = str(error)
                print(f"  {number + 1} {bridge.name}: {row.failed or _last(row)}", flush=True)
    left_out |= {name: row.failed for name, row in rows.items() if row.failed}
    return _lines(rows, bare, left_out, rounds)


def _last(row: Row) -> str:
    return ", ".join(f"{name} {row.values[name][-1]:.3g}" for name in FIGURES)


def _lines(rows: dict[str, Row], bare: Sequence[float], left_out: dict[str, str], rounds: int) -> list[str]:
    titles = [f"{title}, {unit}" for title, unit in FIGURES.values()]
    lines = [
        BEGIN,
        "",
        "Written by `python -m benchmarks.bridges`. Medians, with the lowest and the highest of "
        f"{rounds} interleaved rounds. "
        f"The server answers on loopback: a call without a bridge takes {statistics.median(bare):.2g} ms.",
        "",
        f"| program | {' | '.join(titles)} | with the server down it says |",
        f"| --- |{' ---: |' * len(titles)} --- |",
    ]
    for name, row in rows.items():
        if not row.failed:
            shown = [_shown(row.values[figure]) for figure in FIGURES]
            lines.append(f"| {name} | {' | '.join(shown)} | {row.said.replace('|', ' ')[:160]} |")
    lines += ["", *(f"Left out: {name} ({why}).\n" for name, why in left_out.items())]
    node = shutil.which("node")
    version = subprocess.check_output([node, "--version"], text=True).strip() if node else "not here"
    load = os.getloadavg()[0]
    lines += [
        f"CPython {platform.python_version()}, node {version}; the load of the machine was {load:.1f} at the "
        f"end, of which these programs, one at a time, are up to 1{_BESIDE if load > 2 else ''}. A start is "
        "from the start of the process, which is installed already, to the answer of `initialize`. RSS is "
        "that of the program and all that it has started. Without anything remembered `lanrelay stdio` "
        "waits for a server that is down, for 20 s unless `--hold` says otherwise: it may be just starting.",
        "",
        END,
    ]
    return lines


def _shown(values: Sequence[float]) -> str:
    return f"{_number(statistics.median(values))} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2f}"


def section(text: str) -> list[str]:
    """What a page says of bridges, in lines."""
    _, found, rest = text.partition(BEGIN)
    return [BEGIN, *rest.partition(END)[0].splitlines()[1:], END] if found else []


def put(text: str, section: Sequence[str]) -> str:
    """The page with that section at its end, instead of an older one."""
    page = text.partition(BEGIN)[0].rstrip() + "\n"
    return page + "".join(f"\n{line}" for line in section) + "\n" if section else page


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridges", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--install", action="store_true", help="what is missing, from PyPI and npm")
    folder = CHECKOUT / ".venv-benchmarks" / "bridges"
    parser.add_argument("--environment", type=Path, default=folder, help="where it is installed")
    parser.add_argument("--print", action="store_true", help="write no file")
    options = parser.parse_args()
    if sys.platform != "linux":
        print("Memory is read in a way that only Linux has.", file=sys.stderr)
        return 1
    compile_the_relay()
    section = table(options.rounds, options.environment.absolute(), options.install)
    if options.print:
        print("\n".join(section))
    else:
        page = HERE / "RESULTS.md"
        page.write_text(put(page.read_text(), section))
        print(f"written to {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
