"""What is learned of an MCP server from what passes, by the plain way and by the general one."""

from __future__ import annotations

import json
from typing import Any

from lanrelay.mcp.known import LONGEST, McpServer
from tests.http.test_exchange import DATE, ExchangeTestCase
from tests.support.memory import MemoryStream

HELLO = {"protocolVersion": "2025-06-18", "serverInfo": {"name": "notes", "version": "1.2"}}


def post(method: str, params: dict[str, Any] | None = None, fields: bytes = b"") -> bytes:
    content = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}).encode()
    return (
        b"POST /mcp HTTP/1.1\r\nHost: localhost:8080\r\nAccept: application/json, text/event-stream\r\n"
        b"Content-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(content), content)
    )


def message(result: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


def whole(content: bytes, fields: bytes = b"") -> bytes:
    kind = b"Content-Type: application/json\r\n"
    return b"HTTP/1.1 200 OK\r\n%b%b%bContent-Length: %d\r\n\r\n%b" % (
        DATE,
        kind,
        fields,
        len(content),
        content,
    )


def stream(*contents: bytes) -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\n%bContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" % DATE
    )
    events = [b"event: message\ndata: %b\n\n" % each for each in contents]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in events)


END = b"0\r\n\r\n"


class OverheardTests(ExchangeTestCase):
    @property
    def server(self) -> McpServer:
        (server,) = self.service.mcp_servers
        return server

    def ask(self, request: bytes) -> MemoryStream:
        self.client.receive(request)
        if self.around.dialer.pending:
            self.origin = self.dialed()
        self.origin.take()
        return self.origin

    def seen(self) -> tuple[str, str, str, int | None]:
        return (self.server.server, self.server.version, self.server.era, self.server.tools)

    def test_by_the_general_way_and_by_the_plain_one(self) -> None:
        for _ in range(2):  # the first time there is no connection yet
            self.ask(post("initialize")).receive(whole(message(HELLO)))
            self.assertEqual(self.session.rpc, "initialize")
            self.assertEqual(self.seen(), ("notes", "1.2", "2025-06-18", None))
            self.client.take()
            self.ask(post("tools/list")).receive(whole(message({"tools": [{}, {}], "nextCursor": "x"})))
            self.ask(post("tools/list", {"cursor": "x"})).receive(whole(message({"tools": [{}]})))
            self.assertEqual(self.seen(), ("notes", "1.2", "2025-06-18", 3))
            self.server.tools, self.server.server = None, ""
            self.client.take()

    def test_by_a_stream_which_passes_as_it_comes(self) -> None:
        origin = self.ask(post("initialize"))
        notice = b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}'
        origin.receive(stream(notice, message(HELLO)))
        self.assertIn(
            b"data: %b\n\nevent: message\ndata: %b\n\n" % (notice, message(HELLO)), self.client.take()
        )
        origin.receive(END)
        self.assertEqual(self.client.take(), END)
        self.assertEqual(self.seen(), ("notes", "1.2", "2025-06-18", None))

    def test_in_pieces(self) -> None:
        origin = self.ask(post("initialize"))
        for byte in stream(message(HELLO)) + END:
            origin.receive(bytes([byte]))
        self.assertEqual(self.server.server, "notes")

    def test_sessions_are_counted_until_they_are_ended(self) -> None:
        begun = b"Mcp-Session-Id: abc\r\n"
        self.ask(post("initialize")).receive(whole(message(HELLO), begun))
        self.assertEqual((self.service.mcp_sessions, self.server.server), (1, "notes"))
        self.ask(post("tools/call", fields=begun)).receive(whole(message({})))
        self.assertEqual(self.session.rpc, "tools/call")
        ending = b"DELETE /mcp HTTP/1.1\r\nHost: localhost:8080\r\n%b\r\n" % begun
        self.ask(ending).receive(b"HTTP/1.1 204 No Content\r\n%b\r\n" % DATE)
        self.assertEqual(self.service.mcp_sessions, 0)

    def test_what_is_no_good_answer_teaches_nothing(self) -> None:
        good = whole(message(HELLO))
        for answer in (
            good.replace(b"200 OK", b"401 Unauthorized"),
            good.replace(b"200 OK", b"201 Created"),
            whole(b"x" * 10),
            whole(b'{"result": {"serverInfo": {"name": "n"}}, "x": "' + b"x" * LONGEST + b'"}'),
        ):
            self.ask(post("initialize")).receive(answer)
            self.assertEqual(self.client.take()[-5:], answer[-5:])
            self.assertFalse(self.server.known, answer[:300])

    def test_the_method_is_known_of_what_comes_in_one_piece_alone(self) -> None:
        request = post("tools/call", {"name": "a tool with a long name"})
        self.client.receive(request[:-20])
        self.client.receive(request[-20:])
        origin = self.dialed()
        origin.receive(whole(message({})))
        self.assertEqual(self.session.rpc, "tools/call")  # what came first told it
        at = request.index(b"\r\n\r\n") + 4
        for piece in (request[:at], request[at : at + 10], request[at + 10 :]):
            self.client.receive(piece)
        origin.receive(whole(message({})))
        self.assertEqual(self.session.rpc, "")
