"""C{lanrelay stdio} between the official SDK's clients and servers of different eras."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp import Client as SdkClient
from mcp import StdioServerParameters
from mcp_types import ElicitResult
from twisted.trial.unittest import SynchronousTestCase

from tests.bridge.client import Client, text_of
from tests.bridge.scene import CONFIRMATION, HELLO
from tests.support.servers import ErasServer, McpServer, Server


class EraTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)

    def started(self, server: Server) -> str:
        self.addCleanup(server.stop)
        return f"{server.start().url}/mcp"

    def test_a_client_of_sessions_in_front_of_a_server_that_has_none(self) -> None:
        client = Client([self.started(ErasServer(modern=True))], self.folder)
        self.addCleanup(client.stop)
        params: Any = {**HELLO["params"], "capabilities": {"elicitation": {}}}  # type: ignore[dict-item]
        client.say({**HELLO, "params": params})
        greeting = client.hear(id=0)["result"]
        self.assertEqual(greeting["protocolVersion"], "2025-11-25")
        self.assertEqual(greeting["serverInfo"]["name"], "eras")
        client.say(CONFIRMATION)
        tools = client.ask(1, "tools/list")["result"]["tools"]
        self.assertEqual([tool["name"] for tool in tools], ["region", "greet"])
        about = {"name": "region", "arguments": {"where": "Hello, 世界"}, "_meta": {"progressToken": 9}}
        client.say({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": about})
        self.assertEqual(client.hear(method="notifications/progress")["params"]["progressToken"], 9)
        self.assertEqual(text_of(client.hear(id=2)["result"]), "Hello, 世界")
        client.say({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "greet"}})
        question = client.hear(method="elicitation/create")
        self.assertEqual(question["params"]["message"], "Who?")
        answer = {"action": "accept", "content": {"name": "me"}}
        client.say({"jsonrpc": "2.0", "id": question["id"], "result": answer})
        self.assertEqual(json.loads(text_of(client.hear(id=3)["result"])), [answer, "räksmörgås"])
        self.assertEqual(client.end(), 0)

    def test_the_sdks_client_in_front_of_each(self) -> None:
        for server, mode in (
            (ErasServer(modern=True), "auto"),
            (ErasServer(modern=True), "legacy"),
            (ErasServer(modern=False), "auto"),
            (ErasServer(modern=False), "legacy"),  # it has nobody who would turn its questions into requests
        ):
            url = self.started(server)
            asks = server.modern or mode == "auto"
            found = asyncio.run(self.talk(url, mode, asks=asks))
            self.assertEqual(found, ("us-west1", ["me", "räksmörgås"] if asks else None), mode)

    def test_the_sdks_client_falls_back_to_the_oldest_era(self) -> None:
        server = McpServer(name="127.0.0.1")
        self.started(server)
        self.assertEqual(asyncio.run(self.echoed(f"{server.url}/sse")), "hello")

    def bridge(self, url: str) -> StdioServerParameters:
        words = ["-m", "lanrelay.cli.main", "stdio", "--no-cache", url]
        environment = {**os.environ, "HOME": str(self.folder)}
        return StdioServerParameters(command=sys.executable, args=words, env=environment)

    async def talk(self, url: str, mode: Any, *, asks: bool) -> tuple[str, Any]:
        async def asked(context: Any, params: Any) -> ElicitResult:
            return ElicitResult(action="accept", content={"name": "me"})

        async with SdkClient(self.bridge(url), mode=mode, elicitation_callback=asked) as client:
            called: Any = await client.call_tool("region", {"where": "us-west1"})
            if not asks:
                return called.content[0].text, None
            greeted: Any = await client.call_tool("greet", {})
            answer, state = json.loads(greeted.content[0].text)
            return called.content[0].text, [answer["content"]["name"], state]

    async def echoed(self, url: str) -> str:
        async with SdkClient(self.bridge(url)) as client:
            result: Any = await client.call_tool("echo", {"text": "hello"})
            return str(result.content[0].text)
