"""The official MCP SDK's server behind a private CA, used by the SDK's own client through the relay."""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Literal

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.support.progress import LIMIT
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME, McpServer


async def use(transport: Any, mode: Literal["legacy", "auto"]) -> None:
    """Connect, list the tools, call one that reports progress, and one more."""
    async with Client(transport, mode=mode, read_timeout_seconds=20) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert tools == ["count", "echo"], tools
        seen: list[float] = []

        async def progress(progress: float, total: float | None, message: str | None) -> None:
            seen.append(progress)

        counted = await client.call_tool("count", {"to": 5}, progress_callback=progress)
        assert isinstance(counted.content[0], TextContent)
        assert counted.content[0].text == "counted to 5", counted
        assert seen == [1, 2, 3, 4, 5], seen
        text = "grün " * 50_000
        echoed = await client.call_tool("echo", {"text": text})
        assert isinstance(echoed.content[0], TextContent)
        assert echoed.content[0].text == text


class McpTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name))
        self.trust = ssl.create_default_context(cafile=str(authority.root))
        self.server = McpServer(tls=authority.issue(LAN_NAME)).start()
        self.addCleanup(self.server.stop)
        self.relay = Relay(
            f"""
            listeners:
              reverse:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream:
                  url: {self.server.lan_url}
                  address: {self.server.address}
                  tls: {{ca: {authority.root}}}
              proxy:
                type: connect-proxy
                listen: 127.0.0.1:0
                allow: [loopback]
                resolve: {{{LAN_NAME}: 127.0.0.1}}
            """
        ).start()
        self.addCleanup(self.relay.stop)
        self.reverse = f"http://localhost:{self.relay.port('reverse')}"
        self.proxy = f"http://127.0.0.1:{self.relay.port('proxy')}"
        for name in ("mcp", "httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def in_thread(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        return deferToThread(asyncio.run, coroutine)

    def client(
        self, headers: dict[str, str] | None = None, timeout: httpx2.Timeout | None = None, auth: Any = None
    ) -> httpx2.AsyncClient:
        """What the SDK makes, with the private CA and the relay as the proxy."""
        return httpx2.AsyncClient(headers=headers, timeout=timeout or 30, verify=self.trust, proxy=self.proxy)

    def direct(
        self, headers: dict[str, str] | None = None, timeout: httpx2.Timeout | None = None, auth: Any = None
    ) -> httpx2.AsyncClient:
        """What the SDK makes, blind to the proxies of whoever runs the tests."""
        return httpx2.AsyncClient(headers=headers, timeout=timeout or 30, trust_env=False)

    async def streamable(
        self, base: str, client: httpx2.AsyncClient, mode: Literal["legacy", "auto"]
    ) -> None:
        async with client:
            await use(streamable_http_client(base + "/mcp", http_client=client), mode)

    def test_without_the_relay_its_host_is_refused(self) -> Deferred[None]:
        """The server's own protection is on: only the LAN name is let in."""

        async def run() -> None:
            async with httpx2.AsyncClient(verify=False, trust_env=False) as client:
                answer = await client.get(f"https://127.0.0.1:{self.server.port}/mcp")
                self.assertEqual(answer.status_code, 421)

        return self.in_thread(run())

    def test_streamable_http_through_the_reverse_proxy(self) -> Deferred[None]:
        return self.in_thread(self.streamable(self.reverse, self.direct(), "auto"))

    def test_streamable_http_with_sessions_through_the_reverse_proxy(self) -> Deferred[None]:
        return self.in_thread(self.streamable(self.reverse, self.direct(), "legacy"))

    def test_streamable_http_through_the_connect_proxy(self) -> Deferred[None]:
        return self.in_thread(self.streamable(self.server.lan_url, self.client(), "auto"))

    def test_streamable_http_with_sessions_through_the_connect_proxy(self) -> Deferred[None]:
        return self.in_thread(self.streamable(self.server.lan_url, self.client(), "legacy"))

    def test_sse_through_the_reverse_proxy(self) -> Deferred[None]:
        transport = sse_client(self.reverse + "/sse", httpx_client_factory=self.direct)
        return self.in_thread(use(transport, "legacy"))

    def test_sse_through_the_connect_proxy(self) -> Deferred[None]:
        transport = sse_client(self.server.lan_url + "/sse", httpx_client_factory=self.client)
        return self.in_thread(use(transport, "legacy"))
