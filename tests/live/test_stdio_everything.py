"""The reference server of MCP behind C{lanrelay stdio}, used by the official client."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import TextContent
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.process.support import answers, poll
from tests.support.npm import installed
from tests.support.peers import PeerTestCase, free_ports
from tests.support.ports import free_port
from tests.support.progress import PATIENCE
from tests.support.stdio import COMMAND, environment
from tests.support.typescript import FIRST, SECOND
from tests.support.typescript import use as use_typescript

VERSION = "2026.8.31"

CADDYFILE = """
{{
    admin off
    storage file_system {{folder}}/caddy
    skip_install_trust
    auto_https disable_redirects
    http_port {plain}
    https_port {port}
}}
https://127.0.0.1:{port} {{
    bind 127.0.0.1
    tls internal
    reverse_proxy 127.0.0.1:{behind}
}}
"""


class EverythingTests(PeerTestCase):
    timeout = 240

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.everything = installed("@modelcontextprotocol/server-everything", VERSION) / "dist" / "index.js"
        logging.getLogger("mcp").setLevel(logging.CRITICAL)

    def serve(self, kind: str) -> int:
        port = free_port()
        process = subprocess.Popen(
            ["node", str(self.everything), kind],
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

    def caddy(self, behind: int) -> int:
        """Caddy with a certificate of its own authority in front of a port; its port."""
        port, plain = free_ports(2)
        config = CADDYFILE.format(port=port, plain=plain, behind=behind)
        home = [f"{name}={{folder}}" for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")]
        command = ["env", *home, "caddy", "run", "--config", "{config}", "--adapter", "caddyfile"]
        caddy = self.program(command, [port], config=config, secure={port: "127.0.0.1"})
        self.root = caddy.folder / "caddy/pki/authorities/local/root.crt"
        return port

    def test_behind_caddy_with_its_own_authority(self) -> Deferred[None]:
        if shutil.which("caddy") is None:
            self.skipTest("caddy is not here")
        url = f"https://127.0.0.1:{self.caddy(self.serve('streamableHttp'))}/mcp"
        trust = [sys.executable, "-m", "lanrelay.cli.main", "trust", url, "--ca", str(self.root), "--yes"]
        done = subprocess.run(
            trust, env=environment(self.folder), capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        long = {"name": "trigger-long-running-operation", "arguments": {"duration": 1, "steps": 4}}

        def run() -> None:
            asyncio.run(self.use(url))
            for sdk in (FIRST, SECOND):
                said = use_typescript(sdk, self.folder, [url], long)
                self.assertEqual(said["server"], "mcp-servers/everything")
                self.assertEqual(said["progress"][:3], [1, 2, 3])
                self.assertFalse(said["calls"][0]["isError"])

        return deferToThread(run)
