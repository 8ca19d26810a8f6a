"""What a stream on a socket tells, and when: ours as Twisted's own, on every kind of reactor."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.pollreactor import PollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lanrelay.transport.abilities import Hearer
from lanrelay.transport.reactor_turn import quicken
from lanrelay.transport.stream import Parked, hand_over
from lanrelay.transport.tcp import TcpStream
from lanrelay.transport.twisteds import let_tell
from tests.support.hearing import HalfCloseable, Listening, Producer

try:
    from twisted.internet.epollreactor import EPollReactor as DefaultReactor
except ImportError:
    from twisted.internet.kqreactor import KQueueReactor as DefaultReactor  # type: ignore[assignment]

MUCH = bytes(range(256)) * 4096 * 8  # 8 MB: more than two sockets' buffers hold


class Wanting(HalfCloseable, Hearer):
    """Takes what has come, though its own words get nowhere."""

    def sending_failed(self) -> bool:
        return True


class StreamCases:
    """Mixed into a test case below, once for each transport and reactor."""

    own = True
    quick = False
    reactor_class: type[Any] = DefaultReactor

    def setUp(self: Any) -> None:
        self.reactor = self.reactor_class()
        if self.quick:
            quicken(self.reactor)
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        self.peer = socket.create_connection(listening.getsockname())
        self.peer.settimeout(10)
        self.addCleanup(self.peer.close)
        sock, address = listening.accept()
        self.addCleanup(sock.close)
        self.addCleanup(self.close_reactor)
        if self.own:
            self.stream = TcpStream(self.reactor, sock, address)
        else:
            parked = Parked()
            self.stream = tcp.Server(sock, parked, address, None, 0, self.reactor)  # type: ignore[arg-type]
            let_tell(self.stream)
            self.stream.pauseProducing()
            parked.makeConnection(self.stream)

    def close_reactor(self: Any) -> None:
        self.reactor.removeAll()
        for reader in list(self.reactor._internalReaders):
            reader.connectionLost(Failure(ConnectionDone()))
        poller: Any = getattr(self.reactor, "_poller", None) or getattr(self.reactor, "_kq", None)
        if hasattr(poller, "close"):
            poller.close()

    def take(self: Any, protocol: Any = None, *, read: bool = True) -> Any:
        protocol = protocol or HalfCloseable()
        hand_over(self.stream, protocol)
        if read:
            self.stream.resumeProducing()
        return protocol

    def turn(self: Any, turns: int = 3) -> None:
        for _ in range(turns):
            self.reactor.iterate(0.01)

    def until(self: Any, condition: Callable[[], object]) -> None:
        for _ in range(500):
            if condition():
                return
            self.reactor.iterate(0.01)
        self.fail("nothing came of it")

    def receive(self: Any, count: int) -> bytes:
        """That many bytes of the peer, while the reactor works."""
        parts = []
        self.peer.setblocking(False)
        while count:
            try:
                parts.append(self.peer.recv(count))
            except BlockingIOError:
                self.reactor.iterate(0.01)
            else:
                count -= len(parts[-1])
                if not parts[-1]:
                    break
        self.peer.settimeout(10)
        return b"".join(parts)

    def skip_where_kqueue_reads_no_rest(self: Any) -> None:
        if self.reactor_class.__name__ == "KQueueReactor":
            raise SkipTest("Twisted's own turn on kqueue ends what was reset and leaves unread what had come")

    def reset_peer(self: Any) -> None:
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    # reading

    def test_bytes_come_once_it_reads(self: Any) -> None:
        protocol = self.take(read=False)
        self.peer.sendall(b"early")
        self.turn()
        self.assertEqual(protocol.received, b"")
        self.stream.resumeProducing()
        self.turn()
        self.assertEqual(protocol.received, b"early")
        self.stream.pauseProducing()
        self.peer.sendall(b"late")
        self.turn()
        self.assertEqual(protocol.received, b"early")

    def test_the_end_is_told_and_told_again_to_who_reads_on(self: Any) -> None:
        protocol = self.take()
        self.peer.sendall(b"all")
        self.peer.shutdown(socket.SHUT_WR)
        self.until(lambda: protocol.heard)
        self.turn()
        self.assertEqual((protocol.received, protocol.heard), (b"all", ["read ended"]))
        self.stream.resumeProducing()
        self.turn()
        self.assertEqual(protocol.heard, ["read ended"] * 2)
        self.stream.write(b"late answer")
        self.assertEqual(self.receive(11), b"late answer")

    def test_without_half_close_the_end_is_the_end(self: Any) -> None:
        protocol = self.take(Listening())
        self.peer.shutdown(socket.SHUT_WR)
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, [ConnectionDone])
        self.assertEqual(self.peer.recv(1), b"")

    def test_a_reset_is_told_after_what_came_before_it(self: Any) -> None:
        protocol = self.take()
        self.peer.sendall(b"last words")
        self.turn()
        self.reset_peer()
        self.until(lambda: protocol.heard)
        self.assertEqual((protocol.received, protocol.heard), (b"last words", [ConnectionLost]))

    def test_what_had_come_before_a_send_failed_is_told_to_who_wants_it(self: Any) -> None:
        for wanted, protocol in ((True, Wanting()), (False, HalfCloseable())):
            self.setUp()
            self.take(protocol, read=False)
            self.peer.sendall(b"x" * 100_000)
            self.reset_peer()
            for _ in range(3):
                self.stream.write(b"y")
                self.turn()
            self.assertEqual(protocol.heard, [] if wanted else [ConnectionLost])
            self.stream.resumeProducing()
            self.until(protocol.heard.copy)
            self.assertEqual(protocol.heard, [ConnectionLost])
            self.assertEqual(len(protocol.received), 100_000 if wanted else 0)

    def test_what_had_come_when_a_send_fails_is_read_to_the_end(self: Any) -> None:
        if not self.quick:
            self.skip_where_kqueue_reads_no_rest()
        protocol = self.take(Wanting())
        self.stream.write(MUCH)
        self.turn()
        self.peer.sendall(b"x" * 100_000)
        self.reset_peer()
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, [ConnectionLost])
        self.assertEqual(len(protocol.received), 100_000)

    def test_an_exception_of_the_protocol_costs_its_connection(self: Any) -> None:
        protocol = self.take()
        protocol.on_data = lambda data: 1 / 0
        self.peer.sendall(b"x")
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, [ZeroDivisionError])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.peer.recv(1), b"")

    def test_an_exception_at_the_end_of_a_side_costs_its_connection(self: Any) -> None:
        protocol = self.take()
        protocol.readConnectionLost = lambda: 1 / 0
        self.peer.shutdown(socket.SHUT_WR)
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, [ZeroDivisionError])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_pause_and_an_end_from_within(self: Any) -> None:
        protocol = self.take()
        protocol.on_data = lambda data: self.stream.loseConnection()
        self.peer.sendall(b"x")
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, [ConnectionDone])

    # writing

    def test_much_pauses_the_producer_until_it_has_left(self: Any) -> None:
        protocol = self.take()
        producer = Producer(protocol.heard)
        self.stream.registerProducer(producer, True)
        self.stream.write(MUCH)
        self.stream.write(b"end")
        self.turn()
        self.assertEqual(set(protocol.heard), {"pause"})
        self.assertEqual(self.receive(len(MUCH) + 3), MUCH + b"end")
        self.turn()
        self.assertEqual(protocol.heard[-1], "resume")
        self.assertEqual(protocol.heard.count("resume"), 1)
        self.stream.writeSequence([b"a", b"b"])
        self.assertEqual(self.receive(2), b"ab")
        self.assertNotIn(self.stream, self.reactor.getWriters() if self.own else [])

    def test_a_second_producer_is_a_mistake(self: Any) -> None:
        self.stream.registerProducer(Producer([]), True)
        self.assertRaises(RuntimeError, self.stream.registerProducer, Producer([]), True)
        self.stream.unregisterProducer()
        self.stream.registerProducer(Producer([]), True)

    def test_a_pull_producer_is_asked_whenever_what_it_wrote_has_left(self: Any) -> None:
        protocol = self.take()
        producer = Producer(protocol.heard)
        parts = [b"one", MUCH, b"three"]
        producer.on_resume = lambda: self.stream.write(parts.pop(0)) if parts else None
        self.stream.registerProducer(producer, False)
        self.assertEqual(protocol.heard, ["resume"])
        self.assertEqual(self.receive(len(MUCH) + 8), b"one" + MUCH + b"three")
        self.turn()
        self.assertEqual(protocol.heard, ["resume"] * 4)
        self.stream.unregisterProducer()
        self.stream.write(b"after")
        self.assertEqual(self.receive(5), b"after")

    def test_writing_to_a_peer_that_has_reset_is_told_on_a_later_turn(self: Any) -> None:
        protocol = self.take(read=False)
        self.reset_peer()
        self.turn()
        for _ in range(3):
            self.stream.write(b"x")
            self.assertEqual(protocol.heard, [])
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, [ConnectionLost])

    def test_a_failed_write_is_never_an_orderly_end_for_the_reader(self: Any) -> None:
        """The kernel tells of a reset once: to the write; a read then finds a mere end."""
        protocol = self.take(read=False)
        self.peer.sendall(b"before")
        self.turn()
        self.reset_peer()
        self.turn()
        self.stream.write(b"x")
        self.stream.resumeProducing()
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, [ConnectionLost])

    # ends

    def test_our_end_after_the_peer_s_is_sent_though_nobody_closes(self: Any) -> None:
        protocol = self.take()
        self.peer.shutdown(socket.SHUT_WR)
        self.until(lambda: protocol.heard)
        self.stream.loseWriteConnection()
        self.until(lambda: len(protocol.heard) > 1)
        self.assertEqual(protocol.heard, ["read ended", "write ended"])
        self.assertEqual(self.peer.recv(1), b"")

    def test_our_end_comes_after_all_that_was_written(self: Any) -> None:
        protocol = self.take()
        self.stream.write(MUCH)
        self.stream.loseWriteConnection()
        self.turn()
        self.assertEqual(protocol.heard, [])
        self.assertEqual(self.receive(len(MUCH) + 1), MUCH)
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, ["write ended"])
        self.stream.write(b"too late")
        self.peer.sendall(b"answer")
        self.until(lambda: protocol.received)
        self.peer.close()
        self.until(lambda: len(protocol.heard) == 2)
        self.assertEqual(protocol.heard, ["write ended", "read ended"])
        self.stream.loseConnection()
        self.assertEqual(protocol.heard[2:], [ConnectionDone])
        self.stream.loseWriteConnection() if self.own else None

    def test_a_reset_after_the_peer_s_end_is_no_orderly_end_of_ours(self: Any) -> None:
        """What we wrote was lost, and nothing is read any more that would tell."""
        protocol = self.take()
        self.peer.close()
        self.until(lambda: protocol.heard)
        self.stream.write(b"too late")
        self.turn()
        self.assertEqual(protocol.heard, ["read ended"])
        self.stream.loseWriteConnection()
        self.assertEqual(protocol.heard, ["read ended"])
        self.until(lambda: len(protocol.heard) > 1)
        self.assertEqual(protocol.heard, ["read ended", ConnectionLost])

    def test_a_close_comes_after_all_that_was_written(self: Any) -> None:
        protocol = self.take()
        self.stream.write(MUCH)
        self.stream.loseConnection()
        self.turn()
        self.assertEqual(protocol.heard, [])
        self.assertEqual(self.receive(len(MUCH) + 1), MUCH)
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, [ConnectionDone])

    def test_a_close_is_not_told_from_within_the_call(self: Any) -> None:
        protocol = self.take()
        self.stream.write(b"bye")
        self.stream.loseConnection()
        self.stream.loseConnection()
        self.stream.resumeProducing()
        self.assertEqual(protocol.heard, [])
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, [ConnectionDone])
        self.assertEqual(self.peer.recv(10), b"bye")
        self.assertEqual(self.peer.recv(10), b"")

    def test_a_close_with_bytes_unread_is_an_orderly_end_for_the_peer(self: Any) -> None:
        protocol = self.take()
        self.peer.sendall(b"one thing more")
        self.stream.write(b"bye")
        self.stream.loseConnection()
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, [ConnectionDone])
        self.assertEqual(self.peer.recv(10), b"bye")
        self.assertEqual(self.peer.recv(10), b"")

    def test_a_close_waits_for_a_producer_that_is_paused(self: Any) -> None:
        protocol = self.take()
        producer = Producer([])
        self.stream.registerProducer(producer, True)
        self.stream.write(MUCH)
        self.stream.loseConnection()
        producer.on_resume = lambda: self.stream.write(b"rest")
        self.assertEqual(self.receive(len(MUCH) + 4), MUCH + b"rest")
        self.stream.unregisterProducer()
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, [ConnectionDone])

    def test_an_abort_is_a_reset_and_told_on_the_next_turn(self: Any) -> None:
        protocol = self.take()
        self.stream.write(MUCH)
        self.stream.abortConnection()
        self.stream.abortConnection()
        self.stream.write(b"x")
        self.stream.resumeProducing()
        self.assertEqual(protocol.heard, [])
        self.reactor.runUntilCurrent()
        self.assertEqual(protocol.heard, [ConnectionAborted])
        with self.assertRaises(ConnectionResetError):
            while self.peer.recv(65536):
                pass
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_the_producer_is_stopped_before_the_loss_is_told(self: Any) -> None:
        protocol = self.take()
        self.stream.registerProducer(Producer(protocol.heard), True)
        self.reset_peer()
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, ["stop", ConnectionLost])
        self.stream.registerProducer(Producer(protocol.heard), True)
        self.assertEqual(protocol.heard[2:], ["stop"])
        self.assertTrue(self.stream.disconnected)

    def test_calls_after_the_end_do_nothing(self: Any) -> None:
        protocol = self.take()
        self.reset_peer()
        self.until(lambda: protocol.heard)
        self.stream.write(b"x")
        self.stream.loseConnection()
        self.stream.abortConnection()
        self.stream.resumeProducing()
        self.turn()
        self.assertEqual(protocol.heard, [ConnectionLost])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_addresses(self: Any) -> None:
        peer, host = self.stream.getPeer(), self.stream.getHost()
        self.assertEqual((peer.host, peer.port), self.peer.getsockname())
        self.assertEqual((host.host, host.port), self.peer.getpeername())


class OwnOnPollTests(StreamCases, SynchronousTestCase):
    reactor_class = PollReactor


class OwnOnSelectTests(StreamCases, SynchronousTestCase):
    reactor_class = SelectReactor


class TwistedTests(StreamCases, SynchronousTestCase):
    """The same cases, so that they say what Twisted's transports do and not what we think they do."""

    own = False
    quick = DefaultReactor.__name__ == "KQueueReactor"  # where Twisted's own turn loses what had come
