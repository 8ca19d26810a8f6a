"""What people wait for: a start, a check, and pauses of a connection while the relay does other work."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import peers
from benchmarks.environment import CHECKOUT
from benchmarks.measure import RELAY_CORE, Failed, Program, Result, free_port, held, load
from benchmarks.origins import Origins, debian, nginx
from benchmarks.peers import LANRELAY, Start
from benchmarks.workloads import OURS, Goal, Workload, echoed

LISTENERS, MANY = 60, 1000
OF_LOOPBACK = [f"127.77.{number // 250}.{number % 250 + 1}" for number in range(MANY)]


def disturbed(origins: Origins, relay: Program | None, port: int, share: float) -> Result:
    """A ping-pong on one connection, while the relay goes twice through its C{disturb}."""
    assert relay is not None
    failed: list[BaseException] = []

    def disturb() -> None:
        try:
            for _ in range(2):
                time.sleep(0.3)
                relay.disturb()
        except (OSError, Failed) as error:
            failed.append(error)

    thread = threading.Thread(target=disturb)
    thread.start()
    result = load(origins.load, "pingpong", port, 1, max(2.5, 3 * share), 64)
    thread.join()
    if failed:
        raise Failed(f"the disturbance: {failed[0]}")
    return result


# --- a reload -------------------------------------------------------------------------------------------


def relay_of_many(reloaded: bool) -> Start:
    """A relay of many listeners; with each reload another one of them leads elsewhere."""

    def start(origins: Origins, origin: str, folder: Path, port: int) -> Program:
        number, turn = origins.port(origin), 0

        def configuration() -> str:
            lines = [
                f"  bench: {{type: tcp-forward, listen: '127.0.0.1:{port}', upstream: 'tcp://127.0.0.1:{number}'}}"
            ]
            for each in range(1, LISTENERS):
                to = turn if each == LISTENERS // 2 else 0
                lines.append(
                    f"  of-many-{each}: {{type: reverse-proxy, listen: '{OF_LOOPBACK[each]}:{port}', "
                    f"upstream: 'http://127.0.0.1:{number + to}'}}"
                )
            return "\n".join(["log: {access: false}", "listeners:", *lines, ""])

        def reload() -> None:
            nonlocal turn
            before, turn = _times(folder / "log", "reloaded: "), 1 - turn
            (folder / "relay.yaml").write_text(configuration())
            os.kill(program.pid, signal.SIGHUP)
            until = time.monotonic() + 10
            while _times(folder / "log", "reloaded: ") == before:
                if time.monotonic() > until:
                    raise Failed("no reload")
                time.sleep(0.02)
            if _times(folder / "log", "not reloaded"):
                raise Failed("not reloaded")

        program = peers.relay(configuration(), folder)
        if reloaded:
            program.disturb = reload
        return program

    return start


def _times(file: Path, words: str) -> int:
    return file.read_text().count(words)


def haproxy_of_many(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    number = origins.port(origin)
    folder.mkdir(parents=True)
    every = [("bench", "127.0.0.1", "tcp")]
    every += [(f"of-many-{each}", OF_LOOPBACK[each], "http") for each in range(1, LISTENERS)]
    (folder / "haproxy.cfg").write_text(
        "global\n nbthread 1\n maxconn 4000\n"
        "defaults\n timeout connect 5s\n timeout client 50s\n timeout server 50s\n"
        + "".join(
            f"listen {name}\n mode {mode}\n bind {host}:{port}\n server origin 127.0.0.1:{number}\n"
            for name, host, mode in every
        )
    )
    program = Program([debian("haproxy"), "-W", "-db", "-f", "haproxy.cfg"], folder, core=RELAY_CORE)
    program.disturb = lambda: os.kill(program.pid, signal.SIGUSR2)
    return program


# --- those who look ---------------------------------------------------------------------------------------

_PAGES = ("/", "/status.json", "/metrics")


def with_admin(path: str) -> Start:
    """A relay with an admin page, from which C{path} is fetched; an empty one fetches nothing."""

    def start(origins: Origins, origin: str, folder: Path, port: int) -> Program:
        admin = free_port()
        to = f"tcp://127.0.0.1:{origins.port(origin)}"
        program = peers.relay(
            f"log: {{access: false}}\nadmin: {{listen: '127.0.0.1:{admin}'}}\nlisteners:\n"
            f"  bench: {{type: tcp-forward, listen: '127.0.0.1:{port}', upstream: '{to}'}}\n",
            folder,
        )

        def look() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=10)
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status != 200 or len(answer.read()) < 500:
                raise Failed(f"{path}: {answer.status}")
            connection.close()

        if path:
            program.disturb = look
        return program

    return start


def beside_sessions(origins: Origins, relay: Program | None, port: int, share: float) -> Result:
    """L{disturbed}, with a thousand open sessions."""
    assert relay is not None
    with held(echoed(origins, port, 1000), relay.folder):
        return disturbed(origins, relay, port, share)


# --- a check ----------------------------------------------------------------------------------------------


def check(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    lines = [
        f"  of-many-{number}: {{type: reverse-proxy, listen: '{host}:{port}', upstream: 'http://192.0.2.7:8080'}}"
        for number, host in enumerate(OF_LOOPBACK)
    ]
    folder.mkdir(parents=True)
    (folder / "relay.yaml").write_text("\n".join(["listeners:", *lines, ""]))
    environ = {"PYTHONPATH": str(CHECKOUT)}
    command = [*LANRELAY, "check", "-c", "relay.yaml"]
    return Program(command, folder, core=RELAY_CORE, environ=environ)


def nginx_check(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    servers = "".join(
        f"server {{ listen {host}:{port}; location / {{ proxy_pass http://192.0.2.7:8080; }} }}\n"
        for host in OF_LOOPBACK
    )
    return nginx(folder, servers, core=RELAY_CORE, more=["-t"])


def caddy_check(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    folder.mkdir(parents=True)
    (folder / "Caddyfile").write_text(
        "{\n admin off\n auto_https off\n}\n"
        + "".join(
            f"http://{host}:{port} {{\n bind {host}\n reverse_proxy http://192.0.2.7:8080\n}}\n"
            for host in OF_LOOPBACK
        )
    )
    command = [debian("caddy"), "validate", "--config", "Caddyfile", "--adapter", "caddyfile"]
    environ = {"GOMAXPROCS": "1", "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    return Program(command, folder, core=RELAY_CORE, environ=environ)


# --- the rows ---------------------------------------------------------------------------------------------


def pause(
    name: str, ours: dict[str, Start], theirs: dict[str, Start], run: Callable[..., Result]
) -> Workload:
    return Workload(
        name=f"Longest pause of others: {name}",
        unit="ms",
        origin="echo",
        ours=ours,
        peers=theirs,
        goals=[Goal([*theirs])],
        run=run,
        measure="pause",
        scale=1e-3,
        least=0.01,
        most=20,
    )


WAITS = [
    Workload(
        name="Start to listening by lanrelay run, conf/relay.yaml",
        unit="ms",
        origin="",
        ours={OURS: partial(peers.lanrelay_as_shipped, by=[*LANRELAY, "run"])},
        peers={"importing the reactor": peers.importing_the_reactor},
        goals=[Goal(["importing the reactor"], 1 / 1.1, 1 / 0.9)],
        measure="start",
        scale=1e3,
        least=10,
        most=200,
    ),
    Workload(
        name=f"lanrelay check, {MANY:,} listeners",
        unit="ms",
        origin="",
        ours={OURS: check},
        peers={"nginx -t": nginx_check, "caddy validate": caddy_check},
        goals=[Goal(["nginx -t"]), Goal(["caddy validate"])],
        measure="ran",
        scale=1e3,
        least=10,
        most=1500,
    ),
    pause(
        f"a reload, one of {LISTENERS} listeners changed",
        {OURS: relay_of_many(True)},
        {"HAProxy": haproxy_of_many, "lanrelay, not reloaded": relay_of_many(False)},
        disturbed,
    ),
    *(
        pause(
            f"{path}, 1,000 open sessions",
            {OURS: with_admin(path)},
            {"lanrelay, not looked at": with_admin("")},
            beside_sessions,
        )
        for path in _PAGES
    ),
]
