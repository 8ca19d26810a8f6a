"""Where the relay's time goes: py-spy on it while each workload runs."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import LOAD_CORE, Failed, free_port, pinned
from benchmarks.origins import Missing, Origins
from benchmarks.workloads import OURS, Workload

RATE = 200  # samples a second; each stops the relay for some microseconds
SECONDS = 6
SHOWN = 15


@dataclass(frozen=True)
class Profile:
    """
    Samples by where the program was.

    @ivar own: of the innermost function, C{"name file"}.
    @ivar rooms: of the innermost function's room or package.
    """

    total: int
    own: Counter[str]
    rooms: Counter[str]


def parsed(collapsed: str) -> Profile:
    """What py-spy's C{raw} format says: a line for each stack, frames from the outermost on, and a count."""
    own: Counter[str] = Counter()
    rooms: Counter[str] = Counter()
    for line in collapsed.splitlines():
        stack, _, count = line.rpartition(" ")
        if not stack or not count.isdigit():
            continue
        found = re.fullmatch(r"(.*) \((.*?)(?::\d+)?\)", stack.split(";")[-1])
        name, path = (found[1], found[2]) if found else (stack.split(";")[-1], "")
        own[f"`{name}` {_short(path)}"] += int(count)
        rooms[_room(path)] += int(count)
    return Profile(sum(own.values()), own, rooms)


def _short(path: str) -> str:
    """The path from its package on."""
    return re.sub(
        r"^.*(site-packages/|dist-packages/|lib/python3\.\d+/(?!site-|dist-)|(?=lanrelay/\w+[/.]))", "", path
    )


def _room(path: str) -> str:
    parts = _short(path).split("/")
    if parts[0] == "lanrelay":
        return "/".join(parts[:2]).removesuffix(".py")
    if parts[0] == "twisted":
        return "/".join(parts[:2])
    return parts[0] if len(parts) > 1 else "Python"


def page(
    workloads: Sequence[Workload], origins: Origins, folder: Path, share: float, say: Callable[[str], None]
) -> str:
    """The whole of C{PROFILE.md}."""
    parts = [
        "# Where the relay's time goes",
        "",
        f"Written by `python -m benchmarks --profile`: py-spy looks {RATE} times a second at a relay that "
        "has each workload to do, for some seconds. The share is of the samples that were not idle; what a "
        "function spends in the kernel, in OpenSSL or in other C code counts as its own.",
        "",
    ]
    for number, workload in enumerate(workloads):
        if workload.run is None or workload.measure not in ("cpu", "p50"):
            continue
        say(workload.name)
        try:
            found = _taken(workload, origins, folder / f"profile-{number}", share)
        except (Missing, Failed, OSError) as error:
            say(f"  {error}")
            parts += [f"## {workload.name}", "", f"Not taken: {' '.join(str(error).split())[:200]}", ""]
            continue
        parts += [f"## {workload.name}", "", *table(found), ""]
    return "\n".join(parts).rstrip() + "\n"


def table(profile: Profile) -> list[str]:
    rooms = ", ".join(f"{room} {count / profile.total:.0%}" for room, count in profile.rooms.most_common(8))
    lines = [f"By room: {rooms}.", "", "| share | function |", "| ---: | --- |"]
    return lines + [
        f"| {count / profile.total:.1%} | {name} |" for name, count in profile.own.most_common(SHOWN)
    ]


def _taken(workload: Workload, origins: Origins, folder: Path, share: float) -> Profile:
    spy = origins.environment.of_pypi("py-spy")
    if spy is None:
        raise Missing("py-spy is not here (from PyPI)")
    assert workload.run is not None
    port = free_port()
    relay = workload.ours[OURS](origins, workload.origin, folder, port)
    try:
        relay.listening(port)
        workload.run(origins, relay, port, 0.1 * share)
        seconds = max(1, round(SECONDS * share))
        command = [
            *(spy, "record", "--pid", relay.pid, "--rate", RATE, "--duration", seconds),
            *("--format", "raw", "--output", folder / "stacks", "--full-filenames"),
        ]
        looking = subprocess.Popen(
            pinned(command, LOAD_CORE), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            while looking.poll() is None:
                workload.run(origins, relay, port, share)
        finally:
            looking.kill()
            errors = looking.communicate()[1]
        if not (folder / "stacks").exists():
            raise Failed(f"py-spy: {errors[-300:]}")
        found = parsed((folder / "stacks").read_text())
        if not found.total:
            raise Failed("py-spy saw nothing at work")
        return found
    finally:
        relay.stop()
