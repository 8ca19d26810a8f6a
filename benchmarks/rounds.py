"""Runs one workload: all its programs take turns, and each figure is checked before it counts."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Failed, Program, free_port, held, load_cpu
from benchmarks.origins import Missing, Origins
from benchmarks.peers import Start
from benchmarks.workloads import OURS, Goal, Workload

DIRECT = "without a relay"
FAULTS = (Missing, Failed, OSError, subprocess.SubprocessError)  # of a program; the others go on
HELD = 1000


@dataclass(frozen=True)
class Figure:
    """
    One program in one round.

    @ivar value: in the workload's unit.
    @ivar rate: units in a second.
    @ivar relay: the share of its core that the program took while the load lasted.
    @ivar load: the share of their core that load and origin took.
    """

    value: float
    rate: float = 0.0
    relay: float = 0.0
    load: float = 0.0
    p99: float = 0.0


@dataclass
class Row:
    """
    One workload.

    @ivar figures: for each program, one figure for each round.
    @ivar left_out: programs that were not measured, and why.
    """

    workload: Workload
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def values(self, name: str) -> list[float]:
        return [figure.value for figure in self.figures.get(name, [])]

    def median(self, name: str) -> float | None:
        values = self.values(name)
        return statistics.median(values) if values else None

    def ratio(self, goal: Goal) -> tuple[str, float] | None:
        """
        The best peer, and its figure divided by ours.

        The ratio is the median of those of the rounds: what disturbs a round disturbs both.
        """
        ratios = {
            name: statistics.median(
                theirs / mine for theirs, mine in zip(self.values(name), self.values(OURS), strict=False)
            )
            for name in goal.peers
            if self.values(name) and self.values(OURS)
        }
        return min(ratios.items(), key=lambda item: item[1]) if ratios else None


def run(
    workload: Workload,
    origins: Origins,
    folder: Path,
    *,
    rounds: int,
    share: float,
    without: list[str],
    say: Callable[[str], None],
) -> Row:
    """
    Measure the workload.

    A program that fails is left out and named, and the others go on.
    """
    programs = {
        name: start for name, start in {**workload.ours, **workload.peers}.items() if name not in without
    }
    row = Row(workload)
    measure = _FRESH.get(workload.measure)
    with contextlib.ExitStack() as stack:
        if measure is not None:
            turns: dict[str, Callable[[], Figure]] = {
                name: _fresh(measure, workload, origins, folder, name, start)
                for name, start in programs.items()
            }
        else:
            turns = dict(_side_by_side(workload, origins, folder, programs, share, stack, row, say))
        times = {"memory": (rounds + 1) // 2, "start": rounds * 2, "ran": rounds * 2}.get(
            workload.measure, rounds
        )
        for number in range(times):
            if OURS not in turns:
                break  # there is nothing to compare with
            names = list(turns)
            first = number % len(names)  # no program is always the first
            for name in names[first:] + names[:first]:
                try:
                    row.figures.setdefault(name, []).append(_believable(workload, turns[name]()))
                except FAULTS as error:
                    _leave_out(row, name, error, say)
                    del turns[name]
    if workload.measure == "added":
        _take_direct_off(row)
    return row


def _leave_out(row: Row, name: str, error: Exception, say: Callable[[str], None]) -> None:
    row.left_out[name] = " ".join(str(error).split())[:160]
    row.figures.pop(name, None)
    say(f"  {name} is left out: {error}")


def _side_by_side(
    workload: Workload,
    origins: Origins,
    folder: Path,
    programs: Mapping[str, Start],
    share: float,
    stack: contextlib.ExitStack,
    row: Row,
    say: Callable[[str], None],
) -> dict[str, Callable[[], Figure]]:
    """Start every program and give it a little to do, so that all are warm when the first round begins."""
    turns: dict[str, Callable[[], Figure]] = {}
    assert workload.run is not None
    if workload.measure in ("p50", "added"):
        port = origins.port(workload.origin)
        turns[DIRECT] = lambda port=port: _once(workload, origins, None, port, share)  # type: ignore[misc]
    for name, start in programs.items():
        try:
            port = free_port()
            program = start(origins, workload.origin, folder / _file_name(name), port)
            stack.callback(program.stop)
            program.listening(port)
            workload.run(origins, program, port, 0.1 * share)
        except FAULTS as error:
            _leave_out(row, name, error, say)
        else:
            turns[name] = lambda program=program, port=port: _once(  # type: ignore[misc]
                workload, origins, program, port, share
            )
    return turns


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def _once(workload: Workload, origins: Origins, program: Program | None, port: int, share: float) -> Figure:
    assert workload.run is not None
    family = program.family() if program else set()
    if workload.kept:
        # Since its last turn a program may have closed idle connections: a relay does so after some seconds.
        workload.run(origins, program, port, 0.1 * share)
    before, load_before = program.cpu() if program else 0.0, load_cpu() + origins.cpu()
    result = workload.run(origins, program, port, share)
    load = (load_cpu() + origins.cpu() - load_before) / result.seconds
    if workload.measure == "pause":
        return Figure(result.most * workload.scale, result.units / result.seconds, 0.0, load, result.p99)
    if program is None:
        return Figure(result.p50 * workload.scale, result.units / result.seconds, 0.0, load, result.p99)
    program.settle(family)
    used = program.cpu() - before if result.used is None else result.used
    if used < 0.005:
        raise Failed(f"took {used * 1e3:.1f} ms of CPU for {result.units} units: too little to be all of it")
    if used > 1.1 * (result.seconds + 0.3):
        raise Failed(f"took {used:.1f} s of CPU in {result.seconds:.1f} s on one core: more than it is")
    value = result.p50 if workload.measure in ("p50", "added") else used / result.units
    return Figure(
        value * workload.scale, result.units / result.seconds, used / result.seconds, load, result.p99
    )


def _believable(workload: Workload, figure: Figure) -> Figure:
    if figure.value < workload.least:
        raise Failed(f"{figure.value:.3g} {workload.unit} cannot be")
    return figure


def _take_direct_off(row: Row) -> None:
    direct = row.median(DIRECT)
    for name, figures in list(row.figures.items()):
        if name == DIRECT or direct is None:
            continue
        row.figures[name] = [
            Figure(figure.value - direct, figure.rate, figure.relay, figure.load, figure.p99)
            for figure in figures
        ]
        if min(row.values(name)) <= 0:
            row.left_out[name] = "faster than without a relay: cannot be"
            del row.figures[name]


# --- with a new process each time ---------------------------------------------------------------------------

Measure = Callable[[Workload, Origins, Program, int], Figure]


def _fresh(
    measure: Measure, workload: Workload, origins: Origins, folder: Path, name: str, start: Start
) -> Callable[[], Figure]:
    count = 0

    def turn() -> Figure:
        nonlocal count
        count += 1
        port = free_port()
        if workload.origin:
            origins.port(workload.origin)
        program = start(origins, workload.origin, folder / f"{_file_name(name)}-{count}", port)
        try:
            return measure(workload, origins, program, port)
        finally:
            program.stop()

    return turn


def _memory(workload: Workload, origins: Origins, program: Program, port: int) -> Figure:
    """The memory of each connection that the load generator holds open; the first few are not counted."""
    assert workload.hold is not None
    program.listening(port)
    with held(workload.hold(origins, port, 20), program.folder):
        time.sleep(0.5)
    time.sleep(0.5)
    before = program.memory()
    with held(workload.hold(origins, port, HELD), program.folder):
        time.sleep(1)
        during = program.memory()
    program.check_alive()
    return Figure((during - before) / HELD * workload.scale)


def _start(workload: Workload, origins: Origins, program: Program, port: int) -> Figure:
    """How long the program takes until it accepts."""
    program.listening(port, every=0.001)
    return Figure((time.monotonic() - program.began) * workload.scale)


def _ran(workload: Workload, origins: Origins, program: Program, port: int) -> Figure:
    """The CPU that the program takes from its start to its end."""
    before = load_cpu()  # of all that were children of ours
    program.ended()
    return Figure((load_cpu() - before) * workload.scale)


_FRESH: dict[str, Measure] = {"memory": _memory, "start": _start, "ran": _ran}
