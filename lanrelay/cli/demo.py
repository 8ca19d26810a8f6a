"""
C{lanrelay demo}: shows the relay at work on a machine that has no LAN host at hand.

It starts two child processes, the LAN host and the real relay, in a folder of its own, and owns all three.
Whatever ends it (Ctrl-C, SIGTERM, a closed window, a failure halfway), they are ended and removed.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType

import lanrelay
from lanrelay.cli import demo_show
from lanrelay.cli.authority import Authority
from lanrelay.cli.demo_host import NAME
from lanrelay.cli.demo_show import Places

_START = 20.0
"""Seconds that a child has to start: over ten times what a slow machine was seen to need."""

_TRIES = 3
"""Free ports are chosen before the relay opens them; somebody may be quicker."""

_CONFIGURATION = """\
# Written by `lanrelay demo`; gone when it ends.
admin:
  listen: localhost:{admin}
control: off                    # it leaves nothing behind

listeners:
  lan-host:                     # the host at http://localhost:{proxy}, TLS and trust are the relay's business
    type: reverse-proxy
    listen: localhost:{proxy}
    upstream:
      url: https://{name}
      address: 127.0.0.1:{host}
      tls:
        ca: {ca}

  forward-proxy:                # for HTTP_PROXY and HTTPS_PROXY; TLS stays the client's business
    type: connect-proxy
    listen: localhost:{forward}
    resolve:
      {name}: 127.0.0.1

  plain-to-tls:                 # the host's bytes without TLS, as for a database that wants TLS
    type: tcp-forward
    listen: localhost:{tcp}
    upstream:
      url: tls://{name}:443
      address: 127.0.0.1:{host}
      tls:
        ca: {ca}
"""


class Stopped(BaseException):
    """A signal asked for the end. No C{Exception}, so that nothing on the way takes it for a failure."""


class Failed(Exception):
    """The demonstration cannot go on; the text says why."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import parser

    made = parser(
        "demo",
        "Start a LAN host with a private CA and a relay in front of it, and show both.",
        examples="""
            lanrelay demo          show it, and go on serving until Ctrl-C
            lanrelay demo --once   show it and end
        """,
    )
    made.add_argument("--once", action="store_true", help="end after the show instead of waiting for Ctrl-C")
    return made


def run(arguments: list[str]) -> int:
    """
    Run the demonstration.

    @return: the exit status: 0 after a whole show, however it was ended then; 1 if it failed or was stopped
        before that.
    """
    options = parser().parse_args(arguments)
    shown = False
    with Signals() as signals:
        demonstration = Demonstration(signals)
        try:
            try:
                demonstration.start()
                demo_show.show(demonstration.places)
                shown = True
                if not options.once:
                    demonstration.wait()
                signals.hold()
            except (Failed, OSError, HTTPException, ValueError, LookupError) as error:
                signals.hold()
                shown = False
                with suppress(OSError):  # the reader of our output may be gone; that may be the very error
                    say(f"\nThe demonstration failed: {error}")
                    demonstration.say_log()
        except Stopped:
            with suppress(OSError):
                say("\nStopping.")
        finally:
            demonstration.close()
    return 0 if shown else 1


def say(text: str) -> None:
    print(text, flush=True)


