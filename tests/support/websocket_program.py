"""A WebSocket echo for live tests, with the C{websockets} package."""

from __future__ import annotations

from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket

from tests.support.program import run, server_context


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def serve(options: dict[str, Any]) -> int:
    server = await serve_websocket(
        echo, "127.0.0.1", options["port"], ssl=server_context(options["tls"]), max_size=None
    )
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


if __name__ == "__main__":
    run(serve)
