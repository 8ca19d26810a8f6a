from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.test_check import Run
from tests.clients.support import FILES


def apps(*, mac: bool) -> str:
    """Where a system's apps have their files, in a home folder."""
    return "Library/Application Support" if mac else ".config"


DESKTOP = f"{apps(mac=sys.platform == 'darwin')}/Claude/claude_desktop_config.json"


class HomeCase(SynchronousTestCase):
    """A home folder of its own, in which the working folder is."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.work = self.home / "project"
        self.work.mkdir(parents=True)
        environment = {"HOME": str(self.home), "COLUMNS": "100"}
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "LANRELAY_CONFIG", "CODEX_HOME"):
            if name in os.environ:
                environment[name] = ""
        patched = mock.patch.dict(os.environ, environment)
        patched.start()
        self.addCleanup(patched.stop)
        before = os.getcwd()
        os.chdir(self.work)
        self.addCleanup(os.chdir, before)

    def example(self, number: str, name: str) -> Path:
        """A public example as a file of this home."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        [source] = FILES.glob(f"{number}-*")
        shutil.copyfile(source, path)
        return path


class ClientsTests(HomeCase):
    def test_entries_and_where_they_lead(self) -> None:
        path = self.example("15", DESKTOP)
        run = Run("clients")
        self.assertEqual((run.status, run.err), (0, ""))
        self.assertIn(f"Claude Desktop: ~/{DESKTOP}", run.out)
        self.assertIn("shell_string: A shell reads its command", run.out)
        entries = json.loads(Run("clients", "--json").out)["clients"]
        self.assertEqual(
            entries[-1],
            {
                "client": "claude-desktop",
                "file": str(path),
                "scope": "user",
                "server": "public",
                "transport": "stdio",
                "leads_to": "public",
                "listener": None,
                "works": None,
                "adopt": "no",
                "reason": "public",
            },
        )

    def test_the_relays_listeners_are_known_by_the_configuration(self) -> None:
        self.example("15", DESKTOP)
        relay = self.home / "relay.yaml"
        relay.write_text(
            "listeners:\n  nine: {type: reverse-proxy, listen: 'localhost:27101', upstream: 'http://nas.lan'}\n"
        )
        entries = json.loads(Run("clients", "--json", "-c", str(relay)).out)["clients"]
        [relayed] = [each for each in entries if each["server"] == "already-relayed"]
        self.assertEqual((relayed["leads_to"], relayed["listener"]), ("relay", "nine"))
        self.assertEqual((relayed["works"], relayed["reason"]), (True, "already_relayed"))
        relay.write_text("listeners: {}\n")
        run = Run("clients", "--json", "-c", str(relay))
        self.assertIn("is not right", run.err)
        self.assertEqual(json.loads(run.out)["clients"][2]["leads_to"], "loopback")

    def test_a_broken_file_is_complained_of_with_its_place(self) -> None:
        path = self.example("91", DESKTOP)
        self.example("35", ".copilot/mcp-config.json")
        run = Run("clients", "--json")
        self.assertEqual(run.status, 1)
        self.assertIn("is left alone: line 7, column 38", run.err)
        good, broken = json.loads(run.out)["clients"]
        self.assertEqual(good["server"], "lab")
        self.assertEqual(
            (broken["file"], broken["server"], broken["reason"]), (str(path), None, "file_broken")
        )

    def test_a_file_that_cannot_be_read(self) -> None:
        path = self.example("35", ".copilot/mcp-config.json")
        path.write_bytes(b"{\n\xff}")
        self.assertIn("line 2, column 1", Run("clients").err)

    def test_a_dialect_that_is_not_edited_is_no_mistake(self) -> None:
        path = self.home / ".openclaw/openclaw.json"
        path.parent.mkdir()
        path.write_text("{mcp: {servers: {}}}")
        run = Run("clients", "--json")
        [entry] = json.loads(run.out)["clients"]
        self.assertEqual((run.status, entry["reason"], entry["works"]), (0, "not_understood", None))
        self.assertIn("JSON5", run.err)

    def test_one_file_and_its_format(self) -> None:
        self.example("35", ".copilot/mcp-config.json")
        path = self.example("29", "elsewhere.yaml")
        run = Run("clients", "--json", "--file", str(path), "--format", "goose")
        names = [each["server"] for each in json.loads(run.out)["clients"]]
        self.assertEqual(names, ["developer", "homeassistant", "oldsse", "bridge"])

    def test_only_some(self) -> None:
        self.example("35", ".copilot/mcp-config.json")
        self.example("02", DESKTOP)
        run = Run("clients", "--json", "--client", "claude-desktop", "--server", "dongle")
        self.assertEqual([each["server"] for each in json.loads(run.out)["clients"]], ["dongle"])
        for words in (
            ["--client", "copilot", "claude-desktop"],
            ["--client", "copilot", "--client", "claude-desktop"],
        ):
            run = Run("clients", "--json", *words)
            self.assertEqual(len(json.loads(run.out)["clients"]), 3, words)

    def test_a_clients_own_file_is_that_however_it_is_named(self) -> None:
        path = self.example("01", DESKTOP)
        link = self.work / "link.json"
        link.symlink_to(path)
        [entry] = json.loads(Run("clients", "--json", "--file", str(link)).out)["clients"]
        self.assertEqual((entry["client"], entry["file"]), ("claude-desktop", str(path)))

    def test_a_configuration_that_is_named_and_not_there(self) -> None:
        with mock.patch.dict(os.environ, {"LANRELAY_CONFIG": "/nonexistent/relay.yaml"}):
            self.assertIn("/nonexistent/relay.yaml", Run("clients").err)
            self.assertEqual(Run("adopt").status, 1)

    def test_wrong_usage(self) -> None:
        for words in (["--client", "nope"], ["--format", "cursor"], ["--file", "x", "--format", "nope"]):
            run = Run("clients", *words)
            self.assertEqual((run.status, run.out), (2, ""), words)
        self.assertEqual(Run("clients", "--file", "nope.json").status, 1)

    def test_nothing_is_there(self) -> None:
        run = Run("clients")
        self.assertEqual((run.status, run.out), (0, "No client's file with MCP servers was found here.\n"))
        self.assertEqual(json.loads(Run("clients", "--json").out), {"clients": []})

    def test_text_fits_a_narrow_terminal(self) -> None:
        self.example("04", DESKTOP)
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ, {"COLUMNS": "80"}))
            run = Run("clients")
        self.assertLessEqual(max(map(len, run.out.splitlines())), 80)
