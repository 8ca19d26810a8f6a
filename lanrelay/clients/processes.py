"""Whether a program of a client runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lanrelay.commands import Runner, run

_INTERPRETERS = ("node", "bun", "deno", "electron")


class Process(NamedTuple):
    """A process of this user."""

    pid: int
    words: tuple[str, ...]


def running(
    names: Sequence[str],
    *,
    platform: str = sys.platform,
    proc: Path = Path("/proc"),
    runner: Runner = run,
) -> list[int]:
    """
    The processes of this user that are called so, by their ids.

    The program itself or its interpreter's script counts, and on macOS the folder C{NAME.app}.
    """
    if not names:
        return []
    found = _of_ps(runner) if platform == "darwin" else _of_proc(proc)
    return [each.pid for each in found if each.pid != os.getpid() and _is_called(each.words, names)]


def _is_called(words: tuple[str, ...], names: Sequence[str]) -> bool:
    for word in words:
        parts = word.split("/")
        if parts[-1] in names or any(f"{name}.app" in parts for name in names):
            return True
        if parts[-1] not in _INTERPRETERS:
            return False  # what follows are arguments
    return False


def _of_proc(proc: Path) -> Iterator[Process]:
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if folder.stat().st_uid != os.geteuid():
                continue
            name = (folder / "comm").read_text("utf-8", "replace").strip()
            words = (folder / "cmdline").read_text("utf-8", "replace").split("\0")
        except OSError:  # it has ended
            continue
        if not words[0]:
            continue  # a thread of the kernel, or one that has ended
        yield Process(int(folder.name), tuple(words[:2]))
        if name:
            yield Process(int(folder.name), (name,))


def _of_ps(runner: Runner) -> Iterator[Process]:
    answer = runner(["ps", "-axo", "pid=,uid=,comm="])
    for line in answer.output.splitlines():
        fields = line.split(None, 2)
        if len(fields) == 3 and fields[0].isdigit() and fields[1] == str(os.geteuid()):
            yield Process(int(fields[0]), (fields[2],))
