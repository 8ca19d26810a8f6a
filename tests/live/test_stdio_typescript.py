"""The TypeScript SDKs' clients, which most hosts are made with, in front of C{lanrelay stdio}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.servers import ErasServer, McpServer, Server
from tests.support.typescript import FIRST, SECOND, use

AUTO = {"versionNegotiation": {"mode": "auto"}}


class TypeScriptTests(SynchronousTestCase):
    timeout = 240  # the first run installs them

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)

    def started(self, server: Server) -> str:
        self.addCleanup(server.stop)
        return f"{server.start().url}/mcp"

    def counts(self, url: str, sdk: tuple[str, str], **options: Any) -> dict[str, Any]:
        count = {"name": "count", "arguments": {"to": 3}}
        echo = {"name": "echo", "arguments": {"text": "grün"}}
        said = use(sdk, self.folder, [url], count, echo, **options)
        self.assertEqual((said["server"], said["tools"]), ("lan-host", ["count", "echo"]))
        self.assertEqual([each["text"] for each in said["calls"]], ["counted to 3", "grün"])
        return said

    def greets(self, url: str, sdk: tuple[str, str], **options: Any) -> dict[str, Any]:
        region = {"name": "region", "arguments": {"where": "Hello, 世界"}}
        said = use(sdk, self.folder, [url], region, {"name": "greet"}, **options)
        where, greeted = (each["text"] for each in said["calls"])
        self.assertEqual(where, "Hello, 世界")
        answer, state = json.loads(greeted)
        self.assertEqual((answer["content"]["name"], state), ("me", "räksmörgås"))
        return said

    def test_the_first_sdk_in_front_of_both_eras(self) -> None:
        self.counts(self.started(McpServer(name="127.0.0.1")), FIRST)
        self.greets(self.started(ErasServer(modern=True)), FIRST)

    def test_the_second_sdk_cold_and_from_what_is_known(self) -> None:
        url = self.started(McpServer(name="127.0.0.1"))
        self.assertEqual(self.counts(url, SECOND)["version"], "2025-11-25")
        self.assertEqual(self.counts(url, SECOND, options=AUTO)["version"], "2026-07-28")

    def test_the_second_sdk_in_front_of_a_server_that_has_no_sessions(self) -> None:
        url = self.started(ErasServer(modern=True))
        self.assertEqual(self.greets(url, SECOND)["version"], "2025-11-25")
        self.assertEqual(self.greets(url, SECOND, options=AUTO)["version"], "2026-07-28")
