"""What a look costs, counted in what is made for it; and that nobody waits for a long answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from twisted.internet.task import Clock

from lanrelay.admin import status as status_module
from lanrelay.admin.endpoints import AdminService
from lanrelay.admin.lookout import Lookout
from lanrelay.admin.news import News, Requests
from lanrelay.admin.portions import PORTION, in_portions
from lanrelay.admin.status import pieces, status, status_text
from lanrelay.config import model
from lanrelay.errors import ConnectionRefused
from lanrelay.upstream import upstream as upstream_module
from tests.admin.support import ANY_PORT, WatchedTestCase
from tests.admin.test_rules import everything
from tests.support.listening import accept


class Turns(Clock):
    """A clock whose turns are one at a time, as a reactor's."""

    def turn(self) -> None:
        for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class PiecesTests(WatchedTestCase):
    """The wall clock stands still but where a test moves it."""

    def setUp(self) -> None:
        super().setUp()
        self.wall = 1_800_000_000.0
        for module in (status_module, upstream_module):
            self.patch(module, "time", self)
        self.services = [
            self.forward(f"nas{number}.lan", health=model.Health(fall=1)) for number in range(60)
        ]
        Lookout(self.watched).follow()
        self.pieces = pieces(self.watched)
        status(self.watched)
        self.pieces.made = 0

    def time(self) -> float:
        return self.wall

    def end(self, name: str) -> None:
        session = self.around.ledger.open(name, "tcp-forward", "unix")
        self.around.ledger.close(session)

    def look(self) -> dict[str, Any]:
        return status(self.watched, sessions=100, few=8)

    def test_a_look_when_nothing_has_happened_makes_nothing(self) -> None:
        self.assertFalse(News(self.watched).is_there())
        self.look()
        self.assertEqual(self.pieces.made, 0)

    def test_a_session_costs_its_listener_alone(self) -> None:
        self.end("to-nas7.lan")
        self.assertTrue(News(self.watched).is_there())
        before = status(self.watched)["listeners"]
        self.assertEqual(self.pieces.made, 1)
        self.end("to-nas7.lan")
        after = self.look()["listeners"]
        self.assertEqual(self.pieces.made, 2)
        self.assertEqual(sum(after[7]["hour"]["requests"]), 2)
        self.assertEqual([one is other for one, other in zip(before, after, strict=True)].count(False), 1)

    def test_a_check_that_changes_something_costs_its_listener_alone(self) -> None:
        (upstream,) = self.services[3].group.members
        upstream.judge(ConnectionRefused(target="nas3.lan:5432"))
        document = self.look()
        self.assertEqual(self.pieces.made, 1)
        self.assertEqual(document["listeners"][3]["problem"]["cause"], "refused")
        self.assertEqual(document["upstreams"][3]["minutes"][-1]["state"], "down")
        for _ in range(2):
            upstream.judge(None)
            document = self.look()
        self.assertEqual(self.pieces.made, 2, "what was good and is good changes nothing")
        self.assertIsNone(document["listeners"][3]["problem"])

    def test_a_connection_that_comes_or_goes_costs_its_listener_alone(self) -> None:
        client = accept(self.services[5])
        self.assertEqual(self.look()["listeners"][5]["open"], 1)
        client.lose()
        self.around.dialer.pending.clear()
        self.assertEqual(self.look()["listeners"][5]["open"], 0)
        self.assertEqual(self.pieces.made, 2)

    def test_a_minute_that_has_passed_costs_a_few_at_each_look(self) -> None:
        self.wall += 60
        made = []
        while News(self.watched).is_there():
            self.pieces.made = 0
            self.look()
            made.append(self.pieces.made)
        self.assertEqual(made, [8, 8, 8, 8, 8, 8, 8, 4])
        self.wall += 60
        self.pieces.made = 0
        status(self.watched)
        self.assertEqual(self.pieces.made, 60, "who asks for the document is told how it is now")

    def test_events_and_failures_are_made_when_there_are_others(self) -> None:
        before = self.look()
        self.assertIs(self.look()["events"], before["events"])
        self.assertIs(self.look()["failures"], before["failures"])
        self.watched.timeline.note("woke", "x", 1.0)
        self.assertEqual(len(self.look()["events"]), 1)

    def test_other_listeners_are_seen_at_once(self) -> None:
        self.listeners.pop()
        Lookout(self.watched).follow()
        self.assertTrue(News(self.watched).is_there())
        self.assertEqual(len(self.look()["listeners"]), 59)


