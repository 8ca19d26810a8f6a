"""HTTP servers in threads that say what a test wants, and remember what they heard."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

Reply = tuple[int, dict[str, str], bytes]
Script = Callable[["Heard"], Reply]


class Heard:
    """A request."""

    def __init__(self, method: str, path: str, fields: dict[str, str], content: bytes) -> None:
        self.method = method
        self.path = path
        self.fields = fields
        self.content = content

    @property
    def message(self) -> Any:
        return json.loads(self.content)


class Scripted:
    """
    @param says_date: with a Date field that is true.
    @ivar heard: all requests.
    """

    def __init__(
        self, test: TestCase | SynchronousTestCase, script: Script, *, says_date: bool = True
    ) -> None:
        heard: list[Heard] = []
        self.heard = heard

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                fields = {name.lower(): value for name, value in self.headers.items()}
                request = Heard(self.command, self.path, fields, self.rfile.read(length))
                heard.append(request)
                status, more, content = script(request)
                (self.send_response if says_date else self.send_response_only)(status)
                for name, value in more.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that resets is none

        server = Quiet(("127.0.0.1", 0), Handler)
        self.port: int = server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        test.addCleanup(server.server_close)
        test.addCleanup(server.shutdown)


def always(status: int, content: bytes = b"", **fields: str) -> Script:
    """The same answer to everything."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return lambda _: (status, named, content)


class Legacy:
    """
    An MCP server with sessions, of 2025-11-25 and before.

    @ivar sessions: those that were begun and not ended.
    @param pages: how many tools each page of the list has.
    """

    def __init__(self, *, pages: tuple[int, ...] = (2,), stream: bool = False, error: str = "") -> None:
        self.sessions: set[str] = set()
        self._pages = pages
        self._stream = stream
        self._error = error
        self._count = 0

    def __call__(self, request: Heard) -> Reply:
        if request.path != "/mcp":
            return 404, {}, b""
        session = request.fields.get("mcp-session-id", "")
        if request.method == "DELETE":
            self.sessions.discard(session)
            return 200, {}, b""
        if request.method == "GET":
            return (200, {"Content-Type": "text/event-stream"}, b"") if self._stream else (405, {}, b"")
        message = request.message
        method = message["method"]
        if method == "initialize":
            self._count += 1
            self.sessions.add(f"s{self._count}")
            result = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "old", "version": "1.2"},
            }
            return self._said(message, result, session=f"s{self._count}")
        if session not in self.sessions or request.fields.get("mcp-protocol-version") != "2025-11-25":
            return 400, {}, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"No session"}}'
        if method == "notifications/initialized":
            return 202, {}, b""
        if self._error:
            error = {"code": -32603, "message": self._error}
            return 200, {"Content-Type": "application/json"}, _json(message, error=error)
        page = int(message["params"].get("cursor", "0"))
        listed: dict[str, Any] = {
            "tools": [{"name": f"t{page}-{number}"} for number in range(self._pages[page])]
        }
        if page + 1 < len(self._pages):
            listed["nextCursor"] = str(page + 1)
        return self._said(message, listed)

    def _said(self, message: Any, result: Any, *, session: str = "") -> Reply:
        fields = {"Content-Type": "text/event-stream"}
        if session:
            fields["Mcp-Session-Id"] = session
        note = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\r\n\r\n'
        return 200, fields, note + b"event: message\r\ndata: " + _json(message, result=result) + b"\r\n\r\n"


def _json(message: Any, **more: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], **more}).encode()


def without_end(test: TestCase | SynchronousTestCase, first: bytes, again: bytes) -> int:
    """The port of a server that says C{first}, and then C{again} as long as somebody listens."""
    listening = socket.create_server(("127.0.0.1", 0))
    test.addCleanup(listening.close)

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                connection.sendall(first)
                while True:
                    connection.sendall(again)
                    time.sleep(0.02)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            Thread(target=serve, args=(connection,), daemon=True).start()

    Thread(target=accept, daemon=True).start()
    port: int = listening.getsockname()[1]
    return port


def one_answer(test: TestCase | SynchronousTestCase, answer: bytes) -> int:
    """The port of a server that says C{answer} to whatever comes, and closes."""
    listening = socket.create_server(("127.0.0.1", 0))
    test.addCleanup(listening.close)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65536)
                    connection.sendall(answer)
                except OSError:
                    pass

    Thread(target=serve, daemon=True).start()
    port: int = listening.getsockname()[1]
    return port
