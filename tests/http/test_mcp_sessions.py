"""Tests of MCP sessions that an upstream has forgotten, in memory."""

from __future__ import annotations

from typing import Any

from lanrelay.config import model
from lanrelay.http import mcp_sessions
from lanrelay.http.held import INITIALIZE_MAX
from lanrelay.http.mcp_sessions import ID_MAX, SESSIONS_MAX, McpSessions
from lanrelay.wire.sse import messages
from tests.http.test_exchange import ExchangeTestCase
from tests.support.listening import accept
from tests.support.memory import MemoryStream

INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"clientInfo":{"name":"x"}}}'
CALL = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{}}'
RESULT = b'{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}'
NOT_FOUND = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Session not found"}}'
VERSION = "MCP-Protocol-Version: 2025-06-18"


def post(content: bytes, *fields: str, method: str = "POST") -> bytes:
    lines = [f"{method} /mcp?x=1 HTTP/1.1", "Host: localhost:8080", "Content-Type: application/json"]
    return "\r\n".join([*lines, *fields, f"Content-Length: {len(content)}", "", ""]).encode() + content


def answer(content: bytes, *fields: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(content)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + content


def lost(*fields: str) -> bytes:
    return answer(NOT_FOUND, *fields, status="404 Not Found")


ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


class RecoveryTestCase(ExchangeTestCase):
    def serve(self, *names: str, retry: model.Retry | None = None, **keys: Any) -> None:
        keys.setdefault("session_recovery", True)
        super().serve(*names, retry=retry, **keys)

    @property
    def sessions(self) -> McpSessions:
        route = self.service.routes[0]
        if route.sessions is None:
            route.session_began(b"", b"")  # which is none
        assert route.sessions is not None
        return route.sessions

    def begin(self, name: str = "old") -> None:
        """A client begins a session, which the upstream calls C{name}."""
        self.origin: MemoryStream = self.asked(post(INITIALIZE))
        self.origin.take()
        self.origin.receive(answer(RESULT, f"Mcp-Session-Id: {name}"))
        self.assertIn(f"Mcp-Session-Id: {name}\r\n".encode(), self.client.take())

    def ask(self, content: bytes = CALL, *fields: str, session: str = "old", method: str = "POST") -> bytes:
        """The client sends a request in its session; what the upstream is sent for it."""
        self.client.receive(post(content, f"Mcp-Session-Id: {session}", *fields, method=method))
        return self.origin.take()

    def initialised(self, name: str = "new", *fields: str) -> None:
        """The upstream agrees to a new session."""
        sent = self.origin.take()
        self.assertTrue(sent.startswith(b"POST /mcp?x=1 HTTP/1.1\r\nHost: nas.lan\r\n"), sent)
        self.assertTrue(sent.endswith(b"\r\n\r\n" + INITIALIZE))
        self.assertNotIn(b"Mcp-", sent)
        self.assertNotIn(b"MCP-", sent)
        self.origin.receive(answer(RESULT, f"Mcp-Session-Id: {name}", *fields))
        sent = self.origin.take()
        self.assertIn(f"Mcp-Session-Id: {name}\r\n".encode(), sent)
        self.assertTrue(sent.endswith(b'"method":"notifications/initialized"}'))
        self.origin.receive(ACCEPTED)

    def repeated(self) -> bytes:
        """What is sent on the new connection, on which a request is repeated."""
        self.origin = self.dialed()
        return self.origin.take()


class RecoveryTests(RecoveryTestCase):
    def test_the_client_notices_nothing(self) -> None:
        self.begin()
        sent = self.ask(CALL, VERSION, "Authorization: Bearer now", "X-One: 1")
        self.assertIn(b"Mcp-Session-Id: old\r\n", sent)
        self.origin.receive(lost())
        self.assertEqual(self.client.take(), b"")
        self.initialised()
        sent = self.repeated()
        self.assertTrue(sent.startswith(b"POST /mcp?x=1 HTTP/1.1\r\n"))
        self.assertIn(b"Mcp-Session-Id: new\r\n", sent)
        for field in (VERSION, "Authorization: Bearer now", "X-One: 1"):
            self.assertIn(field.encode() + b"\r\n", sent)
        self.assertTrue(sent.endswith(CALL))
        self.origin.receive(answer(b"{}", "Mcp-Session-Id: new"))
        came = self.client.take()
        self.assertTrue(came.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertIn(b"Mcp-Session-Id: old\r\n", came)
        self.assertNotIn(b"Mcp-Session-Id: new", came)
        self.assertEqual((self.session.status, self.session.phase), (200, "done"))
        self.client.receive_eof()
        self.assertAllOver()

    def test_one_that_began_on_the_plain_way(self) -> None:
        """As most do, for the connection was kept: only its answer shows what the request was."""
        self.origin = self.asked(b"GET /x HTTP/1.1\r\nHost: localhost:8080\r\n\r\n")
        self.origin.receive(answer(b"{}"))
        for _ in range(5):  # so often that its head is known
            self.client.receive(post(INITIALIZE))
            self.origin.receive(answer(RESULT))
        self.client.take()
        self.origin.take()
        self.client.receive(post(INITIALIZE))
        connection: Any = self.client.protocol
        self.assertTrue(connection.plain)
        self.origin.receive(answer(RESULT, "Mcp-Session-Id: old"))
        self.assertIn(b"Mcp-Session-Id: old\r\n", self.client.take())
        self.origin.take()
        self.ask()
        self.origin.receive(lost())
        self.initialised()
        self.assertIn(b"Mcp-Session-Id: new\r\n", self.repeated())

    def test_what_is_no_mcp_goes_the_plain_way(self) -> None:
        self.begin()
        for request in (post(CALL), post(b"{}"), b"GET /x HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"):
            self.client.receive(request)
            connection: Any = self.client.protocol
            self.assertTrue(connection.plain)
            self.origin.receive(answer(b"{}"))
            self.assertFalse(connection.plain)
        self.assertEqual(len(self.sessions), 1)

    def test_later_requests_are_sent_in_the_new_session(self) -> None:
        self.begin()
        self.ask()
        self.origin.receive(lost())
        self.initialised()
        self.repeated()
        self.origin.receive(answer(b"{}"))
        self.client.take()
        self.assertIn(b"Mcp-Session-Id: new\r\n", self.ask())
        self.origin.receive(lost())  # forgotten once more
        self.initialised("third")
        self.assertIn(b"Mcp-Session-Id: third\r\n", self.repeated())

    def test_credentials_are_those_of_the_request(self) -> None:
        self.origin = self.asked(post(INITIALIZE, "Authorization: Bearer then", "Cookie: then"))
        self.origin.take()
        self.origin.receive(answer(RESULT, "Mcp-Session-Id: old"))
        self.ask(CALL, "Authorization: Bearer now", VERSION)
        self.origin.receive(lost())
        sent = self.origin.take()
        self.assertIn(b"Authorization: Bearer now\r\n", sent)
        self.assertNotIn(b"then", sent)
        self.origin.receive(answer(RESULT, "Mcp-Session-Id: new"))
        sent = self.origin.take()
        self.assertIn(b"Authorization: Bearer now\r\n", sent)
        self.assertIn(VERSION.encode() + b"\r\n", sent)

    def test_who_is_logged_in_on_a_connection_is_so_all_the_while(self) -> None:
        self.begin()
        self.ask()
        self.origin.receive(answer(b"{}", "WWW-Authenticate: NTLM", status="401 Unauthorized"))
        for token in ("one", "two"):  # of which the second logs in
            self.assertIn(f": NTLM {token}".encode(), self.ask(CALL, f"Authorization: NTLM {token}"))
            self.origin.receive(answer(b"{}"))
        self.client.take()
        self.ask()
        self.origin.receive(lost())
        self.initialised()
        self.assertIn(b"Mcp-Session-Id: new\r\n", self.origin.take())  # the same connection
        self.origin.receive(answer(b"{}"))
        self.assertIn(b" 200 OK", self.client.take())
        self.client.lose()
        self.assertFalse(self.origin.connected)
        self.assertAllOver()

    def test_what_logs_in_a_connection_is_not_said_twice(self) -> None:
        self.begin()
        self.ask(CALL, "Authorization: Negotiate x")
        self.origin.receive(lost())
        self.assertIn(b" 404 Not Found", self.client.take())
        self.assertEqual(self.origin.take(), b"")

    def test_the_get_stream(self) -> None:
        self.begin()
        stream = b"GET /mcp?x=1 HTTP/1.1\r\nHost: localhost:8080\r\nMcp-Session-Id: old\r\n"
        self.client.receive(stream + b"Accept: text/event-stream\r\nLast-Event-ID: 7\r\n\r\n")
        self.assertIn(b"Last-Event-ID: 7\r\n", self.origin.take())
        self.origin.receive(lost())
        self.initialised()
        sent = self.repeated()
        self.assertTrue(sent.startswith(b"GET /mcp?x=1 "))
        self.assertIn(b"Mcp-Session-Id: new\r\n", sent)
        self.assertNotIn(b"Last-Event-ID", sent)

    def test_an_event_stream_as_the_answer_to_initialize(self) -> None:
        self.begin()
        self.ask()
        self.origin.receive(lost())
        self.origin.take()
        self.origin.receive(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nMcp-Session-Id: new\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        event = b"id: 1\r\ndata: \r\n\r\nevent: message\r\ndata: " + RESULT + b"\r\n\r\n"
        self.origin.receive(b"%x\r\n%b\r\n" % (len(event), event))  # and it stays open
        self.assertTrue(self.origin.aborted)
        self.origin = self.dialed()
        self.assertIn(b"notifications/initialized", self.origin.take())
        self.origin.receive(ACCEPTED)
        self.assertIn(b"Mcp-Session-Id: new\r\n", self.repeated())

    def test_each_event_before_the_answer_to_initialize_is_looked_at_once(self) -> None:
        looked_at: list[int] = []

        def counted(content: bytes) -> list[bytes]:
            looked_at.append(len(content))
            return messages(content)

        self.patch(mcp_sessions, "messages", counted)
        self.begin()
        self.ask()
        self.origin.receive(lost())
        self.origin.receive(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nMcp-Session-Id: new\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(2000):
            self.origin.receive(b"3\r\n\n\n:\r\n")
        self.assertLess(sum(looked_at), 3 * 3 * 2000)
        part = b"\ndata: " + RESULT + b"\n\n: more"
        for at in range(len(part)):
            self.origin.receive(b"1\r\n%c\r\n" % part[at])
            if self.origin.aborted:
                break
        self.assertTrue(part[: at + 1].endswith(RESULT + b"\n\n"))

    def test_requests_that_find_it_forgotten_together_share_one_recovery(self) -> None:
        self.begin()
        other = accept(self.service)
        self.ask()
        other.receive(post(b"{}", "Mcp-Session-Id: old"))
        second = self.dialed()
        second.take()
        self.origin.receive(lost())
        second.receive(lost())
        self.assertEqual(second.take(), b"")
        self.initialised()
        for content in (CALL, b"{}"):
            sent = self.repeated()
            self.assertIn(b"Mcp-Session-Id: new\r\n", sent)
            self.assertTrue(sent.endswith(b"\r\n\r\n" + content))

    def test_one_that_comes_late_uses_what_was_recovered(self) -> None:
        self.begin()
        other = accept(self.service)
        self.ask()
        other.receive(post(b"{}", "Mcp-Session-Id: old"))
        second = self.dialed()
        self.origin.receive(lost())
        self.initialised()
        self.repeated()
        second.take()
        second.receive(lost())
        sent = self.repeated()
        self.assertIn(b"Mcp-Session-Id: new\r\n", sent)
        self.assertTrue(sent.endswith(b"\r\n\r\n{}"))

    def test_a_client_that_leaves_does_not_stop_the_others(self) -> None:
        self.begin()
        other = accept(self.service)
        self.ask()
        other.receive(post(b"{}", "Mcp-Session-Id: old"))
        second = self.dialed()
        self.origin.receive(lost())
        second.take()
        second.receive(lost())
        self.client.receive_eof()
        self.initialised()
        self.assertTrue(self.repeated().endswith(b"\r\n\r\n{}"))
        self.origin.receive(answer(b"{}"))
        other.receive_eof()
        self.assertAllOver()

    def test_delete_ends_it(self) -> None:
        self.begin()
        self.ask()
        self.origin.receive(lost())
        self.initialised()
        self.repeated()
        self.origin.receive(answer(b"{}"))
        self.client.take()
        self.assertIn(b"Mcp-Session-Id: new\r\n", self.ask(b"", method="DELETE"))
        self.origin.receive(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.client.take()
        self.assertEqual(len(self.sessions), 0)
        self.assertIn(b"Mcp-Session-Id: old\r\n", self.ask())
        self.origin.receive(lost())
        self.assertIn(b" 404 ", self.client.take())

    def test_delete_of_a_forgotten_session_begins_none(self) -> None:
        self.begin()
        self.ask(b"", method="DELETE")
        self.origin.receive(lost())
        self.assertIn(b" 404 ", self.client.take())
        self.assertEqual(len(self.sessions), 0)

    def test_a_delete_that_is_refused_ends_nothing(self) -> None:
        self.begin()
        self.ask(b"", method="DELETE")
        self.origin.receive(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(len(self.sessions), 1)


class MemoryTests(RecoveryTestCase):
    def test_what_is_remembered_is_bounded(self) -> None:
        for number in range(SESSIONS_MAX + 10):
            self.sessions.began(b"%d" % number, INITIALIZE)
            self.sessions.find(b"0")
        self.assertEqual(len(self.sessions), SESSIONS_MAX)
        self.assertIsNotNone(self.sessions.find(b"0"))
        self.assertIsNone(self.sessions.find(b"1"))
        self.assertIsNotNone(self.sessions.find(b"%d" % (SESSIONS_MAX + 9)))

    def test_only_what_begins_a_session(self) -> None:
        for client_id, content in (
            (b"a", CALL),
            (b"b", b"[]"),
            (b"c", b"x"),
            (b"d", INITIALIZE[:-1] + b" " * INITIALIZE_MAX + b"}"),
            (b"e" * (ID_MAX + 1), INITIALIZE),
            (b"", INITIALIZE),
        ):
            self.sessions.began(client_id, content)
        self.assertEqual(len(self.sessions), 0)

    def test_an_error_begins_none(self) -> None:
        origin = self.asked(post(INITIALIZE))
        origin.receive(answer(b"{}", "Mcp-Session-Id: x", status="400 Bad Request"))
        self.assertEqual(len(self.sessions), 0)

    def test_no_field_is_kept(self) -> None:
        self.origin = self.asked(post(INITIALIZE, "Authorization: Bearer secret"))
        self.origin.receive(answer(RESULT, "Mcp-Session-Id: old"))
        found = self.sessions.find(b"old")
        assert found is not None
        self.assertEqual(found.initialize, INITIALIZE)

    def test_the_end_of_the_listener_ends_a_recovery(self) -> None:
        self.begin()
        self.ask()
        self.origin.receive(lost())
        stopping = self.service.stopService()
        self.assertIn(b" 404 ", self.client.take())
        self.client.receive_eof()
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])
