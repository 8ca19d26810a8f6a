"""The call that C{adopt} makes for a client, against real servers."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.clients.call import _Http, _modern, call
from tests.examine.scripted import Heard, Reply, Scripted, always, without_end
from tests.support.progress import PATIENCE
from tests.support.servers import HttpOrigin, McpServer


class CallTests(SynchronousTestCase):
    def server(self) -> str:
        server = McpServer(name="127.0.0.1").start()
        self.addCleanup(server.stop)
        return server.url

    def test_each_way_of_speaking(self) -> None:
        url = self.server()
        for path, transport in (("/mcp", "http"), ("/mcp", None), ("/sse", "sse"), ("/sse", None)):
            called = call(f"{url}{path}", transport=transport)  # type: ignore[arg-type]
            self.assertEqual((called.good, called.tools), (True, 2), called.said)
            self.assertEqual(called.said, "lan-host answers with 2 tools.")

    def test_a_server_without_initialize(self) -> None:
        """The official server knows both eras; here it is asked as one that refused the older one."""
        url = f"{self.server()}/mcp"
        called = _modern(_Http(url, {}, time.monotonic() + PATIENCE), {})
        self.assertEqual((called.good, called.said), (True, "lan-host answers with 2 tools."))

    def test_the_wrong_way_or_path(self) -> None:
        url = self.server()
        for path, transport in (("/sse", "http"), ("/mcp", "sse"), ("/nope", None), ("/", "http")):
            called = call(f"{url}{path}", transport=transport)  # type: ignore[arg-type]
            self.assertFalse(called.good, called)
            self.assertRegex(called.said, r"\AThe answer is 4\d\d ")

    def test_what_is_no_mcp(self) -> None:
        origin = HttpOrigin().start()
        self.addCleanup(origin.stop)
        called = call(f"{origin.url}/seen")
        self.assertFalse(called.good)
        self.assertIn("refuses to begin", called.said)

    def test_a_credential_that_only_the_client_knows(self) -> None:
        origin = HttpOrigin().start()
        self.addCleanup(origin.stop)
        url = f"{origin.url}/status/401"
        self.assertTrue(call(url, headers={"Authorization": "Bearer ${TOKEN}"}).good)
        known = call(url, headers={"Authorization": "Bearer abc"})
        self.assertEqual((known.good, known.login), (False, False))
        none = call(url)
        self.assertEqual((none.good, none.login), (False, True))

    def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        called = call(f"http://127.0.0.1:{port}/mcp")
        self.assertFalse(called.good)
        self.assertIn("The call failed", called.said)

    def test_what_a_server_says_of_itself_stays_on_its_line(self) -> None:
        def named(request: Heard) -> Reply:
            message = request.message or {}
            info = {"name": "nas\n\x1b[2Jlanrelay: all is well", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            if message.get("method") == "tools/list":
                result = {"tools": []}
            answer = {"jsonrpc": "2.0", "id": message.get("id"), "result": result}
            return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()

        def refusing(request: Heard) -> Reply:
            error = {"code": -1, "message": "no\nlanrelay: all is well"}
            answer = {"jsonrpc": "2.0", "id": (request.message or {}).get("id"), "error": error}
            return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()

        for script in (named, refusing):
            called = call(f"{Scripted(self, script).url}/mcp", transport="http")
            self.assertIn("lanrelay: all is well", called.said)
            self.assertTrue(called.said.isprintable(), called.said)

    def test_brackets_without_end_are_no_mcp(self) -> None:
        for content in (b"[" * 200_000, b'{"a":' * 200_000):
            server = Scripted(self, always(200, content, Content_Type="application/json"))
            called = call(f"{server.url}/mcp", transport="http")
            self.assertFalse(called.good)
            self.assertIn("is not MCP", called.said)

    def test_what_comes_byte_by_byte_has_an_end(self) -> None:
        head = b"HTTP/1.1 200 OK\r\n"
        for first in (b"", head, head + b"Content-Type: application/json\r\n\r\n"):
            port = without_end(self, first, b"x")
            called = call(f"http://127.0.0.1:{port}/mcp", transport="http", patience=1.0)
            self.assertEqual((called.good, called.said), (False, "The call failed: nothing came in time."))

    def test_silence_has_an_end(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            held = []
            thread = threading.Thread(target=lambda: held.append(silent.accept()), daemon=True)
            thread.start()
            called = call(f"http://127.0.0.1:{silent.getsockname()[1]}/mcp", patience=0.5)
            thread.join()
            for connection, _ in held:
                with contextlib.closing(connection):
                    pass
        self.assertFalse(called.good)
        self.assertIn("timed out", called.said)
