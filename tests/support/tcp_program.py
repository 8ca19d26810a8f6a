"""Streams without HTTP for live tests: C{echo}, C{digest} and C{packets}."""

from __future__ import annotations

import asyncio
import hashlib
import struct
from typing import Any

from tests.support.program import run, server_context

PACKETS_BANNER = b"PACKETS-1.0 test\r\n"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything comes back; the client's end ends our side too."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def digest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """
    The server waits until the client has ended its side, then says the length and SHA-256 of all it sent.
    """
    seen, length = hashlib.sha256(), 0
    while data := await reader.read(65536):
        seen.update(data)
        length += len(data)
    writer.write(f"{length} {seen.hexdigest()}\n".encode())


async def packets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """
    Like SSH: the server speaks first, both send banners, then binary packets with a length go both ways at
    once. Each packet is answered with its own bytes in reverse; a tick is sent between them unasked. An empty
    packet ends it: the server says how many it had, and closes its side.
    """
    writer.write(PACKETS_BANNER)
    if not (await reader.readuntil(b"\r\n")).startswith(b"PACKETS-"):
        return

    def send(data: bytes) -> None:
        writer.write(struct.pack(">I", len(data)) + data)

    count = 0
    while True:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        if not length:
            break
        count += 1
        send(b"tick %d" % count)
        send((await reader.readexactly(length))[::-1])
        await writer.drain()
    send(b"packets %d" % count)


async def serve(options: dict[str, Any]) -> int:
    talk = {"echo": echo, "digest": digest, "packets": packets}[options["mode"]]

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
            await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(
        connected, "127.0.0.1", options["port"], ssl=server_context(options["tls"])
    )
    port: int = server.sockets[0].getsockname()[1]
    return port


if __name__ == "__main__":
    run(serve)
