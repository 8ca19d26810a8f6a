"""Runs targets, and makes of a failure the smallest input that still shows it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.fuzz.targets import Target

ENOUGH = 3
"""Failures of one target, after which the others go on without it: they are most often the same."""


@dataclass(frozen=True)
class Failure:
    """
    One input that broke something.

    @ivar case: with the seed, what makes it again.
    """

    target: str
    seed: int
    case: int
    data: bytes
    smallest: bytes
    traceback: str

    def __str__(self) -> str:
        return (
            f"{self.traceback}\n{self.target} failed with\n  {self.data!r}\nand with\n  {self.smallest!r}\n"
            f"Again: python -m tests.fuzz --target {self.target} --seed {self.seed} --case {self.case}"
        )


def randomness(name: str, seed: int, case: int) -> Random:
    return Random(f"{name}:{seed}:{case}")


def try_case(name: str, target: Target, seed: int, case: int) -> Failure | None:
    """One input; each is made from the seed and its number alone."""
    random = randomness(name, seed, case)
    data = target.make(random)
    state = random.getstate()
    error = failing(target, data, random)
    if error is None:
        return None
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__)[-12:])

    def same(smaller: bytes) -> bool:
        random.setstate(state)
        other = failing(target, smaller, random)
        return type(other) is type(error)

    return Failure(name, seed, case, data, smallest(data, same), text)


def failing(target: Target, data: bytes, random: Random) -> Exception | None:
    try:
        target.check(data, random)
    except Exception as error:
        return error
    return None


def smallest(data: bytes, fails: object, *, seconds: float = 5.0) -> bytes:
    """C{data} without what can go while C{fails(data)} stays true."""
    assert callable(fails)
    deadline = time.monotonic() + seconds
    size = max(len(data) // 2, 1)
    while size:
        at = 0
        while at < len(data) and time.monotonic() < deadline:
            shorter = data[:at] + data[at + size :]
            if fails(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data


def run(
    targets: dict[str, Target], *, seed: int, seconds: float, slice_: float = 1.0
) -> Iterator[Failure | tuple[str, int]]:
    """
    Each target in turn until the time is over: failures as they are found, and at last the counts.

    @param slice_: seconds for a target before the next has its turn.
    """
    deadline = time.monotonic() + seconds
    counts, failures = dict.fromkeys(targets, 0), dict.fromkeys(targets, 0)
    while True:
        for name, target in targets.items():
            if failures[name] >= ENOUGH:
                continue
            turn = min(time.monotonic() + slice_, deadline)
            while True:
                failure = try_case(name, target, seed, counts[name])
                counts[name] += 1
                if failure is not None:
                    yield failure
                    failures[name] += 1
                    if failures[name] >= ENOUGH:
                        break
                if time.monotonic() >= turn:
                    break
        if time.monotonic() >= deadline:
            yield from counts.items()
            return
