"""Entries with a bridge that become entries with a URL."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.clients.by_url import can, through_url
from lanrelay.clients.table import CLIENTS
from lanrelay.edit.formats.edit import apply, put_back, spans
from lanrelay.edit.formats.tree import NotEdited
from tests.clients.test_by_stdio import NEW, URL, finding

PORTS = {"http://10.0.0.1": 28101}


class UrlTests(SynchronousTestCase):
    def becomes(self, text: str, client: str) -> str:
        one = finding(text, client)
        self.assertTrue(can(one))
        form = one.server.read.found.format
        planned, speaks = through_url(one, PORTS)
        after = apply(form, text, planned.changes)
        relayed = finding(after, client)
        self.assertEqual(
            (relayed.leads_to, relayed.works, relayed.server.transport), ("relay", True, speaks), after
        )
        pieces = spans(form, text, one.server.path)
        self.assertEqual(put_back(form, after, one.server.path, pieces), text)
        return after

    def entry(self, client: str, holder: str, entry: dict[str, Any]) -> Any:
        return json.loads(self.becomes(json.dumps({holder: {"x": entry}}), client))[holder]["x"]

    def test_each_client_has_its_own_keys(self) -> None:
        bridge = {"command": "npx", "args": ["mcp-remote", URL, "--header", "X-A:b"], "env": {"C": "d"}}
        headers = {"headers": {"X-A": "b"}}
        for client, holder, more, expected in (
            ("cursor", "mcpServers", {}, {"url": NEW}),
            ("vscode", "servers", {"type": "stdio"}, {"type": "http", "url": NEW}),
            ("claude-code", "mcpServers", {}, {"type": "http", "url": NEW}),
            ("windsurf", "mcpServers", {"disabled": False}, {"disabled": False, "serverUrl": NEW}),
            ("cline", "mcpServers", {}, {"type": "streamableHttp", "url": NEW}),
            ("qwen", "mcpServers", {}, {"httpUrl": NEW}),
            (
                "copilot",
                "mcpServers",
                {"type": "local", "tools": ["*"]},
                {"type": "http", "tools": ["*"], "url": NEW},
            ),
            ("mcporter", "mcpServers", {}, {"baseUrl": NEW}),
        ):
            self.assertEqual(self.entry(client, holder, {**more, **bridge}), {**expected, **headers}, client)

    def test_a_command_that_is_a_list(self) -> None:
        after = self.entry("opencode", "mcp", {"type": "local", "command": ["bunx", "mcp-remote", URL]})
        self.assertEqual(after, {"type": "remote", "url": NEW})

    def test_sse(self) -> None:
        entry = {"command": "uvx", "args": ["mcp-proxy", URL.replace("/mcp", "/sse")]}
        new = NEW.replace("/mcp", "/sse")
        self.assertEqual(self.entry("vscode", "servers", entry), {"type": "sse", "url": new})
        self.assertEqual(self.entry("qwen", "mcpServers", entry), {"url": new})
        for client, holder in (("zed", "context_servers"),):
            one = finding(json.dumps({holder: {"x": entry}}), client)
            self.assertRaises(NotEdited, through_url, one, PORTS)

    def test_toml_and_yaml(self) -> None:
        head, tail = "[mcp_servers.x]\n", "startup_timeout_sec = 20 # c\n"
        toml = f'{head}command = "npx"\nargs = [\n  "mcp-remote", "{URL}"\n]\n{tail}'
        self.assertEqual(self.becomes(toml, "codex"), f'{head}{tail}url = "{NEW}"\n')
        yaml = (
            "mcpServers:\n- name: x # mine\n  command: uvx\n  args:\n  - mcp-stdio\n"
            f"  - --bearer-token\n  - abc\n  - {URL}\n- name: y\n"
        )
        expected = (
            "mcpServers:\n- name: x # mine\n  type: streamable-http\n"
            f'  url: {NEW}\n  requestOptions: {{headers: {{Authorization: "Bearer abc"}}}}\n- name: y\n'
        )
        one = finding_of(yaml, "continue")
        planned, _ = through_url(one, PORTS)
        self.assertEqual(apply(one.server.read.found.format, yaml, planned.changes), expected)

    def test_what_a_client_cannot_do_stays_with_the_bridge(self) -> None:
        for more in (["--ignore-tool", "x"], ["--header", "A:${B}"]):
            entry: dict[str, Any] = {"command": "npx", "args": ["mcp-remote", URL, *more]}
            one = finding(json.dumps({"mcpServers": {"x": entry}}), "cursor")
            self.assertRaises(NotEdited, through_url, one, PORTS)
        entry = {"command": "npx", "args": ["mcp-remote", URL, "--header", "A:${B}"], "env": {"B": "c"}}
        self.assertEqual(self.entry("cursor", "mcpServers", entry), {"url": NEW, "headers": {"A": "c"}})

    def test_claude_desktop_takes_none(self) -> None:
        entry = {"command": "npx", "args": ["mcp-remote", URL]}
        self.assertFalse(can(finding(json.dumps({"mcpServers": {"x": entry}}))))

    def test_no_row_says_what_another_column_forbids(self) -> None:
        for client in CLIENTS:
            if client.native is not None:
                self.assertIn("http", client.takes, client.name)
                self.assertIn(client.native.url, client.urls, client.name)


def finding_of(text: str, client: str) -> Any:
    """The first entry of a file with several."""
    from pathlib import Path

    from lanrelay.clients.finding import judged
    from lanrelay.clients.places import Found, of_content
    from lanrelay.clients.servers import servers
    from lanrelay.clients.table import named

    row = named(client)
    assert row is not None
    read = of_content(Found(row, row.files[0], Path("f")), text.encode())
    return next(iter(judged(servers(read), relays={28101: "nas"}, resolve=lambda _: {})))
