"""A listener's surroundings in memory: a dialer that hands out streams, a ledger, what it closed."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lanrelay.config import model
from lanrelay.listeners.service import Environment
from lanrelay.observe.ledger import Ledger
from lanrelay.observe.session import Session
from lanrelay.upstream.dial import Dialed, Target
from tests.support.memory import MemoryStream


class FakeDialer:
    """
    Answers dials when the test says so.

    @ivar asked: the targets, in order.
    @ivar pending: the dials not answered yet.
    @ivar at_once: they succeed before they return, as the kernel's on one machine do.
    @ivar on_loopback: whether C{dial_at_once} succeeds; C{streams} has its results.
    """

    def __init__(self) -> None:
        self.at_once = self.on_loopback = False
        self.streams: list[MemoryStream] = []
        self.asked: list[Target] = []
        self.pending: list[Deferred[Dialed]] = []
        self.cancelled = 0

    def dial_at_once(self, target: Target, **limits: Any) -> Dialed | None:
        if not self.on_loopback:
            return None
        self.asked.append(target)
        self.streams.append(MemoryStream())
        return Dialed(stream=self.streams[-1], address="127.0.0.1:5432")

    def dial(self, target: Target, **limits: Any) -> Awaitable[Dialed]:
        self.asked.append(target)
        pending: Deferred[Dialed] = Deferred(self._cancelled)
        self.pending.append(pending)
        if self.at_once:
            self.answer()
        return pending

    def answer(self, address: str = "192.0.2.1:5432") -> MemoryStream:
        """The oldest dial succeeds; the stream that it gave."""
        stream = MemoryStream()
        stream.pauseProducing()
        self.pending.pop(0).callback(Dialed(stream=stream, address=address))
        return stream

    def fail(self, error: Exception) -> None:
        """The oldest dial fails."""
        self.pending.pop(0).errback(error)

    def _cancelled(self, dial: Deferred[Dialed]) -> None:
        self.cancelled += 1
        self.pending.remove(dial)


class Surroundings:
    """
    An environment for one listener.

    @ivar closed: the sessions that have ended, in order.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.dialer = FakeDialer()
        self.ledger = Ledger(self.clock)
        self.closed: list[Session] = []
        self.ledger.observers.append(lambda session, duration: self.closed.append(session))
        self.environment = Environment(
            reactor=self.clock,
            dialer=self.dialer,  # type: ignore[arg-type]
            ledger=self.ledger,
            forbidden=lambda address, port: None,
        )


def accept(service: Any, stream: MemoryStream | None = None) -> MemoryStream:
    """A client connects to C{service}; the client's stream."""
    stream = stream or MemoryStream()
    stream.pauseProducing()
    service._gate.enter()
    service.admission.accepted(stream, _name(stream.getPeer()), _name(stream.getHost()))
    return stream


def _name(address: Any) -> Any:
    """As a socket says it."""
    return (address.host, address.port) if hasattr(address, "port") else ""


def without_via(data: bytes, version: bytes = b"1.1") -> bytes:
    """A head that has left C{proxy}, without the Via that it must bear."""
    found = re.search(rb"Via: %b lanrelay-proxy-[0-9a-f]{8}\r\n" % re.escape(version), data)
    assert found is not None, data
    return data.replace(found[0], b"")


def tcp_upstreams(*urls: tuple[str, int], **keys: Any) -> model.Upstreams:
    """TCP upstreams without health checks."""
    members = tuple(
        model.Upstream(url=model.UpstreamUrl(scheme="tcp", host=host, port=port)) for host, port in urls
    )
    return model.Upstreams(members=members, **keys)
