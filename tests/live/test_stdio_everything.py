"""The reference server of MCP behind C{lanrelay stdio}, used by the official client."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import TextContent
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.process.support import answers, free_port, poll
from tests.support.npm import installed
from tests.support.stdio import COMMAND, environment

VERSION = "2026.8.31"


class EverythingTests(TestCase):
    timeout = 240

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.program = installed("@modelcontextprotocol/server-everything", VERSION) / "dist" / "index.js"
        logging.getLogger("mcp").setLevel(logging.CRITICAL)

    def serve(self, kind: str) -> int:
        port = free_port()
        process = subprocess.Popen(
            ["node", str(self.program), kind],
            env={**os.environ, "PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def stop() -> None:
            process.kill()
            process.wait()

        self.addCleanup(stop)
        poll(lambda: answers(port), "it listens")
        return port

    async def use(self, *words: str) -> None:
        program, *before = COMMAND
        started = StdioServerParameters(command=program, args=[*before, *words], env=environment(self.folder))
        async with Client(stdio_client(started), mode="legacy", read_timeout_seconds=60) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            self.assertIn("echo", names)
            said = await client.call_tool("echo", {"message": "grün"})
            assert isinstance(said.content[0], TextContent)
            self.assertIn("grün", said.content[0].text)
            seen: list[float] = []

            async def progress(progress: float, total: float | None, message: str | None) -> None:
                seen.append(progress)

            long = "trigger-long-running-operation"
            self.assertIn(long, names)
            await client.call_tool(long, {"duration": 1, "steps": 4}, progress_callback=progress)
            self.assertEqual(seen, [1, 2, 3, 4])
            self.assertTrue((await client.list_resources()).resources)
            self.assertTrue((await client.list_prompts()).prompts)

    def in_thread(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        return deferToThread(asyncio.run, coroutine)

    def test_streamable_http(self) -> Deferred[None]:
        return self.in_thread(self.use(f"http://127.0.0.1:{self.serve('streamableHttp')}/mcp"))

    def test_http_and_sse(self) -> Deferred[None]:
        return self.in_thread(self.use(f"http://127.0.0.1:{self.serve('sse')}/sse"))
