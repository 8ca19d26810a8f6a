"""Finds the program that macOS holds responsible for another one which it keeps from the LAN."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from lanrelay.commands import Runner
from lanrelay.examine.checks import Check, Examined


def responsible_checks(
    examined: Iterable[Examined], status: Mapping[str, Any] | None, run: Runner, *, shell: int, root: bool
) -> list[Check]:
    """
    The responsible program for each place that met local network privacy; blocks.

    @param status: the running relay's C{status.json}, for its process.
    @param shell: the process that started this command; the program responsible for it is responsible for us.
    @param root: whether this command may ask the system; else the check gives the line to paste.
    """
    places = {one.place for one in examined if "local_network_privacy" in one.causes}
    checks = []
    if "here" in places:
        checks.append(_check("this command", shell, run, root=root))
    if "service" in places and status is not None and isinstance(status.get("pid"), int):
        checks.append(_check("the running relay", status["pid"], run, root=root))
    return checks


def _check(whose: str, pid: int, run: Runner, *, root: bool) -> Check:
    facts: dict[str, Any] = {"pid": pid}
    path = responsible_path(run(["launchctl", "procinfo", str(pid)]).output) if root else ""
    if path:
        app = app_of(path)
        return Check(
            layer="network",
            state="warn",
            said=f"For {whose}, macOS holds {path} responsible.",
            remedy=f"Look for {app} in System Settings > Privacy & Security > Local Network."
            if app
            else "It is no app that macOS could ask about; start the relay in another way.",
            facts={**facts, "responsible": path},
        )
    return Check(
        layer="network",
        state="warn",
        said=f"Which program macOS holds responsible for {whose}, and so asks about, root is told.",
        remedy=f"sudo launchctl procinfo {pid} | grep responsible",
        facts=facts,
    )


def responsible_path(output: str) -> str:
    """The program that C{launchctl procinfo} names; empty where it names none."""
    found = re.search(r"^\s*responsible path\s*= (.+)$", output, re.MULTILINE)
    return found[1].strip() if found else ""


def app_of(path: str) -> str:
    """The name of the outermost app that a program belongs to; empty if there is none."""
    return next((part[:-4] for part in PurePosixPath(path).parts if part.endswith(".app")), "")
