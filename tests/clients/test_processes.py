"""Which clients run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.clients.processes import running
from lanrelay.commands import Output

PS = f"""\
  101 {os.geteuid()} /Applications/Claude.app/Contents/MacOS/Claude
  102 {os.geteuid()} /Applications/Claude.app/Contents/Frameworks/A Helper.app/Contents/MacOS/A Helper
  103 {os.geteuid()} /usr/local/bin/claude
  104 {os.geteuid() + 1} /usr/local/bin/claude
  105 {os.geteuid()} claude
  106 {os.geteuid()} /bin/zsh
"""


class RunningTests(SynchronousTestCase):
    def start(self, *words: str) -> int:
        process = subprocess.Popen(words)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        shown = Path(f"/proc/{process.pid}/cmdline")
        while not shown.read_bytes():  # the parent of a vfork goes on before the kernel has them
            time.sleep(0.001)
        return process.pid

    def copy(self, name: str) -> str:
        folder = Path(self.mktemp())
        folder.mkdir()
        shutil.copyfile(str(shutil.which("sleep")), folder / name)
        (folder / name).chmod(0o755)
        return str(folder / name)

    def test_by_the_name_of_the_program(self) -> None:
        if sys.platform != "linux":
            self.skipTest("there is no /proc")
        name = f"claude-{os.getpid()}"
        self.assertEqual(running([name]), [])
        pid = self.start(self.copy(name), "60")
        self.assertIn(pid, running([name]))
        self.assertEqual(running(["60"]), [])

    def test_by_the_name_of_a_script(self) -> None:
        if sys.platform != "linux":
            self.skipTest("there is no /proc")
        if shutil.which("node") is None:
            self.skipTest("node is not here")
        script = Path(self.mktemp())
        script.mkdir()
        script /= f"claude-{os.getpid()}"
        script.write_text("setTimeout(() => 0, 60000)")
        pid = self.start("node", str(script))
        self.assertIn(pid, running([script.name]))

    def test_on_macos_ps_is_asked(self) -> None:
        asked: list[Sequence[str]] = []

        def runner(words: Sequence[str]) -> Output:
            asked.append(words)
            return Output(0, PS)

        self.assertEqual(running(["Claude"], platform="darwin", runner=runner), [101, 102])
        self.assertEqual(running(["claude"], platform="darwin", runner=runner), [103, 105])
        self.assertEqual(asked[0], ["ps", "-axo", "pid=,uid=,comm="])

    def test_nothing_is_asked_for_no_name(self) -> None:
        self.assertEqual(running([], platform="darwin", runner=lambda words: self.fail(str(words))), [])
