"""When a session that an upstream has forgotten is not begun anew."""

from __future__ import annotations

from lanrelay.config import model
from lanrelay.errors import ConnectionRefused
from lanrelay.http.held import ANSWER_MAX, BODY_MAX, HELD
from lanrelay.http.mcp_sessions import ID_MAX, PATIENCE
from tests.http.test_mcp_sessions import (
    CALL,
    NOT_FOUND,
    RESULT,
    RecoveryTestCase,
    answer,
    lost,
    post,
)


class NoRecoveryTests(RecoveryTestCase):
    def assertPassed(self) -> None:
        came = self.client.take()
        self.assertTrue(came.startswith(b"HTTP/1.1 404 Not Found\r\n"), came)
        self.assertTrue(came.endswith(b"\r\n\r\n" + NOT_FOUND))
        self.assertEqual((self.session.status, self.session.phase), (404, "done"))

    def test_never_twice_for_one_request(self) -> None:
        self.begin()
        self.ask()
        self.origin.receive(lost())
        self.initialised()
        self.repeated()
        self.origin.receive(lost())
        self.assertPassed()

    def test_a_session_that_is_not_known(self) -> None:
        self.begin()
        self.ask(session="other")
        self.origin.receive(lost())
        self.assertPassed()

    def test_a_404_without_a_session(self) -> None:
        self.begin()
        self.client.receive(post(CALL))
        self.origin.receive(lost())
        self.assertPassed()

    def test_another_status(self) -> None:
        self.begin()
        for status in ("400 Bad Request", "401 Unauthorized", "410 Gone"):
            self.ask()
            self.origin.receive(answer(b"{}", status=status))
            self.assertIn(status.encode(), self.client.take())

    def test_it_can_be_switched_off(self) -> None:
        self.assertTrue(model.ReverseProxy(name="x", listen=(), routes=()).session_recovery)
        self.serve(session_recovery=False)
        self.begin()
        self.ask()
        self.origin.receive(lost())
        self.assertPassed()

    def test_initialize_that_fails(self) -> None:
        for reply in (
            answer(b"{}", status="500 Internal Server Error"),
            answer(b"{}", status="401 Unauthorized"),
            lost(),
            answer(RESULT),
            answer(b'{"jsonrpc":"2.0","id":0,"error":{}}', "Mcp-Session-Id: new"),
            answer(b"no JSON", "Mcp-Session-Id: new"),
            answer(RESULT, "Mcp-Session-Id: " + "x" * (ID_MAX + 1)),
            answer(b" " * (ANSWER_MAX + 1), "Mcp-Session-Id: new"),
            answer(RESULT, "Mcp-Session-Id: new", kind="text/event-stream"),
            b"HTTP/1.1 200\r\n\rx",
        ):
            self.serve()
            self.begin()
            self.ask()
            self.origin.receive(lost())
            self.origin.take()
            self.origin.receive(reply)
            self.assertPassed()
            self.client.receive_eof()
            self.assertAllOver()

    def test_another_version_of_the_protocol(self) -> None:
        self.begin()
        self.ask(CALL, "MCP-Protocol-Version: 2025-03-26")
        self.origin.receive(lost())
        self.origin.take()
        self.origin.receive(answer(RESULT, "Mcp-Session-Id: new"))
        self.assertPassed()

    def test_initialized_that_fails(self) -> None:
        self.begin()
        self.ask()
        self.origin.receive(lost())
        self.origin.take()
        self.origin.receive(answer(RESULT, "Mcp-Session-Id: new"))
        self.origin.take()
        self.origin.receive(answer(b"", status="400 Bad Request"))
        self.assertPassed()

    def test_an_upstream_that_has_gone(self) -> None:
        self.serve(retry=model.Retry(duration=0))
        self.begin()
        self.ask()
        self.origin.receive(lost("Connection: close"))
        self.around.dialer.fail(ConnectionRefused("refused"))
        self.assertPassed()

    def test_one_that_does_not_answer(self) -> None:
        self.begin()
        self.ask()
        self.origin.receive(lost())
        self.clock.advance(PATIENCE - 1)
        self.assertEqual(self.client.take(), b"")
        self.clock.advance(2)
        self.assertPassed()
        self.assertTrue(self.origin.aborted)
        self.client.receive_eof()
        self.assertAllOver()

    def test_a_client_that_leaves_meanwhile_leaves_nothing(self) -> None:
        self.begin()
        self.ask()
        self.origin.receive(lost())
        self.client.receive_eof()
        self.assertEqual(self.session.ended_by, "downstream")
        self.assertAllOver()

    def test_a_request_that_is_too_long_to_keep(self) -> None:
        self.begin()
        self.ask(b" " * (BODY_MAX + 1))
        self.origin.receive(lost())
        self.assertPassed()

    def test_a_request_that_is_not_whole(self) -> None:
        self.begin()
        self.client.receive(post(CALL, "Mcp-Session-Id: old")[:-1])
        self.origin.receive(lost())
        self.assertIn(b" 404 ", self.client.take())

    def test_a_404_that_is_too_long_to_hold(self) -> None:
        self.begin()
        self.ask()
        content = b"x" * (ANSWER_MAX + 1)
        self.origin.receive(answer(content, status="404 Not Found"))
        came = self.client.take()
        self.assertTrue(came.endswith(b"\r\n\r\n" + content))
        self.assertEqual(len(self.around.dialer.asked), 1)

    def test_a_404_that_does_not_end_passes_after_a_while(self) -> None:
        self.begin()
        self.ask()
        self.origin.receive(b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\n12345")
        self.clock.advance(HELD - 0.1)
        self.assertEqual(self.client.take(), b"")
        self.clock.advance(0.2)
        came = self.client.take()
        self.assertTrue(came.startswith(b"HTTP/1.1 404 Not Found\r\n"), came)
        self.assertTrue(came.endswith(b"\r\n\r\n12345"), came)
        self.origin.receive(b"67890")
        self.assertEqual(self.client.take(), b"67890")
        self.assertEqual((self.session.status, self.session.sent, self.session.phase), (404, 10, "done"))
        self.ask()  # the next one may still find out
        self.origin.receive(lost())
        self.initialised()
        self.client.receive_eof()
        self.assertAllOver()

    def test_a_404_that_is_cut(self) -> None:
        self.begin()
        self.ask()
        self.origin.receive(b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nx")
        self.origin.receive_eof()
        self.assertIn(b"HTTP/1.1 502 ", self.client.take())
