"""C{python benchmarks/bridge_origin.py}: a small MCP server over Streamable HTTP; it says on which port."""

from __future__ import annotations

import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOOLS = [{"name": "echo", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}]


def result(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "bench", "version": "1"}}
        return {"protocolVersion": params["protocolVersion"], **about}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": params["arguments"]["text"]}], "isError": False}
    return {}


class Handler(BaseHTTPRequestHandler):
    """One request at a time; an answer is one write."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *_: object) -> None:
        """It has no log."""

    def say(self, status: str, body: bytes = b"", fields: str = "") -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
        self.wfile.write(head.encode() + body)

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "id" not in message:
            self.say("202 Accepted")
            return
        method = message.get("method", "")
        if method == "server/discover":  # it knows sessions only
            told: dict[str, Any] = {"error": {"code": -32601, "message": "Method not found"}}
        else:
            told = {"result": result(method, message.get("params", {}))}
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], **told}).encode()
        fields = "Content-Type: application/json\r\n"
        if method == "initialize":
            fields += "Mcp-Session-Id: bench\r\n"
        self.say("200 OK", body, fields)

    def do_GET(self) -> None:
        """It says nothing by itself, and has no metadata of a login."""
        self.say("405 Method Not Allowed" if self.path == "/mcp" else "404 Not Found")

    def do_DELETE(self) -> None:
        self.say("200 OK")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    sys.stdout.close()
    server.serve_forever()
