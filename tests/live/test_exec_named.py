"""An exec listener by its name: the status, the metrics, C{lanrelay doctor} and C{lanrelay stdio}."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.live.test_exec_mcp import LINES, Peer
from tests.process.support import poll
from tests.support.ports import free_port
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import CHECKOUT
from tests.support.stdio import Stdio


class NamedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.port, self.admin = free_port(), free_port()
        self.relay = Relay(
            f"""
            admin: {{listen: "127.0.0.1:{self.admin}"}}
            listeners:
              tool:
                type: exec
                listen: 127.0.0.1:{self.port}
                protocol: mcp-http
                command: [{sys.executable}, -m, {LINES}]
                env: {{PYTHONPATH: {CHECKOUT}}}
              pipe: {{type: exec, listen: "127.0.0.1:0", command: [cat]}}
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def of_admin(self, path: str) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.admin}{path}", timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def status(self) -> dict[str, Any]:
        [found] = (
            one for one in json.loads(self.of_admin("/status.json"))["listeners"] if one["name"] == "tool"
        )
        return dict(found)

    def sessions(self) -> int:
        return int(self.status()["mcp_server"]["sessions"])

    def lanrelay(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lanrelay.cli.main", *words, "-c", str(self.relay.config)]
        here = {"PYTHONPATH": str(CHECKOUT), "XDG_RUNTIME_DIR": str(self.relay.folder)}
        return subprocess.run(
            command,
            env={**os.environ, **here},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def test_its_sessions_are_seen_while_they_last(self) -> None:
        one, two = (Peer(self.port).initialize() for _ in range(2))
        seen = self.status()["mcp_server"]
        self.assertEqual((seen["server"], seen["sessions"]), ("lines", 2))
        self.assertIn('lanrelay_sessions_open{listener="tool"} 2\n', self.of_admin("/metrics"))
        page = self.of_admin("/")
        self.assertIn("lines", page)
        self.assertIn("2\N{NO-BREAK SPACE}sessions", page)
        for peer in (one, two):
            peer.ask("DELETE").read()
        self.assertEqual(self.sessions(), 0)
        self.assertIn('lanrelay_sessions_open{listener="tool"} 0\n', self.of_admin("/metrics"))

    def test_the_doctor_looks_at_what_it_answers(self) -> None:
        done = self.lanrelay("doctor", "tool")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("at /mcp: MCP of 2025-11-25", done.stdout)
        poll(lambda: self.sessions() == 0, "it leaves no session")
        done = self.lanrelay("doctor", "pipe")
        self.assertEqual(done.returncode, 1)
        self.assertIn("pipe leads to no upstream", done.stderr)

    def test_a_client_that_starts_programs_gets_it_by_its_name(self) -> None:
        config = ("-c", str(self.relay.config))
        folder = self.relay.folder
        os.environ["XDG_RUNTIME_DIR"], before = str(folder), os.environ.get("XDG_RUNTIME_DIR")
        try:
            tool, pipe = Stdio("tool", *config, folder=folder), Stdio("pipe", *config, folder=folder)
        finally:
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = before
        for each in (tool, pipe):
            self.addCleanup(each.kill)
        self.assertEqual(tool.begin()["result"]["serverInfo"]["name"], "lines")
        tool.ask(1, "echo", {"a": 1})
        self.assertEqual(tool.answer(1)["result"], {"a": 1})
        self.assertEqual(tool.end(), 0)
        poll(lambda: self.sessions() == 0, "its session has ended")
        pipe.write(b'{"id": 5}\n')
        self.assertEqual(pipe.answer(5), {"id": 5})
        self.assertEqual(pipe.end(), 0)
