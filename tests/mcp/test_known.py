from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.mcp.known import McpServer, McpServers
from lanrelay.mcp.sessions import Carrier, Session
from lanrelay.mcp.text import read


def answer(result: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


HELLO = answer({"protocolVersion": "2025-06-18", "serverInfo": {"name": "notes", "version": "1.2"}})


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = McpServer()

    def seen(self) -> tuple[str, str, str, int | None]:
        return (self.server.server, self.server.version, self.server.era, self.server.tools)

    def test_by_a_handshake_and_a_list(self) -> None:
        self.assertFalse(self.server.known)
        self.server.answered("initialize", [b"{}", answer({}), HELLO][2:])
        self.assertTrue(self.server.known)
        self.assertEqual(self.seen(), ("notes", "1.2", "2025-06-18", None))
        self.server.answered("tools/list", [answer({"tools": [{}, {}]})])
        self.assertEqual(self.seen(), ("notes", "1.2", "2025-06-18", 2))

    def test_by_a_discovery(self) -> None:
        info = {"io.modelcontextprotocol/serverInfo": {"name": "notes", "version": "2"}}
        self.server.answered(
            "server/discover", [answer({"supportedVersions": ["2025-06-18"], "_meta": info})]
        )
        self.assertFalse(self.server.known)
        self.server.answered(
            "server/discover", [answer({"supportedVersions": ["2026-07-28"], "_meta": info})]
        )
        self.assertEqual(self.seen(), ("notes", "2", "2026-07-28", None))

    def test_a_list_in_pages(self) -> None:
        self.server.answered("tools/list", [answer({"tools": [{}, {}], "nextCursor": "x"})])
        self.assertIsNone(self.server.tools)
        self.server.answered("tools/list", [answer({"tools": [{}]})], first=False)
        self.assertEqual(self.server.tools, 3)
        self.server.answered("tools/list", [answer({"tools": [{}]})])
        self.assertEqual(self.server.tools, 1)

    def test_the_message_that_answers_is_found_among_others(self) -> None:
        notice = b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}'
        self.server.answered("initialize", [notice, b"no json", HELLO])
        self.assertEqual(self.server.server, "notes")

    def test_another_server_has_other_tools(self) -> None:
        self.server.answered("tools/list", [answer({"tools": [{}]})])
        self.server.answered("initialize", [HELLO])
        self.assertIsNone(self.server.tools)

    def test_nonsense_teaches_nothing(self) -> None:
        for method in ("initialize", "tools/list", "server/discover", "tools/call"):
            for text in (b"", b"[]", b"{}", b'{"result": 7}', b"[" * 100_000, b'{"result": {"tools": 7}}'):
                self.server.answered(method, [text])
            self.server.answered(method, [answer({"serverInfo": [], "supportedVersions": {}, "_meta": 1})])
        self.assertFalse(self.server.known)

    def test_what_it_is_called_is_one_short_line(self) -> None:
        self.server.answered(
            "initialize", [answer({"serverInfo": {"name": "a\x1b[2J\n" + "x" * 1000, "version": 7}})]
        )
        self.assertEqual((self.server.server[:7], len(self.server.server)), ("a?[2J?x", 100))
        self.assertEqual(self.server.version, "")


class CarrierTests(SynchronousTestCase):
    def test_what_a_program_says_of_itself_is_noted(self) -> None:
        for shared in (False, True):
            lines: list[bytes] = []
            carrier = Carrier(lines.append, lambda sentence: None, shared=shared)
            carrier.server = server = McpServer()
            session = Session()
            carrier.add(session)
            for method, result in (
                (
                    "initialize",
                    {"protocolVersion": "2025-06-18", "serverInfo": {"name": "notes", "version": "1"}},
                ),
                ("tools/list", {"tools": [{}, {}]}),
                ("tools/call", {"serverInfo": {"name": "other"}, "tools": []}),
            ):
                asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}
                carrier.client_says(session, read(json.dumps(asked).encode())[0], session.stream())
                identity = json.loads(lines[-1])["id"]
                reply = {"jsonrpc": "2.0", "id": identity, "result": result}
                carrier.program_says(json.dumps(reply).encode())
            self.assertEqual(
                (server.server, server.version, server.era, server.tools), ("notes", "1", "2025-06-18", 2)
            )


class ServersTests(SynchronousTestCase):
    def test_one_is_kept_as_long_as_it_leads_there(self) -> None:
        servers = McpServers()
        one, other = servers.of("web", "/", "http://a"), servers.of("web", "/", "http://b")
        self.assertIsNot(one, other)
        servers.keep([other])
        self.assertIs(servers.of("web", "/", "http://b"), other)
        self.assertIsNot(servers.of("web", "/", "http://a"), one)
