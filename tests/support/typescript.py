"""The clients of both TypeScript SDKs, as programs that speak with C{lanrelay stdio}."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.npm import beside, installed
from tests.support.progress import PATIENCE
from tests.support.stdio import COMMAND, environment

FIRST, SECOND = ("@modelcontextprotocol/sdk", "1.32.2"), ("@modelcontextprotocol/client", "2.4.0")

# It does what it is told on its command line, as JSON, and tells as JSON what came of it.
_PROGRAM = """\
const told = JSON.parse(process.argv[2]);
const options = { capabilities: { elicitation: {} }, ...told.options };
const client = new Client({ name: "test", version: "1" }, options);
client.setRequestHandler(ELICIT, async () => ({ action: "accept", content: { name: "me" } }));
await client.connect(new StdioClientTransport({ ...told.server, stderr: "inherit" }));
const progress = [];
const onprogress = (each) => progress.push(each.progress);
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const said = { server: client.getServerVersion().name, tools, calls: [] };
for (const call of told.calls) {
  const result = await CALL(client, call, { onprogress });
  said.calls.push({ text: result.content[0].text, isError: result.isError ?? false });
}
said.progress = progress;
said.version = client.getNegotiatedProtocolVersion?.();
await client.close();
console.log(JSON.stringify(said));
"""

_FIRST = """\
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { ElicitRequestSchema as ELICIT } from "@modelcontextprotocol/sdk/types.js";
const CALL = (client, call, options) => client.callTool(call, undefined, options);
"""

_SECOND = """\
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
const ELICIT = "elicitation/create";
const CALL = (client, call, options) => client.callTool(call, options);
"""


def use(
    sdk: tuple[str, str],
    folder: Path,
    words: Sequence[str],
    *calls: dict[str, Any],
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Have a client start C{lanrelay stdio WORDS}, list the tools and call some.

    @param sdk: L{FIRST} or L{SECOND}.
    @param folder: where the bridge keeps what it knows.
    @param calls: C{{"name": ..., "arguments": ...}} each.
    @return: C{server}, C{tools}, C{calls} (C{text} and C{isError} of each), C{version} (of the second SDK),
        C{progress}, which lacks what came in one read with an answer behind it: these clients drop that.
    """
    package = installed(*sdk)
    program = beside(package, "lanrelay-stdio-client.mjs", (_FIRST if sdk is FIRST else _SECOND) + _PROGRAM)
    command, *before = COMMAND
    server = {"command": command, "args": [*before, *words], "env": environment(folder)}
    told = json.dumps({"server": server, "calls": calls, "options": options or {}})
    done = subprocess.run(
        ["node", str(program), told],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    said: dict[str, Any] = json.loads(done.stdout)
    return said
