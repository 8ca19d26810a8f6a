"""C{lanrelay bugreport} as people run it: what is in it, what is not, and when it is written."""

from __future__ import annotations

import platform

from lanrelay.version import __version__
from tests.cli.terminal import CommandTestCase
from tests.support.relay import Relay

SECRETS = ("hunter2hunter2", "Zq8Wd71pLm2Xc94Kt", "9f8e7d6c5b4a39281706")

RELAY = f"""\
log: {{file: relay.log}}
admin: {{listen: "127.0.0.1:0"}}
listeners:
  proxy:
    type: connect-proxy
    listen: 127.0.0.1:0
    auth: {{users: {{alice: {SECRETS[0]}}}}}
    parent: http://bob:{SECRETS[1]}@127.0.0.1:9
  web:
    type: reverse-proxy
    listen: 127.0.0.1:0
    upstream: http://127.0.0.1:9
    health: off
    headers: {{request: {{set: {{X-Api-Key: {SECRETS[1]}}}}}}}
"""


class BugreportTests(CommandTestCase):
    def sections(self, text: str) -> dict[str, str]:
        parts = text.split("=== ")[1:]
        return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}

    def test_a_running_relay_with_secrets(self) -> None:
        relay = Relay(RELAY)
        self.addCleanup(relay.stop)
        log = relay.folder / "relay.log"
        lines = [f"2026-11-20T09:11:40 [access] line {number} end" for number in range(300)]
        lines[250] += f' "GET /mcp/{SECRETS[2]}/x?token={SECRETS[0]}" Authorization: Bearer {SECRETS[1]}'
        self.environ["XDG_RUNTIME_DIR"] = str(relay.folder)
        relay._log = log
        relay.start()
        with log.open("a") as opened:
            opened.write("".join(f"{line}\n" for line in lines))
        done = self.command("bugreport", "-c", relay.config, "--dry-run")
        self.assertEqual(done.status, 0, done.err)
        found = self.sections(done.out)
        self.assertEqual(
            list(found), ["Versions", "Platform", "Configuration", "Status", "Log, its last 200 lines"]
        )
        self.assertIn(f"lanrelay {__version__}\n", found["Versions"])
        self.assertIn(f"Python {platform.python_version()}", found["Versions"])
        self.assertIn("Twisted ", found["Versions"])
        self.assertIn("max_connections: 4096", found["Configuration"])
        self.assertIn(f'"pid": {relay.process.pid}', found["Status"])
        shown = found["Log, its last 200 lines"]
        self.assertIn("line 299 end", shown)
        self.assertIn("line 100 end", shown)
        self.assertNotIn("line 99 end", shown)
        self.assertIn('"GET /mcp/***/x?token=***', shown)
        for secret in SECRETS:
            self.assertNotIn(secret, done.out)
        self.assertEqual(list(self.home.glob("lanrelay-bugreport*")), [])

    def test_it_is_shown_and_asked_for_before_it_is_written(self) -> None:
        self.write("listeners: {a: {type: connect-proxy, listen: 1}}\n")
        done = self.at_terminal("bugreport", "-o", "report.txt", typed=["no"])
        self.assertEqual(done.status, 0)
        self.assertIn("Nothing was written.", done.err)
        self.assertFalse((self.home / "report.txt").exists())
        done = self.at_terminal("bugreport", "-o", "report.txt", typed=["yes"])
        report = self.home / "report.txt"
        self.assertEqual(done.status, 0)
        self.assertEqual(report.read_text() + "\n", done.out)
        self.assertEqual(report.stat().st_mode & 0o777, 0o600)
        self.assertNotIn(str(self.home), done.out)
        self.assertIn("No relay is running with ~/.config/lanrelay/relay.yaml", done.out)

    def test_without_a_terminal_nothing_is_written_unless_asked_for(self) -> None:
        done = self.command("bugreport")
        self.assertEqual(done.status, 1)
        self.assertIn("--yes answers it", done.err)
        self.assertIn("There is none where one is looked for.", done.out)
        done = self.command("bugreport", "--yes")
        self.assertEqual(done.status, 0)
        self.assertEqual(len(list(self.home.glob("lanrelay-bugreport-*.txt"))), 1)

    def test_a_wrong_configuration_is_what_the_fault_may_be(self) -> None:
        self.write("listeners: {a: {type: connect-proxy, listen: x}}\n")
        done = self.command("bugreport", "--dry-run")
        self.assertEqual(done.status, 0)
        self.assertIn("listeners.a.listen", self.sections(done.out)["Configuration"])

    def test_a_log_that_is_not_there(self) -> None:
        done = self.command("bugreport", "--dry-run", "--log", "nowhere.log")
        self.assertEqual(done.status, 0)
        self.assertIn("nowhere.log cannot be read: No such file", done.out)
