"""
An HTTP/1.1 origin for live tests, on the independent strict parser C{h11}.

=========================  ===========================================================================
C{/bytes/N}                N bytes with their SHA-256 in C{X-Sha256}; C{?chunked} or C{?close} for the framing
C{/upload}                 says length, SHA-256 and framing of the request's content
C{/seen}                   says method, target, fields, connection number and request number
C{/status/CODE}            that status with a short body (none for 204 and 304)
C{/early}                  413 without reading the upload, and the connection is closed
C{/trailers}               a chunked body with the trailer C{X-Trailer: end}
C{/parts/N}                N chunks, each C{part I}, a tenth of a second apart
C{/events/N}               N server-sent events, each after the first only when C{/next} was asked for
C{/next}                   lets one more event go, of the stream that waits
C{/cut/N}                  promises 2 N bytes, sends N and ends the connection; C{?chunked} too
C{/reset/N}                the same with a reset
C{/late/MS}                its answer begins after so many milliseconds
C{/never}                  no answer
C{/counters}               requests, connections, and how many clients went before their answer was whole
=========================  ===========================================================================
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
import struct
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import h11

from tests.support.program import run, server_context

BLOCK = random.Random(1).randbytes(1 << 16)


def pieces(length: int) -> list[bytes]:
    """The C{length} bytes of C{/bytes/N}."""
    whole, rest = divmod(length, len(BLOCK))
    return [BLOCK] * whole + ([BLOCK[:rest]] if rest else [])


def sha256(length: int) -> str:
    """Of the C{length} bytes of C{/bytes/N}."""
    digest = hashlib.sha256()
    for piece in pieces(length):
        digest.update(piece)
    return digest.hexdigest()


class Counters:
    """What happened since the start."""

    def __init__(self) -> None:
        self.connections = self.requests = self.gone = 0
        self.next_event = asyncio.Semaphore(0)


class Talk:
    """One connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counters: Counters
    ) -> None:
        self.reader, self.writer, self.counters = reader, writer, counters
        self.number = counters.connections = counters.connections + 1
        self.requests = 0
        self.http = h11.Connection(h11.SERVER)
        self.request: h11.Request | None = None

    async def run(self) -> None:
        try:
            while True:
                event = await self.event()
                if not isinstance(event, h11.Request):
                    return
                self.request = event
                self.requests += 1
                self.counters.requests += 1
                path, _, query = event.target.decode().partition("?")
                name, _, argument = path.lstrip("/").partition("/")
                route = getattr(self, f"get_{name}", self.get_missing)
                await route(argument, query)
                if self.http.our_state is not h11.DONE or self.http.their_state is not h11.DONE:
                    return
                self.http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            body = f"h11 refuses this: {error}".encode()
            if self.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self.respond(error.error_status_hint, body)
        except (OSError, asyncio.IncompleteReadError):
            self.counters.gone += 1
        finally:
            self.writer.close()

    # --- reading and writing ----------------------------------------------------------------------

    async def event(self) -> Any:
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self.http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.http.receive_data(await self.reader.read(1 << 18))

    async def content(self) -> AsyncIterator[bytes]:
        while True:
            event = await self.event()
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    async def send(self, event: Any) -> None:
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()

    async def head(self, status: int, *fields: tuple[str, str]) -> None:
        await self.send(h11.Response(status_code=status, headers=list(fields)))

    async def respond(self, status: int, body: bytes, *fields: tuple[str, str]) -> None:
        if status not in (204, 304):
            fields += (("Content-Length", str(len(body))), ("Content-Type", "application/json"))
        await self.head(status, *fields)
        if self.request is not None and self.request.method != b"HEAD" and status not in (204, 304):
            await self.send(h11.Data(data=body))
        await self.send(h11.EndOfMessage())

    async def read_all(self) -> tuple[int, str]:
        length, digest = 0, hashlib.sha256()
        async for data in self.content():
            length += len(data)
            digest.update(data)
        return length, digest.hexdigest()

    async def client_left(self) -> None:
        """Returns when the client has ended or reset the connection."""
        try:
            while await self.reader.read(1 << 16):
                pass
        except OSError:
            pass
        self.counters.gone += 1

    # --- routes ------------------------------------------------------------------------------------

    async def get_missing(self, argument: str, query: str) -> None:
        await self.read_all()
        await self.respond(404, b'"no such route"')

    async def get_bytes(self, argument: str, query: str) -> None:
        assert self.request is not None
        length = int(argument)
        await self.read_all()
        fields = [("X-Sha256", sha256(length))]
        if query == "close":
            fields.append(("Connection", "close"))
        elif query != "chunked":
            fields.append(("Content-Length", str(length)))
        if query == "close" and self.request.method != b"HEAD":
            # h11 would pick chunked; this is the framing of old servers.
            lines = [f"{name}: {value}\r\n" for name, value in fields]
            self.writer.write(f"HTTP/1.1 200 OK\r\n{''.join(lines)}\r\n".encode())
            for piece in pieces(length):
                self.writer.write(piece)
                await self.writer.drain()
            self.http.send_failed()
            return
        await self.head(200, *fields)
        if self.request.method != b"HEAD":
            for piece in pieces(length):
                await self.send(h11.Data(data=piece))
        await self.send(h11.EndOfMessage())

    async def get_upload(self, argument: str, query: str) -> None:
        assert self.request is not None
        names = [name.decode().lower() for name, _ in self.request.headers]
        length, digest = await self.read_all()
        framing = "chunked" if "transfer-encoding" in names else "length"
        await self.say({"length": length, "sha256": digest, "framing": framing})

    async def get_seen(self, argument: str, query: str) -> None:
        assert self.request is not None
        length, _ = await self.read_all()
        fields = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self.request.headers.raw_items()
        ]
        await self.say(
            {
                "method": self.request.method.decode(),
                "target": self.request.target.decode("latin-1"),
                "version": self.request.http_version.decode(),
                "fields": fields,
                "length": length,
                "connection": self.number,
                "request": self.requests,
            }
        )

    async def get_status(self, argument: str, query: str) -> None:
        await self.read_all()
        await self.respond(int(argument), b'"as asked"')

    async def get_early(self, argument: str, query: str) -> None:
        await self.respond(413, b'"too much"', ("Connection", "close"))
        if self.writer.can_write_eof():
            self.writer.write_eof()
        await self.client_left()

    async def get_trailers(self, argument: str, query: str) -> None:
        await self.read_all()
        await self.head(200, ("Trailer", "X-Trailer"))
        await self.send(h11.Data(data=b"before the trailer"))
        await self.send(h11.EndOfMessage(headers=[("X-Trailer", "end")]))

    async def get_parts(self, argument: str, query: str) -> None:
        await self.read_all()
        await self.head(200)
        for number in range(int(argument)):
            await self.send(h11.Data(data=b"part %d\n" % number))
            await asyncio.sleep(0.1)
        await self.send(h11.EndOfMessage())

    async def get_events(self, argument: str, query: str) -> None:
        await self.read_all()
        # What client_left reads is lost, so the connection is of no further use.
        await self.head(200, ("Content-Type", "text/event-stream"), ("Connection", "close"))
        left = asyncio.create_task(self.client_left())
        try:
            for number in range(int(argument)):
                if number:
                    waiting = asyncio.create_task(self.counters.next_event.acquire())
                    await asyncio.wait([waiting, left], return_when=asyncio.FIRST_COMPLETED)
                    if left.done():
                        waiting.cancel()
                        return
                await self.send(h11.Data(data=b"id: %d\ndata: event %d\n\n" % (number, number)))
            await self.send(h11.EndOfMessage())
        finally:
            left.cancel()

    async def get_next(self, argument: str, query: str) -> None:
        await self.read_all()
        self.counters.next_event.release()
        await self.say({})

    async def get_cut(self, argument: str, query: str) -> None:
        await self._part(int(argument), query)

    async def get_reset(self, argument: str, query: str) -> None:
        await self._part(int(argument), query)
        await asyncio.sleep(0.2)  # a reset overtakes what the peer has not read yet
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _part(self, length: int, query: str) -> None:
        await self.read_all()
        await self.head(200, *(() if query == "chunked" else (("Content-Length", str(2 * length)),)))
        for piece in pieces(length):
            await self.send(h11.Data(data=piece))
        self.http.send_failed()

    async def get_late(self, argument: str, query: str) -> None:
        await self.read_all()
        await asyncio.sleep(int(argument) / 1000)
        await self.say({"late": int(argument)})

    async def get_never(self, argument: str, query: str) -> None:
        await self.read_all()
        await self.client_left()
        self.http.send_failed()

    async def get_counters(self, argument: str, query: str) -> None:
        await self.read_all()
        counters = self.counters
        await self.say(
            {"connections": counters.connections, "requests": counters.requests, "gone": counters.gone}
        )

    async def say(self, answer: dict[str, object]) -> None:
        await self.respond(200, json.dumps(answer).encode() + b"\n")


async def serve(options: dict[str, Any]) -> int:
    counters = Counters()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Coroutine[Any, Any, None]:
        return Talk(reader, writer, counters).run()

    server = await asyncio.start_server(
        connected,
        "127.0.0.1",
        options["port"],
        ssl=server_context(options["tls"]),
        limit=1 << 18,
        backlog=512,
    )
    port: int = server.sockets[0].getsockname()[1]
    return port


if __name__ == "__main__":
    run(serve)
