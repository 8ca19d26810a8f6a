"""Runs a command of ours as a process of its own, with a home of its own, at a terminal or without one."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.support.progress import PATIENCE

CHECKOUT = Path(__file__).resolve().parents[2]


class Done(NamedTuple):
    """How a command ended, and what it said; at a terminal C{err} is what the terminal showed."""

    status: int
    out: str
    err: str


class CommandTestCase(SynchronousTestCase):
    """
    @ivar home: where the commands believe that the user's files are.
    @ivar file: the user's own configuration, which is not there at first.
    """

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-test-home-")
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name)
        self.file = self.home / ".config" / "lanrelay" / "relay.yaml"
        kept = ("PATH", "LANG", "TMPDIR")
        self.environ = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PYTHONPATH": str(CHECKOUT),
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "TERM": "dumb",
        }

    def write(self, text: str) -> None:
        """The user's configuration."""
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.file.write_text(text)

    def backups(self) -> list[bytes]:
        """What files held before, the oldest first."""
        folder = self.home / ".local" / "state" / "lanrelay" / "backups"
        return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.exists() else []

    def command(self, *arguments: object) -> Done:
        """Without a terminal."""
        done = subprocess.run(
            self._line(arguments),
            env=self.environ,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
            text=True,
        )
        self.assertNotIn("Traceback", done.stderr)
        return Done(done.returncode, done.stdout, done.stderr)

    def at_terminal(self, *arguments: object, typed: Sequence[str | Callable[[], str]]) -> Done:
        """
        With one: each line is typed when the cursor waits behind a question, which ends with a blank.

        @param typed: lines, or what is done at that moment and gives the line.
        """
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            self._line(arguments),
            env=self.environ,
            cwd=self.home,
            stdin=theirs,
            stderr=theirs,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_take_terminal,  # so that Ctrl-C reaches it
        )
        os.close(theirs)
        shown = b""
        lines = list(typed)
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline:
                if not select.select([ours], [], [], 0.1)[0]:
                    if process.poll() is not None:
                        break
                    continue
                try:
                    part = os.read(ours, 65536)
                except OSError:  # it has closed the terminal
                    break
                shown += part
                if lines and shown.endswith((b"? ", b": ", b"] ")):
                    line = lines.pop(0)
                    os.write(ours, (line if isinstance(line, str) else line()).encode() + b"\n")
            out = process.communicate(timeout=PATIENCE)[0]
        finally:
            process.kill()
            process.wait()
            os.close(ours)
        self.assertNotIn(b"Traceback", shown)
        self.assertEqual(lines, [], shown.decode("utf-8", "replace"))
        text = shown.decode("utf-8", "replace").replace("\r\n", "\n")
        return Done(process.returncode, out.decode(), text)

    def _line(self, arguments: Sequence[object]) -> list[str]:
        return [sys.executable, "-m", "lanrelay.cli.main", *map(str, arguments)]


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
