"""C{lanrelay service} on machines that are none: what is written, what is run, and what is said."""

from __future__ import annotations

import io
import os
import platform
import plistlib
import shutil
import sys
import tempfile
from errno import EHOSTDOWN
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.service import Asked, Service, run, this_machine
from lanrelay.commands import Output
from lanrelay.setup.installer import Failed, Tried
from lanrelay.setup.mode import Machine
from tests.setup.support import Commands, machine
from tests.support.macos import recorded

CONFIGURATION = """\
listeners:
  nas: {type: tcp-forward, listen: localhost:0, upstream: "tcp://192.168.1.20:5432"}
  web: {type: reverse-proxy, listen: localhost:0, upstream: "https://lan-host"}
  off: {type: tcp-forward, listen: localhost:0, upstream: "tcp://192.168.1.21:1", enabled: false}
  proxy: {type: connect-proxy, listen: localhost:0}
"""

BLOCKED = Tried(
    upstream="tcp://192.168.1.20:5432",
    error="destination_ip_unroutable",
    address="192.168.1.20:5432",
    elapsed=0.001,
    said="No route to host.",
)


class FakeRunning:
    """
    The relay at its control socket.

    @ivar pids: what is there, one answer after the other; the last one stays.
    """

    def __init__(self) -> None:
        self.pids: list[int | None] = [None, None, 4711]
        self.outcomes: dict[str, list[Tried]] = {}
        self.probed: list[str] = []

    def pid(self) -> int | None:
        return self.pids.pop(0) if len(self.pids) > 1 else self.pids[0]

    def probe(self, listener: str) -> list[Tried]:
        self.probed.append(listener)
        return self.outcomes.get(listener, [Tried(upstream=f"tcp://{listener}:1")])


class ServiceCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="lanrelay test "))
        self.addCleanup(shutil.rmtree, self.home)
        self.config = self.home / "relay.yaml"
        self.config.write_text(CONFIGURATION)
        self.python = self.home / "venv/bin/python"
        self.python.parent.mkdir(parents=True)
        self.python.with_name("twistd").touch()
        self.commands = Commands()
        self.running = FakeRunning()
        self.paused = 0.0
        self.said = io.StringIO()
        self.patch(sys, "stdout", self.said)
        self.warned = io.StringIO()
        self.patch(sys, "stderr", self.warned)
        self.machine: Machine = machine(self.home)

    def pause(self, seconds: float) -> None:
        self.paused += seconds

    def service(self) -> Service:
        return Service(
            machine=self.machine,
            runner=self.commands,
            running=lambda path: self.running,
            pause=self.pause,
            python=self.python,
        )

    def install(self, mode: str | None = None, *, dry_run: bool = False, force: bool = False) -> int:
        return self.service().install(self.config, mode, dry_run=dry_run, force=force)

    def fails(self, *words: str, mode: str | None = None) -> str:
        text = str(self.assertRaises(Failed, self.install, mode))
        for word in words:
            self.assertIn(word, text)
        return text

    def output(self) -> str:
        text = self.said.getvalue()
        self.said.truncate(0)
        self.said.seek(0)
        return text


