"""
An ASGI application under uvicorn on httptools, which C{uvicorn[standard]} uses, and so do most MCP servers.

It answers with method, path and content of the request, after half a second where the path begins with
C{/slow}. C{/asked} lists what it was asked before, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import uvicorn

from tests.support.program import run

DELAY = 0.5
asked: list[list[str]] = []


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return  # a websocket is refused
    said = [scope["method"], scope["path"], ""]
    if scope["path"] == "/asked":
        content = json.dumps(asked).encode()
    else:
        asked.append(said)
        body, more = b"", True
        while more:
            event = await receive()
            body += event.get("body", b"")
            more = event.get("more_body", False)
        said[2] = body.decode("latin-1")
        if scope["path"].startswith("/slow"):
            await asyncio.sleep(DELAY)
        content = " ".join(said).strip().encode("latin-1")
    length = (b"content-length", b"%d" % len(content))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": content})


async def serve(options: dict[str, Any]) -> int:
    listening = socket.create_server(("127.0.0.1", options["port"]))
    config = uvicorn.Config(
        application,
        http="httptools",
        lifespan="off",
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
    run(serve)
