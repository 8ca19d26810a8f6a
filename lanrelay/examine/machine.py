"""
Looks at this machine, not at a target: the configuration, the running relay, its ports and descriptors, and
the clock.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from shlex import quote
from typing import Any

from lanrelay.commands import Runner
from lanrelay.config import model
from lanrelay.examine.checks import Check, Examined

_SKEW = 300.0
"""Seconds: Kerberos allows no more, and more would matter to certificates that live for hours."""

_SPARE = 256  # descriptors for what is no connection, as the relay reckons


def config_check(file: Path, config: model.Config, unreadable: Sequence[str] = ()) -> Check:
    """
    The check of a configuration file that is right in itself.

    @param unreadable: what is wrong with the files that it names.
    """
    enabled = [listener for listener in config.listeners if listener.enabled]
    count = "1 listener" if len(enabled) == 1 else f"{len(enabled)} listeners"
    if off := [listener.name for listener in config.listeners if not listener.enabled]:
        count += f"; not enabled: {', '.join(off)}"
    if unreadable:
        return Check(
            layer="config",
            state="failed",
            cause="wrong_config",
            said=f"{file} names what cannot be used: {'; '.join(unreadable)}.",
            remedy=f"lanrelay check -c {quote(str(file))}",
        )
    if config.warnings:
        return Check(
            layer="config",
            state="warn",
            cause="wrong_config",
            said=f"{file}: {count}; {'; '.join(config.warnings)}",
            remedy=f"lanrelay check -c {quote(str(file))}",
        )
    return Check(layer="config", state="ok", said=f"{file}: {count}.")


def not_enabled(config: model.Config, names: Sequence[str]) -> list[Check]:
    """A check for each of these listeners that clients cannot use, however well its upstream is."""
    return [
        Check(
            layer="config",
            state="warn",
            cause="wrong_config",
            said=f"The listener {listener.name} is not enabled, so no client can use it.",
            remedy=f"Take `enabled: false` out of listeners.{listener.name}, then: lanrelay reload",
        )
        for listener in config.listeners
        if listener.name in names and not listener.enabled
    ]


def wrong_config(file: Path, complaints: str) -> Check:
    """The check of a configuration file with errors."""
    return Check(
        layer="config",
        state="failed",
        cause="wrong_config",
        said=f"{file} is not right: {complaints.rstrip('.')}.",
        remedy=f"lanrelay check -c {quote(str(file))}",
    )


# --- the relay ------------------------------------------------------------------------------------------


def relay_check(status: Mapping[str, Any] | None, why: str, config: model.Config, version: str) -> Check:
    """
    Whether the relay runs with this file, and with what is in it now.

    @param status: its C{status.json}; C{None}: it does not answer, and C{why} is the sentence.
    @param version: of this command.
    """
    if status is None:
        return Check(
            layer="relay",
            state="failed",
            cause="not_running",
            said=why,
            remedy=f"lanrelay run -c {quote(str(config.path))}",
        )
    facts = {"version": status.get("version"), "pid": status.get("pid")}
    said = f"The relay runs, version {facts['version']}, process {facts['pid']}"
    running = {one["name"] for one in status.get("listeners", []) if not one.get("draining")}
    wanted = {listener.name for listener in config.listeners if listener.enabled}
    if not wanted <= running:
        missing = ", ".join(sorted(wanted - running))
        return Check(
            layer="relay",
            state="failed",
            cause="wrong_config",
            said=f"{said}, but not with the file as it is now: it does not serve {missing}.",
            remedy=f"lanrelay reload -c {quote(str(config.path))}",
            facts=facts,
        )
    if facts["version"] != version and not version.startswith("("):
        return Check(
            layer="relay",
            state="warn",
            said=f"{said}; this command is of version {version}.",
            remedy="Start the relay anew, so that it runs what is installed.",
            facts=facts,
        )
    return Check(layer="relay", state="ok", said=f"{said}.", facts=facts)


def relay_of_others(why: str, file: Path) -> Check:
    """The check of a relay that another user runs with this file."""
    remedy = f'sudo "$(command -v lanrelay)" doctor -c {quote(str(file))}'  # sudo has a PATH of its own
    return Check(layer="relay", state="warn", said=why, remedy=remedy)


# --- ports ----------------------------------------------------------------------------------------------


def port_checks(config: model.Config, status: Mapping[str, Any] | None, run: Runner) -> list[Check]:
    """
    Whether each listener has its port, or could have it.

    @param run: runs a command that tells who has the port; blocks.
    """
    if status is not None:
        return list(_ports_of_running(config, status))
    checks = []
    for listener in config.listeners:
        for host, port in _tcp(listener) if listener.enabled else ():
            taken = _taken(host, port)
            if taken is not None:
                checks.append(_port_taken(listener.name, host, port, taken, run))
    return checks or [Check(layer="ports", state="ok", said="The ports of all listeners are free.")]


def _ports_of_running(config: model.Config, status: Mapping[str, Any]) -> Iterator[Check]:
    bad = [
        one["name"]
        for one in status.get("listeners", [])
        if not one.get("draining")
        and not one.get("listening")
        and one.get("kind") not in ("admin", "control")
    ]
    for name in bad:
        yield Check(
            layer="ports",
            state="failed",
            cause="port_taken",
            said=f"The listener {name} has no port.",
            remedy=f"lanrelay reload -c {quote(str(config.path))}",
        )
    if not bad:
        yield Check(layer="ports", state="ok", said="Every listener of the running relay has its port.")


def _tcp(listener: model.Listener) -> Iterator[tuple[str, int]]:
    for address in listener.listen:
        if isinstance(address, model.TcpAddress) and address.port:
            yield str(address.host), address.port
        elif isinstance(address, model.LocalhostAddress) and address.port:
            yield "127.0.0.1", address.port
            yield "::1", address.port


def _taken(host: str, port: int) -> OSError | None:
    """Why the relay could not listen there now; C{None} if it could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as trying:
            trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trying.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trying.bind((host, port))
            trying.listen(1)
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and host == "::1":
            return None  # this machine has no IPv6; the relay does without it, too
        return error
    return None


