"""What goes the plain way is all that no rule looks at, also with a rule that is added."""

from __future__ import annotations

from typing import Any

from lanrelay.errors import RequestDenied
from lanrelay.http.client import HttpConnection
from lanrelay.http.plain_way import PlainWay
from lanrelay.passage.rule import EVERYBODYS, Asked, Rule, Rules, Undeclared, View
from lanrelay.wire.events import RequestHead
from lanrelay.wire.headers import HOP_BY_HOP, Headers
from tests.http.test_exchange import OK
from tests.http.test_plain import GET, POST, REQUESTS, PlainTestCase, known, numbered, with_field
from tests.http.test_plain_sessions import (
    INITIALIZE,
    POST_KEPT,
    SESSION_REQUESTS,
    STARTED,
    answer,
    post,
)
from tests.support.listening import accept


class Heard(dict[bytes, Any]):
    """The fields of a head by their names; remembers for which it was asked."""

    asked: set[bytes]

    def get(self, name: bytes, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name: bytes) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        assert isinstance(name, bytes)
        self.asked.add(name)
        return super().__contains__(name)


# What decides where a message ends, and what concerns its connection; the plain readers know it themselves.
FRAMING = HOP_BY_HOP | {b"content-length", b"expect"}


class GeneralTests(PlainTestCase):
    """What is no rule asks only for what a rule names; a request with another would pass it by."""

    def test_a_request_is_asked_for_nothing_else(self) -> None:
        asked: set[bytes] = set()
        for request in [*REQUESTS, *SESSION_REQUESTS]:
            self.serve()
            service, way = self.service, self.service._plain
            assert way is not None
            service._plain = None
            received = service.request_received

            def listening(connection: HttpConnection, head: RequestHead, received: Any = received) -> Any:
                index = Heard(head.headers.index)
                index.asked = asked
                if head.headers.unique:
                    head.headers = Headers.of_index(index)
                return received(connection, head)

            self.patch(service, "request_received", listening)
            client = accept(service)
            client.receive(post(INITIALIZE))
            if self.around.dialer.pending:
                self.origin = self.dialed()
                self.origin.receive(answer(STARTED, b"old"))
            client.receive(request)
            if self.origin.connected:
                self.origin.receive(OK)
            known = frozenset().union(*(rule.named for rule in way.requests.all))
            self.assertLessEqual(asked, known | FRAMING | FORMS)
            # Who names only what it sees beside is not heard of a head that has nothing else.
            beside = known - way.requests.looked_at - way.requests.weighed - EVERYBODYS
            self.assertLessEqual(beside, PAGES | SESSIONS)
        self.assertGreaterEqual(asked, {b"host", b"content-type", b"mcp-session-id", b"origin"})


# What is asked about a form, which concerns a rule.
FORMS = {b"content-encoding"}


# What is asked about a page, whose Origin, or Sec-Fetch-Site, is what concerns a rule.
PAGES = {b"sec-fetch-mode"} | {
    b"access-control-request-" + what for what in (b"method", b"headers", b"private-network")
}


# What is asked about a session that was initialised anew; nothing of that goes the plain way.
SESSIONS = {b"last-event-id"}


MADE_UP = frozenset({b"x-made-up"})


def refuse(view: View, asked: Asked) -> None:
    raise RequestDenied("it is made up")


def says_no(view: View, method: bytes) -> bool:
    return view.get(b"x-made-up") == b"no"


class OneMoreRuleTests(PlainTestCase):
    """Whoever adds a rule says which heads concern it in the rule alone, and in no list beside it."""

    def serve(self, *names: str, **keys: Any) -> None:
        super().serve(*names, **keys)
        if not hasattr(self, "guard"):
            return
        service = self.service
        service.guards = Rules(*service.guards.all, self.guard)
        way = service._plain
        assert way is not None
        service._plain = PlainWay(
            service.config.name, service.kind, service.guards, way.route, service._known_hosts
        )
        self.client.lose()
        self.client = accept(service)

    def refuses(self, asked: bytes) -> None:
        """Whatever went the plain way before on the same connection."""
        for earlier in ([], [("ask", GET), ("answer", OK)], known(GET)):
            story, sessions = self.same(*earlier, ("ask", asked), ("ask", GET), took=bool(earlier))
            self.assertIn(b"HTTP/1.1 403 ", story[-2][1][0][0])
            self.assertEqual(story[-2][1][0][1], b"")  # nothing of it went to the origin
            self.assertEqual(sessions[-1]["status"] or sessions[-2]["status"], 403)

    def test_a_field(self) -> None:
        self.guard = Rule(looks_at=MADE_UP, judge=refuse)
        for name in (b"X-Made-Up", b"x-made-up"):
            self.refuses(with_field(GET, name + b": a"))
            self.refuses(numbered(with_field(GET, name + b": a"), 9))
        self.same(*known(GET), ("ask", numbered(GET, 9)), ("answer", OK))

    def test_a_field_that_was_there_before_and_differs(self) -> None:
        """What nobody looks at may be the one line in which the requests of a connection differ."""
        self.guard = Rule(sees=MADE_UP, concerns=says_no, judge=refuse)
        yes = [("ask", with_field(GET, b"X-Made-Up: yes")), ("answer", OK)] * 4
        self.assertGreater(len(self.same(*yes)), 0)
        story = self.same(*yes, ("ask", with_field(GET, b"X-Made-Up: no")))[0]
        self.assertIn(b"HTTP/1.1 403 ", story[-1][1][0][0])

    def test_a_field_that_another_rule_weighs(self) -> None:
        """Who wants to see a field whatever it says has the last word."""
        self.guard = Rule(looks_at=frozenset({b"authorization"}), judge=refuse)
        self.refuses(with_field(GET, b"Authorization: Bearer x"))

    def test_a_field_that_does_not_go_on(self) -> None:
        for name in (b"connection", b"keep-alive", b"content-length"):
            self.guard = Rule(
                sees=frozenset({name}), concerns=lambda view, method: method == b"POST", judge=refuse
            )
            self.refuses(with_field(POST, name + b": 10") if name == b"keep-alive" else POST_KEPT)

    def test_a_piece_of_the_target(self) -> None:
        self.guard = Rule(in_target=(b"made-up",), judge=refuse)
        self.refuses(GET.replace(b"/a", b"/a-made-up"))
        self.refuses(numbered(GET.replace(b"/a", b"/a-made-up"), 9))

    def test_every_request(self) -> None:
        self.guard = Rule(always=True, judge=refuse)
        self.serve()
        self.client.receive(GET)
        self.assertIn(b"HTTP/1.1 403 ", self.client.take())
        self.client.receive(GET)
        self.assertIn(b"HTTP/1.1 403 ", self.client.take())
        self.assertEqual(self.around.dialer.pending, [])

    def test_one_that_does_not_say_what_it_looks_at(self) -> None:
        for look in (
            lambda view: view.get(b"x-made-up"),
            lambda view: view.fields,
            lambda view: view.without({b"x-made-up"}),
        ):

            def judge(view: View, asked: Asked, look: Any = look) -> None:
                look(view)

            self.guard = Rule(looks_at=frozenset({b"x-other"}), judge=judge)
            self.serve()
            self.assertRaises(Undeclared, self.client.receive, with_field(GET, b"X-Other: a"))
            self.client.lose()
            self.assertAllOver()
