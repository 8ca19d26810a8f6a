"""Programs that speak MCP behind a listener, with the official SDK on both ends."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar, Literal

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.live.test_exec_mcp import SDK, McpCase
from tests.support.progress import PATIENCE


class SdkTests(McpCase):
    """The official SDK on both ends."""

    keys: ClassVar[str] = ""

    def setUp(self) -> None:
        for name in ("mcp", "httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.relay(self.keys, SDK)

    async def use(self, transport: Any, mode: Literal["legacy", "auto"]) -> None:
        async with Client(transport, mode=mode, read_timeout_seconds=PATIENCE) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            self.assertEqual(tools, ["count", "echo", "pid", "sleep", "die"])
            seen: list[float] = []

            async def progress(progress: float, total: float | None, message: str | None) -> None:
                seen.append(progress)

            counted = await client.call_tool("count", {"to": 5}, progress_callback=progress)
            self.assertEqual(_text(counted), "counted to 5")
            self.assertEqual(seen, [1, 2, 3, 4, 5])
            text = "grün " * 50_000
            self.assertEqual(_text(await client.call_tool("echo", {"text": text})), text)
            many = await asyncio.gather(*(client.call_tool("echo", {"text": str(n)}) for n in range(50)))
            self.assertEqual([_text(each) for each in many], [str(n) for n in range(50)])

    def test_streamable_http(self) -> Deferred[None]:
        async def run() -> None:
            for mode in ("legacy", "auto"):
                async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
                    url = f"http://127.0.0.1:{self.port}/mcp"
                    await self.use(streamable_http_client(url, http_client=client), mode)

        return deferToThread(asyncio.run, run())

    def test_http_and_sse(self) -> Deferred[None]:
        def client(
            headers: dict[str, str] | None = None, timeout: httpx2.Timeout | None = None, auth: Any = None
        ) -> httpx2.AsyncClient:
            return httpx2.AsyncClient(headers=headers, timeout=timeout or 30, trust_env=False)

        async def run() -> None:
            url = f"http://127.0.0.1:{self.port}/sse"
            await self.use(sse_client(url, httpx_client_factory=client), "legacy")

        return deferToThread(asyncio.run, run())


class SharedSdkTests(SdkTests):
    keys: ClassVar[str] = "shared: true"


def _text(result: Any) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text