def _port_taken(name: str, host: str, port: int, error: OSError, run: Runner) -> Check:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    facts = {"address": place, "errno": errno.errorcode.get(error.errno or 0)}
    if error.errno != errno.EADDRINUSE:
        return Check(
            layer="ports",
            state="failed",
            said=f"The listener {name} could not have {place}: {error.strerror}.",
            remedy=f"listen: {20000 + port % 10000}  # of listeners.{name}; a port that this user may have",
            facts=facts,
        )
    holder = who_listens(port, run)
    by = f" by {holder}" if holder else ""
    return Check(
        layer="ports",
        state="failed",
        cause="port_taken",
        said=f"The port {place} of the listener {name} is taken{by}.",
        remedy=f"Stop what has it, or give listeners.{name} another port in `listen`.",
        facts=facts,
    )


def who_listens(port: int, run: Runner) -> str:
    """The program that listens on a port, if this user may know it; empty if it is unknown."""
    found = re.findall(
        rf"^(\S+)\s+(\d+)\s.*TCP \S*:{port} \(LISTEN\)$",
        run(["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN"]).output,
        re.MULTILINE,
    )
    if not found:
        found = re.findall(r'users:\(\("([^"]+)",pid=(\d+)', run(["ss", "-Hltnp", f"sport = :{port}"]).output)
    return f"{found[0][0]}, process {found[0][1]}" if found else ""


# --- descriptors ----------------------------------------------------------------------------------------


def descriptors_check(config: model.Config, limit: int | None = None) -> Check:
    """
    Whether there are descriptors enough for the connections that the configuration allows.

    @param limit: that of the running relay; by default the one to which this process could raise its own.
    """
    if limit is None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = sum(listener.max_connections for listener in config.listeners if listener.enabled)
    needed = _SPARE + 2 * wanted
    if limit == resource.RLIM_INFINITY or limit >= needed:
        said = f"There are descriptors for all {wanted} connections that may come."
        return Check(layer="descriptors", state="ok", said=said)
    room = max(1, (limit - min(_SPARE, limit // 2)) // 2)
    return Check(
        layer="descriptors",
        state="warn",
        cause="few_descriptors",
        said=f"A process may have {limit} open files here, enough for {room} connections of {wanted}.",
        remedy=f"ulimit -n {needed}",
        facts={"limit": limit, "needed": needed},
    )


# --- the clock ------------------------------------------------------------------------------------------


def clock_check(examined: Iterable[Examined], *, now: float | None = None) -> Check:
    """Compare this machine's clock with those of the servers, and with the times of lanrelay's own files."""
    now = time.time() if now is None else now
    installed = os.stat(__file__).st_mtime
    if now < installed - 86400:
        return Check(
            layer="clock",
            state="failed",
            cause="clock_wrong",
            said=f"This machine's clock says {_day(now)}, which is before lanrelay was installed here.",
            remedy="Set the clock; no certificate is valid before its time.",
        )
    offsets = {
        one.url: float(check.facts["clock_offset"])
        for one in examined
        for check in one.layer("http")
        if "clock_offset" in check.facts
    }
    far = {url: offset for url, offset in offsets.items() if abs(offset) > _SKEW}
    if not far:
        said = f"This machine's clock says {_day(now)}"
        said += ", and so do the servers that were asked." if offsets else "."
        return Check(layer="clock", state="ok", said=said)
    url, offset = next(iter(far.items()))
    which = "this machine's" if len(far) == len(offsets) > 1 else "one of the two"
    return Check(
        layer="clock",
        state="warn",
        cause="clock_wrong",
        said=f"The clock of {url} is {_span(offset)} of this machine's; {which} is wrong.",
        remedy="Let both be set by NTP.",
        facts={"offset": round(offset)},
    )


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, timezone.utc):%Y-%m-%d %H:%M} UTC"


def _span(offset: float) -> str:
    seconds = abs(offset)
    for size, word in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word} {'ahead' if offset > 0 else 'behind'}"
    return f"{seconds:.0f} s {'ahead' if offset > 0 else 'behind'}"
