"""Standard streams that are closed, full, or read no further."""

from __future__ import annotations

import subprocess

from tests.cli.terminal import CommandTestCase, Done
from tests.support.progress import PATIENCE

FILE = """\
listeners:
  nas:
    type: reverse-proxy
    listen: localhost:28111
    upstream: http://127.0.0.1:9
"""

COMMANDS = (
    "check",
    "check --help",
    "clients",
    "doctor http://127.0.0.1:9",
    "add http://127.0.0.1:9/x --no-probe",
    "setup",
)


class StreamsTests(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write(FILE)

    def in_shell(self, redirection: str, *arguments: str) -> Done:
        """Not read by anybody further than the shell's words say."""
        done = subprocess.run(
            ["sh", "-c", f'"$@" {redirection}', "sh", *self._line(arguments)],
            env=self.environ,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
            text=True,
        )
        for complaint in ("Traceback", "Exception ignored", "Error:"):
            self.assertNotIn(complaint, done.stderr, arguments)
        return Done(done.returncode, done.stdout, done.stderr)

    def test_a_closed_stream_is_no_bug(self) -> None:
        for command in COMMANDS:
            for redirection in ("<&-", ">&-", "2>&-", ">&- 2>&- <&-"):
                done = self.in_shell(redirection, *command.split())
                self.assertIn(done.status, (0, 1), (command, redirection))

    def test_a_reader_that_leaves_early_ends_nothing_with_noise(self) -> None:
        for command in COMMANDS:
            for redirection in ("| :", "2>&1 | :", "| head -n 1"):
                self.in_shell(redirection, *command.split())

    def test_a_change_is_carried_out_though_nobody_reads_on(self) -> None:
        line = ("add", "http://127.0.0.1:9/x", "--no-probe", "--yes")
        self.assertEqual(self.in_shell("2>&1 | :; true", *line).status, 0)
        self.assertIn("127.0.0.1:9/x", self.file.read_text())
        self.assertEqual(self.in_shell(">&- 2>&-", "remove", "127-0-0-1", "--yes").status, 0)
        self.assertEqual(self.file.read_text(), FILE)

    def test_a_full_disk_behind_the_output_is_said(self) -> None:
        for command in ("check", "clients", "clients --json", "completion bash", "check --help"):
            done = self.in_shell("> /dev/full", *command.split())
            self.assertEqual(done.status, 1, command)
            self.assertIn("lanrelay: the output cannot be written: No space left on device", done.err)
