"""C{mcp-remote}, by which Claude Desktop reaches an HTTP server, through the live relay to a private CA."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.support.npm import installed
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME, McpServer

VERSION = "0.15.1"
# Nothing that would switch off, or help, the verification of certificates; nor another's proxy.
NOT_ITS_OWN = ("NODE_TLS_REJECT_UNAUTHORIZED", "NODE_EXTRA_CA_CERTS", "NODE_OPTIONS")


class Remote:
    """A running C{mcp-remote}: one JSON-RPC message on each line, both ways."""

    def __init__(self, program: Path, url: str, folder: Path, *options: str) -> None:
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and name not in NOT_ITS_OWN
        }
        environ["MCP_REMOTE_CONFIG_DIR"] = str(folder)
        self.errors = folder / "stderr"
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                ["node", str(program), url, *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environ,
                text=True,
            )
        self._came: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._came.put(json.loads(line))

    def send(self, method: str, params: dict[str, Any] | None = None, id: int | None = None) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        if id is not None:
            message["id"] = id
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def ask(self, method: str, params: dict[str, Any], id: int) -> dict[str, Any]:
        """The result of one request; what else comes meanwhile is passed over."""
        self.send(method, params, id)
        while True:
            try:
                message = self._came.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"no answer to {method}:\n{self.errors.read_text()}") from None
            if message.get("id") == id:
                result: dict[str, Any] = message["result"]
                return result

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reading.join(PATIENCE)
        self._process.stdout.close()


class McpRemoteTests(TestCase):
    timeout = 240  # the first run installs it

    def talk(self, path: str, *options: str) -> None:
        program = installed("mcp-remote", VERSION) / "dist" / "proxy.js"
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = Path(temporary.name)
        authority = Authority(folder)
        server = McpServer(tls=authority.issue(LAN_NAME)).start()
        self.addCleanup(server.stop)
        relay = Relay(
            f"""
            listeners:
              reverse:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {{url: {server.lan_url}, address: {server.address}, tls: {{ca: {authority.root}}}}}
            """
        ).start()
        self.addCleanup(relay.stop)
        url = f"http://localhost:{relay.port('reverse')}{path}"
        remote = Remote(program, url, folder, *options)
        try:
            params = {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            }
            began = remote.ask("initialize", params, 1)
            self.assertEqual(began["serverInfo"]["name"], "lan-host")
            remote.send("notifications/initialized")
            tools = [tool["name"] for tool in remote.ask("tools/list", {}, 2)["tools"]]
            self.assertEqual(tools, ["count", "echo"])
            called = remote.ask("tools/call", {"name": "echo", "arguments": {"text": "gr\u00fcn"}}, 3)
            self.assertEqual(called["content"][0]["text"], "gr\u00fcn")
        finally:
            remote.stop()
        for answered in ('"POST /', '"GET /'):
            self.assertIn(answered, relay.log)

    def test_over_streamable_http(self) -> Deferred[None]:
        return deferToThread(self.talk, "/mcp", "--transport", "http-only")

    def test_over_sse(self) -> Deferred[None]:
        return deferToThread(self.talk, "/sse", "--transport", "sse-only")

    def test_as_claude_desktop_starts_it(self) -> Deferred[None]:
        """It tries Streamable HTTP first; nothing the relay does may look like a reason to take SSE."""
        return deferToThread(self.talk, "/mcp")
