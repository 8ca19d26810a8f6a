"""C{lanrelay service install} to the end: what it writes starts the real relay, which is asked."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.service import Service
from lanrelay.commands import Output
from tests.process.installs import checkout
from tests.setup.support import machine
from tests.support.ports import free_port
from tests.support.progress import PATIENCE

CONFIGURATION = """\
control: unix:control.sock
listeners:
  there: {{type: tcp-forward, listen: localhost:0, upstream: "tcp://127.0.0.1:{there}"}}
  gone: {{type: tcp-forward, listen: localhost:0, upstream: "tcp://127.0.0.1:{gone}"}}
"""


class Systemctl:
    """Plays the part of systemctl: it runs what stands in the unit."""

    def __init__(self, test: SynchronousTestCase, unit: Path) -> None:
        self._test = test
        self._unit = unit
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, words: Sequence[str]) -> Output:
        if list(words[:3]) == ["systemctl", "--user", "restart"]:
            (line,) = [line for line in self._unit.read_text().splitlines() if line.startswith("ExecStart=")]
            self.process = subprocess.Popen(
                shlex.split(line.removeprefix("ExecStart=")),
                env=checkout().variables(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._test.addCleanup(self._end)
        elif "disable" in words and self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        return Output(0)

    def _end(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


class InstallTests(SynchronousTestCase):
    def test_from_nothing_to_a_relay_and_back(self) -> None:
        home = Path(tempfile.mkdtemp(prefix="lan relay "))
        self.addCleanup(shutil.rmtree, home)
        there = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(there.close)
        gone = free_port()
        config = home / "relay.yaml"
        config.write_text(CONFIGURATION.format(there=there.getsockname()[1], gone=gone))
        unit = home / ".config/systemd/user/lanrelay.service"
        systemctl = Systemctl(self, unit)
        service = Service(machine=machine(home), runner=systemctl, python=checkout().python)
        said = StringIO()
        with redirect_stdout(said):
            self.assertEqual(service.install(config, None, dry_run=False, force=False), 0)
        self.assertIn("there: tcp://127.0.0.1:", said.getvalue())
        self.assertIn(": reached\n", said.getvalue())
        self.assertIn(f"gone: tcp://127.0.0.1:{gone}: connection_refused: ", said.getvalue())
        assert systemctl.process is not None
        with redirect_stdout(said):
            self.assertEqual(service.uninstall(None), 0)
        self.assertEqual(systemctl.process.returncode, 0)
        self.assertFalse(unit.exists())
