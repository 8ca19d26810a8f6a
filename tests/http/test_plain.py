"""The plain way does what the general way does: each story is told twice, and must be the same story."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import Any

from hypothesis import strategies as st

from lanrelay.config import model
from lanrelay.http.plain import PlainExchange
from lanrelay.listeners.reverse_proxy import ReverseProxyService
from lanrelay.upstream.inheritance import Inheritance
from tests.http.test_exchange import DATE, OK, ExchangeTestCase
from tests.support.desync_requests import ROWS
from tests.support.listening import accept
from tests.support.memory import MemoryStream
from tests.support.properties import given, settings

GET = b"GET /a?secret=1 HTTP/1.1\r\nHost: localhost:8080\r\nAccept: x\r\nX-A: b\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: localhost:8080\r\nContent-Length: 10\r\n\r\n0123456789"


def with_field(message: bytes, field: bytes) -> bytes:
    return message.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n", 1)


def numbered(message: bytes, number: int) -> bytes:
    return with_field(message, b"X-Id: %d" % number)


FORM = b"application/x-www-form-urlencoded"
EXPECT = b"Expect: 100-continue"
EVENTS = with_field(GET, b"Accept-Encoding: gzip").replace(b"Accept: x", b"Accept: text/event-stream")
REQUESTS = [
    *(GET, POST, EVENTS, GET + GET, b"x\r\n", GET.replace(b"GET", b"DELETE"), GET.replace(b"GET", b"HEAD")),
    *(GET.replace(b"1.1", b"1.0"), GET.replace(b"localhost", b"evil"), GET.replace(b"/a", b"/../%61")),
    GET.replace(b"/a", b"/.well-known/x"),
    *(with_field(POST, b"Content-Type: application/x-www-form-urlencoded"), with_field(POST, EXPECT)),
    with_field(POST, b"Content-Type: application/json"),
    *(
        with_field(GET, field)
        for field in (
            *(
                b"Connection: keep-alive",
                b"Connection: close",
                b"Keep-Alive: timeout=5",
                b"Cookie: a=b",
                b"Via: 1.1 x",
                b"Referer: http://x/",
            ),
            *(b"Authorization: Bearer x", b"Authorization: Negotiate x", b"Authorization: ntlm x"),
            *(b"Origin: http://localhost:8080", b"X-Forwarded-For: 1.2.3.4", b"Mcp-Session-Id: 1"),
        )
    ),
]
CHUNKED = b"HTTP/1.1 200 OK\r\n" + DATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
ANSWERS = [
    *(OK, CHUNKED, OK + b"x", OK + OK, OK[:-1], OK.replace(b"1.1", b"1.0"), OK.replace(DATE, b"")),
    with_field(OK, b"WWW-Authenticate: Basic, NTLM").replace(b"200 OK", b"401 Unauthorized"),
    *(OK.replace(b"200 OK", b"404 Not Found"), b"nonsense\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + OK),
    b"HTTP/1.1 204 No Content\r\n" + DATE + b"\r\n",
    CHUNKED.replace(b"OK\r\n", b"OK\r\nContent-Type: text/event-stream\r\n"),
    *(
        with_field(OK, field)
        for field in (
            *(b"Connection: close", b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"Via: 1.1 x"),
            b"Mcp-Session-Id: 1",
            *(b"Set-Cookie: a=b; Secure", b"Location: http://nas.lan/x", b"Content-Type: text/event-stream"),
        )
    ),
]

Step = tuple[str, Any]


STORIES = st.lists(
    st.tuples(st.just("ask"), st.sampled_from([*REQUESTS, *(numbered(each, 7) for each in REQUESTS)]))
    | st.tuples(st.just("answer"), st.sampled_from([*ANSWERS, *(numbered(each, 7) for each in ANSWERS)]))
    | st.tuples(st.just("answer"), st.sampled_from([OK[:30], OK[30:], OK]))
    | st.tuples(st.just("dial"), st.none())
    | st.tuples(st.just("full"), st.booleans())
    | st.tuples(st.just("wait"), st.sampled_from([0.5, 16.0, 100.0]))
    | st.tuples(st.just("leave"), st.sampled_from(["client in order", "client", "origin in order", "origin"]))
    | st.tuples(st.just("call"), st.sampled_from(["drain", "retire", "abort"])),
    max_size=8,
)


def known(request: bytes) -> list[Step]:
    """So often that what they have in common is known."""
    return [
        step
        for number in range(4)
        for step in (("ask", numbered(request, number)), ("answer", numbered(OK, number)))
    ]


def stalled_by(request: bytes) -> list[Step]:
    return [("ask", request), ("full", True), ("answer", OK)]


class PlainTestCase(ExchangeTestCase):
    def told(self, steps: list[Step], *, plain: bool, **keys: Any) -> list[Any]:
        """What happens after each step, and what becomes of the sessions."""
        self.serve(**keys)
        if not plain:
            self.service._plain = None
        self.client = accept(self.service)
        self.origin = self.asked(GET)
        self.origin.receive(OK)
        self.took = 0
        story = [self.seen()]
        for step, how in steps:
            getattr(self, f"do_{step}")(how)
            self.took += isinstance(self.client.protocol, PlainExchange) and self.client.protocol.plain
            story.append((step, self.seen()))
        self.client.lose()
        while self.around.dialer.pending:
            self.around.dialer.answer()
        self.clock.advance(100_000)
        sessions = [asdict(session) for session in self.around.closed]
        for session in sessions:
            del session["id"], session["started"]
        self.assertEqual(len(self.around.ledger), 0)
        self.assertAllOver()
        return [story, sessions]

    def seen(self) -> Any:
        out = [
            re.sub(rb"lanrelay-web-[0-9a-f]{8}", b"VIA", each.take()) for each in (self.client, self.origin)
        ]
        out = [re.sub(rb"Date: .*?\r\n", b"", each) for each in out]
        states = [(each.connected, each.closing, each.reading) for each in (self.client, self.origin)]
        return out, states, len(self.around.dialer.pending), len(self.around.ledger)

    def do_ask(self, data: bytes) -> None:
        self.client.receive(data)

    def do_answer(self, data: bytes) -> None:
        if self.origin.connected:
            self.origin.receive(data)

    def do_dial(self, data: None) -> None:
        if self.around.dialer.pending:
            self.origin = self.around.dialer.answer("192.0.2.1:80")

    def do_wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def do_leave(self, how: str) -> None:
        side, _, way = how.partition(" ")
        stream: MemoryStream = getattr(self, side)
        if stream.connected:
            stream.receive_eof() if way == "in order" else stream.lose()

    def do_full(self, full: bool) -> None:
        self.client.full = full

    def do_stall(self, full: bool) -> None:
        if self.origin.connected:
            self.origin.full = full

    def do_call(self, name: str) -> None:
        if self.client.connected:
            protocol = self.client.protocol
            getattr(protocol.connection if isinstance(protocol, PlainExchange) else protocol, name)()

    def same(self, *steps: Step, took: bool = True, **keys: Any) -> list[Any]:
        general = self.told(list(steps), plain=False, **keys)
        plain = self.told(list(steps), plain=True, **keys)
        if took:
            self.assertGreater(self.took, 0)
        self.assertEqual(plain, general)
        return plain


class PlainTests(PlainTestCase):
    def test_ordinary_exchanges(self) -> None:
        for request in (GET, POST, with_field(GET, b"Connection: keep-alive")):
            for answer in ANSWERS:
                self.same(("ask", request), ("answer", answer), ("ask", GET), ("dial", None), ("answer", OK))

    def test_a_request_for_an_event_stream_that_may_be_encoded_does_not_take_plain(self) -> None:
        for answer in ANSWERS:
            self.same(("ask", EVENTS), ("answer", answer), took=False)
            self.assertEqual(self.took, 0)
        self.same(*known(GET), ("ask", numbered(EVENTS, 9)), ("answer", OK))

    def test_an_answer_in_pieces(self) -> None:
        for at in range(1, len(OK)):
            self.same(("ask", GET), ("answer", OK[:at]), ("answer", OK[at:]), ("ask", GET), ("answer", OK))

    def test_more_comes_before_the_answer(self) -> None:
        for more in (GET, GET[:10], POST, b"x", b"\r\n"):
            self.same(("ask", GET), ("ask", more), ("answer", OK), ("answer", OK))

    def test_the_client_leaves(self) -> None:
        for how in ("client in order", "client"):
            self.same(("ask", GET), ("leave", how), ("answer", OK))
            self.same(("ask", POST), ("leave", how))
            self.same(("ask", GET), ("answer", OK), ("leave", how), took=False)

    def test_the_origin_leaves(self) -> None:
        for how in ("origin in order", "origin"):
            for request in (GET, POST, GET.replace(b"GET", b"DELETE")):
                self.same(("ask", request), ("leave", how), ("dial", None), ("answer", OK))
                self.same(("ask", request), ("answer", OK[:9]), ("leave", how), ("dial", None))

    def test_the_listener_ends_it(self) -> None:
        for name in ("drain", "retire", "abort"):
            self.same(("ask", GET), ("call", name), ("answer", OK), ("ask", GET))
            self.same(("ask", GET), ("answer", OK), ("call", name), ("ask", GET), ("answer", OK))

    def test_a_client_that_does_not_read(self) -> None:
        stalled: list[Step] = [("ask", GET), ("full", True), ("answer", OK)]
        story, sessions = self.same(*stalled, ("ask", GET), ("full", False), ("answer", OK))
        self.assertTrue(story[-1][1][0][0].startswith(b"HTTP/1.1 200"))
        self.assertEqual([session["status"] for session in sessions], [200, 200, 200])
        self.same(*stalled, ("full", False), ("ask", GET), ("answer", OK), ("wait", 76))
        self.same(*stalled, ("ask", GET[:10]), ("ask", GET[10:] + GET), ("full", False), ("answer", OK))
        self.same(*stalled, ("ask", POST * 2000), ("full", False), ("answer", OK))
        for name in ("drain", "retire", "abort"):
            self.same(*stalled, ("call", name), ("full", False), ("ask", GET), ("answer", OK))
        self.same(*stalled, ("wait", 100_000))
        self.assertFalse(self.client.connected)

    def test_a_client_that_stops_to_read_after_some_answers(self) -> None:
        steps: list[Step] = [("ask", GET), ("answer", OK), *stalled_by(POST), ("ask", POST)]
        story = self.same(*steps, ("full", False), ("answer", OK), ("ask", GET), ("answer", OK))[0]
        asked = [seen[0][1] for _, seen in story[1:]]
        self.assertEqual(sum(each.count(b"POST /") for each in asked), 2)  # each was passed on once
        for how in ("client in order", "client"):
            self.same(*steps, ("leave", how), ("wait", 100_000))

    def test_a_client_that_does_not_read_and_ends_is_not_waited_for(self) -> None:
        for how in ("client in order", "client"):
            self.same(("ask", GET), ("full", True), ("answer", OK), ("leave", how), ("wait", 6))
            self.assertFalse(self.client.connected)

    def test_an_origin_that_does_not_read(self) -> None:
        self.same(("stall", True), ("ask", POST), ("stall", False), ("answer", OK), took=False)
        self.same(("stall", True), ("ask", GET), ("answer", OK), took=False)

    def test_timeouts(self) -> None:
        timeouts = model.Timeouts(response=5.0, keepalive=20.0)
        self.same(("ask", GET), ("wait", 6), timeouts=timeouts)
        self.same(("ask", GET), ("answer", OK), ("wait", 21), took=False, timeouts=timeouts)
        self.same(("ask", GET), ("wait", 100_000), ("answer", OK), ("wait", 60), ("ask", GET))

    def test_what_goes_the_plain_way_only_where_the_listener_does_nothing_to_it(self) -> None:
        route = self.service.routes[0].config
        rules = model.HeaderRules(remove=("x",))
        steps: list[Step] = [("ask", POST), ("answer", OK), ("ask", GET), ("dial", None), ("answer", OK)]
        for keys in (
            {"max_body": 5},
            {"max_body": 10},
            {"forwarded": "rfc7239"},
            {"routes": (route._replace(path="/a"), route)},
            {"routes": (route._replace(host="preserve"),)},
            {"routes": (route._replace(response_headers=rules),)},
        ):
            self.same(*steps, took=False, **keys)

    def test_every_field_that_a_rule_looks_at(self) -> None:
        way = self.service._plain
        assert way is not None
        self.assertGreater(len(way.requests.looked_at), 15)
        self.assertGreater(len(way.answers.rules.looked_at), 5)
        for name in sorted(way.requests.looked_at):
            for value in (b"x", b"http://nas.lan/x", b"0"):
                asked = with_field(GET, name + b": " + value)
                self.same(("ask", asked), ("answer", OK), took=False)
                self.assertEqual(self.took, 0, name)
                self.same(*known(GET), ("ask", numbered(asked, 9)), ("answer", OK), ("ask", asked))
        for name in sorted(way.answers.rules.looked_at):
            for value in (b"x", b"http://nas.lan/x", b"0"):
                answer = with_field(OK, name + b": " + value)
                self.same(("ask", GET), ("answer", answer))
                self.same(*known(GET), ("ask", numbered(GET, 9)), ("answer", numbered(answer, 9)))

    def test_every_field_whose_value_a_rule_weighs(self) -> None:
        way = self.service._plain
        assert way is not None
        values = (b"NTLM x", b"Bearer x", FORM, FORM.upper() + b" ; a=b", FORM + b"x", b"text/event-stream")
        for name in sorted(way.requests.weighed):
            for value in values:
                for request in (GET, POST):
                    asked = with_field(request, name + b": " + value)
                    self.same(*known(GET), ("ask", asked), ("answer", OK), ("ask", asked), ("answer", OK))
        for name in sorted(way.answers.rules.weighed):
            for value in values:
                answer = with_field(OK, name + b": " + value)
                self.same(*known(GET), ("ask", GET), ("answer", answer), ("ask", GET), ("answer", OK))

    def test_every_piece_of_a_target_that_concerns_a_rule(self) -> None:
        way = self.service._plain
        assert way is not None
        pieces = {piece for rule in way.requests.all for piece in rule.in_target}
        self.assertEqual(pieces, {b"/.well-known/", b"resource="})
        for piece in pieces:
            asked = GET.replace(b"/a?", b"/a/?" + piece + b"&client_id=1&")
            self.same(("ask", asked), ("answer", OK), took=False)
            self.assertEqual(self.took, 0)
            self.same(*known(GET), ("ask", numbered(asked, 9)), ("answer", OK))

    def test_an_empty_line_after_each_request(self) -> None:
        for request in (POST, GET):
            self.same(*[("ask", request), ("answer", OK), ("ask", b"\r\n")] * 3, ("ask", GET), ("answer", OK))

    def test_a_document_of_a_login_behind_the_path_of_its_issuer(self) -> None:
        document = b'{"issuer": "http://nas.lan/realm"}'
        answer = with_field(OK, b"Content-Type: application/json").replace(b": 2\r", b": 34\r")
        ask = ("ask", GET.replace(b"/a?secret=1", b"/realm/.well-known/openid-configuration"))
        story = self.same(ask, ("answer", answer[:-2] + document), took=False)[0]
        self.assertIn(b"http://localhost:8080/realm", story[-1][1][0][0])

    def test_a_bug_ends_the_session(self) -> None:
        self.origin = self.asked(GET)
        self.origin.receive(OK)
        self.client.take()
        self.client.receive(GET)
        self.service.routes[0].request_head = None  # type: ignore[method-assign, assignment]
        self.origin.receive(OK[:-1])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertIn(b"502 Bad Gateway", self.client.take())
        self.assertFalse(self.origin.connected)
        self.assertEqual(len(self.around.ledger), 0)

    def test_a_bug_after_a_stall_ends_the_session_once(self) -> None:
        self.origin = self.asked(GET)
        self.origin.receive(OK)
        self.client.take()

        def write(data: bytes) -> None:
            self.origin.producer.pauseProducing()
            raise ZeroDivisionError

        self.patch(self.origin, "write", write)
        self.client.receive(GET)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn(b"502 Bad Gateway", self.client.take())
        self.assertEqual(len(self.around.ledger), 0)

    def test_what_comes_nearly_the_same_again_and_again(self) -> None:
        for request in (GET, POST):
            self.same(*known(request), ("ask", numbered(request, 9)), ("answer", numbered(OK, 9)))
            assert isinstance(self.client.protocol, PlainExchange)
            self.assertIsNotNone(self.client.protocol._repeats.template)
            origin: Any = self.origin.protocol
            self.assertIsNotNone(origin.repeats.template)
            for other in (
                *(
                    numbered(request, 9).replace(b"localhost", b"evil"),
                    numbered(request, 9) + b"x",
                    GET,
                    POST,
                ),
                *(numbered(request, 9)[:-1], numbered(request, 9).replace(b"/a", b"/.well-known/x"), b"x"),
                *(
                    numbered(request, 9).replace(b"/a", b"/a#"),
                    numbered(request, 9).replace(b": 9", b": 9\r\n:"),
                ),
            ):
                self.same(*known(request), ("ask", other), ("answer", OK), ("dial", None), ("answer", OK))
            for name in ("drain", "retire", "abort"):
                again = ("ask", numbered(request, 9))
                self.same(*known(request), again, ("call", name), ("answer", numbered(OK, 9)), again)
            self.same(*known(request), ("ask", numbered(request, 9)), ("answer", numbered(CHUNKED, 9)))

    def test_what_is_known_of_an_origin_is_another_listener_s_no_more(self) -> None:
        """A reload hands its connections on."""
        stream = self.asked(GET)
        stream.receive(OK)
        for number in range(4):
            self.client.receive(numbered(GET, number))
            stream.receive(numbered(OK, number))
        origin: Any = stream.protocol
        self.assertIsNotNone(origin.repeats.template)
        route = self.service.routes[0]
        environment = replace(
            self.around.environment, inheritance=Inheritance([route.group], route.origins.pools)
        )
        config = replace(self.service._proxy, name="heir")
        heir = ReverseProxyService(environment, config)
        client = accept(heir)
        for number in range(4):
            client.receive(numbered(GET, number))
            stream.receive(numbered(OK, number))
            self.assertRegex(client.take(), rb"\r\nVia: 1\.1 lanrelay-heir-[0-9a-f]{8}\r\n")

    def test_odd_requests_of_one_that_is_known(self) -> None:
        for row in ROWS:
            if row.on == "proxy":
                continue
            sent = row.sent.replace(b"@T", b"").replace(b"@H", b"localhost:8080")
            known_as = GET.replace(b"GET", b"POST") if sent.startswith(b"POST") else GET
            for odd in (sent, numbered(known_as, 7)[:-2] + sent, numbered(known_as, 7) + sent):
                self.same(*known(GET), ("ask", odd), ("answer", OK), ("dial", None), ("answer", OK))

    @settings(max_examples=150)
    @given(STORIES)
    def test_any_story(self, steps: list[Step]) -> None:
        self.same(*steps, took=False)

    @settings(max_examples=150)
    @given(STORIES)
    def test_any_story_of_one_that_is_known(self, steps: list[Step]) -> None:
        self.same(*known(GET), *steps)
