"""C{lanrelay stdio} between the official SDK of the 1.x line and that of the 2.x line."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

from mcp.client.stdio import StdioServerParameters, stdio_client
from twisted.trial.unittest import SynchronousTestCase

from tests.live.test_mcp import use
from tests.support.progress import PATIENCE
from tests.support.pypi import installed
from tests.support.servers import CHECKOUT, ErasServer, McpServer, Server
from tests.support.stdio import COMMAND, environment

VERSION = "1.30.0"
MODULE = "tests.support.sdk1_program"


class Sdk1Server(Server):
    """FastMCP of 1.x: Streamable HTTP at C{/mcp}, SSE at C{/sse}."""

    module: ClassVar[str] = "sdk1_program"
    scheme: ClassVar[str] = "http"


class Sdk1Tests(SynchronousTestCase):
    timeout = 240  # the first run installs it

    def setUp(self) -> None:
        self.path = f"{installed('mcp', VERSION)}{os.pathsep}{CHECKOUT}"
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)
        logging.getLogger("mcp").setLevel(logging.CRITICAL)

    def started(self, server: Server) -> str:
        self.addCleanup(server.stop)
        return server.start().url

    def first(self) -> str:
        server = Sdk1Server()
        server.within = ("env", f"PYTHONPATH={self.path}")
        return self.started(server)

    def ask(self, words: list[str], *calls: dict[str, Any]) -> dict[str, Any]:
        """What a client of 1.x hears through C{lanrelay stdio WORDS}."""
        command, *before = COMMAND
        told = {
            "command": command,
            "args": [*before, *words],
            "env": environment(self.folder),
            "calls": calls,
        }
        done = subprocess.run(
            [sys.executable, "-m", MODULE, "client", json.dumps(told)],
            env={**os.environ, "PYTHONPATH": self.path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def counts(self, words: list[str], server: str) -> None:
        count = {"name": "count", "arguments": {"to": 3}}
        said = self.ask(words, count, {"name": "echo", "arguments": {"text": "grün"}})
        self.assertEqual((said["server"], said["tools"]), (server, ["count", "echo"]))
        self.assertEqual([each["text"] for each in said["calls"]], ["counted to 3", "grün"])
        self.assertEqual(said["progress"], [1, 2, 3])
        self.assertEqual(said["version"], "2025-11-25")

    def test_its_client_in_front_of_a_server_of_each_line(self) -> None:
        self.counts([self.started(McpServer(name="127.0.0.1")) + "/mcp"], "lan-host")
        first = self.first()
        self.counts([f"{first}/mcp"], "first-sdk")
        self.counts([f"{first}/sse"], "first-sdk")

    def test_its_client_in_front_of_a_server_that_has_no_sessions(self) -> None:
        url = self.started(ErasServer(modern=True)) + "/mcp"
        region = {"name": "region", "arguments": {"where": "Hello, 世界"}}
        where, greeted = self.ask([url], region, {"name": "greet"})["calls"]
        self.assertEqual(where["text"], "Hello, 世界")
        answer, state = json.loads(greeted["text"])
        self.assertEqual((answer["content"]["name"], state), ("me", "räksmörgås"))

    def test_its_client_and_its_server_as_a_program(self) -> None:
        program = ["env", f"PYTHONPATH={self.path}", sys.executable, "-m", MODULE, "stdio"]
        self.counts(["--hold", "60s", "--", *program], "first-sdk")

    def test_the_client_of_the_second_line_in_front_of_its_server(self) -> None:
        first = self.first()
        command, *before = COMMAND
        for path, mode in (("/mcp", "auto"), ("/mcp", "legacy"), ("/sse", "legacy")):
            parameters = StdioServerParameters(
                command=command, args=[*before, first + path], env=environment(self.folder)
            )
            asyncio.run(use(stdio_client(parameters), mode))  # type: ignore[arg-type]
