"""
C{python -m benchmarks.mixed PORTS SECONDS CA-FILE}: clients of every kind at once, some of them rude.

PORTS is JSON, names of listeners and origins and their ports. Prints what was done and what failed, as JSON:
answers that are wrong or do not come, never what a client did itself. Standard library only.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import struct
import sys
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

CLIENTS = 48
PATIENCE = 60.0
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wrong(Exception):
    """An answer that is not the right one."""


class Clients:
    """
    Each play is one client's visit, of some milliseconds to some seconds.

    @ivar done: how often each was played to its end.
    @ivar failures: what was wrong, each with the name of its play.
    """

    def __init__(self, ports: dict[str, int], root: str, seed: int | None = None) -> None:
        self.ports = ports
        self.context = ssl.create_default_context(cafile=root)
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self.plays: list[Callable[[], Awaitable[None]]] = [
            self.echo,
            self.half_close,
            self.secured,
            self.requests,
            self.requests_to_https,
            self.upload,
            self.tunnel,
            self.refused,
            self.events,
            self.upgrade,
            self.slow_reader,
            self.slow_reader_leaves,
            self.vanish_anywhere,
            self.vanish_in_download,
            self.stay_idle,
        ]

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds

        async def client() -> None:
            while loop.time() < until:
                play = self.random.choice(self.plays)
                name = play.__name__
                try:
                    await asyncio.wait_for(play(), PATIENCE)
                    self.done[name] += 1
                except (OSError, Wrong, EOFError, asyncio.TimeoutError) as error:
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    self.failures.append(f"{name}: {type(error).__name__} {error} (line {where.lineno})")

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    # --- polite ---------------------------------------------------------------------------------------------

    async def echo(self) -> None:
        async with self._to("forward") as streams:
            for _ in range(self.random.randint(1, 50)):
                await self._echoed(streams)

    async def half_close(self) -> None:
        """The origin's answer still comes after the client's end."""
        async with self._to("source") as (reader, writer):
            size = self.random.randint(1, 3_000_000)
            writer.write(b"%d\n" % size)
            await writer.drain()
            writer.write_eof()
            await self._exactly(reader, size)
            if await reader.read(1):
                raise Wrong("more than was asked for")

    async def secured(self) -> None:
        async with self._to("secured", ssl=self.context, server_hostname="localhost") as streams:
            for _ in range(self.random.randint(1, 20)):
                await self._echoed(streams)

    async def requests(self) -> None:
        await self._requests("http")

    async def requests_to_https(self) -> None:
        await self._requests("https")

    async def upload(self) -> None:
        async with self._to("upload") as (reader, writer):
            size = self.random.randint(1, 5_000_000)
            writer.write(b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size)
            while size:
                part = min(size, self.random.randint(1, 200_000))
                writer.write(b"x" * part)
                await writer.drain()
                size -= part
            await self._head(reader, b"200")

    async def tunnel(self) -> None:
        async with self._to("connect") as streams:
            await self._connect(streams, self.ports["echo-origin"])
            for _ in range(self.random.randint(1, 20)):
                await self._echoed(streams)

    async def refused(self) -> None:
        async with self._to("connect") as streams:
            await self._connect(streams, self.ports["nobody"], b"502")

    async def events(self) -> None:
        async with self._to("events") as (reader, writer):
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
            await self._head(reader, b"200")
            wanted = 0
            while wanted < 3:
                line = await reader.readline()
                if not line:
                    raise Wrong("an event stream's end")
                if line.startswith(b"data: "):
                    if int(line.split()[1]) != wanted:
                        raise Wrong(f"{line!r} instead of event {wanted}")
                    wanted += 1

    async def upgrade(self) -> None:
        async with self._to("http") as streams:
            streams[1].write(
                b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            await self._head(streams[0], b"101")
            for _ in range(self.random.randint(1, 20)):
                await self._echoed(streams)

    async def stay_idle(self) -> None:
        async with self._to(self.random.choice(("forward", "http", "connect"))):
            await asyncio.sleep(self.random.uniform(1, 8))

    # --- slow and rude ------------------------------------------------------------------------------------

    async def slow_reader(self) -> None:
        async with self._to("connect") as streams:
            await self._connect(streams, self.ports["source-origin"])
            size = self.random.randint(5_000_000, 20_000_000)
            streams[1].write(b"%d\n" % size)
            await asyncio.sleep(self.random.uniform(0.5, 3))
            await self._exactly(streams[0], size)

    async def slow_reader_leaves(self) -> None:
        async with self._to("source") as (_, writer):
            writer.write(b"100000000\n")
            await asyncio.sleep(self.random.uniform(0.5, 3))
            self._reset(writer)

    async def vanish_anywhere(self) -> None:
        """With any beginning of what a listener expects."""
        name, said = self.random.choice(
            (
                ("forward", b"x" * 1000),
                ("secured", b"\x16\x03\x01\x02\x00\x01\x00" + b"x" * 500),
                ("http", b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                (
                    "https",
                    b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + b"x" * 9000,
                ),
                (
                    "upload",
                    b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + b"x" * 9000,
                ),
                ("connect", b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\nxxxx" % self.ports["echo-origin"]),
                ("events", b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            )
        )
        async with self._to(name) as (_, writer):
            writer.write(said[: self.random.randint(0, len(said))])
            await writer.drain()
            await asyncio.sleep(self.random.choice((0, 0.001, 0.01, 0.5)))
            if self.random.random() < 0.7:
                self._reset(writer)

    async def vanish_in_download(self) -> None:
        async with self._to("https") as (reader, writer):
            writer.write(b"GET /down HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await self._head(reader, b"200")
            await self._exactly(reader, self.random.randint(1, 20_000_000))
            self._reset(writer)

    # --- parts of them ------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _to(self, name: str, **options: object) -> AsyncIterator[Streams]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[name], **options)  # type: ignore[arg-type]
        try:
            yield reader, writer
        finally:
            writer.close()
            try:
                await asyncio.wait_for(writer.wait_closed(), 5)
            except (OSError, asyncio.TimeoutError):
                pass

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def _echoed(self, streams: Streams) -> None:
        said = self.random.randbytes(self.random.choice((1, 64, 1000, 16_000)))
        streams[1].write(said)
        if await streams[0].readexactly(len(said)) != said:
            raise Wrong("not the echo")

    async def _exactly(self, reader: asyncio.StreamReader, size: int) -> None:
        while size:
            part = await reader.read(min(size, 65536))
            if not part:
                raise Wrong(f"an end {size} bytes too early")
            size -= len(part)

    async def _head(self, reader: asyncio.StreamReader, status: bytes) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.split(b" ", 2)[1][:3] != status:
            raise Wrong(f"{head[:60]!r} instead of {status!r}")
        return head.lower()

    async def _connect(self, streams: Streams, port: int, status: bytes = b"200") -> None:
        streams[1].write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (port, port))
        await self._head(streams[0], status)

    async def _requests(self, name: str) -> None:
        async with self._to(name) as (reader, writer):
            for _ in range(self.random.randint(1, 30)):
                number = b"%016x" % self.random.getrandbits(64)
                writer.write(
                    b"GET /%b HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: %b\r\n\r\n" % (number, number)
                )
                head = await self._head(reader, b"200")
                if b"x-request-id: " + number not in head:
                    raise Wrong("the answer to another request")
                await self._exactly(reader, 1024)
                if self.random.random() < 0.1:
                    await asyncio.sleep(self.random.uniform(0, 6))  # longer than idle connections are kept


def main(ports: str, seconds: str, root: str) -> None:
    clients = Clients(json.loads(ports), root)
    asyncio.run(clients.run(float(seconds)))
    print(json.dumps({"done": clients.done, "failures": clients.failures}))


if __name__ == "__main__":
    main(*sys.argv[1:])
