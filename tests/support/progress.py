"""Waits for other processes for as long as they get on, however slow a loaded machine makes them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

PATIENCE = 60.0
"""Seconds until a test gives up what it waits for. They cost nothing where it comes, on whatever machine."""

LIMIT = 300.0
"""Seconds for a test as a whole, which waits several times."""

_ROUNDS = 6


class Patience:
    """
    Ends when a process has not computed for some seconds; what computes for six times as long hangs, too.

    @ivar left: seconds until L{over} has to be asked again.
    """

    def __init__(self, pid: int, seconds: float) -> None:
        self._pid, self._seconds = pid, seconds
        self._rounds = 1
        self._work = work_of(pid)
        self._until = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def over(self) -> bool:
        """It has not got on, or never will."""
        if self.left:
            return False
        before, self._work = self._work, work_of(self._pid)
        if self._work == before or self._rounds == _ROUNDS:
            return True
        self._rounds += 1
        self._until = time.monotonic() + self._seconds
        return False


def work_of(pid: int) -> str:
    """How long a process has computed, in words that change when that has grown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # macOS, or it has ended
        words = ["ps", "-o", "time=", "-p", str(pid)]
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout
    return " ".join(stat.rpartition(")")[2].split()[11:13])
