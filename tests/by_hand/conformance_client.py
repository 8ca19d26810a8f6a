"""
What the conformance suite of MCP starts as the client: the official SDK's, in front of C{lanrelay stdio URL}.

The suite names the scenario in the environment, and gives the URL as the last word. Where a login is wanted,
a program goes where a browser would, so it is the login of the bridge that is judged.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import (
    CreateMessageResult,
    ElicitRequestFormParams,
    ElicitResult,
    ListRootsResult,
    TextContent,
)

from tests.support.stdio import COMMAND, environment

BROWSER = Path(__file__).parent.parent / "support" / "browser_program.py"

SUM: tuple[str, dict[str, Any]] = ("add_numbers", {"a": 5, "b": 3})
CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "tools_call": [SUM],
    "request-metadata": [SUM],
    "http-standard-headers": [SUM],
    "sse-retry": [("test_reconnection", {})],
    "elicitation-sep1034-client-defaults": [("test_client_elicitation_defaults", {})],
    "sep-2322-client-request-state": [
        ("test_mrtr_echo_state", {}),
        ("test_mrtr_unrelated", {}),
        ("test_mrtr_no_state", {}),
        ("test_mrtr_no_result_type", {}),
    ],
}
"""The tools that a scenario wants called."""

STUBS = {"string": "x", "integer": 0, "number": 0, "boolean": False, "object": {}, "array": []}


async def elicited(context: Any, params: Any) -> ElicitResult:
    """What the form proposes."""
    content: dict[str, Any] = {}
    if isinstance(params, ElicitRequestFormParams):
        properties = params.requested_schema.get("properties", {})
        content = {name: each["default"] for name, each in properties.items() if "default" in each}
        content |= {"confirmed": True} if "confirmed" in properties else {}
    return ElicitResult(action="accept", content=content)


async def sampled(context: Any, params: Any) -> CreateMessageResult:
    return CreateMessageResult(role="assistant", content=TextContent(type="text", text=""), model="none")


async def rooted(context: Any) -> ListRootsResult:
    return ListRootsResult(roots=[])


def calls(scenario: str, told: dict[str, Any], tools: list[Any]) -> list[tuple[str, dict[str, Any]]]:
    listed = {tool.name: tool for tool in tools}
    if scenario == "http-custom-headers":
        wanted = [(each["name"], each.get("arguments") or {}) for each in told.get("toolCalls", [])]
        return [each for each in wanted if each[0] in listed]
    if scenario == "json-schema-2020-12-preservation":
        return [("json_schema_echo", {"schema": listed["json_schema_2020_12_tool"].input_schema})]
    if scenario == "http-invalid-tool-headers" or scenario.startswith("auth/"):
        return [
            (
                name,
                {
                    needed: STUBS.get(
                        tool.input_schema.get("properties", {}).get(needed, {}).get("type"), "x"
                    )
                    for needed in tool.input_schema.get("required", [])
                },
            )
            for name, tool in listed.items()
        ]
    return CALLS.get(scenario, [])


async def main() -> None:
    scenario, url = os.environ["MCP_CONFORMANCE_SCENARIO"], sys.argv[-1]
    told = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    modern = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "") >= "2026-07-28"
    # This one has no answer to what the later era asks first.
    modern = modern and scenario != "json-schema-ref-no-deref"
    with tempfile.TemporaryDirectory() as folder:
        browser = shlex.join((sys.executable, str(BROWSER), folder))
        command, *words = COMMAND
        for option, name in (("--client-id", "client_id"), ("--client-secret", "client_secret")):
            if name in told:
                words += [option, told[name]]
        parameters = StdioServerParameters(
            command=command, args=[*words, url], env={**environment(folder), "BROWSER": browser}
        )
        async with Client(
            stdio_client(parameters),
            mode="auto" if modern else "legacy",
            elicitation_callback=elicited,
            sampling_callback=sampled,
            list_roots_callback=rooted,
            read_timeout_seconds=25,
        ) as client:
            tools = (await client.list_tools()).tools
            for name, arguments in calls(scenario, told, tools):
                print(name, await client.call_tool(name, arguments), file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main())
