"""Events that pass as they came pass as in general: each story is told twice, and must be the same story."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from lanrelay.config import model
from lanrelay.http.event_stream import EventStream
from tests.http.test_exchange import DATE
from tests.http.test_plain import GET, PlainTestCase, with_field
from tests.support.properties import given, settings

Step = tuple[str, Any]

ASK = GET.replace(b"Accept: x", b"Accept: text/event-stream")
HEAD = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ENDPOINT = b"event: endpoint\ndata: http://nas.lan/messages?s=1\n\n"


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


EVENT = chunk(b"data: 1\n\n")
LONG = chunk(b"data: " + b"x" * 30_000 + b"\r\n\r\n")
PIECES = [
    *(EVENT, EVENT + EVENT, EVENT[:1], EVENT[1:], EVENT[:5], EVENT[5:], EVENT[:-1], EVENT[-1:], LONG),
    *(
        b"9;x=y\r\ndata: 1\n\n\r\n",
        b"09\r\ndata: 1\n\n\r\n",
        b"9 \r\ndata: 1\n\n\r\n",
        b"A\r\ndata: 12\n\n\r\n",
    ),
    *(
        b"9\ndata: 1\n\n\r\n",
        b"8\r\ndata: 1\n\n\r\n",
        b"a\r\ndata: 1\n\n\r\n",
        b"-2\r\n",
        b"\r\n",
        b"x\r\n\r\n",
    ),
    *(chunk(part) for part in (b"\n\n", b"\r\n\r\n", b"\n", b"\r", b"\r\n", b":\n\n", b"\xef\xbb\xbf\n\n")),
    *(chunk(part) for part in (b"data: 1\n", b"da", b"data: 1", b"id: 1\ndata: 2\r\n\n", b"data: 1\r\r")),
    *(chunk(part) for part in (ENDPOINT, ENDPOINT[:9], ENDPOINT[9:], ENDPOINT[:16], ENDPOINT[16:])),
    *(chunk(part) for part in (ENDPOINT[:-1], b"data: endpoint\n\n", b"event: x\ndata: /a\n\n")),
    *(b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"0\r\n", EVENT + b"0\r\n\r\n", EVENT + b"0\r\n\r\n" + CHUNKED),
]


class EventChunkTests(PlainTestCase):
    def told(self, steps: list[Step], *, plain: bool, **keys: Any) -> list[Any]:
        self.passed = 0
        chunk_came = EventStream.chunk_came

        def counted(stream: EventStream, data: bytes) -> bool:
            passed = plain and chunk_came(stream, data)
            self.passed += passed
            return passed

        patched = self.patch(EventStream, "chunk_came", counted)
        try:
            return super().told(steps, plain=True, **keys)
        finally:
            patched.restore()

    def passes(self, *steps: Step, passed: int, head: bytes = CHUNKED, **keys: Any) -> list[Any]:
        story = self.same(("ask", keys.pop("ask", ASK)), ("answer", head), *steps, took=False, **keys)
        self.assertEqual(self.passed, passed, steps)
        return story

    def test_events_in_chunks_of_their_own(self) -> None:
        story, sessions = self.passes(("answer", EVENT), ("answer", LONG), ("answer", EVENT), passed=3)
        self.assertEqual(story[4][1][0][0], LONG)
        self.assertEqual(sessions[-1]["sent"], 30_008 + 2 * 9 + 1 * 2)

    def test_a_chunk_in_pieces(self) -> None:
        for at in range(1, len(EVENT)):
            self.passes(("answer", EVENT[:at]), ("answer", EVENT[at:]), ("answer", EVENT), passed=1)

    def test_what_is_no_chunk_as_we_write_it(self) -> None:
        for piece in PIECES:
            self.same(("ask", ASK), ("answer", CHUNKED), ("answer", piece), ("answer", EVENT), took=False)
        for first in PIECES[:9]:
            self.same(("ask", ASK), ("answer", CHUNKED + first), ("answer", EVENT), took=False)

    def test_silence_after_it(self) -> None:
        mark = b"\xef\xbb\xbf\n\n"
        for content in (b"data: 1\n\n", b"data: 1\r\n\r\n", b"data: 1\n", b"\n\n", mark, mark[:2], mark[:3]):
            self.same(
                *[("ask", ASK), ("answer", CHUNKED), ("wait", 14), ("answer", chunk(content)), ("wait", 14)],
                *[("wait", 2), ("answer", EVENT), ("wait", 16), ("wait", 16)],
                took=False,
            )

    def test_the_endpoint(self) -> None:
        """What comes before it passes unless it could be a part of it, and it is rewritten in any case."""
        other = chunk(b"data: not the endpoint\n\n")
        steps: list[Step] = [
            ("answer", EVENT),
            ("answer", other),
            ("answer", chunk(ENDPOINT)),
            ("answer", EVENT),
        ]
        story = self.passes(*steps, ("answer", chunk(ENDPOINT)), passed=3)[0]
        self.assertIn(b"data: http://localhost:8080/", story[5][1][0][0])
        self.passes(("answer", chunk(b"event: endpoint\n")), ("answer", EVENT), ("answer", EVENT), passed=1)
        self.passes(*[("answer", LONG)] * 4, ("answer", chunk(ENDPOINT)), passed=5)

    def test_a_client_that_does_not_read(self) -> None:
        steps: list[Step] = [
            ("full", True),
            ("answer", LONG),
            ("answer", EVENT),
            ("wait", 16),
            ("full", False),
        ]
        story = self.passes(*steps, ("answer", EVENT), passed=3)[0]
        self.assertFalse(story[4][1][1][1][2], "the origin is paused by the first write")

    def test_silence_inside_an_answer(self) -> None:
        timeouts = model.Timeouts(stream=20.0)
        steps: list[Step] = [("wait", 19), ("answer", EVENT), ("wait", 19), ("answer", EVENT)]
        self.passes(*steps, ("wait", 21), passed=2, timeouts=timeouts)
        stalled: list[Step] = [
            ("full", True),
            ("answer", EVENT),
            ("wait", 100),
            ("full", False),
            ("wait", 19),
        ]
        self.passes(*stalled, ("answer", EVENT), ("wait", 21), passed=2, timeouts=timeouts)

    def test_answers_that_are_framed_otherwise(self) -> None:
        event = ("answer", EVENT)
        self.passes(event, passed=0, ask=ASK.replace(b"HTTP/1.1", b"HTTP/1.0"))
        self.passes(event, passed=0, ask=ASK.replace(b"GET", b"HEAD"))
        self.passes(event, passed=0, head=HEAD + b"\r\n")
        self.passes(event, passed=0, head=HEAD + b"Content-Length: 14\r\n\r\n")
        self.passes(event, passed=0, head=CHUNKED.replace(b"event-stream", b"plain"))
        self.passes(event, passed=0, head=with_field(CHUNKED, b"Content-Encoding: gzip"))
        self.passes(event, passed=0, sse_keepalive=None, rewrite=frozenset())
        self.passes(event, passed=1, rewrite=frozenset())
        self.passes(event, passed=1, sse_keepalive=None)

    def test_a_whole_answer_leaves_nothing_for_the_next(self) -> None:
        whole = CHUNKED + EVENT + b"0\r\n\r\n"
        self.same(("ask", ASK), ("answer", whole), ("ask", ASK), ("answer", EVENT), took=False)
        self.assertEqual(self.passed, 0)
        self.passes(("answer", EVENT), ("answer", b"0\r\n\r\n"), ("answer", EVENT), passed=1)

    def test_ends(self) -> None:
        for how in ("client in order", "client", "origin in order", "origin"):
            self.passes(("answer", EVENT), ("leave", how), ("answer", EVENT), passed=1)
        for name in ("drain", "retire"):
            self.passes(("call", name), ("answer", EVENT), ("answer", b"0\r\n\r\n"), passed=1)
        self.passes(("call", "abort"), ("answer", EVENT), passed=0)

    @settings(max_examples=300)
    @given(
        st.lists(
            st.tuples(st.just("answer"), st.just(EVENT) | st.sampled_from(PIECES))
            | st.tuples(st.just("wait"), st.sampled_from([0.5, 14.0, 16.0]))
            | st.tuples(st.just("full"), st.booleans())
            | st.tuples(
                st.just("leave"), st.sampled_from(["client in order", "client", "origin in order", "origin"])
            )
            | st.tuples(st.just("call"), st.sampled_from(["drain", "retire", "abort"])),
            max_size=10,
        )
    )
    def test_any_story(self, steps: list[Step]) -> None:
        self.same(("ask", ASK), ("answer", CHUNKED), *steps, took=False)
