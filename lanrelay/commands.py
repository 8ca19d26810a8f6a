"""Runs the system's own commands; the one place that does, so that tests can answer in its stead."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Output:
    """What a command said; C{status} is -1 where there is no such program."""

    status: int
    output: str = ""
    errors: str = ""

    @property
    def good(self) -> bool:
        return self.status == 0

    @property
    def reason(self) -> str:
        """Why it failed, in one line."""
        lines = [line for line in (self.errors or self.output).splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"status {self.status}"


class Runner(Protocol):
    """Runs a command to its end."""

    def __call__(self, words: Sequence[str]) -> Output: ...


def run(words: Sequence[str]) -> Output:
    """The real L{Runner}; nothing is asked of the person at the terminal."""
    try:
        done = subprocess.run(
            list(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
        )
    except FileNotFoundError:
        return Output(-1, errors=f"{words[0]} is not here")
    except OSError as error:
        return Output(-1, errors=f"{words[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Output(-1, errors=f"{words[0]} did not end within {_PATIENCE:.0f} s")
    return Output(done.returncode, done.stdout, done.stderr)
