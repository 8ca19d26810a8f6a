# mypy: ignore-errors
"""
The official SDK of the 1.x line, which lies beside that of the 2.x line, not in its environment.

C{stdio} is a server on standard input and output; C{client} with JSON (C{command}, C{args}, C{env}, C{calls})
is a client that starts a program and tells as JSON what it has heard; else it serves HTTP as C{mcp_program}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.server.fastmcp import Context, FastMCP
from mcp.types import ElicitResult

mcp = FastMCP("first-sdk")


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


async def serve(options: dict[str, Any]) -> int:
    import uvicorn

    app = mcp.streamable_http_app()
    app.router.routes.extend(mcp.sse_app().routes)
    listening = socket.create_server(("127.0.0.1", options["port"]))
    config = uvicorn.Config(app, lifespan="on", timeout_graceful_shutdown=1, log_config=None)
    server = uvicorn.Server(config)
    running.append(asyncio.create_task(server.serve([listening])))
    while not server.started:
        if running[0].done():
            running[0].result()
        await asyncio.sleep(0.01)
    port: int = listening.getsockname()[1]
    return port


running: list[asyncio.Task[None]] = []


async def ask(told: dict[str, Any]) -> dict[str, Any]:
    async def elicited(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "me"})

    progress: list[float] = []

    async def progressed(progress_: float, total: float | None, message: str | None) -> None:
        progress.append(progress_)

    server = StdioServerParameters(command=told["command"], args=told["args"], env=told["env"])
    async with (
        stdio_client(server) as (reading, writing),
        ClientSession(reading, writing, elicitation_callback=elicited) as session,
    ):
        greeting = await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        calls = []
        for call in told["calls"]:
            result = await session.call_tool(
                call["name"], call.get("arguments", {}), progress_callback=progressed
            )
            calls.append({"text": result.content[0].text, "isError": result.isError})
        return {
            "server": greeting.serverInfo.name,
            "version": greeting.protocolVersion,
            "tools": tools,
            "calls": calls,
            "progress": progress,
        }


if __name__ == "__main__":
    if sys.argv[1] == "client":
        print(json.dumps(asyncio.run(ask(json.loads(sys.argv[2])))))
    elif sys.argv[1] == "stdio":
        mcp.run("stdio")
    else:
        from tests.support.program import run

        logging.basicConfig(level=logging.INFO)
        run(serve)
