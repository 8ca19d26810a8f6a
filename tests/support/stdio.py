"""C{lanrelay stdio} as a client runs it: a process with pipes; and an MCP server that counts, in a thread."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.progress import PATIENCE

Json = dict[str, Any]

CHECKOUT = Path(__file__).resolve().parent.parent.parent

COMMAND = (sys.executable, "-m", "lanrelay.cli.main", "stdio")

HELLO: Json = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "claude-ai", "version": "0.1.0"},
}


def environment(folder: Path | str) -> dict[str, str]:
    """
    The environment of a process that keeps what it remembers in C{folder}, and finds no configuration
    elsewhere.
    """
    keep = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "XDG_RUNTIME_DIR") if name in os.environ
    }
    folder = os.path.abspath(folder)
    return {**keep, "PYTHONPATH": str(CHECKOUT), "XDG_STATE_HOME": folder, "XDG_CONFIG_HOME": folder}


class Stdio:
    """
    One run.

    @param folder: see L{environment}.
    @ivar lines: the lines it has said that the test has not asked for yet.
    """

    def __init__(self, *words: str, folder: Path | str, **more: Any) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(folder),
            **more,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._input = self.process.stdin.fileno()
        self._output = self.process.stdout.fileno()
        self.lines: list[Json] = []
        self._rest: list[bytes] = []

    def say(self, message: Json | list[Json]) -> None:
        self.write(json.dumps(message).encode() + b"\n")

    def write(self, data: bytes) -> None:
        """Write, and read what comes meanwhile, so that neither waits for the other."""
        view = memoryview(data)
        deadline = time.monotonic() + PATIENCE
        os.set_blocking(self._input, False)
        while view:
            readable, writable, _ = select.select([self._output], [self._input], [], PATIENCE)
            if readable:
                self._read()
            if writable:
                view = view[os.write(self._input, view[:65536]) :]
            if time.monotonic() > deadline:
                raise AssertionError("it does not read")

    def ask(self, id: int | str, method: str, params: Json | None = None) -> None:
        self.say({"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}})

    def answer(self, id: int | str, *, patience: float = PATIENCE) -> Json:
        """The answer with this id."""
        return self.wait_for(lambda line: line.get("id") == id and "method" not in line, patience=patience)

    def wait_for(self, wanted: Callable[[Json], bool], *, patience: float = PATIENCE) -> Json:
        """The first line of this kind; the others are kept."""
        deadline = time.monotonic() + patience
        looked = 0
        while True:
            for index in range(looked, len(self.lines)):
                if wanted(self.lines[index]):
                    return self.lines.pop(index)
            looked = len(self.lines)
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self._output], [], [], left)[0]:
                raise AssertionError(f"waited {patience} s; it said {self.lines!r:.2000}")
            if not self._read():
                raise AssertionError(f"it has ended; it said {self.lines!r:.2000} {self.errors()}")

    def _read(self) -> bool:
        data = os.read(self._output, 1 << 20)
        lines = data.split(b"\n")
        self._rest.append(lines[0])
        for line in lines[1:]:
            self.lines.append(json.loads(b"".join(self._rest)))  # whatever is no message fails here
            self._rest = [line]
        return bool(data)

    def call(self, id: int | str, tool: str, **arguments: Any) -> Json:
        """Call a tool; its result."""
        self.ask(id, "tools/call", {"name": tool, "arguments": arguments})
        result: Json = self.answer(id)["result"]
        return result

    def begin(self) -> Json:
        """C{initialize}; its answer."""
        self.ask(0, "initialize", HELLO)
        answer = self.answer(0)
        self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self, *, within: float = PATIENCE) -> int:
        """The end of its input; its exit status."""
        self.close_input()
        while select.select([self._output], [], [], within)[0] and self._read():
            pass
        return self.process.wait(within)

    def errors(self) -> str:
        """What it wrote to standard error, once it has ended."""
        assert self.process.stderr is not None
        said: bytes = self.process.stderr.read()
        return said.decode()

    def kill(self) -> None:
        """For cleanups."""
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert file is not None
            file.close()

    def memory(self) -> int:
        """kB of it that are in memory (Linux)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError


