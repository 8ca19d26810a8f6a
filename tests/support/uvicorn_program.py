"""A small web application under uvicorn, for live tests of how that ends its connections."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.support.program import run


class Telling(H11Protocol):
    """Says when a connection has ended, which on TLS needs the other side's close_notify."""

    def connection_lost(self, exc: Exception | None) -> None:
        print("closed", file=sys.stderr, flush=True)
        super().connection_lost(exc)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    events = scope["path"] == "/events"
    kind, length = (b"text/event-stream", []) if events else (b"text/plain", [(b"content-length", b"2")])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind), *length]})
    if not events:
        await send({"type": "http.response.body", "body": b"ok"})
        return
    await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
    await asyncio.Event().wait()


async def serve(options: dict[str, Any]) -> int:
    listening = socket.create_server(("127.0.0.1", options["port"]))
    cert, key = options["tls"] or (None, None)
    config = uvicorn.Config(
        app,
        http=Telling,
        ssl_certfile=cert,
        ssl_keyfile=key,
        lifespan="off",
        timeout_keep_alive=options["keepalive"],
        timeout_graceful_shutdown=1,
        log_config=None,  # its access log would go to standard output
    )
    server = uvicorn.Server(config)
    running.append((server, asyncio.create_task(server.serve([listening]))))
    while not server.started:
        await asyncio.sleep(0.01)
    port: int = listening.getsockname()[1]
    return port


async def end() -> None:
    for server, serving in running:
        server.should_exit = True
        await serving


running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

if __name__ == "__main__":
    run(serve, end)
