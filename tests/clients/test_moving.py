"""Credentials that leave an entry, in every way in which it names them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.clients.finding import Finding, judged
from lanrelay.clients.moving import credentials
from lanrelay.clients.places import of_content
from lanrelay.clients.servers import servers
from lanrelay.edit.formats.edit import apply
from lanrelay.edit.formats.tree import NotEdited
from tests.clients.support import found

URL = "http://10.0.0.1/mcp"


def finding(entry: dict[str, Any]) -> Finding:
    content = json.dumps({"mcpServers": {"x": entry}}).encode()
    read = of_content(found(Path("mcp.json"), "cursor"), content)
    [one] = judged(servers(read), relays={}, resolve=lambda _: {})
    return one


def command(line: str, **environment: str) -> dict[str, Any]:
    program, *arguments = shlex.split(line)
    return {"command": program, "args": arguments, "env": environment}


class MovingTests(SynchronousTestCase):
    def moved(self, entry: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
        """The fields, and what is left of the entry."""
        one = finding(entry)
        moved = credentials(one)
        read = one.server.read
        after = json.loads(apply(read.found.format, read.text, moved.changes))
        return dict(moved.fields), after["mcpServers"]["x"]

    def test_fields_of_a_url(self) -> None:
        headers = {
            "Authorization": "Bearer a",
            "X-API-Key": "b",
            "X-Auth-Token": "c",
            "Accept": "d",
            "X-Keyboard": "e",
        }
        fields, left = self.moved({"url": URL, "headers": headers})
        self.assertEqual(fields, {"Authorization": "Bearer a", "X-API-Key": "b", "X-Auth-Token": "c"})
        self.assertEqual(left, {"url": URL, "headers": {"Accept": "d", "X-Keyboard": "e"}})

    def test_options_of_bridges(self) -> None:
        for line, fields, left in (
            (
                f"npx mcp-remote {URL} --header 'Authorization: Bearer a' --header X-A:b --header X-Key:c",
                {"Authorization": "Bearer a", "X-Key": "c"},
                f"mcp-remote {URL} --header X-A:b",
            ),
            (
                f"uvx mcp-proxy -H Authorization 'Bearer a' --transport sse {URL}",
                {"Authorization": "Bearer a"},
                f"mcp-proxy --transport sse {URL}",
            ),
            (f"uvx mcp-stdio --bearer-token a {URL}", {"Authorization": "Bearer a"}, f"mcp-stdio {URL}"),
            (
                f"npx -y supergateway --sse {URL} --oauth2Bearer=a",
                {"Authorization": "Bearer a"},
                f"-y supergateway --sse {URL}",
            ),
        ):
            found, entry = self.moved(command(line))
            self.assertEqual((found, entry["args"]), (fields, shlex.split(left)), line)

    def test_the_variable_of_a_bridge(self) -> None:
        fields, left = self.moved(command(f"mcp-proxy {URL}", API_ACCESS_TOKEN="a", B="c"))
        self.assertEqual((fields, left["env"]), ({"Authorization": "Bearer a"}, {"B": "c"}))

    def test_what_only_the_client_knows_stays(self) -> None:
        for entry in (
            {"url": URL, "headers": {"Authorization": "Bearer ${env:A}"}},
            command(f"npx mcp-remote {URL} --header 'Authorization:${{A}}'", A="b"),
            command(f"npx mcp-remote --allow-http {URL} --header Authorization:b"),
        ):
            self.assertRaises(NotEdited, credentials, finding(entry))

    def test_the_same_credentials_are_equal(self) -> None:
        one = credentials(finding({"url": URL, "headers": {"authorization": "Bearer a"}}))
        other = credentials(finding(command(f"mcp-proxy {URL}", API_ACCESS_TOKEN="a")))
        self.assertEqual(one.key, other.key)
        self.assertNotEqual(one.key, credentials(finding({"url": URL})).key)
