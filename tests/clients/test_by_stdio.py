"""Entries that start C{lanrelay stdio} instead of another bridge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.clients.by_stdio import through_stdio
from lanrelay.clients.finding import Finding, judged
from lanrelay.clients.places import Found, of_content
from lanrelay.clients.servers import servers
from lanrelay.clients.table import named
from lanrelay.edit.formats.edit import apply, put_back, spans

PROGRAM = "/opt/lanrelay/bin/lanrelay"
URL = "http://10.0.0.1/mcp"
NEW = "http://127.0.0.1:28101/mcp"


def finding(text: str, client: str = "claude-desktop") -> Finding:
    row = named(client)
    assert row is not None
    read = of_content(Found(row, row.files[0], Path("f")), text.encode())
    [one] = judged(servers(read), relays={28101: "nas"}, resolve=lambda _: {})
    return one


class StdioCase(SynchronousTestCase):
    def becomes(self, text: str, client: str = "claude-desktop", without: tuple[str, ...] = ()) -> str:
        """The text afterwards; it leads to the relay, and the entry can be put back."""
        one = finding(text, client)
        form = one.server.read.found.format
        planned = through_stdio(one, {"http://10.0.0.1": 28101}, PROGRAM, without=without)
        after = apply(form, text, planned.changes)
        relayed = finding(after, client)
        self.assertEqual((relayed.leads_to, relayed.listener, relayed.works), ("relay", "nas", True), after)
        pieces = spans(form, text, one.server.path)
        self.assertEqual(put_back(form, after, one.server.path, pieces), text)
        return after

    def entry(self, entry: dict[str, Any], **more: Any) -> Any:
        after = self.becomes(json.dumps({"mcpServers": {"x": entry}}), **more)
        return json.loads(after)["mcpServers"]["x"]


class EntryTests(StdioCase):
    def test_what_bridges_have_becomes_options(self) -> None:
        for words, env, options, left in (
            (["npx", "-y", "mcp-remote", URL, "--allow-http"], None, [], None),
            (["mcp-remote", URL], {"A": "b"}, [], {}),
            (
                ["cmd", "/c", "npx", "mcp-remote", URL, "--header", "A:${T}", "--ignore-tool", "del*"],
                {"T": "x", "U": "y"},
                ["--ignore-tool", "del*", "--header", "A: ${T}"],
                {"T": "x"},
            ),
            (["npx", "mcp-remote", URL, "--transport", "sse-only"], None, ["--transport", "sse"], None),
            (
                ["uvx", "mcp-proxy", "-H", "X-A", "b c", URL],
                {"API_ACCESS_TOKEN": "t"},
                [
                    "--transport",
                    "sse",
                    "--header",
                    "X-A: b c",
                    "--header",
                    "Authorization: Bearer ${API_ACCESS_TOKEN}",
                ],
                {"API_ACCESS_TOKEN": "t"},
            ),
            (
                ["uvx", "mcp-stdio", "--bearer-token", "t", URL],
                None,
                ["--transport", "http", "--header", "Authorization: Bearer t"],
                None,
            ),
        ):
            entry: dict[str, Any] = {"command": words[0], "args": words[1:]}
            if env is not None:
                entry["env"] = env
            after = self.entry(entry)
            self.assertEqual(after["command"], PROGRAM)
            self.assertEqual(after["args"], ["stdio", NEW, *options], words)
            self.assertEqual(after.get("env"), left)

    def test_the_url_in_the_environment(self) -> None:
        after = self.entry({"command": "mcp-proxy", "env": {"SSE_URL": URL}})
        expected = {"command": PROGRAM, "env": {}, "args": ["stdio", NEW, "--transport", "sse"]}
        self.assertEqual(after, expected)
        after = self.entry({"command": "mcp-proxy", "args": [], "env": {"SSE_URL": URL}})
        self.assertEqual(after, expected)

    def test_a_url_that_the_client_cannot_use(self) -> None:
        after = self.entry({"type": "http", "url": URL, "headers": {"A": "b"}, "note": "x"})
        words = ["stdio", NEW, "--transport", "http", "--header", "A: b"]
        self.assertEqual(after, {"note": "x", "command": PROGRAM, "args": words})

    def test_a_command_that_is_a_list(self) -> None:
        words = json.dumps(["bunx", "mcp-remote", URL, "--debug"])
        text = f'{{"mcp": {{"x": {{"type": "local", "command": {words}, // y\n}}}}}}'
        after = self.becomes(text, "opencode")
        self.assertIn(f'"command": ["{PROGRAM}", "stdio", "{NEW}"], // y\n', after)

    def test_toml_and_yaml(self) -> None:
        toml = f'[mcp_servers.x]\ncommand = "npx" # c\nargs = ["mcp-remote", "{URL}", "--debug"]\n'
        expected = f'[mcp_servers.x]\ncommand = "{PROGRAM}" # c\nargs = ["stdio", "{NEW}"]\n'
        self.assertEqual(self.becomes(toml, "codex"), expected)
        head = "extensions:\n  x:\n    cmd:"
        yaml = f"{head} npx\n    args:\n    - mcp-remote\n    - {URL}\n    - --debug\n    envs:\n      A: b\n"
        expected = f"{head} {PROGRAM}\n    args:\n    - stdio\n    - {NEW}\n"
        self.assertEqual(self.becomes(yaml, "goose"), expected)

    def test_fields_that_the_listener_sends(self) -> None:
        words = ["mcp-proxy", "-H", "authorization", "Bearer t", "-H", "A", "b", URL]
        after = self.entry({"command": "uvx", "args": words}, without=("authorization",))
        self.assertEqual(after["args"], ["stdio", NEW, "--transport", "sse", "--header", "A: b"])


class OwnTests(SynchronousTestCase):
    """What C{lanrelay stdio} in an entry means."""

    def found(self, *words: str) -> tuple[str, str | None, bool | None, str | None]:
        entry = {"command": PROGRAM, "args": ["stdio", *words]}
        one = finding(json.dumps({"mcpServers": {"x": entry}}))
        return one.leads_to, one.reason, one.works, one.listener

    def test_names_of_listeners(self) -> None:
        for name in ("nas", "nas/other"):
            self.assertEqual(self.found("--header", "A: b", name), ("relay", "already_relayed", True, "nas"))
        self.assertEqual(self.found("other"), ("unknown", "not_understood", False, None))

    def test_urls(self) -> None:
        self.assertEqual(self.found(NEW)[:2], ("relay", "already_relayed"))
        self.assertEqual(self.found(URL)[:2], ("lan", None))
        self.assertEqual(self.found("https://mcp.example.com/")[:2], ("public", "public"))

    def test_programs_and_pipes(self) -> None:
        self.assertEqual(self.found("--", "uvx", "mcp-remote", URL)[:2], ("program", "program"))
        self.assertEqual(self.found("tcp://10.0.0.1:1")[:2], ("unknown", "not_understood"))
