"""The official stdio client in front of C{lanrelay stdio}, in front of the official server under uvicorn."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import TextContent
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.live.test_mcp import use
from tests.support.npm import installed
from tests.support.progress import LIMIT, PATIENCE
from tests.support.servers import McpServer
from tests.support.stdio import COMMAND, environment
from tests.support.tls import authority

Mode = Literal["legacy", "auto"]


class SdkTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for name in ("mcp", "client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def serve(self, *, secure: bool = False) -> McpServer:
        tls = authority().issue("127.0.0.1") if secure else None
        server = McpServer(tls=tls, name="127.0.0.1").start()
        self.addCleanup(server.stop)
        return server

    def transport(self, *words: str) -> Any:
        program, *before = COMMAND
        parameters = StdioServerParameters(
            command=program, args=[*before, *words], env=environment(self.folder)
        )
        return stdio_client(parameters)

    def in_thread(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        return deferToThread(asyncio.run, coroutine)

    def both(self, *words: str) -> Deferred[None]:
        async def run() -> None:
            for mode in ("legacy", "auto", "legacy"):  # the last finds a cache
                await use(self.transport(*words), mode)

        return self.in_thread(run())

    def test_streamable_http(self) -> Deferred[None]:
        return self.both(f"{self.serve().url}/mcp")

    def test_streamable_http_with_a_private_authority(self) -> Deferred[None]:
        return self.both(f"{self.serve(secure=True).url}/mcp", "--ca", str(authority().root))

    def test_a_server_of_http_and_sse_alone(self) -> Deferred[None]:
        return self.in_thread(use(self.transport(f"{self.serve().url}/sse"), "legacy"))

    def test_a_server_of_http_and_sse_alone_that_is_named_so(self) -> Deferred[None]:
        return self.in_thread(use(self.transport(f"{self.serve().url}/sse", "--transport", "sse"), "legacy"))

    def test_a_server_that_is_killed_and_started_again_in_a_session(self) -> Deferred[None]:
        server = self.serve()

        async def run() -> None:
            transport = self.transport(f"{server.url}/mcp")
            async with Client(transport, mode="legacy", read_timeout_seconds=30) as client:
                for _ in range(2):
                    said = await client.call_tool("echo", {"text": "a"})
                    assert isinstance(said.content[0], TextContent)
                    self.assertEqual(said.content[0].text, "a")
                    server.kill()
                    gone = await client.call_tool("echo", {"text": "b"})
                    self.assertTrue(gone.is_error)
                    assert isinstance(gone.content[0], TextContent)
                    self.assertIn("Nothing on this machine listens", gone.content[0].text)
                    self.assertEqual(len((await client.list_tools()).tools), 2)
                    server.start()
                    said = await client.call_tool("echo", {"text": "c"})
                    self.assertFalse(said.is_error)

        return self.in_thread(run())

    def test_the_command_line_of_the_inspector(self) -> None:
        server = self.serve()
        inspector = installed("@modelcontextprotocol/inspector", "2.12.0").parent.parent / ".bin"
        done = subprocess.run(
            [
                *(str(inspector / "mcp-inspector"), "--cli", *COMMAND, f"{server.url}/mcp"),
                *("--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hi"),
            ],
            # It hands on HOME and little else to the programs that it starts.
            env={**os.environ, **environment(self.folder), "HOME": str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["content"], [{"type": "text", "text": "hi"}])

    def test_a_target_that_is_down_at_the_start(self) -> Deferred[None]:
        server = self.serve()
        server.stop()

        async def run() -> None:
            loop = asyncio.get_running_loop()
            loop.call_later(1, lambda: loop.run_in_executor(None, server.start))
            await use(self.transport(f"{server.url}/mcp"), "legacy")

        return self.in_thread(run())
