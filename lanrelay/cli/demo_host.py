"""
The "LAN host" of C{lanrelay demo}: an HTTPS server that speaks MCP and sends events.

It runs in a process of its own, as C{python -m lanrelay.cli.demo_host CERT KEY}; prints its port and ends
when its standard input does, so that it never outlives its starter. It is an origin to point the relay at,
written with the standard library only; nothing of the relay is in it.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME = "lan-host.demo"

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
"""The MCP revisions with an C{initialize} over Streamable HTTP, the newest first."""

TOOLS = [
    {
        "name": "now",
        "description": "The time on the LAN host",
        "inputSchema": {"type": "object", "properties": {}},
    },
    {
        "name": "count",
        "description": "Counts up to a number, and reports progress as it goes",
        "inputSchema": {
            "type": "object",
            "properties": {"to": {"type": "integer", "minimum": 1, "maximum": 60}},
            "required": ["to"],
        },
    },
]

_MAX_BODY = 1 << 20


def answer(request: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON-RPC answer to a request that needs no stream, C{None} for a notification."""
    if "id" not in request:
        return None
    method, params = request.get("method"), request.get("params") or {}
    if method == "initialize":
        wanted = params.get("protocolVersion")
        return _result(
            request,
            {
                "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": NAME, "version": "1"},
            },
        )
    if method == "ping":
        return _result(request, {})
    if method == "tools/list":
        return _result(request, {"tools": TOOLS})
    if method == "tools/call":
        if params.get("name") == "now":
            now = datetime.now().astimezone().isoformat(timespec="seconds")
            return _result(request, _text(f"it is {now} on {NAME}"))
        return _error(request, -32602, f"there is no tool {params.get('name')!r}")
    return _error(request, -32601, f"there is no method {method!r}")


def counting(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The messages that answer a call of C{count}, half a second apart, the result last."""
    params = request["params"]
    to = max(1, min(60, int((params.get("arguments") or {}).get("to", 3))))
    token = (params.get("_meta") or {}).get("progressToken")
    for number in range(1, to + 1):
        if number > 1:
            time.sleep(0.5)
        if token is not None:
            progress = {"progressToken": token, "progress": number, "total": to}
            yield {"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}
    yield _result(request, _text(f"counted to {to} on {NAME}"))


def _result(request: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request["id"], "result": result}


def _error(request: dict[str, Any], code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}}


def _text(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": False}


class Handler(BaseHTTPRequestHandler):
    """One connection; its requests one after another."""

    protocol_version = "HTTP/1.1"
    server_version = "lan-host"
    disable_nagle_algorithm = (
        True  # else a stream's first event waits 40 ms for the acknowledgement of its head
    )

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            asked = getattr(self.connection, "asked_name", None)
            self.reply(
                f"hello from {NAME}\n"
                f"  name asked for in TLS (SNI): {asked}\n"
                f"  Host: {self.headers.get('Host')}\n"
            )
        elif path == "/events":
            self.stream(self.ticks())
        elif path == "/mcp":
            # "The server MUST either return text/event-stream, or HTTP 405" (MCP 2025-06-18, transports).
            self.reply(
                "this server sends nothing unasked\n",
                HTTPStatus.METHOD_NOT_ALLOWED,
                {"Allow": "POST, DELETE"},
            )
        else:
            self.reply("there are /, /events and /mcp here\n", HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(min(_MAX_BODY, int(self.headers.get("Content-Length") or 0)))
        if self.path.partition("?")[0] != "/mcp":
            self.reply("POST is for /mcp\n", HTTPStatus.NOT_FOUND)
            return
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
            self.reply("this is not a JSON-RPC message\n", HTTPStatus.BAD_REQUEST)
        elif request.get("method") == "tools/call" and (request.get("params") or {}).get("name") == "count":
            self.stream(f"event: message\ndata: {json.dumps(message)}\n\n" for message in counting(request))
        else:
            message = answer(request)
            if message is None:
                self.reply("", HTTPStatus.ACCEPTED)
                return
            session = {"Mcp-Session-Id": uuid.uuid4().hex} if request["method"] == "initialize" else {}
            self.reply(json.dumps(message), HTTPStatus.OK, {"Content-Type": "application/json", **session})

    def do_DELETE(self) -> None:
        self.reply("", HTTPStatus.NO_CONTENT)

    def ticks(self) -> Iterator[str]:
        """One event a second, for as long as somebody listens."""
        number = 0
        while True:
            number += 1
            yield f"id: {number}\ndata: {json.dumps({'event': number, 'sent': time.time()})}\n\n"
            time.sleep(1)

    def reply(
        self, text: str, status: HTTPStatus = HTTPStatus.OK, fields: dict[str, str] | None = None
    ) -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain; charset=utf-8", **(fields or {})}.items():
            self.send_header(name, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD" and status != HTTPStatus.NO_CONTENT:
            self.wfile.write(content)

    def stream(self, events: Iterator[str]) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        for event in events:
            content = event.encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """The relay's log is the one to read."""


class Server(ThreadingHTTPServer):
    """Shakes hands in the connection's own thread, and says nothing when a client goes."""

    daemon_threads = True

    def __init__(self, cert: str, key: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        context.sni_callback = _remember_name
        self.socket: socket.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def shutdown_request(self, request: Any) -> None:
        """Say close_notify first, as a good server does; without it the end would look like a cut."""
        try:
            request.settimeout(1)
            request.unwrap()
        except (OSError, ValueError):
            pass  # the client has gone without close_notify
        self.close_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went, or refused our certificate: that is what the demonstration is about."""


def _remember_name(connection: Any, name: str | None, context: ssl.SSLContext) -> None:
    connection.asked_name = name


def main(arguments: list[str]) -> None:
    cert, key = arguments
    server = Server(cert, key)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    while os.read(sys.stdin.fileno(), 4096):
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
