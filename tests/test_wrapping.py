"""The files that start the relay at login or at boot: each is valid, and starts it the same way."""

from __future__ import annotations

import os
import plistlib
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lanrelay.setup import plists
from tests.support.progress import PATIENCE

CONF = Path(__file__).resolve().parent.parent / "conf"


def program(name: str) -> str:
    """The path of a program from outside Python; the test is skipped with its name where it is missing."""
    path = shutil.which(name)
    if path is None:
        raise SkipTest(f"{name} is not here")
    return path


def command_problem(words: list[str]) -> str:
    """What is wrong with a command line that should start the relay, empty for nothing."""
    if len(words) != 6 or not words[0].endswith("/bin/twistd"):
        return f"not a twistd command: {words}"
    if words[1:5] != ["-n", "--pidfile=", "lanrelay", "-c"]:
        return f"it writes a pid file, or leaves the foreground: {words}"
    if not words[5].endswith("/relay.yaml"):
        return f"no configuration: {words}"
    return ""


class SystemdUnitTests(SynchronousTestCase):
    unit = CONF / "lanrelay.service"

    def test_systemd_accepts_the_unit(self) -> None:
        """C{%h} is made a folder in which the program exists, for a missing one is a complaint too."""
        analyze = program("systemd-analyze")
        home = Path(tempfile.mkdtemp(prefix="lanrelay-unit-"))
        self.addCleanup(shutil.rmtree, home)
        twistd = home / ".local/share/lanrelay/bin/twistd"
        twistd.parent.mkdir(parents=True)
        twistd.write_text("#!/bin/sh\n")
        twistd.chmod(0o755)
        runtime = home / "runtime"
        runtime.mkdir(mode=0o700)
        done = subprocess.run(
            [analyze, "--user", "verify", "--man=no", str(self.unit)],
            env={**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        complaints = [line for line in done.stderr.splitlines() if self.unit.name in line]
        self.assertEqual((done.returncode, complaints), (0, []), done.stderr)

    def test_it_starts_the_relay_in_the_foreground_without_a_pid_file(self) -> None:
        starts = [line for line in self.unit.read_text().splitlines() if line.startswith("ExecStart=")]
        self.assertEqual(len(starts), 1)
        self.assertEqual(command_problem(shlex.split(starts[0].removeprefix("ExecStart="))), "")


class LaunchdTests(SynchronousTestCase):
    def load(self, name: str) -> dict[str, Any]:
        content = plistlib.loads((CONF / name).read_bytes())
        self.assertIsInstance(content, dict)
        return dict(content)

    def test_each_says_what_the_install_command_writes(self) -> None:
        command = ["/usr/local/lanrelay/bin/twistd", "-n", "--pidfile=", "lanrelay", "-c"]
        command.append("/usr/local/etc/lanrelay/relay.yaml")
        log = Path("/usr/local/var/log/lanrelay/lanrelay.log")
        for name, content in (
            ("lanrelay.agent.plist", plists.agent(command, log)),
            ("lanrelay.agent-osascript.plist", plists.osascript_agent(command, log)),
            ("lanrelay.daemon.plist", plists.daemon(command, log, "your-user-name")),
        ):
            self.assertEqual(self.load(name), content)
            self.assertEqual(content["Label"] + ".plist", name)

    def test_all_are_started_again_only_when_they_fail(self) -> None:
        for path in CONF.glob("*.plist"):
            content = self.load(path.name)
            self.assertIs(content["RunAtLoad"], True)
            self.assertEqual(content["KeepAlive"], {"SuccessfulExit": False})

    def test_the_daemon_does_not_run_as_root(self) -> None:
        content = self.load("lanrelay.daemon.plist")
        self.assertEqual(command_problem(content["ProgramArguments"]), "")
        self.assertNotIn(content["UserName"], ("", "root"))
        self.assertEqual(content["Umask"], 0o077)

    def test_one_agent_is_started_by_osascript(self) -> None:
        """So that osascript is the responsible process, which is reported to have access to the LAN."""
        osascript, option, script = self.load("lanrelay.agent-osascript.plist")["ProgramArguments"]
        self.assertEqual((osascript, option), ("/usr/bin/osascript", "-e"))
        self.assertTrue(script.startswith('do shell script "') and script.endswith('"'), script)
        shell = script.removeprefix('do shell script "').removesuffix('"')
        self.assertNotIn('"', shell)
        self.assertNotIn("\\", shell)
        words = shlex.split(shell.partition(">>")[0])
        self.assertEqual(words[0], "exec")
        self.assertEqual(command_problem(words[1:]), "")


class LoginItemTests(SynchronousTestCase):
    file = CONF / "lanrelay.command"

    def test_bash_can_read_it(self) -> None:
        done = subprocess.run(
            [program("bash"), "-n", str(self.file)], capture_output=True, text=True, timeout=60
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_it_can_be_run(self) -> None:
        self.assertTrue(os.access(self.file, os.X_OK))

    def test_without_an_installation_it_says_where_it_looked(self) -> None:
        done = subprocess.run(
            [program("bash"), str(self.file)],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("There is no lanrelay in /nonexistent/.local/share/lanrelay", done.stderr)

    def test_it_becomes_the_relay(self) -> None:
        """The signals of a closing window reach the relay itself, with nothing in between."""
        home = Path(tempfile.mkdtemp(prefix="lanrelay login item "))
        self.addCleanup(shutil.rmtree, home)
        twistd = home / ".local/share/lanrelay/bin/twistd"
        twistd.parent.mkdir(parents=True)
        twistd.write_text('#!/bin/bash\nprintf "%s\\n" "$$" "$0" "$@"\n')
        twistd.chmod(0o755)
        process = subprocess.Popen(
            [program("bash"), str(self.file)],
            env={"PATH": os.environ["PATH"], "HOME": str(home)},
            stdout=subprocess.PIPE,
            text=True,
        )
        out, _ = process.communicate(timeout=PATIENCE)
        identifier, *words = out.splitlines()
        self.assertEqual(identifier, str(process.pid))
        self.assertEqual(command_problem(words), "")
        self.assertTrue(words[5].startswith(str(home)))