class LinuxTests(ServiceCase):
    def setUp(self) -> None:
        super().setUp()
        self.unit = self.home / ".config/systemd/user/lanrelay.service"
        self.commands.answers["systemctl --user show"] = [
            Output(0, "ActiveState=active\nSubState=running\nStatusText=listeners: 3\n")
        ]

    def test_it_is_written_started_and_tried(self) -> None:
        self.assertEqual(self.install(), 0)
        self.assertIn(f'ExecStart="{self.home}/venv/bin/twistd" -n --pidfile= ', self.unit.read_text())
        self.assertIn(f'lanrelay -c "{self.config}"\n', self.unit.read_text())
        self.assertEqual(
            [line for line in self.commands.ran if line.startswith("systemctl")],
            [
                "systemctl --user daemon-reload",
                "systemctl --user enable lanrelay.service",
                "systemctl --user restart lanrelay.service",
                "systemctl --user show lanrelay.service -p ActiveState,SubState,StatusText",
            ],
        )
        self.assertEqual(self.running.probed, ["nas", "web"])
        output = self.output()
        self.assertIn(f"{self.unit} is written.", output)
        self.assertIn("The relay runs: active (running): listeners: 3.", output)
        self.assertIn("  nas: tcp://nas:1: reached", output)
        self.assertIn("loginctl enable-linger", output)

    def test_shown_only(self) -> None:
        self.assertEqual(self.install(dry_run=True), 0)
        output = self.output()
        self.assertIn(f"# {self.unit} (mode 0644)\n", output)
        self.assertIn("\nType=notify\n", output)
        self.assertIn("# systemctl --user restart lanrelay.service\n", output)
        self.assertFalse(self.unit.exists())
        self.assertEqual([line for line in self.commands.ran if not line.startswith("env ")], [])

    def test_what_is_shown_is_refused_as_it_would_be(self) -> None:
        self.running.pids = [99]
        error = self.assertRaises(Failed, self.install, dry_run=True)
        self.assertIn("runs already, process 99", str(error))
        self.assertIn(f"# {self.unit} (mode 0644)\n", self.output())
        self.running.pids = [None]
        self.assertRaises(Failed, self.install, "systemd", dry_run=True)
        self.assertFalse(self.unit.exists())

    def test_every_mode_is_shown_on_every_system(self) -> None:
        for name, words in (
            ("agent", "<string>lanrelay.agent</string>"),
            ("agent-osascript", "/usr/bin/osascript"),
            ("daemon", "<key>UserName</key>"),
            ("login-item", "#!/bin/bash"),
            ("systemd-user", "WantedBy=default.target"),
        ):
            self.assertEqual(self.install(name, dry_run=True), 0)
            self.assertIn(words, self.output())
        self.assertFalse((self.home / "Library").exists())

    def test_a_path_that_is_no_text_is_a_sentence(self) -> None:
        self.config = Path(os.fsdecode(os.fsencode(self.home) + b"/\xff.yaml"))
        self.config.write_text(CONFIGURATION)
        for dry_run in (True, False):
            error = self.assertRaises(Failed, self.install, dry_run=dry_run)
            self.assertIn("is not UTF-8", str(error))
        self.assertFalse(self.unit.exists())

    def test_what_needs_root_can_be_shown_without(self) -> None:
        error = self.assertRaises(Failed, self.install, "systemd", dry_run=True)
        self.assertNotIn("root", str(error))  # it is in /tmp, which the unit cannot see
        self.assertIn("DynamicUser=yes", self.output())
        self.fails("needs root", "sudo ", "--mode systemd", str(self.config), mode="systemd")
        self.assertEqual([line for line in self.commands.ran if not line.startswith("env ")], [])

    def test_again(self) -> None:
        """The relay that runs already is the one that makes way."""
        self.install()
        self.running.pids = [4711, 4711, 4712]
        self.output()
        self.assertEqual(self.install(), 0)
        self.assertIn("is as it should be", self.output())
        self.assertEqual(self.paused, 1.0)

    def test_a_file_that_was_changed_is_kept(self) -> None:
        self.unit.parent.mkdir(parents=True)
        self.unit.write_text("mine")
        self.install()
        self.assertIn("what was there is lanrelay.service.bak now", self.output())
        self.assertEqual(self.unit.with_name("lanrelay.service.bak").read_text(), "mine")

    def test_a_relay_that_was_started_by_hand(self) -> None:
        self.running.pids = [99]
        self.fails("runs already, process 99")
        self.assertFalse(self.unit.exists())

    def test_a_wrong_configuration(self) -> None:
        self.config.write_text("listeners: {}\n")
        self.fails("listeners: found")

    def test_variables_of_this_shell_only(self) -> None:
        self.patch_environment("NAS_ADDRESS", "192.168.1.20")
        self.config.write_text(CONFIGURATION.replace("192.168.1.20", "${NAS_ADDRESS}"))
        self.assertEqual(self.install(), 0)
        self.assertIn("NAS_ADDRESS", self.warned.getvalue())
        self.assertIn("${file:token}", self.warned.getvalue())

    def patch_environment(self, name: str, value: str) -> None:
        import os

        os.environ[name] = value
        self.addCleanup(os.environ.pop, name)

    def test_a_checkout_that_is_not_installed(self) -> None:
        self.commands.answers["env -u PYTHONPATH"] = [
            Output(1, "", "Traceback\nModuleNotFoundError: No module named 'lanrelay'\n")
        ]
        self.fails("finds lanrelay only from here", "pip install .")
        self.assertFalse(self.unit.exists())

    def test_no_twistd(self) -> None:
        self.python.with_name("twistd").unlink()
        self.fails("no twistd")

    def test_a_command_that_fails(self) -> None:
        self.commands.answers["systemctl --user daemon-reload"] = [Output(1, "", "no bus\n")]
        self.fails("`systemctl --user daemon-reload` failed: no bus", "journalctl --user -u lanrelay")

    def test_a_relay_that_does_not_come_up(self) -> None:
        self.running.pids = [None]
        self.fails("does not answer", "active (running)", "journalctl")
        self.assertLess(self.paused, 60)

    def test_an_upstream_that_is_down_is_no_failure_of_the_installation(self) -> None:
        self.running.outcomes["nas"] = [BLOCKED]
        self.assertEqual(self.install(), 0)
        self.assertIn("destination_ip_unroutable: No route to host.", self.output())

    def test_what_the_relay_says_does_not_speak_to_the_terminal(self) -> None:
        self.running.outcomes["nas"] = [Tried(upstream="tcp://nas:1", error="x", said="\x1b[2Jgone")]
        self.commands.answers["systemctl --user show"] = [
            Output(0, "ActiveState=active\nSubState=running\nStatusText=\x1b]0;title\x07\n")
        ]
        self.assertEqual(self.install(), 0)
        self.assertNotRegex(self.output(), r"[\x00-\x09\x0b-\x1f\x7f]")

    def test_a_relay_that_cannot_be_asked(self) -> None:
        self.config.write_text("control: off\n" + CONFIGURATION)
        self.assertEqual(self.install(), 0)
        self.assertIn("control: off", self.output())

    def test_status(self) -> None:
        self.assertEqual(self.service().status(None), 1)
        self.assertEqual(self.output(), "Not installed.\n")
        self.install()
        self.output()
        self.assertEqual(self.service().status(None), 0)
        output = self.output()
        self.assertIn("systemd-user: active (running): listeners: 3\n", output)
        self.assertIn(f"file: {self.unit}", output)
        self.assertEqual(self.service().status("systemd"), 1)

    def test_uninstall(self) -> None:
        self.assertEqual(self.service().uninstall(None), 1)
        self.install()
        self.commands.ran.clear()
        self.assertEqual(self.service().uninstall(None), 0)
        self.assertFalse(self.unit.exists())
        self.assertEqual(
            self.commands.ran,
            ["systemctl --user disable --now lanrelay.service", "systemctl --user daemon-reload"],
        )
        self.assertTrue(self.config.exists())

    def test_modes_of_another_system(self) -> None:
        self.fails("not for this system", "systemd-user, systemd", mode="daemon")


