"""The surroundings of the relay on this machine: the service that starts it, and the clients that use it."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from lanrelay.commands import Runner
from lanrelay.config import model
from lanrelay.examine.checks import Check

if TYPE_CHECKING:
    from lanrelay.clients.finding import Finding
    from lanrelay.setup.mode import Mode

_OURS = range(28100, 29000)  # the ports that listeners get of lanrelay itself


# --- the service ----------------------------------------------------------------------------------------


def service_check(modes: list[Mode], file: Path, run: Runner, *, running: bool) -> Check:
    """
    Whether something starts the relay, and with this file.

    @param modes: of this system.
    @param running: a relay runs with this file, whoever has started it.
    """
    installed = [mode for mode in modes if mode.installed]
    if not installed:
        return Check(
            layer="service",
            state="warn",
            cause="not_installed",
            said="Nothing starts the relay at login or at boot.",
            remedy=f"lanrelay service install -c {quote(str(file))}",
        )
    mode = installed[0]
    state = mode.state(run)
    facts = {"mode": mode.name, "state": state, "file": str(mode.path)}
    if not _names(mode, file):
        return Check(
            layer="service",
            state="warn",
            cause="wrong_config",
            said=f"The service {mode.name} ({mode.path}) starts a relay with another file than {file}.",
            remedy=f"lanrelay service install -c {quote(str(file))} --mode {mode.name} --force",
            facts=facts,
        )
    if not running:
        return Check(
            layer="service",
            state="failed",
            cause="not_running",
            said=f"The service {mode.name} is installed, and its relay does not answer: {state}.",
            remedy=mode.log,
            facts=facts,
        )
    return Check(layer="service", state="ok", said=f"The service {mode.name}: {state}.", facts=facts)


def _names(mode: Mode, file: Path) -> bool:
    try:
        text = mode.path.read_text("utf-8", "replace")
    except OSError:
        return True  # it is another user's, and cannot be judged
    return str(file) in text


def modes_here() -> list[Mode]:
    """The modes of this system; none for a user without a name, as containers have them."""
    import sys

    from lanrelay.cli.service import this_machine
    from lanrelay.setup.installer import Failed
    from lanrelay.setup.modes import MODES

    try:
        machine = this_machine(None)
    except Failed:
        return []
    platform = "darwin" if sys.platform == "darwin" else "linux"
    return [mode(machine) for mode in MODES.values() if mode.platform == platform]


# --- the clients ----------------------------------------------------------------------------------------


def client_checks(config: model.Config | None) -> list[Check]:
    """Entries in the clients' files that lead to the LAN directly, or to a port where nobody listens."""
    from lanrelay.cli.looking import Listeners, of_config
    from lanrelay.clients.places import find
    from lanrelay.clients.survey import survey

    listeners = Listeners(None, {}, {}) if config is None else of_config(config)
    files = find(folder=Path.cwd())
    seen = survey(files, relays=listeners.relays, npx=shutil.which("npx") is not None)
    checks = [check for finding in seen.findings for check in _of(finding)]
    checks += [
        Check(
            layer="clients",
            state="warn",
            said=f"{broken.found.path} cannot be read: {broken.said.rstrip('.')}.",
            remedy="Correct it; until then it is left alone.",
        )
        for broken in seen.broken
    ]
    if checks:
        return checks
    good = sum(finding.leads_to == "relay" for finding in seen.findings)
    if not good:
        return [Check(layer="clients", state="ok", said="No entry of a client leads to the LAN.")]
    entries = "1 entry of a client leads" if good == 1 else f"{good} entries of clients lead"
    return [Check(layer="clients", state="ok", said=f"{entries} through the relay, and none to the LAN.")]


def _of(finding: Finding) -> Iterator[Check]:
    server = finding.server
    client = server.client.name
    facts = {"client": client, "server": server.name, "file": str(server.read.found.path)}
    whose = f"{server.name} of {server.client.called}"
    if finding.leads_to == "lan" and finding.reason != "disabled":
        yield Check(
            layer="clients",
            state="warn",
            cause="direct_to_lan",
            said=f"{whose} leads to the LAN directly, where macOS may keep the client from it.",
            remedy=f"lanrelay adopt --client {client} --server {quote(server.name)}",
            facts=facts,
        )
    elif finding.leads_to in ("loopback", "relay"):
        port = _dead_port(finding)
        if port:
            ours = port in _OURS or finding.leads_to == "relay"
            yield Check(
                layer="clients",
                state="failed" if ours else "warn",
                cause="dead_port",
                said=f"{whose} leads to port {port} of this machine, where nobody listens.",
                remedy="lanrelay setup" if ours else "Start the program that should be there.",
                facts={**facts, "port": port},
            )


def _dead_port(finding: Finding) -> int:
    """The port on loopback to which an entry leads in vain; 0 for none."""
    from lanrelay.clients.judge import parse

    texts = [word.text for word in finding.server.urls] or [target.url.text for target in finding.targets]
    url = parse(texts[0]) if texts else "not_a_url"
    if isinstance(url, str) or url.host not in ("localhost", "127.0.0.1", "::1"):
        return 0
    hosts = ("127.0.0.1", "::1") if url.host == "localhost" else (url.host,)
    return 0 if any(_listens(host, url.port) for host in hosts) else url.port


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=0.5).close()
    except OSError:
        return False
    return True
