"""Starts the real relay as a process of its own, and waits for what it does."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from tests.process.installs import Install, checkout
from tests.support.progress import PATIENCE

T = TypeVar("T")
R = TypeVar("R", bound="Relay")

Mode = Literal["foreground", "daemon", "twist", "run"]


def poll(look: Callable[[], T | None], what: str, *, patience: float = PATIENCE) -> T:
    """
    Call C{look} until it returns something.

    @raise AssertionError: it did not in time; C{what} says what was waited for.
    """
    deadline = time.monotonic() + patience
    pause = 0.002
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience} s for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


class Relay:
    """
    One relay in a folder of its own.

    @ivar folder: its working folder, with C{relay.yaml}; removed after the test.
    @ivar process: what was started; for a daemon it ends when the daemon runs.
    @ivar before: words of a command that ends by becoming the relay.
    @ivar options: what follows C{lanrelay} on the command line, before C{-c}.
    @ivar variables: more of the environment.
    @ivar descriptors: those of ours that it gets, too.
    @ivar prepare: called in the new process.
    """

    def __init__(
        self,
        test: SynchronousTestCase,
        configuration: str,
        *,
        mode: Mode = "foreground",
        install: Install | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        test.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.mode = mode
        self.install = install or checkout()
        self.configuration = self.folder / "relay.yaml"
        self.configuration.write_text(configuration)
        self._test = test
        self.process: subprocess.Popen[bytes] | None = None
        self.before: list[str] = []
        self.options: list[str] = []
        self.variables: dict[str, str] = {}
        self.descriptors: tuple[int, ...] = ()
        self.prepare: Callable[[], None] = _default_signals

    def start(self: R, *extra: str, stdin: int | IO[bytes] = subprocess.DEVNULL, wait: bool = True) -> R:
        """
        Start it.

        @param extra: options of twistd itself.
        @param wait: until the log says that it is ready.
        """
        self._spawn([*self.command(*extra), *self.options, "-c", "relay.yaml"], stdin)
        if wait:
            self.ready()
        return self

    def command(self, *extra: str) -> list[str]:
        """Without the options that follow C{lanrelay}."""
        if self.mode == "run":
            return [*self.install.lanrelay, "run", *extra]
        if self.mode == "twist":
            return [*self.install.twist, *extra, "lanrelay"]
        nodaemon = ["-n"] if self.mode == "foreground" else []
        return [*self.install.twistd, *nodaemon, *extra, "lanrelay"]

    def run(self, *arguments: str) -> int:
        """Start it with these instead of C{-c relay.yaml}, where an end is expected; its exit status."""
        self._spawn([*self.command(), *arguments], subprocess.DEVNULL)
        return self.wait()

    def run_program(self, program: str) -> int:
        """Run Python's C{program} in its place; its exit status."""
        self._spawn([str(self.install.python), "-c", program], subprocess.DEVNULL)
        return self.wait()

    def fails(self) -> list[str]:
        """Start where a start must fail: the lines of standard error."""
        status = self.run("-c", "relay.yaml")
        self._test.assertEqual(status, 1, self.errors())
        self._test.assertNotIn("Traceback", self.errors() + self.output() + self.log())
        if self.mode == "daemon":
            self._test.assertFalse((self.folder / "twistd.pid").exists())
        return self.errors().splitlines()

    def _spawn(self, command: list[str], stdin: int | IO[bytes]) -> None:
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                [*self.before, *command],
                cwd=self.folder,
                env={**self.install.variables(), "XDG_RUNTIME_DIR": str(self.folder), **self.variables},
                stdin=stdin,
                stdout=out,
                stderr=err,
                start_new_session=True,
                # A shell that runs the tests in the background has SIGINT and SIGHUP ignored.
                preexec_fn=self.prepare,
                pass_fds=self.descriptors,
            )
        self._test.addCleanup(self._kill)

    def _kill(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.mode == "daemon" and (self.folder / "twistd.pid").exists():
            try:
                os.kill(self.pid, signal.SIGKILL)
            except (ProcessLookupError, ValueError):
                pass

    # --- what it says ---

    def output(self) -> str:
        return _text(self.folder / "stdout")

    def errors(self) -> str:
        return _text(self.folder / "stderr")

    def log(self) -> str:
        """Where twistd puts it."""
        return _text(self.folder / "twistd.log") if self.mode == "daemon" else self.output()

    def ready(self) -> None:
        """Wait until it serves."""
        self.logged(r"ready in \d+ ms")

    def logged(self, pattern: str) -> re.Match[str]:
        """Wait until the log has a match of C{pattern}."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.log())
            if found is None and self.mode != "daemon":
                assert self.process is not None
                if self.process.poll() is not None:  # it may have been written just before the end
                    found = re.search(pattern, self.log())
                    assert found, f"it ended with {self.process.returncode}:\n{self.errors()}{self.log()}"
            return found

        try:
            return poll(look, f"{pattern!r} in the log")
        except AssertionError as error:
            raise AssertionError(f"{error}; standard error and log:\n{self.errors()}{self.log()}") from None

    def took_to_stop(self) -> float:
        """
        Seconds between SIGTERM and the end, by its log: without those that other processes make it wait
        before and after.
        """
        times = re.search(r"(?m)^(\S+) \[info\] SIGTERM: stopping$[^\0]*^(\S+) \[info\] stopped$", self.log())
        assert times is not None, self.log()
        signal, end = map(datetime.fromisoformat, times.groups())
        return (end - signal).total_seconds()

    def port(self, listener: str) -> int:
        """The port of a listener, from the log."""
        found = self.logged(rf"{re.escape(listener)} \([a-z-]+\) listens on 127\.0\.0\.1:(\d+)")
        return int(found.group(1))

    def connect(self, listener: str) -> socket.socket:
        """A client's connection."""
        client = socket.create_connection(("127.0.0.1", self.port(listener)), timeout=PATIENCE)
        self._test.addCleanup(client.close)
        return client

    def get(self, path: str, listener: str = "admin") -> tuple[int, bytes]:
        """Status and body of a GET."""
        with socket.create_connection(("127.0.0.1", self.port(listener)), timeout=PATIENCE) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while data := client.recv(65536):
                answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    # --- what it is asked over its control socket ---

    @property
    def control(self) -> Path:
        """Its control socket."""
        (path,) = (self.folder / "lanrelay").glob("*.sock")
        return path

    def ask(self, method: str, **keys: object) -> dict[str, Any]:
        """The result of a request."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(str(self.control))
            asking.sendall(json.dumps({"method": method, **keys}).encode() + b"\n")
            with asking.makefile("rb") as answer:
                for line in answer:
                    said = json.loads(line)
                    if "progress" not in said:
                        result: dict[str, Any] = said["result"]
                        return result
        raise AssertionError("no answer")

    def reload(self, configuration: str | None = None) -> dict[str, Any]:
        """Have it read this; it must be taken."""
        if configuration is not None:
            self.configuration.write_text(configuration)
        outcome = self.ask("reload")
        self._test.assertEqual(outcome["errors"], [])
        return outcome

    def cli(self, *arguments: str, columns: int = 80) -> subprocess.CompletedProcess[str]:
        """What C{lanrelay ARGUMENTS} says."""
        return subprocess.run(
            [*self.install.lanrelay, *arguments],
            cwd=self.folder,
            env={
                **self.install.variables(),
                "XDG_RUNTIME_DIR": str(self.folder),
                "COLUMNS": str(columns),
                **self.variables,
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )

    # --- its end ---

    @property
    def pid(self) -> int:
        if self.mode == "daemon":
            return int((self.folder / "twistd.pid").read_text())
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, patience: float = PATIENCE) -> int:
        """The exit status of what was started; for a daemon that of its parent, who is at the terminal."""
        assert self.process is not None
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"it did not end within {patience} s; standard error and log:\n{self.errors()}{self.log()}"
            ) from None

    def wait_daemon(self, pid: int) -> None:
        """Wait for the end of a daemon."""
        poll(lambda: not _alive(pid), "the daemon's end")


class Upstream:
    """A TCP server of the test's own; C{accept} gives the relay's connection."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(PATIENCE)
        test.addCleanup(self._socket.close)
        self._test = test
        self.port: int = self._socket.getsockname()[1]

    def accept(self) -> socket.socket:
        connection, _ = self._socket.accept()
        connection.settimeout(PATIENCE)
        self._test.addCleanup(connection.close)
        return connection


def answers(port: int) -> bool:
    """
    Whether an HTTP request on C{port} is answered.

    A mere connect would succeed as soon as the port is bound, before anything runs.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return client.recv(100).startswith(b"HTTP/1.1 ")
    except OSError:
        return False


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Where nobody reaps (a container without an init), the end is a zombie.
    status = _text(Path(f"/proc/{pid}/stat"))
    return ") Z " not in status


class Pair:
    """A client and its server, joined by the relay."""

    def __init__(
        self,
        test: SynchronousTestCase,
        port: int,
        upstream: Upstream,
        client: socket.socket | None = None,
    ) -> None:
        self.client = client or socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        test.addCleanup(self.client.close)
        self.server = upstream.accept()
        self.check()

    def check(self) -> None:
        """Bytes go both ways."""
        self.client.sendall(b"up")
        assert self.server.recv(10) == b"up"
        self.server.sendall(b"down")
        assert self.client.recv(10) == b"down"

    def ended(self) -> bool:
        """The relay has reset it; blocks until it has."""
        try:
            return self.client.recv(1) == b""
        except (ConnectionResetError, ssl.SSLEOFError):
            return True


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def forward(name: str, port: int, upstream: Upstream, more: str = "") -> str:
    return (
        f"  {name}: {{type: tcp-forward, listen: '127.0.0.1:{port}',"
        f" upstream: 'tcp://127.0.0.1:{upstream.port}'{more}}}\n"
    )
