"""
An MCP server that asks back and has arguments repeated in fields: the official SDK under uvicorn.

With C{modern} it takes no C{initialize}, as a server that knows only 2026-07-28.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import Annotated, Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequiredResult,
    TextContent,
)
from pydantic import Field

from tests.support.program import run

mcp = MCPServer("eras")

Region = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]


@mcp.tool()
async def region(where: Region, ctx: Context) -> str:
    """Its argument goes into a field."""
    await ctx.report_progress(1, 2)
    return where


@mcp.tool()
async def greet(ctx: Context) -> CallToolResult | InputRequiredResult:
    """It wants to know a name first."""
    if ctx.input_responses is None:
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        question = ElicitRequest(params=ElicitRequestFormParams(message="Who?", requested_schema=schema))
        return InputRequiredResult(input_requests={"who": question}, request_state="räksmörgås")
    (answer,) = ctx.input_responses.values()
    text = json.dumps([answer.model_dump(exclude_none=True), ctx.request_state], ensure_ascii=False)
    return CallToolResult(content=[TextContent(type="text", text=text)])


class ModernOnly:
    """Refuses C{initialize}."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        parts: list[Any] = []
        while not parts or parts[-1].get("more_body"):
            parts.append(await receive())
        message = json.loads(b"".join(part.get("body", b"") for part in parts))
        if message.get("method") != "initialize":

            async def again() -> Any:
                return parts.pop(0) if parts else await receive()

            await self._app(scope, again, send)
            return
        data = {"supported": ["2026-07-28"], "requested": "2025-11-25"}
        error = {"code": -32022, "message": "Unsupported protocol version", "data": data}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode()
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 400, "headers": fields})
        await send({"type": "http.response.body", "body": body})


async def serve(options: dict[str, Any]) -> int:
    app: Any = mcp.streamable_http_app()
    if options["modern"]:
        app = ModernOnly(app)
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

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    run(serve)
