"""What the process takes of its machine, under the names that all exporters use."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator

from lanrelay.observe.metrics import Family

_STATM = "/proc/self/statm"  # Linux only; macOS tells only the largest size there ever was


def process_figures(started: float) -> Iterator[Family]:
    """
    The C{process_*} families that this system has figures for.

    @param started: wall-clock seconds since the epoch.
    """
    cpu = Family("process_cpu_seconds_total", "counter", "Seconds of user and system time.")
    cpu.add(round(time.process_time(), 6))
    yield cpu
    begun = Family("process_start_time_seconds", "gauge", "When it was started, since the epoch.")
    begun.add(round(started, 3))
    yield begun
    memory = _memory()
    if memory is not None:
        for kind, size in zip(("virtual", "resident"), memory, strict=True):
            family = Family(f"process_{kind}_memory_bytes", "gauge", f"Bytes of {kind} memory.")
            family.add(size)
            yield family
    descriptors = _open_descriptors()
    if descriptors is not None:
        opened = Family("process_open_fds", "gauge", "Open file descriptors.")
        opened.add(descriptors)
        yield opened
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY:
        most = Family("process_max_fds", "gauge", "Open file descriptors at most.")
        most.add(limit)
        yield most


def _memory() -> tuple[int, int] | None:
    """The virtual and the resident memory, in bytes."""
    try:
        with open(_STATM) as file:
            whole, resident, *_ = file.read().split()
    except OSError:
        return None
    page = resource.getpagesize()
    return int(whole) * page, int(resident) * page


def _open_descriptors() -> int | None:
    try:
        return len(os.listdir("/dev/fd")) - 1  # without the one that lists them
    except OSError:
        return None
