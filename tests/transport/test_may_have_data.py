"""A stream that was accepted a moment ago: what has come already is told when it is resumed."""

from __future__ import annotations

import socket

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.transport.stream import hand_over
from lanrelay.transport.tcp import TcpStream
from tests.support.hearing import HalfCloseable


class FreshTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        ours, self.peer = socket.socketpair()
        self.addCleanup(self.peer.close)
        self.addCleanup(ours.close)
        self.stream = TcpStream(self.reactor, ours, "", may_have_data=True)

    def take(self) -> HalfCloseable:
        protocol = HalfCloseable()
        hand_over(self.stream, protocol)
        return protocol

    def watched(self) -> bool:
        return self.stream in self.reactor.getReaders()

    def test_the_first_resume_tells_what_came_and_waits_for_more(self) -> None:
        protocol = self.take()
        self.peer.sendall(b"early")
        self.assertEqual(protocol.received, b"")
        self.stream.resumeProducing()
        self.assertEqual(protocol.received, b"early")
        self.assertTrue(self.watched())

    def test_the_next_one_does_not_look(self) -> None:
        protocol = self.take()
        self.stream.resumeProducing()
        self.assertTrue(self.watched())
        self.stream.pauseProducing()
        self.assertFalse(self.watched())
        self.peer.sendall(b"late")
        self.stream.resumeProducing()
        self.assertEqual(protocol.received, b"")
        self.stream.doRead()
        self.assertEqual(protocol.received, b"late")

    def test_who_pauses_it_from_within_is_not_woken(self) -> None:
        protocol = self.take()
        protocol.on_data = lambda data: self.stream.pauseProducing()
        self.peer.sendall(b"head")
        self.stream.resumeProducing()
        self.assertFalse(self.watched())
        self.assertEqual(self.reactor.getReaders(), [])
        self.stream.resumeProducing()
        self.assertTrue(self.watched())

    def test_it_may_change_hands_from_within(self) -> None:
        """As after a CONNECT."""
        protocol, pump = self.take(), HalfCloseable()

        def join(data: bytes) -> None:
            self.stream.pauseProducing()
            hand_over(self.stream, pump)
            self.stream.resumeProducing()

        protocol.on_data = join
        self.peer.sendall(b"head")
        self.stream.resumeProducing()
        self.assertEqual((protocol.received, pump.received), (b"head", b""))
        self.assertEqual(self.reactor.getReaders(), [self.stream])
        self.peer.sendall(b"more")
        self.stream.doRead()
        self.assertEqual(pump.received, b"more")

    def test_an_end_is_told_and_not_waited_for(self) -> None:
        protocol = self.take()
        self.peer.close()
        self.stream.resumeProducing()
        self.assertEqual(protocol.heard, ["read ended"])
        self.assertFalse(self.watched())

    def test_who_closes_it_from_within_hears_its_end(self) -> None:
        protocol = self.take()
        protocol.on_data = lambda data: self.stream.abortConnection()
        self.peer.sendall(b"bad")
        self.stream.resumeProducing()
        self.assertFalse(self.watched())
        self.reactor.advance(0)
        self.assertEqual(len(protocol.heard), 1)
        self.assertTrue(self.stream.disconnected)

    def test_a_bug_ends_it(self) -> None:
        class Faulty(Protocol):
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError

        hand_over(self.stream, Faulty())
        self.peer.sendall(b"x")
        self.stream.resumeProducing()
        self.assertTrue(self.stream.disconnected)
        self.assertFalse(self.watched())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_came_early_is_told_nobody_if_it_is_taken(self) -> None:
        self.peer.sendall(b"early")
        self.assertEqual(self.stream.early(), b"early")
        self.assertEqual(self.stream.early(), b"")
        protocol = self.take()
        self.stream.resumeProducing()
        self.assertEqual((protocol.received, self.watched()), (b"", True))
        self.peer.sendall(b"late")
        self.assertEqual(self.stream.early(), b"")
        self.stream.doRead()
        self.assertEqual(protocol.received, b"late")

    def test_what_is_put_back_is_told_as_if_it_had_just_come(self) -> None:
        self.peer.sendall(b"early")
        self.stream.put_back(self.stream.early())
        protocol = self.take()
        self.peer.sendall(b" and late")
        self.stream.resumeProducing()
        self.assertEqual((protocol.received, self.watched()), (b"early", True))
        self.stream.doRead()
        self.assertEqual(protocol.received, b"early and late")

    def test_nothing_early(self) -> None:
        self.assertEqual(self.stream.early(), b"")
        protocol = self.take()
        self.peer.sendall(b"late")
        self.stream.resumeProducing()
        self.assertEqual((protocol.received, self.watched()), (b"", True))

    def test_of_a_stream_that_is_not_fresh_nothing_is_read_early(self) -> None:
        stream = TcpStream(self.reactor, self.stream.getHandle(), "")
        self.peer.sendall(b"x")
        self.assertEqual(stream.early(), b"")

    def test_an_end_or_a_reset_is_not_taken_for_nothing(self) -> None:
        self.peer.shutdown(socket.SHUT_WR)
        self.assertEqual(self.stream.early(), b"")
        protocol = self.take()
        self.stream.resumeProducing()
        self.stream.doRead()
        self.assertEqual(protocol.heard, ["read ended"])

    def test_a_reset_too(self) -> None:
        self.stream.getHandle().send(b"unread")
        self.peer.close()
        self.assertEqual(self.stream.early(), b"")
        protocol = self.take()
        self.stream.resumeProducing()
        reason = self.stream.doRead()
        self.assertIsInstance(reason, ConnectionLost)
        self.assertEqual(protocol.heard, [])
