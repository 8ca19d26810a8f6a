"""Protocols, and a producer, that remember what they hear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.transport.abilities import Hearer


class Listening(Protocol):
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.received = b""
        self.on_data: Callable[[bytes], object] = lambda data: None

    def dataReceived(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        self.received += data
        self.on_data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.heard.append(type(reason.value))


@implementer(IHalfCloseableProtocol)
class HalfCloseable(Listening):
    def readConnectionLost(self) -> None:
        self.heard.append("read ended")

    def writeConnectionLost(self) -> None:
        self.heard.append("write ended")


class Lent(HalfCloseable, Hearer):
    """Takes views."""

    lent_at_most = 1 << 20

    def view_received(self, view: memoryview) -> None:
        assert isinstance(view, memoryview)
        self.received += view
        self.on_data(view)  # type: ignore[arg-type]


class Producer:
    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard
        self.on_resume: Callable[[], object] = lambda: None

    def pauseProducing(self) -> None:
        self.heard.append("pause")

    def resumeProducing(self) -> None:
        self.heard.append("resume")
        self.on_resume()

    def stopProducing(self) -> None:
        self.heard.append("stop")
