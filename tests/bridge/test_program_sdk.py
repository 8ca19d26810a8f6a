"""A program of the official SDK, and its client, on both sides of C{lanrelay stdio}."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import CallToolResult, TextContent
from twisted.trial.unittest import SynchronousTestCase

PROGRAM = str(Path(__file__).parent.parent / "support" / "stdio_sdk_program.py")


def text_of(result: CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


class Heard(NamedTuple):
    version: str
    tools: list[str]
    counted: str
    progress: list[str | None]
    died: CallToolResult
    again: str


class SdkTests(SynchronousTestCase):
    async def speak(self, mode: Literal["legacy", "auto"], folder: Path) -> Heard:
        words = ["-m", "lanrelay.cli.main", "stdio", "--hold", "100s", "--", sys.executable, PROGRAM]
        environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
        log = (folder / "log").open("a")
        self.addCleanup(log.close)
        parameters = StdioServerParameters(command=sys.executable, args=words, env=environment)
        told: list[str | None] = []

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            told.append(message)

        async with Client(stdio_client(parameters, errlog=log), mode=mode) as client:
            return Heard(
                client.protocol_version,
                [tool.name for tool in (await client.list_tools()).tools],
                await self.counted(client, 3, progressed),
                told,
                await client.call_tool("die", {}),
                await self.counted(client, 1),
            )

    async def counted(self, client: Client, to: int, progressed: Any = None) -> str:
        """A new program may take longer to begin than a call waits."""
        while (result := await client.call_tool("count", {"to": to}, progress_callback=progressed)).is_error:
            pass
        return text_of(result)

    def speaks(self, mode: Literal["legacy", "auto"], folder: Path) -> str:
        """The version in which it does."""
        heard = asyncio.run(asyncio.wait_for(self.speak(mode, folder), 120))
        self.assertEqual(heard.tools, ["count", "die"])
        self.assertEqual((heard.counted, heard.again), ("counted to 3", "counted to 1"))
        self.assertEqual(heard.progress, ["at 1", "at 2", "at 3"])
        self.assertTrue(heard.died.is_error)
        self.assertIn("ended with status 7", text_of(heard.died))
        return heard.version

    def test_both_eras_cold_and_from_what_is_known(self) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir(parents=True)
        self.assertEqual(self.speaks("legacy", folder), "2025-11-25")
        # Whoever asks for the era is not kept waiting, and falls back where the program begins slowly.
        self.assertIn(self.speaks("auto", folder), ("2025-11-25", "2026-07-28"))
        self.assertEqual(self.speaks("legacy", folder), "2025-11-25")
        self.assertEqual(self.speaks("auto", folder), "2026-07-28")
