"""
An origin, and clients that come to it through a relay: requests, event streams, and echoes over a forward.

Prints C{ready ORIGIN-PORT ECHO-PORT}, reads a line of JSON with the relay's ports, loads the relay until the
next line comes, and prints a line of JSON with what the clients saw.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any

BODY = b"hello\n"
EVERY = 0.05
"""Seconds between two events of a stream, two echoes, and two requests of one client."""


async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/events " in head.partition(b"\r\n")[0]:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                number = 0
                while True:
                    writer.write(b"data: %d\n\n" % number)
                    await writer.drain()
                    number += 1
                    await asyncio.sleep(EVERY)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY))
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


class Load:
    """
    @ivar seen: how often what went well.
    @ivar failures: how often what went wrong, in words.
    @ivar streams: for each stream how many events came, in order.
    """

    def __init__(self, ports: dict[str, int], count: dict[str, int]) -> None:
        self.ports = ports
        self.count = count
        self.seen: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.streams: Counter[int] = Counter()
        self.stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        clients = [
            *(self.repeatedly(self.keeps_alive) for _ in range(self.count["keep_alive"])),
            *(self.repeatedly(self.comes_anew) for _ in range(self.count["fresh"])),
            *(self.watched("stream", self.follows(number)) for number in range(self.count["streams"])),
            *(self.watched("echo", self.echoes()) for _ in range(self.count["echoes"])),
        ]
        tasks = [asyncio.ensure_future(client) for client in clients]
        await stop.wait()
        self.stopping = True
        await asyncio.sleep(EVERY * 2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def repeatedly(self, client: Any) -> None:
        while not self.stopping:
            await self.watched("request", client())

    async def watched(self, what: str, client: Any) -> None:
        try:
            await client
        except (OSError, EOFError, ValueError) as error:
            if not self.stopping:
                self.failures[f"{what}: {type(error).__name__}: {error}"] += 1

    async def connect(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.ports[name])

    async def keeps_alive(self) -> None:
        reader, writer = await self.connect("web")
        try:
            while not self.stopping:
                writer.write(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                self.judge(head, await reader.readexactly(len(BODY)))
                self.seen["kept alive"] += 1
                if b"connection: close" in head.lower():
                    self.seen["told to come again"] += 1
                    return
                await asyncio.sleep(EVERY)
        finally:
            writer.close()

    async def comes_anew(self) -> None:
        reader, writer = await self.connect("web")
        try:
            writer.write(b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
            self.judge(head, body)
            self.seen["fresh"] += 1
        finally:
            writer.close()
        await asyncio.sleep(EVERY)

    def judge(self, head: bytes, body: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 200 ") or body != BODY:
            raise ValueError(f"the answer {head[:40]!r} {body[:40]!r}")

    async def follows(self, index: int) -> None:
        reader, writer = await self.connect("web")
        try:
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            while True:
                line = await reader.readuntil(b"\n")
                if line.startswith(b"data: "):
                    if int(line[6:]) != self.streams[index]:
                        raise ValueError(f"event {self.streams[index]} is missing")
                    self.streams[index] += 1
        finally:
            writer.close()

    async def echoes(self) -> None:
        reader, writer = await self.connect("forward")
        number = 0
        try:
            while True:
                data = b"%015d\n" % number
                writer.write(data)
                if await reader.readexactly(len(data)) != data:
                    raise ValueError("something else came back")
                number += 1
                self.seen["echoed"] += 1
                await asyncio.sleep(EVERY)
        finally:
            writer.close()


async def main() -> None:
    servers = [await asyncio.start_server(talk, "127.0.0.1", 0, backlog=500) for talk in (origin, echo)]
    print("ready", *(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    given = await lines.readline()
    if not given:
        return
    wanted = json.loads(given)
    load = Load(wanted["ports"], wanted["count"])
    stop = asyncio.Event()

    async def wait() -> None:
        await lines.readline()
        stop.set()

    await asyncio.gather(load.run(stop), wait())
    streams = [load.streams[index] for index in range(wanted["count"]["streams"])]
    print(json.dumps({"seen": load.seen, "failures": load.failures, "streams": streams}), flush=True)
    await lines.readline()  # the servers stay until the relay has stopped


if __name__ == "__main__":
    asyncio.run(main())