class MacTests(ServiceCase):
    def setUp(self) -> None:
        super().setUp()
        self.machine = machine(self.home, "darwin")
        self.agents = self.home / "Library/LaunchAgents"

    def test_a_block_names_the_next_mode(self) -> None:
        self.running.outcomes["nas"] = [BLOCKED]
        self.assertEqual(self.install(), 1)
        self.assertTrue((self.agents / "lanrelay.agent-osascript.plist").exists())
        last = self.output().splitlines()[-1]
        self.assertIn("service install --mode app -c", last)
        self.assertIn(str(self.config), last)

    def test_what_is_no_block(self) -> None:
        for changes in (
            {"elapsed": 3.0},
            {"address": "93.184.216.34:5432"},
            {"error": "connection_refused"},
            {"errno": EHOSTDOWN},
            {"address": "[fe80::1%en0]:5432"},
            {"address": "169.254.7.1:5432"},
        ):
            fields: dict[str, Any] = {name: getattr(BLOCKED, name) for name in BLOCKED.__slots__}
            self.running.outcomes["nas"] = [Tried(**{**fields, **changes})]
            self.running.pids = [None, 4711]
            self.assertEqual(self.install(force=True), 0, changes)
            self.service().uninstall(None)

    def test_the_router_is_no_proof(self) -> None:
        """macOS lets every program reach the default gateway."""
        self.commands.answers["netstat -rn -f inet"] = [Output(0, recorded("netstat_rn_inet"))]
        self.running.outcomes["nas"] = [Tried(upstream="tcp://192.168.1.1:443")]
        self.running.outcomes["web"] = [Tried(upstream="https://192.168.1.20")]
        self.assertEqual(self.install(), 0)
        lines = self.output().splitlines()
        (router,) = [line for line in lines if "192.168.1.1:443" in line]
        (other,) = [line for line in lines if "192.168.1.20" in line]
        self.assertIn("no proof of access to other devices", router)
        self.assertTrue(other.endswith(": reached"), other)

    def test_the_next_mode_takes_the_place_of_the_one_before(self) -> None:
        self.install("agent")
        self.running.pids = [4711, 4711, 4712]
        self.commands.ran.clear()
        self.assertEqual(self.install("login-item"), 0)
        self.assertFalse((self.agents / "lanrelay.agent.plist").exists())
        self.assertIn("The mode agent makes way.", self.output())
        self.assertEqual(self.commands.ran[1], "launchctl bootout gui/501/lanrelay.agent")
        self.assertTrue(self.commands.ran[-2].startswith("open -a Terminal "))

    def test_a_job_that_is_still_ending_is_waited_for(self) -> None:
        self.commands.answers["launchctl bootstrap"] = [
            Output(5, "", "Bootstrap failed: 5: Input/output error\n"),
            Output(0),
        ]
        self.assertEqual(self.install("agent"), 0)
        self.assertEqual(len([line for line in self.commands.ran if "bootstrap" in line]), 2)

    def test_the_longest_drain_is_waited_for(self) -> None:
        self.config.write_text(
            CONFIGURATION.replace('"https://lan-host"}', '"https://lan-host", timeouts: {drain: 1m}}')
        )
        self.assertEqual(self.install("agent"), 0)
        content = plistlib.loads((self.agents / "lanrelay.agent.plist").read_bytes())
        self.assertEqual(content["ExitTimeOut"], 65)

    def test_a_log_that_is_another_s_is_said_before_anything_is_stopped(self) -> None:
        self.commands.answers["touch "] = [Output(1, "", "touch: lanrelay.log: Permission denied\n")]
        self.fails("Permission denied", "sudo chown ann ", mode="agent")
        self.assertEqual([line for line in self.commands.ran if line.startswith("launchctl")], [])

    def test_a_login_item_that_terminal_may_not_add(self) -> None:
        self.commands.answers['osascript -e tell application "System Events" to make'] = [
            Output(1, "", "Not authorized to send Apple events to System Events. (-1743)\n")
        ]
        self.assertEqual(self.install("login-item"), 0)
        self.assertIn("By hand: add ", self.output())

    def test_a_daemon_needs_root_and_runs_as_the_user(self) -> None:
        self.fails("needs root", "sudo", mode="daemon")

    def test_a_folder_that_macos_guards(self) -> None:
        folder = self.home / "Documents"
        folder.mkdir()
        self.config = folder / "relay.yaml"
        self.config.write_text(CONFIGURATION)
        self.fails("Documents")
        self.assertFalse(self.agents.exists())


