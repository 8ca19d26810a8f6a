"""An MCP server on standard input and output for live tests: the official SDK's."""

from __future__ import annotations

import asyncio
import os
import sys

from mcp.server.mcpserver import Context, MCPServer

mcp = MCPServer("local-tool")


@mcp.tool()
async def count(to: int, ctx: Context) -> str:
    """Count aloud."""
    for number in range(1, to + 1):
        await ctx.report_progress(number, to, f"at {number}")
    return f"counted to {to}"


@mcp.tool()
def echo(text: str) -> str:
    """Say it again."""
    return text


@mcp.tool()
def pid() -> int:
    """Who answers."""
    return os.getpid()


@mcp.tool()
async def sleep(seconds: float) -> str:
    """Take a while."""
    await asyncio.sleep(seconds)
    return "slept"


@mcp.tool()
def die(status: int) -> str:
    """End in the middle of a call."""
    print("it was asked to die", file=sys.stderr, flush=True)
    os._exit(status)


if __name__ == "__main__":
    mcp.run("stdio")
