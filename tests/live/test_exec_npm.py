"""Node's servers in processes of their own: the reference server, and such with native modules."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.npm import BETTER_SQLITE3, beside, installed
from tests.support.relay import Relay
from tests.support.servers import CHECKOUT
from tests.support.stdio import Stdio

PACKAGE, VERSION = "@modelcontextprotocol/server-everything", "2026.8.31"

# The SDK is one of the server's own dependencies, so this lies beside them.
CLIENT = """\
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { CreateMessageRequestSchema } from "@modelcontextprotocol/sdk/types.js";
const [url, kind] = process.argv.slice(2);
const transport = new (kind === "sse" ? SSEClientTransport : StreamableHTTPClientTransport)(new URL(url));
const client = new Client({ name: "test", version: "1" }, { capabilities: { sampling: {} } });
const sampled = { model: "m", role: "assistant", content: { type: "text", text: "sampled" } };
client.setRequestHandler(CreateMessageRequestSchema, async () => sampled);
const call = async (name, args, options) =>
  (await client.callTool({ name, arguments: args }, undefined, options)).content[0].text;
await client.connect(transport);
const progress = [];
const onprogress = (each) => progress.push(each.progress);
const said = {
  server: client.getServerVersion().name,
  tools: (await client.listTools()).tools.length,
  echo: await call("echo", { message: "hello" }),
  long: await call("trigger-long-running-operation", { duration: 1, steps: 4 }, { onprogress }),
  sampled: await call("trigger-sampling-request", { prompt: "p", maxTokens: 5 }),
  progress,
};
if (transport.terminateSession) await transport.terminateSession();
await client.close();
console.log(JSON.stringify(said));
"""


class EverythingTests(TestCase):
    timeout = 240

    def setUp(self) -> None:
        package = installed(PACKAGE, VERSION)
        self.client = beside(package, "lanrelay-test-client.mjs", CLIENT)
        self.relay = Relay(
            f"""
            listeners:
              tool:
                type: exec
                listen: 127.0.0.1:0
                protocol: mcp-http
                command: [node, {package / "dist" / "index.js"}, stdio]
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def use(self, path: str, kind: str) -> Any:
        url = f"http://127.0.0.1:{self.relay.port('tool')}{path}"
        done = subprocess.run(
            ["node", str(self.client), url, kind], capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        self.assertEqual(said["server"], "mcp-servers/everything")
        self.assertGreater(said["tools"], 5)
        self.assertEqual(said["echo"], "Echo: hello")
        self.assertIn("operation completed", said["long"])
        self.assertIn("sampled", said["sampled"])
        # This client drops a notification that comes in one read with the answer behind it.
        self.assertEqual(said["progress"][:3], [1, 2, 3])
        self.relay.wait_for(r'tool 127\S+ "exec" - .*end=downstream phase=done')

    def test_streamable_http(self) -> Deferred[Any]:
        return deferToThread(self.use, "/mcp", "http")

    def test_http_and_sse(self) -> Deferred[Any]:
        return deferToThread(self.use, "/sse", "sse")


class NativeTests(SynchronousTestCase):
    """Such a server does not load inside of a client that has its libraries validated; here it is outside."""

    timeout = 240

    def keeps_notes(self, package: Path) -> None:
        text = (CHECKOUT / "tests" / "support" / "notes_program.mjs").read_text()
        program = beside(package, "lanrelay-notes.mjs", text)
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = Path(temporary.name)
        relay = Relay(
            f"""
            listeners:
              notes:
                type: exec
                listen: 127.0.0.1:0
                protocol: mcp-http
                command: [node, {program}, {package.name}, {folder / "notes.db"}]
            """
        ).start()
        self.addCleanup(relay.stop)
        url = f"http://127.0.0.1:{relay.port('notes')}/mcp"
        kept: list[str] = []
        for text in ("one", "zwei", "три"):
            client = Stdio(url, folder=folder)
            self.addCleanup(client.kill)
            self.assertEqual(client.begin()["result"]["serverInfo"]["name"], "notes")
            kept.append(text)
            found = client.call(1, "note", text=text)["content"]
            self.assertEqual([each["text"] for each in found], kept)
            self.assertEqual(client.end(), 0)

    def test_libsql_which_has_its_interface(self) -> None:
        self.keeps_notes(installed("libsql", "0.5.29"))

    def test_better_sqlite3(self) -> None:
        package = installed(*BETTER_SQLITE3)
        if not (package / "build" / "Release" / "better_sqlite3.node").exists():
            self.skipTest("python -m tests.by_hand.better_sqlite3 has not built it")
        self.keeps_notes(package)
