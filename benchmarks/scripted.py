"""
Relays as people write them themselves: C{python -m benchmarks.scripted KIND PORT ORIGIN-PORT [CA-FILE]}.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable

LOOPBACK = "127.0.0.1"
BACKLOG = 512


# --- Twisted ----------------------------------------------------------------------------------------------


def portforward(port: int, origin: int, root: str) -> None:
    """Twisted's own; its transports send small packets at once."""
    from twisted.internet import reactor
    from twisted.protocols.portforward import ProxyFactory

    reactor.listenTCP(port, ProxyFactory(LOOPBACK, origin), BACKLOG, LOOPBACK)  # type: ignore[arg-type]
    reactor.run()


def twisted_web(port: int, origin: int, root: str) -> None:
    """C{twisted.web.proxy}; towards TLS it has to be told how to connect, and whom to trust."""
    from twisted.internet import reactor, ssl
    from twisted.internet.protocol import ClientFactory
    from twisted.web.proxy import ReverseProxyResource
    from twisted.web.server import Site

    class Connector:
        """Connects with TLS where the resource asks for TCP."""

        options = ssl.optionsForClientTLS("localhost", ssl.Certificate.loadPEM(_read(root))) if root else None

        def connectTCP(self, host: str, port: int, factory: ClientFactory) -> object:
            if self.options is None:
                return reactor.connectTCP(host, port, factory)
            return reactor.connectSSL(host, port, factory, self.options)  # type: ignore[attr-defined]

    class Everywhere(ReverseProxyResource):
        isLeaf = True

        def render(self, request):  # type: ignore[no-untyped-def]
            self.path = request.path
            return super().render(request)

    site = Site(Everywhere(LOOPBACK, origin, b"", Connector()))
    reactor.listenTCP(port, site, BACKLOG, LOOPBACK)  # type: ignore[arg-type]
    reactor.run()


# --- asyncio ----------------------------------------------------------------------------------------------


def asyncio_streams(port: int, origin: int, root: str) -> None:
    """Streams of asyncio; without an origin's port it is a proxy that knows CONNECT."""
    import asyncio

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except OSError:
            pass

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, number = LOOPBACK, origin
        if not origin:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                writer.close()
                return
            host, number = _wanted(head)
        there, back = await asyncio.open_connection(host, number)
        if not origin:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(copy(reader, back), copy(there, writer))
        writer.close()
        back.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, LOOPBACK, port, backlog=BACKLOG)
        await server.serve_forever()

    asyncio.run(run())


# --- threads ----------------------------------------------------------------------------------------------


def threads(port: int, origin: int, root: str) -> None:
    """Two threads for each pair; without an origin's port it is a proxy that knows CONNECT."""
    listening = socket.create_server((LOOPBACK, port), backlog=BACKLOG)

    def serve(client: socket.socket) -> None:
        with client:
            host, number = LOOPBACK, origin
            if not origin:
                head = b""
                while b"\r\n\r\n" not in head:
                    more = client.recv(4096)
                    if not more:
                        return
                    head += more
                host, number = _wanted(head)
            with socket.create_connection((host, number)) as server:
                if not origin:
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                back.start()
                _copy(client, server)
                back.join()

    while True:
        client, _ = listening.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def threads_http(port: int, origin: int, root: str) -> None:
    """A reverse proxy of the standard library that keeps its connections and delays nothing."""
    import http.client
    import ssl
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    context = ssl.create_default_context(cafile=root) if root else None

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def setup(self) -> None:
            super().setup()
            if context is None:
                self.upstream = http.client.HTTPConnection(LOOPBACK, origin)
            else:
                self.upstream = http.client.HTTPSConnection("localhost", origin, context=context)
            self.upstream.connect()
            self.upstream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def finish(self) -> None:
            super().finish()
            self.upstream.close()

        def do_GET(self) -> None:
            self.upstream.request("GET", self.path, headers=dict(self.headers.items()))
            answer = self.upstream.getresponse()
            body = answer.read()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = BACKLOG

    Server((LOOPBACK, port), Handler).serve_forever()


# --- all ----------------------------------------------------------------------------------------------------


def _wanted(head: bytes) -> tuple[str, int]:
    host, _, number = head.split()[1].decode().rpartition(":")
    return host, int(number)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


KINDS: dict[str, Callable[[int, int, str], None]] = {
    "asyncio": asyncio_streams,
    "portforward": portforward,
    "threads": threads,
    "threads-http": threads_http,
    "twisted.web": twisted_web,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]), *(sys.argv[4:] or [""]))
