"""The URL of an MCP server as the upstream: either spelling of its end leads to the server."""

from __future__ import annotations

import asyncio
import logging

import httpx2
from mcp.client.streamable_http import streamable_http_client
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.live.test_mcp import use
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME, McpServer


class McpUrlTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        self.server = McpServer().start()
        self.addCleanup(self.server.stop)
        listeners = "".join(
            f"""
              {name}:
                type: reverse-proxy
                listen: 127.0.0.1:0
                {rest}
            """
            for name, rest in (
                ("bare", self.upstream("/mcp")),
                ("slash", self.upstream("/mcp/")),
                ("route", f"routes: [{{path: /nas, strip_prefix: true, {self.upstream('/mcp/')}}}]"),
            )
        )
        self.relay = Relay(f"listeners:\n{listeners}").start()
        self.addCleanup(self.relay.stop)
        for name in ("mcp", "httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def upstream(self, path: str) -> str:
        return f"upstream: {{url: '{self.server.lan_url}{path}', address: '{self.server.address}'}}"

    async def use(self, url: str) -> None:
        # It follows no redirect, so it sees none.
        async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False, follow_redirects=False) as client:
            await use(streamable_http_client(url, http_client=client), "legacy")

    def test_every_spelling_leads_to_it(self) -> Deferred[None]:
        async def run() -> None:
            for listener, path in (
                ("bare", "/"),
                ("bare", ""),
                ("slash", "/"),
                ("slash", ""),
                ("route", "/nas"),
            ):
                await self.use(f"http://localhost:{self.relay.port(listener)}{path}")

        return deferToThread(asyncio.run, run())

    def test_without_the_relay_the_slash_is_a_redirect(self) -> Deferred[None]:
        async def run() -> None:
            async with httpx2.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"{self.server.url}/mcp/", headers={"Host": LAN_NAME})
                self.assertEqual(answer.status_code, 307)

        return deferToThread(asyncio.run, run())
