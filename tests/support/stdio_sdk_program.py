"""An MCP server on standard input and output for live tests: the official SDK, of both eras."""

from __future__ import annotations

import os

from mcp.server.mcpserver import Context, MCPServer

mcp = MCPServer("sdk")


@mcp.tool()
async def count(to: int, ctx: Context) -> str:
    """Count aloud."""
    for number in range(1, to + 1):
        await ctx.report_progress(number, to, f"at {number}")
    return f"counted to {to}"


@mcp.tool()
def die() -> str:
    """End at once."""
    os._exit(7)


if __name__ == "__main__":
    mcp.run("stdio")
