"""
C{lanrelay service install --mode app}: the bundle is written, and its copy of the interpreter is the relay.

launchctl and codesign are played; what they are given is run as it stands. Not seen on a Mac yet.
"""

from __future__ import annotations

import os
import plistlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.service import Service
from lanrelay.commands import Output
from tests.process.installs import editable
from tests.setup.support import machine
from tests.support.progress import PATIENCE

CONFIGURATION = """\
control: unix:control.sock
listeners:
  there: {{type: tcp-forward, listen: localhost:0, upstream: "tcp://127.0.0.1:{there}"}}
"""


class Mac:
    """
    Plays launchctl, which starts what stands in the property list with its environment alone.

    @ivar ran: each command, as a line.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self._test = test
        self.ran: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, words: Sequence[str]) -> Output:
        self.ran.append(" ".join(words))
        if words[0] == "env":
            done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=self._environment())
            return Output(done.returncode, done.stdout, done.stderr)
        if words[:2] == ("launchctl", "bootstrap"):
            job = plistlib.loads(Path(words[3]).read_bytes())
            self.process = subprocess.Popen(
                job["ProgramArguments"],
                env={**self._environment(), **job["EnvironmentVariables"]},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._test.addCleanup(self._end)
        if words[:2] == ("launchctl", "bootout") and self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        if words[0] == "rm":
            Path(words[-1]).unlink(missing_ok=True)
        return Output(0)

    @staticmethod
    def _environment() -> dict[str, str]:
        return {"PATH": os.defpath, "HOME": "/nonexistent"}

    def _end(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


class AppTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="lan relay's "))
        self.addCleanup(shutil.rmtree, self.home)
        self.bundle = self.home / "Applications/lanrelay.app"
        self.agent = self.home / "Library/LaunchAgents/lanrelay.agent-app.plist"
        there = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(there.close)
        self.config = self.home / "relay.yaml"
        self.config.write_text(CONFIGURATION.format(there=there.getsockname()[1]))
        self.mac = Mac(self)
        self.service = Service(
            machine=machine(self.home, "darwin"), runner=self.mac, python=editable().python
        )

    def install(self) -> str:
        said = StringIO()
        with redirect_stdout(said):
            self.assertEqual(self.service.install(self.config, "app", dry_run=False, force=False), 0)
        return said.getvalue()

    def test_from_nothing_to_a_relay_and_back(self) -> None:
        said = self.install()
        self.assertIn("macOS may ask now", said)
        self.assertIn(": reached\n", said)
        program = self.bundle / "Contents/MacOS/lanrelay"
        assert self.mac.process is not None
        if sys.platform == "linux":
            self.assertEqual(os.readlink(f"/proc/{self.mac.process.pid}/exe"), str(program))
        order = [line for line in self.mac.ran if not line.startswith(("mkdir", "touch"))]
        self.assertEqual(order[3], f"codesign --force --sign - {self.bundle}")
        self.assertTrue(order[4].endswith("launcher.py --check"), order)
        self.assertEqual(order[-3], f"launchctl bootstrap gui/501 {self.agent}")

        marker = self.home / "Library/Application Support/lanrelay/lan-touched"
        marker.parent.mkdir(parents=True)
        marker.touch()
        program.unlink()
        program.write_bytes(b"changed by a signature")
        self.assertIn("is overwritten", self.install())  # and nothing is kept beside what is signed
        self.assertEqual([one.name for one in program.parent.iterdir()], ["lanrelay"])
        self.assertFalse(marker.exists())

        marker.touch()
        with redirect_stdout(StringIO()):
            self.assertEqual(self.service.uninstall(None), 0)
        self.assertEqual(self.mac.process.returncode, 0)
        self.assertEqual([one.exists() for one in (self.bundle, self.agent, marker)], [False] * 3)
        self.assertTrue(self.config.exists())
