"""An answer in chunks goes the plain way as it goes the general one, whatever its pieces and its end."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lanrelay.config import model
from lanrelay.http.plain import PlainExchange
from tests.http.test_exchange import DATE, OK
from tests.http.test_plain import GET, POST, PlainTestCase, Step, numbered, with_field

SESSION = b"Mcp-Session-Id: 1\r\n"
CALL = with_field(POST, b"Accept: application/json, text/event-stream\r\nMcp-Session-Id: 1")
LONG = POST.replace(b": 10", b": 20000") + b"x" * 19_990
HEAD = (
    b"HTTP/1.1 200 OK\r\n" + DATE + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: text/event-stream; charset=utf-8\r\nMcp-Session-Id: 1\r\n\r\n"
)
EVENT = b"14\r\ndata: 0123456789ab\n\n\r\n"
LAST = b"0\r\n\r\n"
OTHER = HEAD.replace(b"text/event-stream", b"text/plain")
ENCODED = with_field(HEAD, b"Content-Encoding: gzip")
HEADS = [
    *(HEAD, OTHER, ENCODED, numbered(HEAD, 7), HEAD.replace(DATE, b""), HEAD.replace(b"chunked", b"Chunked")),
    *(HEAD.replace(b"200 OK", b"403 Forbidden"), HEAD.replace(b"200 OK", b"404 Not Found")),
    *(HEAD.replace(b"1.1 200", b"1.0 200"), HEAD.replace(b"keep-alive", b"close")),
    *(with_field(HEAD, b"Trailer: X-A"), with_field(HEAD, b"Set-Cookie: a=b; Secure")),
    *(with_field(HEAD, b"Content-Length: 5"), with_field(HEAD, b"Transfer-Encoding: chunked")),
    *(with_field(HEAD, b"WWW-Authenticate: NTLM"), with_field(HEAD, b"Via: 1.1 x")),
]
PARTS = [
    *(EVENT, EVENT + EVENT, EVENT[:9], EVENT[9:], b"3\r\n\n\n\n\r\n", b"08\r\ndata: x\n\r\n", b"x"),
    *(b"9\r\ndata: x\r\n\r\n", b"8;a=b\r\ndata: x\n\r\n", b"8\r\ndata: x\n\r\n", b"A\r\ndata: xyz\n\r\n"),
    b"a\r\ndata:0\r\n\r\n\r\n",  # an event that looks like the last chunk
]
ENDS = [LAST, EVENT + LAST, b"0\r\nX-Sum: 1\r\n\r\n", LAST[:2], LAST[2:], LAST + OK, b"00\r\n\r\n"]
BETWEEN: list[Step] = [
    *(("wait", 14.0), ("wait", 16.0), ("wait", 40.0), ("full", True), ("full", False), ("stall", True)),
    *(("ask", CALL), ("ask", b"\r\n"), ("call", "drain"), ("call", "retire"), ("call", "abort")),
    *(("leave", "client in order"), ("leave", "client")),
    *(("leave", "origin in order"), ("leave", "origin")),
]
STORIES = st.lists(
    st.tuples(st.just("answer"), st.sampled_from([*HEADS, HEAD, HEAD, *PARTS, *ENDS, LAST, EVENT, OK]))
    | st.sampled_from(BETWEEN)
    | st.tuples(st.just("ask"), st.sampled_from([CALL, GET, LONG, numbered(CALL, 7)])),
    max_size=8,
)


class ChunkTests(PlainTestCase):
    def took_to_the_end(self, *answer: bytes, request: bytes = CALL) -> bool:
        """Whether C{answer} goes the plain way, with no exchange made of it."""
        made: list[object] = []
        before = PlainExchange.general

        def general(exchange: PlainExchange) -> object:
            made.append(exchange)
            return before(exchange)

        self.patch(PlainExchange, "general", general)
        self.told([("ask", request), *(("answer", part) for part in answer)], plain=True)
        self.patch(PlainExchange, "general", before)
        return not made

    def test_whole(self) -> None:
        for head in HEADS:
            for part in PARTS if head is HEAD else (b"", EVENT):
                for end in ENDS if head is HEAD else ENDS[:4]:
                    self.same(("ask", CALL), ("answer", head + part + end), ("ask", GET), ("answer", OK))

    def test_in_pieces(self) -> None:
        for head in HEADS:
            for end in ENDS:
                self.same(("ask", CALL), ("answer", head), ("answer", EVENT), ("answer", end), ("ask", GET))
                self.same(
                    ("ask", CALL), ("answer", head + EVENT), ("answer", end), ("ask", GET), ("answer", OK)
                )
        for part in PARTS:
            self.same(("ask", CALL), ("answer", HEAD), ("answer", part), ("wait", 16), ("answer", LAST))
            self.same(
                ("ask", CALL), ("answer", HEAD + part), ("wait", 16), ("answer", EVENT), ("answer", LAST)
            )
        whole = HEAD + EVENT + EVENT + LAST
        for at in range(1, len(whole)):
            self.same(("ask", CALL), ("answer", whole[:at]), ("answer", whole[at:]), ("ask", GET))

    def test_which_take_plain(self) -> None:
        self.assertTrue(self.took_to_the_end(HEAD, EVENT, EVENT, LAST))
        self.assertTrue(self.took_to_the_end(HEAD + EVENT, EVENT + LAST))
        self.assertTrue(self.took_to_the_end(HEAD + EVENT + LAST))
        self.assertTrue(self.took_to_the_end(OTHER + EVENT + LAST))
        self.assertTrue(self.took_to_the_end(OTHER.replace(SESSION, b"") + EVENT + LAST, request=GET))
        for answer in ((OTHER, EVENT, LAST), (HEAD, EVENT[:9], EVENT[9:], LAST), (ENCODED, EVENT, LAST)):
            self.assertFalse(self.took_to_the_end(*answer))
        self.assertFalse(self.took_to_the_end(HEAD.replace(SESSION, b""), EVENT, LAST, request=GET))
        self.assertFalse(self.took_to_the_end(HEAD, EVENT, LAST, request=LONG))

    def test_statuses_that_have_no_content_or_another_meaning(self) -> None:
        for status in (
            b"204 No",
            b"304 No",
            b"205 No",
            b"206 Part",
            b"100 On",
            b"103 Early",
            b"101 Other",
            b"299 \xff",
        ):
            head = HEAD.replace(b"200 OK", status)
            for part in (b"", EVENT):
                self.same(("ask", CALL), ("answer", head + part + LAST), ("ask", GET), ("answer", OK))
                self.same(
                    ("ask", CALL), ("answer", head), ("answer", part + LAST), ("ask", GET), ("answer", OK)
                )

    def test_again_and_again(self) -> None:
        for heads in ([HEAD] * 6, [numbered(HEAD, number) for number in range(6)]):
            steps: list[Step] = []
            for head in heads:
                for parts in ((head, EVENT, LAST), (head + EVENT + LAST,)):
                    steps += [("ask", CALL), *(("answer", part) for part in parts)]
            for head in HEADS:
                self.same(*steps, ("ask", CALL), ("answer", numbered(head, 9)), ("answer", LAST))

    def test_whatever_happens_between(self) -> None:
        for step in BETWEEN:
            for before in (("answer", HEAD),), (("answer", HEAD), ("answer", EVENT)):
                self.same(("ask", CALL), *before, step, ("answer", EVENT), ("answer", LAST), ("ask", GET))
                self.same(("ask", CALL), *before, step, ("wait", 20), ("full", False), ("wait", 100_000))
                for last in BETWEEN:
                    self.same(
                        ("ask", CALL), *before, step, last, ("answer", LAST), ("ask", CALL), ("answer", OK)
                    )

    def test_silence(self) -> None:
        for silence in (15.0, None):
            for stream in (40.0, None):
                keys: dict[str, Any] = {
                    "sse_keepalive": silence,
                    "timeouts": model.Timeouts(stream=stream, response=5.0),
                }
                for wait in (4.0, 14.9, 15.0, 39.0, 41.0):
                    steps = [
                        ("ask", CALL),
                        ("answer", HEAD),
                        ("wait", wait),
                        ("answer", EVENT),
                        ("wait", wait),
                    ]
                    self.same(
                        *steps, ("answer", EVENT), ("wait", wait), ("answer", LAST), ("wait", 200), **keys
                    )

    def test_a_client_that_stops_to_read_in_the_middle(self) -> None:
        for part in (HEAD, HEAD + EVENT):
            self.same(("ask", CALL), ("full", True), ("answer", part), ("answer", EVENT), ("full", False))
            self.same(("ask", CALL), ("answer", part), ("full", True), ("answer", EVENT), ("wait", 20))
            self.same(("ask", CALL), ("answer", part), ("full", True), ("answer", LAST), ("ask", GET))

    def test_a_bug_in_the_middle_cuts_the_answer(self) -> None:
        origin = self.asked(GET)
        origin.receive(OK)
        self.client.receive(CALL)
        origin.receive(HEAD + EVENT)
        self.client.take()
        self.service.routes[0].request_head = None  # type: ignore[method-assign, assignment]
        origin.receive(EVENT[:9])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(self.client.take(), b"")
        self.assertFalse(origin.connected)
        self.assertFalse(self.client.connected)
        self.assertEqual(len(self.around.ledger), 0)

    @settings(max_examples=150, deadline=None)
    @given(STORIES)
    def test_any_story(self, steps: list[Step]) -> None:
        self.same(("ask", CALL), *steps)
        self.same(("ask", CALL), ("answer", HEAD), *steps)
