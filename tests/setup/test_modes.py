"""What each mode writes and runs; the commands of macOS and systemd are played."""

from __future__ import annotations

import plistlib
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.commands import Output
from lanrelay.errors import StartError
from lanrelay.setup.launchd import Agent, Daemon, LoginItem, OsascriptAgent
from lanrelay.setup.mode import Mode, Step
from lanrelay.setup.modes import MODES, default_mode
from lanrelay.setup.plists import applescript_string
from lanrelay.setup.systemd import SystemdSystem, SystemdUser
from tests.setup.support import Commands, machine
from tests.support.macos import recorded
from tests.test_wrapping import program

HOME = Path("/Users/ann")
COMMAND = ["/my folder/it's/twistd", "-n", "--pidfile=", "lanrelay", "-c", '/a "b" \\c/relay.yaml']


def lines(steps: list[Step]) -> list[str]:
    return [" ".join(step.words) for step in steps]


class LaunchdTests(SynchronousTestCase):
    def mac(self, kind: type[Mode], **more: object) -> Mode:
        return kind(machine(**{"home": HOME, "platform": "darwin", **more}))  # type: ignore[arg-type]

    def plist(self, mode: Mode) -> dict[str, Any]:
        (file,) = mode.files(COMMAND)
        self.assertEqual((file.path, file.mode), (mode.path, 0o644))
        content = plistlib.loads(file.content)
        self.assertEqual(content["Label"], mode.path.stem)
        return dict(content)

    def test_an_agent(self) -> None:
        mode = self.mac(Agent)
        content = self.plist(mode)
        self.assertEqual(mode.path, HOME / "Library/LaunchAgents/lanrelay.agent.plist")
        self.assertEqual(content["ProgramArguments"], COMMAND)
        self.assertEqual(content["StandardOutPath"], "/Users/ann/Library/Logs/lanrelay.log")
        self.assertNotIn("UserName", content)
        self.assertEqual(
            lines(mode.start()),
            [
                "mkdir -p /Users/ann/Library/Logs",
                "touch /Users/ann/Library/Logs/lanrelay.log",
                "launchctl bootout gui/501/lanrelay.agent",
                "launchctl enable gui/501/lanrelay.agent",
                f"launchctl bootstrap gui/501 {mode.path}",
            ],
        )
        self.assertEqual([step.needed for step in mode.start()], [False, True, False, False, True])
        self.assertEqual(lines(mode.stop()), ["launchctl bootout gui/501/lanrelay.agent"])

    def test_a_daemon_runs_as_its_user(self) -> None:
        mode = self.mac(Daemon, root=True)
        self.assertEqual(self.plist(mode)["UserName"], "ann")
        self.assertEqual(mode.path, Path("/Library/LaunchDaemons/lanrelay.daemon.plist"))
        self.assertEqual(
            lines(mode.start()),
            [
                "sudo -u ann mkdir -p /Users/ann/Library/Logs",
                "sudo -u ann touch /Users/ann/Library/Logs/lanrelay.log",
                "launchctl bootout system/lanrelay.daemon",
                "launchctl enable system/lanrelay.daemon",
                f"launchctl bootstrap system {mode.path}",
            ],
        )
        error = self.assertRaises(StartError, self.mac(Daemon, root=True, user="root").files, COMMAND)
        self.assertIn("--user NAME", str(error))

    def test_osascript_gets_a_shell_command_that_comes_back_whole(self) -> None:
        content = self.plist(self.mac(OsascriptAgent, home=Path("/Users/ann the 'great'")))
        osascript, option, script = content["ProgramArguments"]
        self.assertEqual((osascript, option), ("/usr/bin/osascript", "-e"))
        literal = script.removeprefix("do shell script ")
        shell = _applescript_reads(literal)
        words, _, log = shell.partition(" >> ")
        self.assertEqual(shlex.split(words), ["exec", *COMMAND])
        self.assertEqual(shlex.split(log), ["/Users/ann the 'great'/Library/Logs/lanrelay.log", "2>&1"])

    def test_a_login_item(self) -> None:
        mode = self.mac(LoginItem)
        (file,) = mode.files(COMMAND)
        self.assertEqual(file.mode, 0o755)
        folder = Path(tempfile.mkdtemp(prefix="lanrelay test "))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "it's").mkdir()
        twistd = folder / "it's" / "twistd"
        twistd.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        twistd.chmod(0o755)
        (file,) = mode.files([str(twistd), *COMMAND[1:]])
        script = folder / "a.command"
        script.write_bytes(file.content)
        done = subprocess.run([program("bash"), str(script)], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stdout.splitlines(), COMMAND[1:], done.stderr)
        forget, add, start = mode.start()
        self.assertIn("delete", forget.words[2])
        self.assertIn(f'path:"{mode.path}"', add.words[2])
        self.assertIn("Login Items", add.otherwise)
        self.assertEqual(start.words, ("open", "-a", "Terminal", str(mode.path)))

    def test_osascript_has_a_log_of_its_own(self) -> None:
        mode = self.mac(OsascriptAgent)
        log = self.plist(mode)["StandardErrorPath"]
        self.assertIn(f"touch {log}", lines(mode.start()))

    def test_launchd_waits_longer_than_the_relay_takes_to_end(self) -> None:
        for drain, seconds in ((0.0, 20), (3.0, 20), (15.5, 21), (3600.0, 3605)):
            for kind in (Agent, OsascriptAgent, Daemon):
                mode = self.mac(kind)
                mode.drain = drain
                self.assertEqual(self.plist(mode)["ExitTimeOut"], seconds)

    def test_the_reason_is_the_line_with_the_number(self) -> None:
        mode = self.mac(Agent)
        failures = recorded("launchctl_bootstrap_failures").strip().split("\n\n")
        told = {failure: mode.why(Output(5, "", failure + "\n")) for failure in failures}
        for failure, why in told.items():
            self.assertEqual(why.splitlines()[0], failure.splitlines()[0])
            self.assertNotIn("Try r", why)
        self.assertIn("logged in at the screen", told[next(one for one in failures if " 125: " in one)])
        self.assertEqual(mode.why(Output(-1, "", "launchctl is not here")), "launchctl is not here")

    def test_folders_that_macos_guards(self) -> None:
        for kind in (Agent, OsascriptAgent, Daemon):
            mode = self.mac(kind)
            config = HOME / "Documents/relay/relay.yaml"
            (sentence,) = mode.obstacles(config, ["/opt/twistd"])
            self.assertIn("/Users/ann/Documents", sentence)
            self.assertEqual(mode.obstacles(HOME / ".config/relay.yaml", ["/opt/twistd"]), [])
            (sentence,) = mode.obstacles(Path("/Volumes/Stick/relay.yaml"), ["/opt/twistd"])
            self.assertIn("below /Volumes,", sentence)
        self.assertEqual(self.mac(LoginItem).obstacles(config, ["/opt/twistd"]), [])

    def test_whether_it_runs(self) -> None:
        run = Commands()
        mode = self.mac(Agent)
        run.answers["launchctl print"] = [
            Output(
                0, "gui/501/lanrelay.agent = {\n\tactive count = 1\n\tstate = running\n\n\tpid = 4711\n}\n"
            ),
            Output(
                0, "x = {\n\tstate = spawn scheduled\n\tlast exit code = 1\n\tsub = {\n\t\tstate = x\n}}\n"
            ),
            Output(113, "", 'Could not find service "lanrelay.agent" in domain for user gui: 501\n'),
        ]
        self.assertEqual(
            [mode.state(run) for _ in range(3)],
            ["running (process 4711)", "spawn scheduled (last exit code 1)", "not loaded"],
        )
        self.assertEqual(run.ran[0], "launchctl print gui/501/lanrelay.agent")

    def test_whether_it_runs_as_macs_have_said_it(self) -> None:
        run = Commands()
        absent = recorded("launchctl_print_not_found").splitlines(keepends=True)
        failed = "x = {\n\tstate = spawn scheduled\n\tlast exit code = 78: EX_CONFIG\n}\n"
        killed = "x = {\n\tstate = not running\n\tlast exit reason = JETSAM_REASON_MEMORY\n}\n"
        waiting = recorded("launchctl_print_daemon").replace("state = running", "state = not running", 1)
        run.answers["launchctl print"] = [
            Output(0, recorded("launchctl_print_running")),
            Output(0, recorded("launchctl_print_daemon")),
            Output(0, recorded("launchctl_print_not_running")),
            Output(0, waiting),
            Output(0, failed),
            Output(0, killed),
            Output(113, "", "".join(absent[:2])),
            Output(113, "", absent[2]),
        ]
        mode = self.mac(Agent)
        self.assertEqual(
            [mode.state(run) for _ in range(8)],
            [
                "running (process 35711)",
                "running (process 10526)",
                "not running (last exit code 0)",
                "not running",
                "spawn scheduled (last exit code 78: EX_CONFIG: its user cannot open its log, or its folders"
                ")",
                "not running (JETSAM_REASON_MEMORY)",
                "not loaded",
                "not loaded: nobody is logged in at the screen",
            ],
        )


