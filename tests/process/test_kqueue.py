"""
What macOS has for epoll, played on Linux by L{tests.support.kqueue_on_linux}: the streams, and the relay.

These tests have not seen a Mac. What they hold is the code's own part: that it works by kqueue's rules, in
whatever order kqueue tells.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.authority import Authority
from tests.support.progress import LIMIT, PATIENCE
from tests.support.tls_origin import TlsOrigin

TOP = Path(__file__).parents[2]
SHIM = TOP / "tests" / "support" / "kqueue_on_linux.py"
PROGRAM = (str(SHIM), "trial")


class KqueueTests(SynchronousTestCase):
    if sys.platform != "linux" or "KQUEUE_ON_LINUX" in os.environ:
        skip = "kqueue is here"

    def started(
        self, *modules: str, program: Sequence[str] = PROGRAM, order: str = "alternate", portion: int = 0
    ) -> subprocess.Popen[str]:
        """A run of such tests."""
        variables = {**os.environ, "KQUEUE_ORDER": order, "KQUEUE_PORTION": str(portion)}
        command = [sys.executable, *program, f"--temp-directory={os.path.abspath(self.mktemp())}", *modules]
        run = subprocess.Popen(
            command, cwd=TOP, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        return run

    def passes(self, run: subprocess.Popen[str]) -> None:
        said, _ = run.communicate(timeout=LIMIT)
        self.assertEqual(run.returncode, 0, said[-4000:])
        self.assertIn("PASSED", said)

    def test_the_streams_with_the_sockets_of_a_mac(self) -> None:
        """What XNU refuses on a connection that has ended, and what Python does not have there."""
        self.passes(self.started("tests.transport", program=[str(SHIM.with_name("darwin_on_linux.py"))]))

    def test_the_turn_in_each_order(self) -> None:
        modules = ("tests.transport.test_tcp", "tests.transport.test_tcp_own")
        for order in ("read", "write"):
            for run in [self.started(*modules, order=order, portion=portion) for portion in (0, 1)]:
                self.passes(run)

    def test_the_doctor_hears_what_was_said_before_a_reset(self) -> None:
        """A server that wants a certificate says so, and then resets a connection that has more to say."""
        folder = Path(os.path.abspath(self.mktemp()))
        folder.mkdir()
        authority = Authority(folder)
        origin = TlsOrigin(authority.issue("localhost"), client_ca=authority.root)
        self.addCleanup(origin.stop)
        (folder / "relay.yaml").write_text(
            "listeners:\n  nas:\n    type: tcp-forward\n    listen: 127.0.0.1:0\n    upstream:\n"
            f"      url: tls://localhost:{origin.port}\n      address: 127.0.0.1:{origin.port}\n"
            f"      tls: {{ca: {authority.root.name}}}\n"
        )
        words = ["lanrelay.cli.main", "doctor", "nas", "-c", str(folder / "relay.yaml"), "--json"]
        done = subprocess.run(
            [sys.executable, str(SHIM), *words], cwd=TOP, capture_output=True, text=True, timeout=PATIENCE
        )
        (target,) = json.loads(done.stdout)["targets"]
        causes = [check["cause"] for check in target["checks"] if check["state"] == "failed"]
        self.assertEqual(causes, ["client_certificate_wanted"], done.stdout)

    def test_the_relay_as_a_program_and_as_a_daemon(self) -> None:
        """A daemon's reactor makes another queue once it has forked."""
        self.passes(self.started("tests.process.test_reactors.ReactorTests.test_kqueue"))