class Signals:
    """
    Turns the first signal that asks for an end into L{Stopped}, wherever the main thread is.

    C{with held()} puts that off, so that a new process has an owner before anything can end.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._holding = 0
        self._received = 0
        self._raised = False

    def __enter__(self) -> Signals:
        # An ignored signal stays ignored, as under nohup.
        heard = [number for number in self._NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = [(number, signal.signal(number, self._note)) for number in heard]
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received += 1
        self._raise()

    def _raise(self) -> None:
        if self._received and not self._holding and not self._raised:
            self._raised = True
            raise Stopped

    def hold(self) -> None:
        """From here on signals are only noted."""
        self._holding += 1

    @contextmanager
    def held(self) -> Iterator[None]:
        self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1
        self._raise()


@dataclass
class Child:
    """A process of ours: C{terminate} may be sent twice, the second time the relay stops draining."""

    process: subprocess.Popen[str]

    def end(self) -> None:
        for patience in (1.0, 4.0):
            if self.process.poll() is not None:
                break
            self.process.terminate()
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Demonstration:
    """
    The folder, the host and the relay.

    @ivar places: where everything is, once C{start} is over.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._owned = ExitStack()
        self._log: Path | None = None
        self._relay: Child | None = None
        self._read = 0

    def close(self) -> None:
        """End the children, remove the folder."""
        self._owned.close()

    def start(self) -> None:
        with self._signals.held():
            folder = Path(tempfile.mkdtemp(prefix="lanrelay-demo-"))
            self._owned.callback(shutil.rmtree, folder, ignore_errors=True)
        authority = Authority(folder)
        issued = authority.issue(NAME)
        host = self._start_host(issued.cert, issued.key)
        said = ""
        for _ in range(_TRIES):
            admin, proxy, forward, tcp = free_ports(4)
            self.places = Places(
                folder=folder,
                ca=authority.root,
                ca_name=authority.name,
                config=folder / "relay.yaml",
                host=host,
                admin=admin,
                proxy=proxy,
                forward=forward,
                tcp=tcp,
            )
            if self._start_relay(self.places):
                return
            said = self._lines()
            if "in use" not in said:
                break
        raise Failed(f"the relay did not start. It said:\n\n{said}")

    def _start_host(self, cert: Path, key: Path) -> int:
        child = self._spawn(
            ["-m", "lanrelay.cli.demo_host", str(cert), str(key)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=cert.parent,  # -m looks for modules there first, and the person's folder may have a json.py
        )
        assert child.process.stdout is not None
        line = child.process.stdout.readline()
        if not line.strip().isdigit():
            raise Failed("the LAN host did not start")
        return int(line)

    def _start_relay(self, places: Places) -> bool:
        """Whether the relay serves; if not, it has ended and its log says why."""
        places.config.write_text(
            _CONFIGURATION.format(
                name=NAME,
                ca=places.ca.name,
                host=places.host,
                admin=places.admin,
                proxy=places.proxy,
                forward=places.forward,
                tcp=places.tcp,
            )
        )
        self._log = places.folder / "relay.log"
        self._read = 0
        with self._log.open("w") as log:
            self._relay = self._spawn(
                [
                    "-c",
                    "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()",
                    *["-n", "--pidfile=", "lanrelay", "-c", str(places.config)],
                ],
                stdin=subprocess.DEVNULL,
                stdout=log.fileno(),
                stderr=subprocess.STDOUT,
                cwd=places.folder,
            )
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            if self._relay.process.poll() is not None:
                return False
            try:
                connection = HTTPConnection("localhost", places.admin, timeout=2)
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    return True
            except (OSError, HTTPException):
                pass  # not yet
            finally:
                connection.close()
            time.sleep(0.05)
        self._relay.end()
        raise Failed(f"the relay did not answer within {_START:.0f} seconds")

    def _spawn(
        self,
        arguments: list[str],
        *,
        stdin: int,
        stdout: int,
        stderr: int | None = None,
        cwd: Path | None = None,
    ) -> Child:
        """
        In a session of its own: a Ctrl-C in the terminal reaches only us, and we end the children in their
        turn.
        """
        with self._signals.held():
            child = Child(
                subprocess.Popen(
                    [sys.executable, *arguments],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=cwd,
                    env=_environment(),
                    text=True,
                    start_new_session=True,
                )
            )
            self._owned.callback(child.end)
        return child

    def wait(self) -> None:
        """Show what the relay logs, until a signal comes or the relay ends by itself."""
        assert self._relay is not None
        self._lines()
        say("\nThe relay runs until you press Ctrl-C. Its log from here on:\n")
        while self._relay.process.poll() is None:
            self.say_log()
            time.sleep(0.2)
        raise Failed("the relay ended")

    def say_log(self) -> None:
        """Print what the relay has logged and was not shown yet."""
        lines = self._lines()
        if lines:
            sys.stdout.write(lines)
            sys.stdout.flush()

    def _lines(self) -> str:
        """What the relay has logged since the last call."""
        if self._log is None:
            return ""
        with self._log.open(errors="replace") as log:
            log.seek(self._read)
            text = log.read()
            self._read = log.tell()
        return text


def free_ports(count: int) -> list[int]:
    """Ports that are free now on both loopback addresses."""
    with ExitStack() as stack:
        ports: list[int] = []
        for _ in range(50 * count):
            first = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_STREAM))
                second.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                second.bind(("::1", port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                # no IPv6 on this machine
            ports.append(port)
            if len(ports) == count:
                return ports
    raise Failed("there are no free ports")


def _environment() -> dict[str, str]:
    """Ours; from a checkout, with its folder in the path, for imports and for twistd's plugins."""
    environment = dict(os.environ)
    root = Path(lanrelay.__file__).resolve().parent.parent
    if (root / "setup.cfg").exists():
        paths = [str(root), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment
