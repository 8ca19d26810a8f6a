from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.news import News
from lanrelay.admin.viewers import HEARTBEAT, LIMIT, PATIENCE, Parts, Viewer, Viewers
from lanrelay.config import model
from lanrelay.http.answers import Answer
from lanrelay.http.client import HttpConnection
from lanrelay.transport.stream import hand_over
from lanrelay.wire.events import RequestHead
from lanrelay.wire.headers import Headers
from tests.support.memory import MemoryStream


class ViewersTests(SynchronousTestCase):
    """Each viewer is the answer on a connection of its own."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.looked = 0
        self.title = "t"
        self.parts: dict[str, str] = {"a": "1", "b": "1"}
        self.is_there = True
        self.said: list[tuple[str, str]] = []
        self.viewers = Viewers(
            self.clock,
            self.look,
            cast("News", SimpleNamespace(is_there=lambda: self.is_there, reader=self.reader)),
        )
        self.gone = 0

    def reader(self, listener: str) -> Callable[[], list[tuple[str, str]]]:
        def news() -> list[tuple[str, str]]:
            said, self.said = self.said, []
            return said

        return news

    def look(self) -> tuple[str, Parts]:
        self.looked += 1
        return self.title, dict(self.parts)

    # the application of the connections

    def request_received(self, connection: HttpConnection, head: RequestHead) -> Viewer:
        return self.viewers.add(connection, Headers([(b"Content-Type", b"text/event-stream")]))

    def request_refused(self, connection: HttpConnection, error: Exception, answer: Answer) -> None:
        raise error

    def open(self) -> MemoryStream:
        stream = MemoryStream()
        stream.pauseProducing()

        def gone(connection: HttpConnection) -> None:
            self.gone += 1

        hand_over(stream, HttpConnection(self.clock, model.Timeouts(), self, gone))
        stream.receive(b"GET /events HTTP/1.0\r\n\r\n")
        return stream

    def news(self, stream: MemoryStream) -> list[dict[str, Any]]:
        """What came since the last look."""
        text = stream.take().decode().rpartition("\r\n\r\n")[2]
        return [json.loads(each[len("data: ") :]) for each in text.split("\n\n") if each.startswith("data: ")]

    def pass_seconds(self, count: int) -> None:
        for _ in range(count):
            self.clock.advance(1.0)

    # ------------------------------------------------------------------------------------------------

    def test_the_first_news_are_all_there_is(self) -> None:
        stream = self.open()
        (first,) = self.news(stream)
        self.assertEqual((first["title"], first["parts"]), ("t", {"a": "1", "b": "1"}))
        self.assertIsInstance(first["now"], float)

    def test_only_what_has_changed_is_told_and_once(self) -> None:
        stream = self.open()
        self.news(stream)
        self.pass_seconds(3)
        self.assertEqual(self.news(stream), [])
        self.parts["b"] = "2"
        self.pass_seconds(3)
        self.assertEqual([one["parts"] for one in self.news(stream)], [{"b": "2"}])
        self.title = "other"
        self.pass_seconds(2)
        self.assertEqual([(one["title"], one["parts"]) for one in self.news(stream)], [("other", {})])

    def test_nothing_is_looked_at_when_nobody_looks(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        stream = self.open()
        self.pass_seconds(2)
        self.assertEqual(self.looked, 3)
        stream.lose()
        self.pass_seconds(5)
        self.assertEqual((self.looked, self.clock.getDelayedCalls(), len(self.viewers)), (3, [], 0))
        self.open()
        self.pass_seconds(1)
        self.assertEqual(self.looked, 5)

    def test_one_look_serves_all(self) -> None:
        streams = [self.open() for _ in range(5)]
        before = self.looked
        self.parts["a"] = "2"
        self.pass_seconds(1)
        self.assertEqual(self.looked, before + 1)
        for stream in streams:
            self.assertEqual(self.news(stream)[-1]["parts"], {"a": "2"})

    def test_one_that_does_not_read_is_told_the_latest_when_it_does(self) -> None:
        stream = self.open()
        self.news(stream)
        stream.full = True
        for number in range(2, 30):
            self.parts["a"] = str(number) * 1000
            self.pass_seconds(1)
        self.assertLess(len(stream.buffer), 1200)  # one piece of news, whatever happens
        stream.full = False
        self.pass_seconds(1)
        news = self.news(stream)
        self.assertEqual(len(news), 2)
        self.assertEqual(news[-1]["parts"], {"a": "29" * 1000})

    def test_one_that_never_reads_makes_room(self) -> None:
        stream = self.open()
        other = self.open()
        stream.full = True
        self.parts["a"] = "2"
        self.pass_seconds(PATIENCE)
        self.assertFalse(stream.aborted)
        self.pass_seconds(1)
        self.assertTrue(stream.aborted)
        self.assertFalse(other.closed)
        self.assertEqual((len(self.viewers), self.gone), (1, 1))

    def test_silence_is_broken_by_the_time(self) -> None:
        stream = self.open()
        stream.take()
        self.pass_seconds(HEARTBEAT - 1)
        self.assertEqual(stream.take(), b"")
        self.pass_seconds(1)
        self.assertEqual([list(one) for one in self.news(stream)], [["now"]])
        self.pass_seconds(HEARTBEAT)
        self.assertEqual([list(one) for one in self.news(stream)], [["now"]])

    def test_there_is_a_limit(self) -> None:
        for _ in range(LIMIT):
            self.assertFalse(self.viewers.full)
            self.open()
        self.assertTrue(self.viewers.full)

    def test_the_end_is_an_end_for_all(self) -> None:
        streams = [self.open() for _ in range(3)]
        self.viewers.close()
        for stream in streams:
            self.assertTrue(stream.closed)
            self.assertFalse(stream.aborted)
        self.assertEqual((len(self.viewers), self.gone), (0, 3))
        self.assertEqual(self.clock.getDelayedCalls(), [])
