"""Whom each message concerns."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.mcp.sessions import Carrier, Session
from lanrelay.mcp.streams import EventStream, Kept
from lanrelay.mcp.text import read


class Table:
    """A program and its clients, played."""

    def __init__(self, *, shared: bool) -> None:
        self.said: list[Any] = []
        self.notes: list[str] = []
        self.carrier = Carrier(
            lambda line: self.said.append(json.loads(line)), self.notes.append, shared=shared
        )

    def session(self) -> Session:
        session = Session()
        self.carrier.add(session)
        return session

    def client(self, session: Session, *bodies: Any) -> EventStream:
        stream = session.stream()
        messages = [read(json.dumps({"jsonrpc": "2.0", **body}).encode())[0][0] for body in bodies]
        self.carrier.client_says(session, messages, stream)
        return stream

    def program(self, **body: Any) -> None:
        self.carrier.program_says(json.dumps({"jsonrpc": "2.0", **body}).encode())


def heard(stream: EventStream) -> list[Any]:
    return [json.loads(event.text) for event in stream.events]


class SharedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = Table(shared=True)
        self.one, self.two = self.table.session(), self.table.session()

    def greet(self) -> None:
        self.table.client(self.one, {"id": "i", "method": "initialize"})
        self.table.program(id=1, result={"protocolVersion": "2025-06-18"})

    def test_the_second_waits_for_the_greeting_of_the_first(self) -> None:
        first = self.table.client(self.one, {"id": 1, "method": "initialize"})
        second = self.table.client(self.two, {"id": "b", "method": "initialize"})
        self.assertEqual(len(self.table.said), 1)
        self.table.program(id=self.table.said[0]["id"], result={"protocolVersion": "2025-06-18"})
        self.assertEqual([heard(first)[0]["id"], heard(second)[0]["id"]], [1, "b"])
        self.assertEqual((self.one.version, self.two.version), ("2025-06-18", "2025-06-18"))
        self.assertTrue(first.ended)
        self.assertTrue(second.ended)

    def test_a_greeting_that_fails_is_tried_for_the_next(self) -> None:
        self.table.client(self.one, {"id": 1, "method": "initialize"})
        second = self.table.client(self.two, {"id": "b", "method": "initialize"})
        self.table.program(id=self.table.said[0]["id"], error={"code": 1, "message": "no"})
        self.table.program(id=self.table.said[1]["id"], result={"protocolVersion": "2025-06-18"})
        self.assertEqual(heard(second)[0]["id"], "b")
        self.assertEqual(self.one.version, "")

    def test_equal_ids_and_tokens_of_two_are_two(self) -> None:
        self.greet()
        call = {"id": 5, "method": "x", "params": {"_meta": {"progressToken": 5}}}
        streams = [self.table.client(session, call) for session in (self.one, self.two)]
        asked = self.table.said[-2:]
        self.assertNotEqual(asked[0]["id"], asked[1]["id"])
        for told in reversed(asked):
            token = told["params"]["_meta"]["progressToken"]
            self.table.program(
                method="notifications/progress", params={"progressToken": token, "progress": token}
            )
            self.table.program(id=told["id"], result=told["id"])
        for told, stream in zip(asked, streams, strict=True):
            progress, answer = heard(stream)
            self.assertEqual(progress["params"]["progressToken"], 5)
            self.assertEqual((answer["id"], answer["result"]), (5, told["id"]))

    def test_a_session_that_goes_cancels_what_it_asked_for_and_nothing_else(self) -> None:
        self.greet()
        self.table.client(self.one, {"id": 5, "method": "x"})
        other = self.table.client(self.two, {"id": 5, "method": "x"})
        mine, theirs = (told["id"] for told in self.table.said[-2:])
        self.table.carrier.remove(self.one)
        self.assertEqual(self.table.said[-1]["params"], {"requestId": mine})
        self.table.program(id=mine, result={})  # too late
        self.table.program(id=theirs, result={})
        self.assertEqual(heard(other)[0]["id"], 5)

    def test_a_change_is_told_to_all_and_a_question_is_asked_of_one(self) -> None:
        self.greet()
        self.table.program(method="notifications/tools/list_changed")
        self.table.program(id=1, method="roots/list")
        streams = (self.one.general, self.two.general)
        self.assertEqual(sorted(len(stream.events) for stream in streams), [1, 2])

    def test_a_question_that_nobody_can_answer_is_answered(self) -> None:
        self.greet()
        for session in (self.one, self.two):
            self.table.carrier.remove(session)
        self.table.program(id="q", method="roots/list")
        self.assertEqual((self.table.said[-1]["id"], "error" in self.table.said[-1]), ("q", True))


class AloneTests(SynchronousTestCase):
    def test_all_passes_as_it_came(self) -> None:
        table = Table(shared=False)
        session = table.session()
        call = {"id": "x", "method": "m", "params": {"_meta": {"progressToken": "x"}}}
        stream = table.client(session, call)
        self.assertEqual(table.said, [{"jsonrpc": "2.0", **call}])
        table.program(id="x", result={})
        self.assertEqual(heard(stream), [{"jsonrpc": "2.0", "id": "x", "result": {}}])
        self.assertTrue(stream.ended)

    def test_an_id_that_is_in_use_is_refused(self) -> None:
        table = Table(shared=False)
        session = table.session()
        table.client(session, {"id": 1, "method": "m"})
        second = table.client(session, {"id": 1, "method": "m"})
        self.assertIn("error", heard(second)[0])
        self.assertEqual(len(table.said), 1)

    def test_garbage_is_noted_ever_less_often(self) -> None:
        table = Table(shared=False)
        for _ in range(100):
            table.carrier.program_says(b"\x1bgarbage")
        self.assertEqual(len(table.notes), 7)
        self.assertNotIn("\x1b", "".join(table.notes))

    def test_the_end_of_the_program_is_an_answer_to_all(self) -> None:
        table = Table(shared=False)
        session = table.session()
        stream = table.client(session, {"id": 1, "method": "m"}, {"id": 2, "method": "m"})
        table.carrier.ended("the program ended with status 1")
        self.assertEqual([each["id"] for each in heard(stream)], [1, 2])
        self.assertTrue(stream.ended)
        self.assertTrue(session.over)


class Ear:
    """Somebody who does not read for now."""

    def news(self) -> None: ...

    def replaced(self) -> None: ...


class KeptTests(SynchronousTestCase):
    def test_what_a_connected_client_has_yet_to_read_stays_longer(self) -> None:
        kept = Kept(10)
        one, two = EventStream(kept, "a"), EventStream(kept, "b")
        one.hear(Ear())
        one.put("1")
        two.put("x" * 50_000_000)
        self.assertEqual([event.text for event in one.events], [b"1"])
        one.told = 1
        two.put("2")
        self.assertEqual(len(one.events), 0)
        one.put("y" * 9_000_000)
        one.put("z" * 9_000_000)
        one.put("3")
        self.assertEqual([event.number for event in one.events], [3, 4])

    def test_the_oldest_of_all_streams_goes_first_and_the_newest_stays(self) -> None:
        kept = Kept(10)
        one, two = EventStream(kept, "a"), EventStream(kept, "b")
        one.put("12345")
        two.put("12345")
        one.put("6")
        self.assertEqual([[event.text for event in each.events] for each in (one, two)], [[b"6"], [b"12345"]])
        two.put("x" * 100)
        self.assertEqual([len(each.events) for each in (one, two)], [0, 1])
        found = two.after(0)
        assert found is not None
        self.assertEqual(found.number, 2)
        self.assertIsNone(two.after(2))
