"""The PROXY header before everything else, and the bytes that were read with it."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lanrelay.errors import GreetingError
from lanrelay.transport.proxy_greeting import read_proxy_header
from lanrelay.transport.stream import Parked, Stream, hand_over
from lanrelay.transport.unread import with_unread
from lanrelay.wire.proxy_header import Endpoints
from tests.support.memory import MemoryStream

HEADER = b"PROXY TCP4 203.0.113.7 192.168.1.5 50123 443\r\n"
ENDPOINTS = Endpoints(ip_address("203.0.113.7"), 50123, ip_address("192.168.1.5"), 443)


@implementer(IHalfCloseableProtocol)
class Owner(Protocol):
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.received = b""
        self.ended = False
        self.lost: Failure | None = None
        self.pause_at_once = False

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.pause_at_once:
            assert self.transport is not None
            self.transport.pauseProducing()  # type: ignore[attr-defined]

    def readConnectionLost(self) -> None:
        self.ended = True

    def writeConnectionLost(self) -> None: ...

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class UnreadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.raw = MemoryStream()
        self.owner = Owner()

    def handed_over(self, unread: bytes = b"first ") -> Stream:
        stream = with_unread(self.raw, unread)
        hand_over(stream, self.owner)
        return stream

    def test_nothing_unread_is_the_stream_itself(self) -> None:
        self.assertIs(with_unread(self.raw, b""), self.raw)

    def test_unread_bytes_come_first_and_only_when_they_are_wanted(self) -> None:
        stream = self.handed_over()
        self.raw.receive(b"second")
        self.assertEqual(self.owner.received, b"")
        stream.resumeProducing()
        self.assertEqual(self.owner.received, b"first second")
        stream.pauseProducing()
        stream.resumeProducing()
        self.assertEqual(self.owner.received, b"first second")

    def test_an_owner_that_pauses_within_is_given_no_more(self) -> None:
        self.owner.pause_at_once = True
        stream = self.handed_over()
        self.raw.receive(b"second")
        stream.resumeProducing()
        self.assertEqual((self.owner.received, self.raw.reading), (b"first ", False))
        stream.resumeProducing()
        self.assertEqual(self.owner.received, b"first second")

    def test_the_end_comes_after_them(self) -> None:
        stream = self.handed_over()
        self.raw.receive_eof()
        self.assertFalse(self.owner.ended)
        stream.resumeProducing()
        self.assertEqual((self.owner.received, self.owner.ended), (b"first ", True))

    def test_writing_and_ends_are_those_of_the_stream(self) -> None:
        stream = self.handed_over()
        stream.write(b"out")
        stream.loseWriteConnection()
        self.assertEqual((self.raw.take(), self.raw.half_closed), (b"out", True))
        self.assertEqual((stream.getPeer(), stream.getHost()), (self.raw.getPeer(), self.raw.getHost()))
        stream.abortConnection()
        self.assertTrue(self.raw.aborted)
        self.assertIsNotNone(self.owner.lost)

    def test_an_owner_hears_that_it_was_lost_while_parked(self) -> None:
        stream = with_unread(self.raw, b"first")
        self.raw.lose()
        hand_over(stream, self.owner)
        self.assertIsNotNone(self.owner.lost)


class AnnouncedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.raw = MemoryStream()

    def read(self, timeout: float | None = 10.0) -> Deferred[tuple[Stream, Endpoints | None]]:
        return Deferred.fromCoroutine(read_proxy_header(self.clock, self.raw, timeout=timeout))

    def nothing_left(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_header_is_taken_off(self) -> None:
        for cut in range(1, len(HEADER)):
            self.setUp()
            result = self.read()
            self.raw.receive(HEADER[:cut])
            self.assertNoResult(result)
            self.raw.receive(HEADER[cut:] + b"hello")
            stream, endpoints = self.successResultOf(result)
            self.assertEqual(endpoints, ENDPOINTS)
            self.assertIsInstance(stream.protocol, Parked)
            self.assertFalse(self.raw.reading)
            owner = Owner()
            hand_over(stream, owner)
            stream.resumeProducing()
            self.raw.receive(b" there")
            self.assertEqual(owner.received, b"hello there")
            self.nothing_left()

    def test_without_bytes_behind_it_the_stream_is_the_same(self) -> None:
        result = self.read()
        self.raw.receive(b"PROXY UNKNOWN\r\n")
        self.assertEqual(self.successResultOf(result), (self.raw, None))

    def test_something_else_closes_the_connection(self) -> None:
        result = self.read()
        self.raw.receive(b"GET / HTTP/1.1\r\n")
        self.failureResultOf(result, GreetingError)
        self.assertTrue(self.raw.aborted)
        self.nothing_left()

    def test_silence_ends_it(self) -> None:
        result = self.read()
        self.raw.receive(HEADER[:20])
        self.clock.advance(9.9)
        self.assertNoResult(result)
        self.clock.advance(0.2)
        self.assertIn("10 s", str(self.failureResultOf(result, GreetingError).value))
        self.assertTrue(self.raw.aborted)
        self.nothing_left()

    def test_without_a_limit_it_waits(self) -> None:
        result = self.read(None)
        self.nothing_left()
        self.raw.receive(HEADER)
        self.successResultOf(result)

    def test_a_peer_that_leaves(self) -> None:
        result = self.read()
        self.raw.receive(HEADER[:20])
        self.raw.receive_eof()
        self.failureResultOf(result, GreetingError)
        self.nothing_left()

    def test_a_peer_that_left_before(self) -> None:
        self.raw.lose()
        self.failureResultOf(self.read(), GreetingError)
        self.nothing_left()

    def test_cancelled_it_closes_the_connection(self) -> None:
        result = self.read()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(self.raw.aborted)
        self.nothing_left()
