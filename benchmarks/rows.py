"""Every row of the page, in its order."""

from __future__ import annotations

from benchmarks.growth import GROWTH
from benchmarks.waits import WAITS
from benchmarks.workloads import WORKLOADS as WORK

WORKLOADS = [*WORK, *WAITS, *GROWTH]
