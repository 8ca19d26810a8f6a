from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.usage import Snippet, snippets, told
from lanrelay.clients.places import of_content
from lanrelay.clients.servers import servers
from lanrelay.clients.table import named
from lanrelay.proxy_variables import variables
from tests.clients.support import findings, found


def listener(kind: str, url: str | None, **more: Any) -> dict[str, Any]:
    """One of the status document."""
    return {
        "name": "nine",
        "kind": kind,
        "addresses": ["127.0.0.1:27101"],
        "listening": True,
        "tls": False,
        "mcp": None,
        "mcp_server": None,
        "url": url,
        **more,
    }


def by_client(found: tuple[Snippet, ...]) -> dict[str, str]:
    return {each.client: each.text for each in found}


class UsageTests(SynchronousTestCase):
    def test_each_kind_has_what_applies_to_it(self) -> None:
        http, tcp = "http://127.0.0.1:27101", "tcp://127.0.0.1:27101"
        proxy = ["Shell", "curl", "git", "Browsers and systems"]
        mcp = ["Claude Desktop", "Claude Code", "Cursor", "VS Code", "curl"]
        for kind, url, leads_to, more, expected in (
            ("reverse-proxy", http, "https://nas.lan", {}, ["Browser", "curl"]),
            ("reverse-proxy", f"{http}/mcp", "https://nas.lan", {"mcp": "/mcp"}, mcp),
            ("reverse-proxy", http, "https://nas.lan", {"mcp_server": {"server": "x"}}, mcp),
            ("exec", f"{http}/mcp", "", {"mcp": "/mcp"}, mcp),
            ("exec", tcp, "", {}, ["nc"]),
            ("connect-proxy", http, "", {}, proxy),
            ("socks-proxy", "socks5h://127.0.0.1:27101", "", {}, ["Shell", "curl", "Chromium"]),
            ("tcp-forward", tcp, "tcp://db.lan:5432", {}, ["psql", "nc"]),
            ("tcp-forward", tcp, "tls://cache.lan:6379", {}, ["redis-cli", "nc"]),
            ("tcp-forward", tcp, "tcp://db.lan:3306", {}, ["mysql", "nc"]),
            ("tcp-forward", tcp, "tcp://nas.lan:22", {}, ["ssh", "nc"]),
            ("tcp-forward", tcp, "tcp://nas.lan:443", {}, ["curl", "nc"]),
            ("tcp-forward", tcp, "tcp://nas.lan:4711", {}, ["nc"]),
            ("tcp-forward", tcp, "unix:/run/db.sock", {}, ["nc"]),
            ("tcp-forward", "tls://127.0.0.1:27101", "tcp://db.lan:5432", {"tls": True}, ["openssl"]),
            ("tcp-forward", "unix:/run/a b", "tcp://db.lan:5432", {}, ["nc"]),
            ("reverse-proxy", "http+unix:/run/a b", "https://nas.lan", {}, ["curl"]),
            ("reverse-proxy", None, "https://nas.lan", {"listening": False}, []),
            ("tcp-forward", "tcp://[::1%x]]:y", "tcp://db.lan:5432", {}, []),
            ("tcp-forward", tcp, "tcp://db.lan:x", {}, ["nc"]),
        ):
            made = snippets(listener(kind, url, **more), [leads_to] if leads_to else [])
            self.assertEqual([each.client for each in made], expected, (kind, url))

    def test_lines_name_host_and_port(self) -> None:
        for url, leads_to, client, line in (
            (
                "tcp://127.0.0.1:27101",
                "tcp://db.lan:5432",
                "psql",
                "psql -h 127.0.0.1 -p 27101 -U USER DATABASE",
            ),
            ("tcp://localhost:27101", "tcp://db.lan:3306", "mysql", "mysql -h 127.0.0.1 -P 27101 -u USER -p"),
            ("tcp://[::1]:27101", "tcp://cache.lan:6379", "redis-cli", "redis-cli -h ::1 -p 27101"),
            (
                "tcp://[::1]:27101",
                "tcp://nas.lan:443",
                "curl",
                "curl --connect-to nas.lan:443:[::1]:27101 https://nas.lan/",
            ),
            ("unix:/run/a b", "tcp://db.lan:5432", "nc", "nc -U '/run/a b'"),
        ):
            made = by_client(snippets(listener("tcp-forward", url), [leads_to]))
            self.assertEqual(made[client], line)
        made = by_client(snippets(listener("exec", "http+unix:/run/a b:/mcp", mcp="/mcp"), []))
        self.assertEqual(made["curl"], "curl --unix-socket '/run/a b' http://localhost/mcp")
        made = by_client(snippets(listener("exec", "http+unix:/run/a:/m;id", mcp="/m;id"), []))
        self.assertEqual(made["curl"], "curl --unix-socket /run/a 'http://localhost/m;id'")

    def test_what_clients_read_leads_to_the_relay_and_the_commands_know_it(self) -> None:
        made = snippets(
            listener("reverse-proxy", "http://127.0.0.1:27101/mcp", mcp="/mcp"), ["https://nas.lan"]
        )
        clients = {"Claude Desktop": "claude-desktop", "Cursor": "cursor", "VS Code": "vscode"}
        for each in made:
            client = clients.pop(each.client, None)
            if client is None:
                continue
            place = found(Path(each.place), client)
            read = of_content(place, each.text.encode())
            self.assertEqual([server.name for server in servers(read)], ["nine"])
            judged = [(one.reason, one.listener) for one in findings(read)]
            self.assertEqual(judged, [("already_relayed", "nine")], each.client)
            row = named(client)
            assert row is not None
            self.assertTrue(any(one.path.endswith(each.place.removeprefix("~")) for one in row.files), each)
        self.assertEqual(clients, {})

    def test_the_transport_of_2024_is_said_where_it_is_spoken(self) -> None:
        for url, facts in (
            ("http://127.0.0.1:27101/sse", None),
            ("http://127.0.0.1:27101/mcp", {"era": "2024-11-05"}),
        ):
            path = url[-4:]
            made = by_client(snippets(listener("reverse-proxy", url, mcp=path, mcp_server=facts), []))
            self.assertEqual(made["Claude Code"], f"claude mcp add --transport sse nine {url}")
            self.assertEqual(json.loads(made["VS Code"])["servers"]["nine"], {"type": "sse", "url": url})
            self.assertIn("text/event-stream", made["curl"])

    def test_a_shell_takes_the_variables_as_they_are(self) -> None:
        made = by_client(snippets(listener("connect-proxy", "http://127.0.0.1:27101"), []))
        script = f"{made['Shell']}\nenv -0"
        out = subprocess.check_output(["sh", "-c", script], env={"PATH": os.environ["PATH"]})
        shown = dict(each.split("=", 1) for each in out.decode().split("\0") if each)
        expected = variables("http://127.0.0.1:27101")
        self.assertEqual({name: shown[name] for name in expected}, expected)
        self.assertEqual(made["Browsers and systems"], "http://127.0.0.1:27101/proxy.pac")

    def test_what_a_url_or_a_name_holds_is_one_word_of_the_shell(self) -> None:
        hostile = "http://127.0.0.1:27101/$(id);'\"`x`"
        words = shlex.split(by_client(snippets(listener("reverse-proxy", hostile), []))["curl"])
        self.assertEqual(words, ["curl", hostile])
        one = listener("reverse-proxy", hostile, mcp="/mcp", name="a'; b")
        made = by_client(snippets(one, []))
        self.assertEqual(shlex.split(made["Claude Code"])[-2:], ["a'; b", hostile])
        self.assertEqual(json.loads(made["Cursor"]), {"mcpServers": {"a'; b": {"url": hostile}}})

    def test_an_older_document_tells_no_url(self) -> None:
        for kind, more, expected in (
            ("reverse-proxy", {}, "http://127.0.0.1:27101"),
            ("reverse-proxy", {"tls": True}, "https://127.0.0.1:27101"),
            ("exec", {"mcp": "/mcp"}, "http://127.0.0.1:27101"),
            ("exec", {}, "tcp://127.0.0.1:27101"),
            ("socks-proxy", {}, "socks5h://127.0.0.1:27101"),
            ("tcp-forward", {"tls": True}, "tls://127.0.0.1:27101"),
            ("tcp-forward", {"addresses": ["unix:/run/x"]}, "unix:/run/x"),
            ("tcp-forward", {"addresses": []}, ""),
        ):
            one = listener(kind, None, **more)
            del one["url"]
            self.assertEqual(told(one), expected)
