"""The inner half of the servers of live tests: what runs in their own process, around one coroutine."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any


def server_context(tls: list[str] | None) -> ssl.SSLContext | None:
    """A context for C{[cert, key]}, or C{None}."""
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*tls)
    return context


def run(
    serve: Callable[[dict[str, Any]], Awaitable[int]], end: Callable[[], Awaitable[None]] | None = None
) -> None:
    """
    Run C{serve} with the options of the command line and print C{ready PORT} with what it returns.

    It runs until standard input ends, so nothing outlives the tests, however they end.

    @param end: what is to be done then.
    """

    async def main() -> None:
        port = await serve(json.loads(sys.argv[1]))
        print(f"ready {port}", flush=True)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
        await ended.wait()
        if end is not None:
            await end()

    asyncio.run(main())
