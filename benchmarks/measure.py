"""Starts, watches and surely ends processes on their cores, and measures their CPU and memory."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

RELAY_CORE, LOAD_CORE = 0, 1
PATIENCE = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")
_running: set[Program] = set()


class Failed(Exception):
    """A program did not do what it should, or a figure cannot be true."""


@dataclass(frozen=True)
class Result:
    """
    What a load generator says.

    @ivar units: round trips, connections, requests, bytes or events, each of them seen to be right.
    @ivar p50: the median microseconds of one unit, if that was measured; C{most}: those of the longest one.
    @ivar used: seconds of CPU that the relay took for it, if not all that it did is to be counted.
    """

    units: int
    seconds: float
    p50: float = 0.0
    p99: float = 0.0
    most: float = 0.0
    used: float | None = None


def pinned(command: Sequence[object], core: int) -> list[str]:
    """The same on one core, and killed by the kernel if we are: util-linux is on every Debian."""
    words = [str(word) for word in command]
    if (taskset := shutil.which("taskset")) is None or (setpriv := shutil.which("setpriv")) is None:
        raise Failed("taskset and setpriv (util-linux) are not here")
    return [setpriv, "--pdeathsig", "KILL", taskset, "-c", str(core), *words]


def plain_environment(**more: str) -> dict[str, str]:
    """Ours without proxies, which would lead peers elsewhere."""
    return {
        **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        **more,
    }


class Program:
    """
    A process and its children, on one core, in a folder of its own that takes its output.

    @ivar prefix: what its clients put before the path of a request line.
    @ivar streams: how many its clients are to open, if its figures are about that.
    @ivar disturb: what is done to it while clients wait; nothing by default.
    """

    prefix = ""
    streams = 0

    def __init__(
        self,
        command: Sequence[object],
        folder: Path,
        *,
        core: int,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.disturb: Callable[[], None] = lambda: None
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.name = Path(str(command[0])).name
        self.began = time.monotonic()
        with (folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                pinned(command, core),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=plain_environment(**(environ or {})),
                start_new_session=True,
            )
        _running.add(self)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text(errors="replace")[-2000:]

    def check_alive(self) -> None:
        if self._process.poll() is not None:
            raise Failed(f"{self.name} ended with {self._process.returncode}: {self.output}")

    def listening(self, port: int, every: float = 0.05) -> None:
        """Wait until it accepts on C{port}."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            self.check_alive()
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            time.sleep(every)
        raise Failed(f"{self.name} does not listen on {port}: {self.output}")

    def ended(self) -> None:
        """Wait until it has done what it had to do."""
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} does not end: {self.output}") from None
        if status:
            raise Failed(f"{self.name} ended with {status}: {self.output}")

    def family(self) -> set[int]:
        """The process and its descendants, also those whose parent is gone, for its session is its own."""
        return {pid for pid, session in _sessions() if session == self.pid}

    def cpu(self) -> float:
        """Seconds of CPU that it took, with all threads and children, living and dead."""
        return sum(_cpu(pid) for pid in self.family())

    def settle(self, family: set[int]) -> None:
        """
        Wait until only C{family} is left: ended processes count when their parents have waited for them.
        """
        time.sleep(0.1)  # what the end of the load has left to do is part of the work
        until = time.monotonic() + 5
        while not self.family() <= family:
            if time.monotonic() > until:
                raise Failed(f"{self.name} has children that do not end")
            time.sleep(0.05)
        self.check_alive()

    def memory(self) -> int:
        """Bytes that it has written to and shares with no other process."""
        return sum(_private(pid) for pid in self.family())

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stop(self) -> None:
        for pid in self.family():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        _running.discard(self)


def stop_all() -> None:
    """End every program that still runs."""
    for program in list(_running):
        program.stop()


def _sessions() -> Iterator[tuple[int, int]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                yield int(name), int(_stat(int(name))[3])


def _stat(pid: int) -> list[str]:
    """The words of /proc/PID/stat from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu(pid: int) -> float:
    with suppress(OSError):
        # The process's own clock counts nanoseconds, of dead threads too; /proc has steps of 10 ms. That is
        # CLOCK_PROCESS_CPUTIME_ID of another process, as clock_getcpuclockid(3) would name it.
        own = time.clock_gettime((~pid << 3) | 2)
        return own + sum(map(int, _stat(pid)[13:15])) / _TICKS  # and of dead children
    return 0.0


def _private(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_Dirty"):
                return int(line.split()[1]) * 1024
    return 0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def load(program: Path, *words: object) -> Result:
    """Run C{load.c} to its end."""
    command = [program, *map(str, words)]
    try:
        done = subprocess.run(pinned(command, LOAD_CORE), capture_output=True, text=True, timeout=90)
    except subprocess.TimeoutExpired:
        raise Failed(f"load {words[0]}: no end after 90 s") from None
    return _said(done.stdout, done.stderr)


def watched(relay: Program, program: Path, *words: object) -> Result:
    """
    Run C{load.c}'s C{watch}: the relay's CPU counts from when all streams are open, which is said by a line.
    """
    process: subprocess.Popen[str] = subprocess.Popen(
        pinned([program, "watch", *words], LOAD_CORE),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    too_long = threading.Timer(90, process.kill)
    too_long.start()
    try:
        assert process.stdout is not None
        process.stdout.readline()
        before = relay.cpu()
        line = process.stdout.readline()
        used = relay.cpu() - before
        result = _said(line, process.communicate()[1])
    finally:
        too_long.cancel()
        process.kill()
        process.wait()
    return replace(result, used=used)


def load_cpu() -> float:
    """Seconds of CPU that load generators took which have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def held(command: Sequence[object], folder: Path) -> Iterator[None]:
    """While connections are open that C{command} opens; it says when all are, then awaits its input's end."""
    process: subprocess.Popen[str] = subprocess.Popen(
        pinned(command, LOAD_CORE),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=plain_environment(),
    )
    too_long = threading.Timer(PATIENCE, process.kill)
    too_long.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        too_long.cancel()
        if line.strip() != "held":
            raise Failed(f"connections could not be held: {line}{process.communicate()[1][-500:]}")
        yield
        _said(*process.communicate("", timeout=30))
    except subprocess.TimeoutExpired:
        raise Failed("held connections do not end") from None
    finally:
        too_long.cancel()
        process.kill()
        process.wait()


def _said(output: str, errors: str) -> Result:
    try:
        said: dict[str, Any] = json.loads(output)
    except ValueError:
        raise Failed(f"the load generator: {output}{errors}") from None
    if said["failures"] or not said["units"]:
        raise Failed(f"{said['failures']} failures of {said['units']}: {errors[:300]}")
    return Result(said["units"], said["seconds"], said["p50"], said["p99"], said["most"])
