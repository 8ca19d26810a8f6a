"""The requests of MCP sessions, told the plain way and the general way."""

from __future__ import annotations

from itertools import product
from typing import Any

from hypothesis import strategies as st

from lanrelay.http.plain import PlainExchange
from tests.http.test_exchange import DATE
from tests.http.test_plain import CHUNKED, POST, PlainTestCase, Step, with_field
from tests.support.listening import accept
from tests.support.properties import given, settings

POST_KEPT = with_field(POST, b"Connection: keep-alive")
CALL = b"{}"
INITIALIZE = b'{"jsonrpc":"2.0","id":0,"method":"initialize"}'
STARTED = b'{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18"}}'


def post(content: bytes, session: bytes = b"", method: bytes = b"POST") -> bytes:
    field = b"Mcp-Session-Id: %b\r\n" % session if session else b""
    return (
        b"%b /mcp HTTP/1.1\r\nHost: localhost:8080\r\nAccept: application/json, text/event-stream\r\n"
        b"Accept-Encoding: gzip\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
    ) % (method, field, len(content), content)


def answer(content: bytes, session: bytes = b"", status: bytes = b"200 OK") -> bytes:
    field = b"Mcp-Session-Id: %b\r\n" % session if session else b""
    return b"HTTP/1.1 %b\r\n%b%bContent-Length: %d\r\n\r\n%b" % (status, DATE, field, len(content), content)


LOST = answer(b"no session", status=b"404 Not Found")
BEGUN: list[Step] = [("ask", post(INITIALIZE)), ("answer", answer(STARTED, b"old"))]
CALLED: list[Step] = [("ask", post(CALL, b"old")), ("answer", answer(CALL))]
RECOVERED: list[Step] = [  # it is initialised anew, and what was asked is asked again
    ("answer", answer(STARTED, b"new")),
    ("answer", answer(b"", status=b"202 Accepted")),
    ("dial", None),
    ("answer", answer(CALL)),
]
SESSION_REQUESTS = [
    *(post(INITIALIZE), post(CALL), post(CALL, b"old"), post(CALL, b"new"), post(CALL, b"other")),
    *(post(b"", b"old", b"DELETE"), post(b"", b"old", b"GET"), with_field(post(CALL, b"old"), b"X-Id: 7")),
    with_field(post(CALL, b"old"), b"Last-Event-Id: 7"),
]
SESSION_ANSWERS = [
    *(answer(STARTED, b"old"), answer(STARTED, b"new"), answer(CALL), answer(CALL, b"old"), LOST, CHUNKED),
    *(answer(b"", status=b"202 Accepted"), answer(b"x", b"old", b"404 Not Found"), answer(b"x", b"old")),
    answer(b"Invalid Host", status=b"421 Misdirected"),
]
SESSION_STORIES = st.lists(
    st.tuples(st.just("ask"), st.sampled_from(SESSION_REQUESTS))
    | st.tuples(st.just("answer"), st.sampled_from(SESSION_ANSWERS))
    | st.tuples(st.just("dial"), st.none()),
    max_size=12,
)


class SessionTests(PlainTestCase):
    """The requests of an MCP session that are answered with JSON, until the session is lost."""

    def told(self, steps: list[Step], *, plain: bool, **keys: Any) -> list[Any]:
        self.went: list[bool] = []
        return super().told(steps, plain=plain, **keys)

    def do_ask(self, data: bytes) -> None:
        super().do_ask(data)
        protocol = self.client.protocol
        self.went.append(isinstance(protocol, PlainExchange) and protocol.plain)

    def took_each(self, *steps: Step) -> list[bool]:
        """Which of the requests went the plain way, in a story that is the same told either way."""
        self.same(*steps, took=False)
        return self.went

    def test_they_take_plain(self) -> None:
        self.assertEqual(self.took_each(*BEGUN, *CALLED * 6), [True] * 7)
        echoed = ("answer", answer(CALL, b"old"))
        self.assertEqual(self.took_each(*BEGUN, *[CALLED[0], echoed] * 6), [True] * 7)

    def test_so_do_those_of_a_session_that_is_not_known(self) -> None:
        self.assertEqual(
            self.took_each(*[("ask", post(CALL, b"x")), ("answer", answer(CALL, b"x"))] * 6), [True] * 6
        )

    def test_one_that_was_forgotten_is_begun_anew(self) -> None:
        for times in range(6):
            steps = [*BEGUN, *CALLED * times, ("ask", post(CALL, b"old")), ("answer", LOST), *RECOVERED]
            story = self.same(*steps)[0]
            self.assertIn(b"Mcp-Session-Id: new", story[-2][1][0][1])  # asked again
            self.assertIn(b"200 OK", story[-1][1][0][0])
            # From now on the upstream has to be told another id.
            took = self.took_each(*steps, *CALLED * 2)
            self.assertEqual(took, [True] * (2 + times) + [False] * 2)
            story = self.same(*steps, *CALLED * 2)[0]
            self.assertIn(b"Mcp-Session-Id: new", story[-2][1][0][1])

    def test_one_that_was_forgotten_while_another_client_asks_in_it(self) -> None:
        """Whose request, which bore the id of before, is no reason to begin the session once more."""
        for plain, late in product((False, True), (LOST, answer(CALL, b"new"), answer(CALL, b"old"))):
            self.serve()
            if not plain:
                self.service._plain = None
            clients = [accept(self.service) for _ in range(2)]
            origins = []
            for client in clients:
                client.receive(post(INITIALIZE))
                origins.append(self.dialed())
            for each in origins:
                each.receive(answer(STARTED, b"old"))
            for client in clients:
                client.receive(post(CALL, b"old"))
                if plain:
                    self.assertTrue(client.protocol.plain)
            for each in (*clients, *origins):
                each.take()
            origins[0].receive(LOST)
            for _, came in RECOVERED[:2]:
                origins[0].receive(came)
            origins[1].receive(late)
            self.assertEqual(origins[1].take(), b"")  # it is not initialised once more
            for _ in clients if late is LOST else clients[:1]:
                origin = self.dialed()
                again = origin.take()
                self.assertIn(b"Mcp-Session-Id: new", again)
                self.assertTrue(again.endswith(CALL))
                origin.receive(answer(CALL))
            for client in clients:
                said = client.take()
                self.assertIn(b"HTTP/1.1 200 OK", said)
                self.assertNotIn(b"new", said)  # which no client has heard of

    def test_its_end(self) -> None:
        end: list[Step] = [("ask", post(b"", b"old", b"DELETE")), ("answer", answer(b""))]
        self.assertEqual(self.took_each(*BEGUN, *CALLED, *end, *CALLED), [True, True, False, True])
        self.same(*BEGUN, *CALLED * 4, *end, ("ask", post(CALL, b"old")), ("answer", LOST), *RECOVERED)

    def test_where_sessions_are_not_recovered(self) -> None:
        self.same(*BEGUN, *CALLED * 4, ("ask", post(CALL, b"old")), ("answer", LOST), session_recovery=False)

    @settings(max_examples=300)
    @given(SESSION_STORIES)
    def test_any_story(self, steps: list[Step]) -> None:
        self.same(*BEGUN, *steps, took=False)
        self.same(*BEGUN, *CALLED * 4, *steps)
