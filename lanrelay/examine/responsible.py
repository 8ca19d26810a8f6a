"""Whom macOS asks about a program that it keeps from the LAN: the program that is responsible for it."""

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
    Who it is, for each place from which local network privacy was met; blocks.

    @param status: the running relay's C{status.json}, for its process.
    @param shell: the process that this command was started from; for it answers who answers for us.
    @param root: this command may ask; else the line to paste is given.
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
    """The name of the outermost app that a program belongs to; empty for none."""
    return next((part[:-4] for part in PurePosixPath(path).parts if part.endswith(".app")), "")
