"""
Runs the tests room by room, several rooms at a time, and the linters; ends with "N passed, N failed".

    .venv/bin/python .ci/parts.py [NAME...]     # only the parts whose names begin so: kqueue.live, mypy

Most tests wait for a process or a timer: a room computes in 4 of 10 seconds, so that three at a time keep a
processor busy.
Each room, a folder of tests/, is run twice: as C{trial} runs it, and with what a Mac has as far as Linux can
play it (tests/support/kqueue_on_linux.py and darwin_on_linux.py). The rooms that live by streams run there on
kqueue, with every program that they start; all others as on darwin, in their own process.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
BIN = TOP / ".venv" / "bin"

ON_KQUEUE = ("transport", "upstream", "http", "listeners", "process", "live")

STARTING = ("process", "live", "cli", "bridge")
"""The rooms whose tests start processes, or wait; they come first, the longest before the others."""

AT_ONCE = 3
"""Parts for each processor."""

LARGE = 9
"""Modules of a part of such a room, whose tests take seconds each."""

PATIENCE = 900.0
"""Seconds that a part may take; many times what it needs."""

LACKING = re.compile(r" is (not here|missing|not installed)")
"""A skip for want of a program is for people's machines; here the program must be there."""


@dataclass(frozen=True)
class Part:
    """
    Something that runs in a process of its own.

    @ivar tests: it is trial, whose last line counts.
    """

    name: str
    words: Sequence[str]
    tests: bool = True


@dataclass
class Outcome:
    """What came of a part."""

    part: Part
    passed: int
    failed: int
    skips: Counter[str]
    log: str
    seconds: float
    processor: float


def main(names: Sequence[str]) -> int:
    """0 where everything passes, else 2: 1 is a fault of this program."""
    chosen = [part for part in parts() if not names or part.name.startswith(tuple(names))]
    began = time.monotonic()
    passed = failed = 0
    skips: Counter[str] = Counter()
    workers = AT_ONCE * (os.cpu_count() or 1)
    print(f"{len(chosen)} parts, {workers} at a time", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        try:
            for done in as_completed([pool.submit(run, part, Path(folder)) for part in chosen]):
                outcome = done.result()
                passed += outcome.passed
                failed += outcome.failed
                skips += outcome.skips
                tell(outcome)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(_running):  # so that trial cleans up
                os.killpg(process.pid, signal.SIGINT)
            raise
    for reason, times in sorted(skips.items()):
        print(f"skipped, {times} times: {reason}")
    lacking = [reason for reason in skips if LACKING.search(reason)]
    if lacking:
        print("skipped for want of a program:", *lacking, sep="\n  ")
        failed += 1
    print(f"after {time.monotonic() - began:.0f} s:")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 2


# --- what there is to do --------------------------------------------------------------------------------


def parts() -> list[Part]:
    """What shows most comes first, then the longest."""
    python, trial = str(BIN / "python"), str(BIN / "trial")
    shims = TOP / "tests" / "support"
    ruff = str(BIN / "ruff")
    found = [
        Part("mypy", [str(BIN / "mypy")], tests=False),
        Part("ruff check", [ruff, "check"], tests=False),
        Part("ruff format", [ruff, "format", "--check"], tests=False),
    ]
    for room, modules in rooms():
        found.append(_trial(f"plain.{room}", [trial], modules))
        if room.partition("-")[0] in ON_KQUEUE:
            played = [python, str(shims / "kqueue_on_linux.py"), "trial"]
            found.append(_trial(f"kqueue.{room}", played, modules))
        else:
            found.append(_trial(f"darwin.{room}", [python, str(shims / "darwin_on_linux.py")], modules))
    return found


def rooms() -> Iterator[tuple[str, list[str]]]:
    """Each folder with tests, and what stands beside them; a large one in several."""
    folders = sorted({path.parent for path in (TOP / "tests").glob("*/test_*.py")})
    order = {name: place for place, name in enumerate(STARTING)}
    for folder in sorted(folders, key=lambda one: order.get(one.name, len(order))):
        modules = [f"tests.{folder.name}.{path.stem}" for path in sorted(folder.glob("test_*.py"))]
        if folder.name not in STARTING:
            yield folder.name, modules
            continue
        count = -(-len(modules) // LARGE)
        for number in range(count):
            yield f"{folder.name}-{number + 1}", modules[number::count]
    yield "tests", [f"tests.{path.stem}" for path in sorted((TOP / "tests").glob("test_*.py"))]


def _trial(name: str, program: Sequence[str], modules: Sequence[str]) -> Part:
    return Part(name, [*program, f"--temp-directory=_trial_temp_{name}", *modules])


_running: set[subprocess.Popen[bytes]] = set()


# --- doing it -------------------------------------------------------------------------------------------


def run(part: Part, folder: Path) -> Outcome:
    """Run a part to its end; one that takes too long is killed with all that it started."""
    began = time.monotonic()
    file = folder / part.name
    with file.open("wb") as log:
        process = subprocess.Popen(
            part.words,
            cwd=TOP,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _running.add(process)
        try:
            status, used = _wait(process, began + PATIENCE)
        finally:
            _running.discard(process)
    text = file.read_text(errors="replace")
    passed, failed = counted(text) if part.tests else (int(status == 0), int(status != 0))
    # A run that broke off, or failed in another way than by a test, has failed, too.
    if (status != 0 and failed == 0) or (passed == 0 and failed == 0 and part.tests):
        failed = 1
    if failed == 0:
        shutil.rmtree(TOP / f"_trial_temp_{part.name}", ignore_errors=True)
    return Outcome(part, passed, failed, skips_of(text), text, time.monotonic() - began, used)


def _wait(process: subprocess.Popen[bytes], deadline: float) -> tuple[int, float]:
    """The status, and the seconds of a processor that it took with what it waited for."""
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime + usage.ru_stime
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
            deadline += PATIENCE
        time.sleep(0.2)


def counted(text: str) -> tuple[int, int]:
    """How many passed and failed, by trial's last line; none and none where it has none."""
    last = (text.strip().splitlines() or [""])[-1]
    found = dict(re.findall(r"(\w+)=(\d+)", last)) if last.startswith(("PASSED", "FAILED")) else {}
    wrong = ("failures", "errors", "unexpectedSuccesses")
    return int(found.get("successes", 0)), sum(int(found.get(name, 0)) for name in wrong)


def skips_of(text: str) -> Counter[str]:
    """The reasons, each once for each test: trial prints one on the line after the word."""
    found: Counter[str] = Counter()
    for reason, names in re.findall(r"^\[SKIPPED\]\n(.*)\n\n((?:tests\.\S+\n)*)", text, re.MULTILINE):
        found[reason] += max(1, names.count("\n"))
    return found


def tell(outcome: Outcome) -> None:
    """One line, and the whole log where something failed."""
    spent = f"{outcome.seconds:.0f} s, {outcome.processor:.0f} s of a processor"
    print(f"== {outcome.part.name}: {outcome.passed} passed, {outcome.failed} failed ({spent})", flush=True)
    if outcome.failed:
        print(outcome.log, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
