"""What stands around the relay: the service that starts it, and the clients that use it."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.around import client_checks, service_check
from lanrelay.commands import Output
from lanrelay.config import load
from lanrelay.examine.checks import Check
from lanrelay.setup.launchd import Agent
from lanrelay.setup.mode import Mode
from lanrelay.setup.systemd import SystemdUser
from tests.setup.support import Commands, machine
from tests.support.peers import free_ports


class AroundTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.file = self.folder / "relay.yaml"

    def one(self, check: Check, state: str, cause: str | None = None) -> Check:
        self.assertEqual((check.state, check.cause), (state, cause), check)
        return check


class ServiceTests(AroundTestCase):
    def check(self, mode: Mode, *, running: bool = True) -> Check:
        commands = Commands()
        commands.answers["systemctl"] = [Output(0, "ActiveState=active\nSubState=running\n")]
        return service_check([mode], self.file, commands, running=running)

    def installed(self, text: str) -> Mode:
        mode = SystemdUser(machine(self.folder))
        mode.path.parent.mkdir(parents=True)
        mode.path.write_text(text)
        return mode

    def test_none(self) -> None:
        check = self.one(self.check(SystemdUser(machine(self.folder))), "warn", "not_installed")
        self.assertEqual(check.remedy, f"lanrelay service install -c {self.file}")

    def test_one_that_runs(self) -> None:
        self.assertIn(
            "active (running)", self.one(self.check(self.installed(f"-c {self.file}\n")), "ok").said
        )

    def test_one_whose_relay_does_not_answer(self) -> None:
        self.one(self.check(self.installed(f"-c {self.file}\n"), running=False), "failed", "not_running")

    def test_one_of_another_configuration(self) -> None:
        self.one(self.check(self.installed("-c /etc/other.yaml\n")), "warn", "wrong_config")

    def test_a_mac(self) -> None:
        self.one(self.check(Agent(machine(self.folder, "darwin"))), "warn", "not_installed")


class ClientTests(AroundTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(
            os, "environ", {**os.environ, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
        )
        before = Path.cwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)

    def checks(self, url: str, *, port: int = 0) -> list[Check]:
        self.file.write_text(
            f"listeners: {{nas: {{type: reverse-proxy, listen: '127.0.0.1:{port}', upstream: 'https://nas.lan'}}}}"
        )
        (self.folder / ".cursor").mkdir(exist_ok=True)
        entry = {"mcpServers": {"house": {"url": url}}}
        (self.folder / ".cursor" / "mcp.json").write_text(json.dumps(entry))
        return client_checks(load.load(self.file))

    def test_straight_to_the_lan(self) -> None:
        check = self.one(self.checks("http://192.168.1.20:8123/mcp")[0], "warn", "direct_to_lan")
        self.assertEqual(check.remedy, "lanrelay adopt --client cursor --server house")

    def test_through_the_relay(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            (check,) = self.checks(f"http://127.0.0.1:{port}/mcp", port=port)
        self.assertIn("1 entry", self.one(check, "ok").said)

    def test_to_a_port_of_the_relay_that_is_dead(self) -> None:
        (port,) = free_ports(1)
        check = self.one(self.checks(f"http://127.0.0.1:{port}/mcp", port=port)[0], "failed", "dead_port")
        self.assertEqual(check.facts["port"], port)

    def test_to_another_port_that_is_dead(self) -> None:
        (port,) = free_ports(1)
        self.one(self.checks(f"http://127.0.0.1:{port}/mcp")[0], "warn", "dead_port")

    def test_no_client_at_all(self) -> None:
        self.assertIn("No entry", self.one(client_checks(None)[0], "ok").said)

    def test_a_file_that_is_broken(self) -> None:
        self.checks("http://192.168.1.20/")
        (self.folder / ".cursor" / "mcp.json").write_text("{")
        self.one(client_checks(None)[0], "warn")