class CountingServer:
    """
    MCP of 2025-11-25 over Streamable HTTP with JSON answers, at C{/mcp}.

    Tools: C{count} (says how often it was run; with C{hang} it is never answered), C{together} (answers when
    C{of} calls are there, the latest first), C{flood} (C{pieces} notifications of C{size} bytes on the stream
    of the call).

    @param record: a file that gets the key of each execution of C{count}, in a line.
    @ivar runs: executions of C{count}, by the argument C{key}.
    @ivar seen: method of HTTP, and that of MCP.
    @ivar sessions: those that are open.
    """

    def __init__(self, *, port: int = 0, context: Any = None, record: Path | None = None) -> None:
        self._record = record
        self.runs: dict[str, int] = {}
        self.seen: list[tuple[str, str]] = []
        self.fields: list[dict[str, str]] = []
        self.sessions: set[str] = set()
        self.ended = threading.Condition()
        self._together: list[threading.Event] = []
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Not on standard error."""

            def do_POST(self) -> None:
                outer._post(self)

            def do_GET(self) -> None:
                outer.seen.append(("GET", ""))
                outer._plain(self, 405)

            def do_DELETE(self) -> None:
                with outer.ended:
                    outer.seen.append(("DELETE", ""))
                    outer.sessions.discard(self.headers.get("Mcp-Session-Id", ""))
                    outer.ended.notify_all()
                outer._plain(self, 200)

        class Http(ThreadingHTTPServer):
            request_queue_size = 2000
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Clients may go."""

            def process_request(self, request: Any, client_address: Any) -> None:
                outer._connections.append(request)
                super().process_request(request, client_address)

        self._http = Http(("127.0.0.1", port), Handler)
        if context is not None:
            self._http.socket = context.wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._http.server_address[1]
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}/mcp"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop, and end all connections, as the end of a process does."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        for one in self._connections:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def wait_for_end(self) -> bool:
        """Wait until no session is open."""
        with self.ended:
            return self.ended.wait_for(lambda: not self.sessions, PATIENCE)

    # --- answers ---

    def _plain(self, handler: Any, status: int) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def _json(self, handler: Any, message: Json, *, status: int = 200, session: str = "") -> None:
        body = json.dumps(message).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        if session:
            handler.send_header("Mcp-Session-Id", session)
        handler.end_headers()
        handler.wfile.write(body)

    def _post(self, handler: Any) -> None:
        message = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        method, id = message.get("method", ""), message.get("id")
        with self._lock:
            self.seen.append(("POST", method))
            self.fields.append({name.lower(): value for name, value in handler.headers.items()})
        if method == "initialize":
            session = f"session-{len(self.seen)}"
            self.sessions.add(session)
            result: Json = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "counting", "version": "1"},
            }
            self._json(handler, {"jsonrpc": "2.0", "id": id, "result": result}, session=session)
        elif method == "server/discover":
            error = {"code": -32601, "message": "Method not found"}
            self._json(handler, {"jsonrpc": "2.0", "id": id, "error": error}, status=400)
        elif handler.headers.get("Mcp-Session-Id") not in self.sessions:
            error = {"code": -32001, "message": "Session not found"}
            self._json(handler, {"jsonrpc": "2.0", "id": None, "error": error}, status=404)
        elif id is None:
            self._plain(handler, 202)
        elif method == "tools/list":
            names = ("count", "together", "flood", "echo")
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
            self._json(handler, {"jsonrpc": "2.0", "id": id, "result": {"tools": tools}})
        elif method == "tools/call":
            self._call(handler, id, message["params"]["name"], message["params"].get("arguments", {}))
        else:
            self._json(handler, {"jsonrpc": "2.0", "id": id, "result": {}})

    def _call(self, handler: Any, id: Any, tool: str, arguments: Json) -> None:
        if tool == "flood":
            self._flood(handler, id, arguments["pieces"], arguments["size"])
            return
        if tool == "together":
            mine = threading.Event()
            with self._lock:
                self._together.append(mine)
                if len(self._together) == arguments["of"]:
                    self._together[-1].set()
            mine.wait(PATIENCE)
        text = str(arguments.get("text", ""))
        if tool == "count":
            with self._lock:
                key = str(arguments["key"])
                self.runs[key] = self.runs.get(key, 0) + 1
                text = str(self.runs[key])
                if self._record is not None:
                    with self._record.open("a") as file:
                        file.write(f"{key}\n")
            if arguments.get("hang"):
                handler.rfile.read()  # until its client goes, or it is killed itself
                return
        result = {"content": [{"type": "text", "text": text}], "isError": False}
        self._json(handler, {"jsonrpc": "2.0", "id": id, "result": result})
        if tool == "together":
            with self._lock:
                self._together.remove(mine)
                if self._together:
                    self._together[-1].set()

    def _flood(self, handler: Any, id: Any, pieces: int, size: int) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for number in range(pieces):
            params = {"level": "info", "data": {"number": number, "padding": "x" * size}}
            note = {"jsonrpc": "2.0", "method": "notifications/message", "params": params}
            handler.wfile.write(b"data: " + json.dumps(note).encode() + b"\n\n")
        result = {"content": [], "isError": False}
        last = {"jsonrpc": "2.0", "id": id, "result": result}
        handler.wfile.write(b"data: " + json.dumps(last).encode() + b"\n\n")
        handler.close_connection = True
