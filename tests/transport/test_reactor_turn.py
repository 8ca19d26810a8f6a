"""The events of one turn of the reactor: what becomes of them when one undoes another."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any
from unittest.mock import patch

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import TcpAddress
from lanrelay.transport.port import Gate, Port, bind
from lanrelay.transport.reactor_turn import quicken
from lanrelay.transport.stream import hand_over
from lanrelay.transport.tcp import TcpStream
from tests.support.hearing import HalfCloseable

DefaultReactor: Any
try:
    from twisted.internet.epollreactor import EPollReactor as DefaultReactor

    INSIDES = ("_poller", "_selectables", "_doReadOrWrite")
except ImportError:  # macOS, or kqueue played on Linux
    from twisted.internet.kqreactor import KQueueReactor as DefaultReactor

    INSIDES = ("_kq", "_selectables", "_doWriteOrRead")


class TurnCase(SynchronousTestCase):
    """Streams on a reactor of their own, whose turns are made by hand."""

    def setUp(self) -> None:
        self.sockets: list[socket.socket] = []
        self.reactor: Any = DefaultReactor()
        quicken(self.reactor)
        self.addCleanup(self.close_reactor)

    def close_reactor(self) -> None:
        self.reactor.removeAll()
        for reader in list(self.reactor._internalReaders):
            reader.connectionLost(connectionDone)
        close_poller(self.reactor)
        for sock in self.sockets:
            sock.close()

    def socketpair(self) -> tuple[socket.socket, socket.socket]:
        pair = socket.socketpair()
        self.sockets += pair
        return pair

    def pair(self) -> tuple[TcpStream, HalfCloseable, socket.socket]:
        ours, peer = self.socketpair()
        stream, protocol = TcpStream(self.reactor, ours, ""), HalfCloseable()
        hand_over(stream, protocol)
        stream.resumeProducing()
        return stream, protocol, peer

    def turn(self) -> None:
        self.reactor.iterate(0)


class TurnTests(TurnCase):
    def test_all_that_are_ready_are_served(self) -> None:
        pairs = [self.pair() for _ in range(5)]
        for _, _, peer in pairs:
            peer.sendall(b"x")
        self.turn()
        self.assertEqual([protocol.received for _, protocol, _ in pairs], [b"x"] * 5)

    def test_what_is_ready_always_keeps_nobody_waiting(self) -> None:
        """Bytes that nobody takes away; timers and others come nevertheless."""
        pairs = [self.pair() for _ in range(300)]
        for _, protocol, peer in pairs:
            peer.sendall(b"x")
            protocol.on_data = lambda data, peer=peer: peer.sendall(data)  # type: ignore[misc]
        fired: list[bool] = []
        self.reactor.callLater(0, fired.append, True)
        for _ in range(6):
            self.turn()
        self.assertEqual(fired, [True])
        self.assertTrue(all(protocol.received for _, protocol, _ in pairs))

    def test_a_port_accepts_what_waits_until_it_is_stopped(self) -> None:
        [bound] = bind(TcpAddress(host=ip_address("127.0.0.1"), port=0))
        accepted: list[Any] = []
        gate = Gate(2)
        port = Port(self.reactor, bound, gate, lambda stream, peer, local: accepted.append(stream))
        port.start()
        for _ in range(3):
            client = socket.create_connection(bound.socket.getsockname())
            self.sockets.append(client)
        for _ in range(3):
            self.turn()
        self.assertEqual((len(accepted), gate.open), (2, 2))
        gate.leave()
        self.turn()
        self.assertEqual((len(accepted), gate.open), (3, 2))
        gate.leave()
        self.turn()
        self.assertEqual((len(accepted), gate.open), (3, 1))  # a look that finds nobody takes no place
        port.stop()
        self.assertNotIn(port, self.reactor.getReaders())
        for stream in accepted:
            stream.abortConnection()
        self.turn()

    def test_one_that_another_closed_hears_no_more(self) -> None:
        pairs = [self.pair(), self.pair()]

        def close_all(data: bytes) -> None:
            for stream, _, _ in pairs:
                stream.loseWriteConnection()
                stream.loseConnection()

        for _, protocol, peer in pairs:
            protocol.on_data = close_all
            peer.sendall(b"x")
        self.turn()
        self.assertEqual(sorted(protocol.received for _, protocol, _ in pairs), [b"", b"x"])
        for _, protocol, _ in pairs:
            self.assertEqual(protocol.heard, ["write ended", ConnectionDone])

    def test_one_that_another_paused_keeps_its_bytes_and_its_end(self) -> None:
        pairs = [self.pair(), self.pair()]

        def pause_all(data: bytes) -> None:
            for stream, _, _ in pairs:
                stream.pauseProducing()

        for _, protocol, peer in pairs:
            protocol.on_data = pause_all
            peer.sendall(b"x")
            peer.close()
        self.turn()
        self.turn()
        self.assertEqual(sorted(protocol.received for _, protocol, _ in pairs), [b"", b"x"])
        for stream, protocol, _ in pairs:
            protocol.on_data = lambda data: None
            stream.resumeProducing()
        for _ in range(3):
            self.turn()
        for _, protocol, _ in pairs:
            self.assertEqual((protocol.received, protocol.heard), (b"x", ["read ended"]))

    def events_for_another(self, prepare: Callable[[TcpStream, HalfCloseable], None]) -> Any:
        """
        Two streams are ready, for whatever reason, when the first one served closes the other, and a third
        gets its number: what the events meant for the second do to the third.
        """
        streams = [self.pair(), self.pair()]
        found: list[Any] = []

        def replace(data: bytes) -> None:
            if found:
                return
            [(stream, other, _)] = [one for one in streams if not one[1].received]
            number = stream.fileno()
            other.on_data = self.fail
            stream.loseWriteConnection()
            stream.loseConnection()
            ours, peer = self.socketpair()
            if ours.fileno() != number:  # the number is taken from whoever has it
                self.assertEqual(peer.fileno(), number)
                ours, peer = peer, ours
            third, protocol = TcpStream(self.reactor, ours, ""), HalfCloseable()
            hand_over(third, protocol)
            prepare(third, protocol)
            found.extend((third, protocol, peer))

        for _, protocol, peer in streams:
            protocol.on_data = replace
            peer.sendall(b"x")
            peer.close()  # a hang-up, too
        self.turn()
        return found

    def test_events_meant_for_an_earlier_one_of_the_same_number_do_nothing_to_a_reader(self) -> None:
        _, protocol, peer = self.events_for_another(lambda stream, _: stream.resumeProducing())
        self.assertEqual(protocol.heard, [])
        peer.sendall(b"alive")
        self.turn()
        self.assertEqual(protocol.received, b"alive")

    def test_nor_to_a_writer(self) -> None:
        much = b"y" * 10_000_000
        _, protocol, peer = self.events_for_another(lambda stream, _: stream.write(much))
        self.assertEqual(protocol.heard, [])
        peer.setblocking(False)
        count = 0
        while count < len(much):
            count += len(peer.recv(1 << 20))
            self.turn()
        self.assertEqual(protocol.heard, [])

    def test_who_only_writes_hears_of_a_hang_up(self) -> None:
        stream, protocol, peer = self.pair()
        stream.pauseProducing()
        stream.write(b"x" * 10_000_000)
        peer.close()
        self.turn()
        self.assertEqual(len(protocol.heard), 1)
        self.assertEqual(self.reactor.getWriters(), [])

    def test_a_reset_is_heard_once(self) -> None:
        stream, protocol, peer = self.pair()
        peer.sendall(b"x")
        stream.getHandle().send(b"unread")  # so that closing the peer resets
        peer.close()
        for _ in range(3):
            self.turn()
        self.assertEqual(protocol.received, b"x")
        self.assertEqual(len(protocol.heard), 1)

    def connected(self) -> tuple[TcpStream, HalfCloseable, socket.socket]:
        """L{pair} on TCP, whose resets let what came before be read."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            peer = socket.create_connection(listening.getsockname())
            ours, address = listening.accept()
        self.sockets += (ours, peer)
        stream, protocol = TcpStream(self.reactor, ours, address), HalfCloseable()
        hand_over(stream, protocol)
        stream.resumeProducing()
        return stream, protocol, peer

    def test_what_came_before_a_reset_is_read_though_something_is_still_to_be_sent(self) -> None:
        """An upstream that answers at once, at length, and does not read the request to its end."""
        for wait in (False, True):
            stream, protocol, peer = self.connected()
            if wait:
                stream.write(b"y" * 20_000_000)  # it waits for room
                self.turn()
            peer.sendall(b"x" * 100_000)  # more than one read takes, and no more than arrives
            stream.write(b"unread")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            for _ in range(20):
                self.turn()
            self.assertEqual(len(protocol.received), 100_000)
            self.assertEqual(protocol.heard, [ConnectionLost])

    def test_who_is_paused_and_has_something_to_send_hears_of_a_reset(self) -> None:
        stream, protocol, peer = self.connected()
        stream.write(b"y" * 20_000_000)
        stream.pauseProducing()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        for _ in range(3):
            self.turn()
        self.assertEqual(protocol.heard, [ConnectionLost])

    def test_a_bug_costs_the_connection_that_it_is_in(self) -> None:
        pairs = [self.pair() for _ in range(3)]
        pairs[1][1].on_data = lambda data: 1 / 0
        for _, _, peer in pairs:
            peer.sendall(b"x")
        self.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([protocol.heard for _, protocol, _ in pairs], [[], [ZeroDivisionError], []])

    def test_a_bug_at_the_end_of_one_too(self) -> None:
        pairs = [self.pair() for _ in range(3)]

        def broken(reason: Failure = connectionDone) -> None:
            raise ZeroDivisionError

        pairs[1][1].on_data = lambda data: [][1]
        pairs[1][1].connectionLost = broken  # type: ignore[method-assign]
        for _, _, peer in pairs:
            peer.sendall(b"x")
        self.turn()
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual([protocol.heard for _, protocol, _ in pairs], [[], [], []])
        self.assertTrue(pairs[1][0].disconnected)
        self.assertNotIn(pairs[1][0], self.reactor.getReaders())

    def test_what_is_not_lean_is_served_by_twisted(self) -> None:
        served: list[str] = []
        ours, peer = self.socketpair()

        class Plain:
            fileno = ours.fileno

            def logPrefix(self) -> str:
                return "-"

            def doRead(self) -> None:
                served.append("read")
                ours.recv(10)

        self.reactor.addReader(Plain())
        peer.sendall(b"x")
        self.turn()
        self.assertEqual(served, ["read"])

    def test_another_twisted_keeps_its_own_turn(self) -> None:
        for name in INSIDES:
            reactor: Any = DefaultReactor()
            for reader in list(reactor._internalReaders):
                reader.connectionLost(connectionDone)
            close_poller(reactor)
            before = reactor.doIteration
            with patch.object(DefaultReactor, "__getattribute__", _without(name)):
                quicken(reactor)
            self.assertEqual(reactor.doIteration, before, name)


def close_poller(reactor: Any) -> None:
    """Close what Twisted leaves open: a process has one reactor."""
    poller: Any = getattr(reactor, "_poller", None) or reactor._kq
    poller.close()


def _without(missing: str) -> Callable[[Any, str], Any]:
    def get(self: Any, name: str) -> Any:
        if name == missing:
            raise AttributeError(name)
        return object.__getattribute__(self, name)

    return get


class OtherReactorTests(SynchronousTestCase):
    def test_others_stay_as_they_are(self) -> None:
        reactor = SelectReactor()
        before = reactor.doIteration
        quicken(reactor)
        self.assertEqual(reactor.doIteration, before)
        for reader in list(reactor._internalReaders):
            reader.connectionLost(connectionDone)
