"""Whoever sends what two readers could understand in two ways, to the live relay: the origin counts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.desync import Client, Recorder
from tests.support.desync_requests import CHUNKS, HEADS, RIGHT, Row
from tests.support.progress import LIMIT
from tests.support.relay import Relay


class DesyncTestCase(TestCase):
    """One relay and one origin for a whole table; C{listener} says by which way."""

    timeout = LIMIT
    listener: ClassVar[str] = ""

    def setUp(self) -> None:
        self.origin = Recorder()
        self.addCleanup(self.origin.close)
        self.relay = Relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: http://127.0.0.1:{self.origin.port}
                health: off
              proxy:
                type: connect-proxy
                listen: 127.0.0.1:0
            """
        ).start()
        self.addCleanup(self.relay.stop)
        self.port = self.relay.port(self.listener)
        self.honest_count = 0

    def for_listener(self, data: bytes) -> bytes:
        """C{@T} and C{@H} filled in."""
        if self.listener == "web":
            return data.replace(b"@T", b"").replace(b"@H", b"localhost")
        host = b"127.0.0.1:%d" % self.origin.port
        return data.replace(b"@T", b"http://" + host).replace(b"@H", host)

    def honest(self, client: Client | None = None) -> str:
        """Somebody asks for something of their own; what is wrong with the answer."""
        self.honest_count += 1
        target = b"/honest-%d" % self.honest_count
        own = client is None
        client = client or Client(self.port)
        client.heard.answers.clear()
        try:
            client.send(self.for_listener(b"GET @T%b HTTP/1.1\r\nHost: @H\r\n\r\n" % target))
            answers = client.hear([b"GET"]).answers
        finally:
            if own:
                client.close()
        if answers != [(200, b"you asked for " + target)]:
            return f"an honest request was answered {answers}"
        return ""

    def rows(self, table: list[Row]) -> Iterator[Row]:
        for row in table:
            if row.on in ("", self.listener):
                yield row


def in_thread(method: object) -> object:
    """The test blocks, so it runs beside the reactor."""

    def test(self: TestCase) -> Deferred[None]:
        return deferToThread(method, self)  # type: ignore[arg-type]

    test.__name__ = method.__name__  # type: ignore[attr-defined]
    return test


class RequestTests(DesyncTestCase):
    listener = "web"

    @in_thread
    def test_heads(self) -> None:
        self.check(HEADS)

    @in_thread
    def test_chunks(self) -> None:
        self.check(CHUNKS)

    @in_thread
    def test_what_is_right(self) -> None:
        self.check(RIGHT)

    def check(self, table: list[Row]) -> None:
        wrong: list[str] = []
        for row in self.rows(table):
            sent = self.for_listener(row.sent)
            last = self.for_listener(row.together)
            for parts in cuts(sent.removesuffix(last)):
                parts = [*parts, last] if last else parts
                try:
                    problems = self.tried(row, parts)
                except Exception as error:
                    problems = [f"{type(error).__name__}: {error}"]
                wrong += [
                    f"{row.name} ({row.rule}; in {len(parts)}): {problem}" for problem in problems if problem
                ]
        self.assertEqual(wrong, [], "\n".join(wrong))

    def tried(self, row: Row, parts: list[bytes]) -> Iterator[str] | list[str]:
        """What is wrong with what came of it."""
        origin, found = self.origin, []
        origin.forget()
        client = Client(self.port)
        try:
            client.send(*parts)
            if row.after:
                client.hear([row.method])
                client.send(self.for_listener(row.after))
            heard = replace(
                client.hear([row.method] * len(row.status)) if row.stays else client.hear_all(row.method)
            )
            if row.after and heard.heads[0].get(b"connection") != [b"close"]:
                found.append("it does not say that it closes")
            if heard.statuses != row.status:
                found.append(f"answered {heard.statuses}, not {row.status}")
            if heard.cut or heard.closed is row.stays:
                found.append("cut" if heard.cut else "closed" if heard.closed else "not closed")
            wanted = list(row.meant)
            if row.stays and not heard.closed:
                found.append(self.honest(client))
                wanted.append(b"GET /honest-%d" % self.honest_count)
        finally:
            client.close()
        found.append(self.honest())
        wanted.append(b"GET /honest-%d" % self.honest_count)
        if [asked.said for asked in origin.asked] != wanted:
            found.append(f"the origin heard {[asked.said for asked in origin.asked]}, not {wanted}")
        host = [b"127.0.0.1:%d" % origin.port]
        for asked in origin.asked:
            if asked.values(b"host") != host:
                found.append(f"Host {asked.values(b'host')}")
            found += [f"{name!r} went on" for name in row.absent if asked.values(name)]
            if any(name in (b"content-length", b"host", b"transfer-encoding") for name, _ in asked.trailers):
                found.append(f"trailers {asked.trailers}")
        return found + origin.broken


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Whole, in the places where a reader would pause, and in pieces of odd length."""
    yield [data]
    yield [part for part in re.split(rb"(?<=\n)", data) if part][:400]
    if len(data) < 1000:
        yield [data[start : start + 7] for start in range(0, len(data), 7)]


class ForwardedRequestTests(RequestTests):
    listener = "proxy"