def _applescript_reads(literal: str) -> str:
    """A string literal as AppleScript has it: backslash escapes the next letter."""
    assert literal[0] == literal[-1] == '"'
    out, escaped = "", False
    for letter in literal[1:-1]:
        if not escaped and letter == "\\":
            escaped = True
            continue
        assert escaped or letter != '"'
        out += letter
        escaped = False
    assert not escaped
    return out


class AppleScriptTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        for text in ("", "plain", 'a"b', "a\\b", 'a\\"b\\\\'):
            self.assertEqual(_applescript_reads(applescript_string(text)), text)


class SystemdTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.run_ = Commands()

    def test_a_user_unit(self) -> None:
        mode = SystemdUser(machine(Path("/home/ann")))
        (file,) = mode.files(["/p", "a b"])
        self.assertEqual(file.path, Path("/home/ann/.config/systemd/user/lanrelay.service"))
        self.assertIn(b'\nExecStart=/p "a b"\n', file.content)
        self.assertEqual(
            lines(mode.start()),
            [
                "systemctl --user daemon-reload",
                "systemctl --user enable lanrelay.service",
                "systemctl --user restart lanrelay.service",
            ],
        )
        self.assertEqual(lines(mode.stop()), ["systemctl --user disable --now lanrelay.service"])

    def test_lingering(self) -> None:
        mode = SystemdUser(machine(Path("/home/ann")))
        self.run_.answers["loginctl show-user ann"] = [Output(0, "Linger=no\n"), Output(0, "Linger=yes\n")]
        (hint,) = mode.hints(self.run_)
        self.assertIn("loginctl enable-linger", hint)
        self.assertEqual(mode.hints(self.run_), [])

    def test_a_system_unit_sees_no_home(self) -> None:
        mode = SystemdSystem(machine(Path("/home/ann"), root=True))
        self.assertEqual(mode.path, Path("/etc/systemd/system/lanrelay.service"))
        found = mode.obstacles(Path("/home/ann/relay.yaml"), ["/home/ann/venv/bin/twistd"])
        self.assertEqual(len(found), 2)
        self.assertIn("/etc/lanrelay", found[0])
        self.assertIn("/opt/lanrelay", found[1])
        self.assertEqual(lines(mode.stop()), ["systemctl disable --now lanrelay.service"])

    def test_its_user_must_be_able_to_read_the_configuration(self) -> None:
        mode = SystemdSystem(machine(Path("/home/ann"), root=True))
        (sentence,) = mode.obstacles(Path("/nowhere/relay.yaml"), ["/opt/lanrelay/bin/twistd"])
        self.assertIn("LoadCredential=", sentence)
        readable = Path("/etc/passwd")
        self.assertEqual(mode.obstacles(readable, ["/opt/lanrelay/bin/twistd"]), [])

    def test_whether_it_runs(self) -> None:
        mode = SystemdUser(machine(Path("/home/ann")))
        self.run_.answers["systemctl --user show lanrelay.service"] = [
            Output(0, "ActiveState=active\nSubState=running\nStatusText=listeners: 2; open connections: 0\n"),
            Output(0, "StatusText=\nActiveState=failed\nSubState=failed\n"),
            Output(1, "", "Failed to connect to bus: No medium found\n"),
        ]
        self.assertEqual(
            [mode.state(self.run_) for _ in range(3)],
            [
                "active (running): listeners: 2; open connections: 0",
                "failed (failed)",
                "unknown (Failed to connect to bus: No medium found)",
            ],
        )


class ChoiceTests(SynchronousTestCase):
    def test_by_system_and_by_who_asks(self) -> None:
        for chosen, keys in (
            ("systemd-user", {}),
            ("systemd", {"root": True}),
            ("daemon", {"platform": "darwin", "root": True}),
            ("agent-osascript", {"platform": "darwin"}),
            ("agent-osascript", {"platform": "darwin", "macos": (26, 0)}),
            ("agent", {"platform": "darwin", "macos": (14, 7, 1)}),
        ):
            self.assertEqual(default_mode(machine(HOME, **keys)), chosen)

    def test_what_is_tried_next_ends_where_access_is_given(self) -> None:
        name, seen = "agent", []
        while name and name not in seen:
            seen.append(name)
            name = MODES[name].next
        self.assertEqual(seen, ["agent", "agent-osascript", "app", "login-item", "daemon"])
