"""An MCP server for live tests: the official SDK under uvicorn."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from tests.support.program import run

mcp = MCPServer("lan-host")


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
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=options["allowed_hosts"]
    )
    app = mcp.streamable_http_app(transport_security=security)
    app.router.routes.extend(mcp.sse_app(transport_security=security).routes)
    listening = socket.create_server((options["host"], options["port"]))
    cert, key = options["tls"] or (None, None)
    config = uvicorn.Config(
        app,
        ssl_certfile=cert,
        ssl_keyfile=key,
        lifespan="on",
        timeout_graceful_shutdown=1,
        log_config=None,  # its access log would go to standard output
    )
    server = uvicorn.Server(config)
    running.append(asyncio.create_task(server.serve([listening])))
    while not server.started:
        if running[0].done():
            running[0].result()
        await asyncio.sleep(0.01)
    port: int = listening.getsockname()[1]
    return port


running: list[asyncio.Task[None]] = []

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run(serve)