class PortionsTests(WatchedTestCase):
    def test_the_text_is_the_document(self) -> None:
        for make in (lambda: None, lambda: everything(self)):
            make()
            text = json.loads("".join(status_text(self.watched)))
            document = status(self.watched)
            self.assertEqual(list(text), list(document))
            for key in document.keys() - {"now", "uptime", "sessions", "listeners"}:
                self.assertEqual(text[key], document[key], key)
            for key in ("listeners", "sessions"):
                self.assertEqual(len(text[key]), len(document[key]))

    def test_so_many_pieces_are_made_in_one_turn_and_no_more(self) -> None:
        made: list[int] = []

        def numbers() -> Any:
            for number in range(3 * PORTION):
                made.append(number)
                yield f"{number} "

        clock = Turns()
        whole = in_portions(clock, numbers())
        for turn in (1, 2, 3):
            self.assertEqual(len(made), turn * PORTION)
            self.assertNoResult(whole)
            clock.turn()
        self.assertEqual(self.successResultOf(whole).split(), [str(number) for number in range(3 * PORTION)])

    def test_a_piece_that_cannot_be_made_ends_it(self) -> None:
        whole = in_portions(self.around.clock, (str(1 // number) for number in (1, 0)))
        self.failureResultOf(whole, ZeroDivisionError)
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_others_are_answered_while_a_long_answer_is_made(self) -> None:
        for _ in range(1000):
            self.around.ledger.open("db", "tcp-forward", "unix")
        clock = Turns()
        environment = replace(self.around.environment, reactor=clock)
        admin = AdminService(environment, model.Admin(listen=(ANY_PORT,)), self.watched)
        ask = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for path in ("/status.json", "/metrics"):
            long, short, gone = accept(admin), accept(admin), accept(admin)
            long.receive(ask.format(path).encode())
            gone.receive(ask.format(path).encode())
            gone.lose()
            self.assertEqual(long.take(), b"")
            clock.turn()
            short.receive(ask.format("/healthz").encode())
            self.assertIn(b" 200 OK\r\n", short.take())
            self.assertEqual(long.take(), b"")
            for _ in range(200):
                clock.turn()
            self.assertIn(b" 200 OK\r\n", long.take())
            self.assertEqual(gone.take(), b"")
            long.lose()
            short.lose()
        self.assertEqual(clock.getDelayedCalls(), [])


class NewsTests(WatchedTestCase):
    def end(self, name: str, status: int) -> None:
        session = self.around.ledger.open(name, "reverse-proxy", "unix")
        session.method, session.status = "GET", status
        self.around.ledger.close(session)

    def test_what_happens_is_told_once_and_what_is_counted_up_again(self) -> None:
        self.watched.timeline.note("started", "a", 1.0)
        read = News(self.watched).reader()
        self.assertEqual(list(read()), [])
        self.watched.timeline.note("refused", "b", 2.0, listener="web")
        self.watched.timeline.note("woke", "c", 2.5)
        self.watched.timeline.note("refused", "d", 3.0, listener="web")
        told = [(kind, json.loads(text)) for kind, text in read()]
        self.assertEqual(
            [(kind, one["text"], one["count"]) for kind, one in told],
            [("happened", "c", 1), ("happened", "d", 2)],
        )
        self.assertEqual(list(read()), [])

    def test_requests_of_one_listener(self) -> None:
        self.end("web", 200)
        read = News(self.watched).reader("web")
        self.end("web", 201)
        self.end("db", 202)
        self.assertEqual([json.loads(text)["status"] for kind, text in read() if kind == "request"], [201])
        self.assertEqual(list(read()), [])

    def test_of_a_flood_the_last_are_told_and_the_others_counted(self) -> None:
        requests = Requests(self.watched, ["web"])
        for number in range(250):
            self.end("web", 200 + number)
        self.assertEqual([one["status"] for one in requests.fresh()], list(range(350, 450)))
        self.assertEqual(requests.missed, 150)
