"""Stands in memory for what the dialer uses: names, connects and dials that the test answers."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lanrelay.addresses import IPAddress
from lanrelay.config import model
from lanrelay.errors import DialError
from lanrelay.transport.stream import Stream
from lanrelay.upstream.dial import Dialed, Target
from lanrelay.upstream.look_ups import LookUps
from lanrelay.upstream.race import SocketAddress, from_errno
from tests.support.memory import MemoryStream


class ThreadClock(Clock):
    """A clock to which threads report; the test is the only thread."""

    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        call(*arguments)


class FakeConnect:
    """
    Connects that the test answers.

    @ivar asked: what was connected to, as text, in order.
    @ivar pending: those not answered yet.
    @ivar cancelled: those given up.
    @ivar streams: what was handed out.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.pending: dict[str, Deferred[Stream]] = {}
        self.cancelled: list[str] = []
        self.streams: dict[str, MemoryStream] = {}
        self.at_once: dict[str, int | None] = {}
        """Answers that do not wait for the test: an errno, or C{None} for success."""

    def __call__(self, reactor: Any, address: SocketAddress) -> Deferred[Stream]:
        text = str(address)
        self.asked.append(text)

        def cancel(_: Deferred[Stream]) -> None:
            del self.pending[text]
            self.cancelled.append(text)

        self.pending[text] = Deferred(cancel)
        result = self.pending[text]
        if text in self.at_once:
            number = self.at_once[text]
            if number is None:
                self.answer(text)
            else:
                self.fail(text, number)
        return result

    def answer(self, text: str) -> MemoryStream:
        stream = self.streams[text] = MemoryStream()
        stream.pauseProducing()
        self.pending.pop(text).callback(stream)
        return stream

    def fail(self, text: str, error: int | Exception = errno.ECONNREFUSED) -> None:
        if isinstance(error, int):
            error = from_errno(error, SocketAddress(_ANY))
        self.pending.pop(text).errback(error)


_ANY = IPv4Address("192.0.2.1")


class FakeResolver:
    """
    Names that the test answers.

    @ivar asked: the names, in order.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.pending: dict[str, Deferred[tuple[IPAddress, ...]]] = {}
        self.cancelled: list[str] = []

    async def resolve(self, host: str, look_ups: LookUps | None = None) -> tuple[IPAddress, ...]:
        def cancel(_: Deferred[tuple[IPAddress, ...]]) -> None:
            del self.pending[host]
            self.cancelled.append(host)

        self.asked.append(host)
        self.pending[host] = Deferred(cancel)
        return await self.pending[host]

    def answer(self, host: str, *addresses: IPAddress) -> None:
        self.pending.pop(host).callback(addresses)

    def fail(self, host: str, error: DialError) -> None:
        self.pending.pop(host).errback(error)


class FakeDialer:
    """
    Dials that the test answers.

    @ivar asked: the targets as text, in order.
    @ivar limits: the keyword arguments of each.
    @ivar pending: the oldest first.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.limits: list[dict[str, Any]] = []
        self.pending: list[Deferred[Dialed]] = []
        self.cancelled = 0

    def dial_at_once(self, target: Target, **limits: Any) -> Dialed | None:
        return None

    def dial(self, target: Target, **limits: Any) -> Awaitable[Dialed]:
        self.asked.append(str(target))
        self.limits.append(limits)
        dial: Deferred[Dialed] = Deferred(self._cancel)
        self.pending.append(dial)
        return dial

    def answer(self, address: str = "192.0.2.1:80") -> MemoryStream:
        stream = MemoryStream()
        stream.pauseProducing()
        self.pending.pop(0).callback(Dialed(stream, address))
        return stream

    def fail(self, error: Exception) -> None:
        self.pending.pop(0).errback(error)

    def _cancel(self, dial: Deferred[Dialed]) -> None:
        self.pending.remove(dial)
        self.cancelled += 1


def upstreams(*urls: str, **settings: Any) -> model.Upstreams:
    """The configuration of upstreams with C{http://HOST} or C{tcp://HOST:PORT} URLs."""
    members = []
    for url in urls:
        scheme, _, authority = url.partition("://")
        host, _, port = authority.partition(":")
        members.append(
            model.Upstream(
                url=model.UpstreamUrl(scheme=scheme, host=host, port=int(port or 80))  # type: ignore[arg-type]
            )
        )
    return model.Upstreams(members=tuple(members), **settings)