class CommandLineTests(ServiceCase):
    def test_the_configuration_is_named(self) -> None:
        with mock.patch.dict(os.environ, {"XDG_CONFIG_HOME": str(self.home)}):
            self.assertEqual(run(["install"]), 1)
        self.assertIn(f"{self.home}/lanrelay/relay.yaml and ", self.warned.getvalue())
        left = self.assertRaises(SystemExit, run, [])
        self.assertEqual(left.code, 2)

    def test_what_fails_is_a_sentence_and_status_1(self) -> None:
        self.assertEqual(run(["install", "--dry-run", "-c", str(self.home / "nowhere.yaml")]), 1)
        self.assertIn("nowhere.yaml", self.warned.getvalue())
        self.assertNotIn("Traceback", self.warned.getvalue())
        name = os.fsdecode(b"/nowhere/\xff\x1b[2J.yaml")
        self.assertEqual(run(["install", "-c", name]), 1)
        self.assertIn(r"\udcff\x1b[2J.yaml is not UTF-8", self.warned.getvalue())


class MachineTests(SynchronousTestCase):
    def test_this_one(self) -> None:
        found = this_machine(None, environment={"XDG_CONFIG_HOME": "/x"})
        self.assertEqual(found.config_home, Path("/x"))
        self.assertEqual(found.platform, sys.platform)

    def test_under_sudo_it_is_the_one_who_called(self) -> None:
        import os

        self.patch(os, "geteuid", lambda: 0)
        found = this_machine(None, environment={"SUDO_USER": "nobody", "XDG_CONFIG_HOME": "/root/x"})
        self.assertEqual((found.user, found.root), ("nobody", True))
        self.assertEqual(found.config_home, found.home / ".config")
        self.assertEqual(this_machine("root", environment={"SUDO_USER": "nobody"}).user, "root")

    def test_the_version_that_macos_tells_an_old_program_is_not_believed(self) -> None:
        runner = Commands()
        runner.answers["env SYSTEM_VERSION_COMPAT=0 sw_vers -productVersion"] = [Output(0, "26.3\n")]
        for told, found in (("10.16", (26, 3)), ("15.7.4", (15, 7, 4))):
            self.patch(platform, "mac_ver", lambda told=told: (told, ("", "", ""), ""))
            self.assertEqual(this_machine(None, environment={}, runner=runner).macos, found)
        self.assertEqual(len(runner.ran), 1)

    def test_nobody_of_that_name(self) -> None:
        self.assertRaises(Failed, this_machine, "no-such-user-here")


class AskedTests(SynchronousTestCase):
    def test_no_relay(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, folder)
        file = folder / "relay.yaml"
        file.write_text(CONFIGURATION)
        asked = Asked(file)
        self.assertIsNone(asked.pid())
        error = self.assertRaises(Failed, asked.probe, "nas")
        self.assertIn("No relay is running", str(error))
