"""How an examination looks on a terminal, and what the command itself refuses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.report import Report
from lanrelay.examine.checks import Check, Examined, Viewpoint, check_as_json
from tests.support.peers import free_ports
from tests.support.progress import PATIENCE
from tests.support.servers import CHECKOUT

GOOD = Check(layer="name", state="ok", said="nas.lan is 192.168.1.20.", seconds=0.0021)
SKIPPED = Check(layer="tls", state="skipped", said="Not looked at, for no connection could be made.")


def failed(said: str, remedy: str) -> Check:
    return Check(layer="connect", state="failed", cause="refused", said=said, remedy=remedy, seconds=1.25)


def examined(*checks: Check, place: Viewpoint = "here", target: str = "nas") -> Examined:
    return Examined(target=target, url="https://nas.lan", listener="nas", place=place, checks=checks)


class ReportTests(SynchronousTestCase):
    def lines(self, *found: Examined, width: int = 80, colour: bool = False) -> list[str]:
        return list(Report(width, colour=colour).targets(found))

    def test_a_line_for_each_check_and_what_mends_it_below(self) -> None:
        bad = failed("192.168.1.20 is there, but nothing listens on its port 443.", "lanrelay trust nas")
        self.assertEqual(
            self.lines(examined(GOOD, bad, SKIPPED)),
            [
                "nas  https://nas.lan  (from here)",
                "  name        ok        2 ms  nas.lan is 192.168.1.20.",
                "  connect     FAILED   1.2 s  192.168.1.20 is there, but nothing listens on its",
                "                              port 443.",
                "                      to do: lanrelay trust nas",
                "  tls: Not looked at, for no connection could be made.",
                "",
            ],
        )

    def test_it_fits_the_terminal_but_for_what_is_to_be_pasted(self) -> None:
        command = (
            "ssh nas.lan sudo cat /var/lib/caddy/root.crt > root.crt && lanrelay trust nas --ca root.crt"
        )
        for width in (80, 60):
            lines = self.lines(examined(failed("No. " * 40, command)), width=width)
            self.assertTrue(all(len(line) <= width for line in lines if command not in line), lines)
            self.assertIn(command, "\n".join(lines))

    def test_on_a_narrow_terminal_texts_stand_below_their_heads(self) -> None:
        bad = failed("192.168.1.20 is there, but nothing listens on its port 443.", "lanrelay trust nas")
        self.assertEqual(
            self.lines(examined(bad), width=40)[1:],
            [
                "  connect     FAILED   1.2 s",
                "    192.168.1.20 is there, but nothing",
                "    listens on its port 443.",
                "    to do: lanrelay trust nas",
                "",
            ],
        )

    def test_two_sides_are_told_once_where_they_agree(self) -> None:
        near = failed("macOS does not let this program.", "Allow it.")
        far = Check(layer="connect", state="ok", said="192.168.1.20:443 took the connection.")
        lines = self.lines(examined(GOOD, near), examined(GOOD, far, place="service"))
        self.assertEqual(lines[0], "nas  https://nas.lan  (from here and from the service)")
        self.assertEqual(sum("nas.lan is 192.168.1.20." in line for line in lines), 1)
        self.assertTrue(any(line.startswith("  connect (here)") for line in lines), lines)
        self.assertTrue(any(line.startswith("  connect (service)") for line in lines), lines)

    def test_nothing_speaks_to_the_terminal_and_secrets_are_masked(self) -> None:
        bad = failed("said \x1b[31mEvil", "Use Authorization: Bearer abcdef0123456789.")
        text = "\n".join(self.lines(examined(bad, target="https://nas.lan/private_zctp0123456789abcdef01")))
        self.assertNotIn("\x1b", text)
        self.assertNotIn("abcdef0123456789", text)
        self.assertNotIn("0123456789abcdef01", text)
        self.assertNotIn("abcdef0123456789", json.dumps(check_as_json(bad)))

    def test_colour(self) -> None:
        self.assertIn(
            "\x1b[31mFAILED\x1b[0m", "\n".join(self.lines(examined(failed("No.", "")), colour=True))
        )

    def test_the_verdict(self) -> None:
        report, bad = Report(80), failed("No.", "Do.")
        self.assertEqual(report.verdict([examined(GOOD)], []), "No problems found.")
        self.assertEqual(
            report.verdict([examined(bad)], [bad]), "Something is wrong with: nas, this machine."
        )
        warned = Check(layer="http", state="warn", cause="login_wanted", said="Log in.", remedy="Do.")
        self.assertIn("`warn`", report.verdict([examined(warned)], []))


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def doctor(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LANRELAY")},
            **dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"), str(self.folder)),
            "PYTHONPATH": str(CHECKOUT),
            "COLUMNS": "80",
        }
        return subprocess.run(
            [sys.executable, "-m", "lanrelay.cli.main", "doctor", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )

    def test_a_url_needs_no_configuration(self) -> None:
        (port,) = free_ports(1)
        told = self.doctor(f"http://127.0.0.1:{port}/mcp", "--json")
        document = json.loads(told.stdout)
        self.assertEqual((told.returncode, told.stderr), (1, ""))
        self.assertEqual((document["ok"], document["config"], document["machine"]), (False, None, []))
        (target,) = document["targets"]
        self.assertEqual(set(target), {"target", "listener", "from", "ok", "checks"})
        for check in target["checks"]:
            self.assertEqual(set(check), {"layer", "state", "cause", "seconds", "said", "remedy", "facts"})

    def test_without_a_configuration_it_says_so(self) -> None:
        told = self.doctor("--json")
        (config,) = [check for check in json.loads(told.stdout)["machine"] if check["layer"] == "config"]
        self.assertEqual((told.returncode, config["cause"]), (1, "wrong_config"))
        self.assertEqual(config["remedy"], "lanrelay setup")

    def test_a_configuration_that_is_not_right(self) -> None:
        (self.folder / "relay.yaml").write_text("listeners: {a: {type: nonsense}}\n")
        told = self.doctor("-c", "relay.yaml", "--json")
        (config,) = [check for check in json.loads(told.stdout)["machine"] if check["layer"] == "config"]
        self.assertEqual((told.returncode, config["cause"]), (1, "wrong_config"))
        self.assertIn("relay.yaml:1:", config["said"])
        told = self.doctor("a", "-c", "relay.yaml", "--json")
        self.assertEqual(told.returncode, 1)
        self.assertIn("relay.yaml:1:", told.stderr)
        self.assertFalse(json.loads(told.stdout)["ok"])

    def test_what_means_nothing_is_refused(self) -> None:
        told = self.doctor("nosuch", "--json")
        self.assertEqual(told.returncode, 1)
        self.assertIn("HOST:PORT", json.loads(told.stdout)["error"])

    def test_the_interrupt_ends_it_with_its_own_status(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(PATIENCE)
            port = listening.getsockname()[1]
            process = subprocess.Popen(
                [sys.executable, "-m", "lanrelay.cli.main", "doctor", f"https://127.0.0.1:{port}/mcp"],
                env={**os.environ, "PYTHONPATH": str(CHECKOUT), "HOME": str(self.folder)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            self.addCleanup(process.kill)
            for _ in ("TCP", "TLS"):
                connection, _ = listening.accept()
                self.addCleanup(connection.close)
            connection.recv(1)  # the handshake is under way
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, out, errors), (130, "", ""))

    def test_wrong_usage(self) -> None:
        for words in (("--from", "nowhere"), ("--timeout", "soon"), ("--nonsense",)):
            self.assertEqual(self.doctor(*words).returncode, 2)

    def test_examples(self) -> None:
        self.assertIn("lanrelay doctor nas --from service", self.doctor("--help").stdout)
