"""What only our own streams do, with the reactor as Twisted has it and as the relay has it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator

from twisted.internet.error import ConnectionAborted
from twisted.internet.protocol import connectionDone
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.transport.stream import hand_over
from tests.support.hearing import HalfCloseable, Lent, Producer
from tests.transport.test_tcp import MUCH, StreamCases


class OwnTests(StreamCases, SynchronousTestCase):
    """Ours, and what only ours does."""

    def test_a_write_has_left_when_it_returns(self) -> None:
        self.take()
        self.stream.write(b"now")
        self.peer.settimeout(0)
        self.assertEqual(self.peer.recv(10), b"now")

    def test_the_first_short_send_stops_the_source(self) -> None:
        protocol = self.take()
        self.stream.registerProducer(Producer(protocol.heard), True)
        while not protocol.heard:
            self.stream.write(b"x" * 65536)
        self.assertEqual(protocol.heard, ["pause"])
        self.assertLessEqual(self.stream.unsent, 65536)

    def test_a_producer_that_comes_while_bytes_wait_is_paused_by_its_first_write(self) -> None:
        protocol = self.take()
        self.stream.write(MUCH)
        self.stream.registerProducer(Producer(protocol.heard), True)
        self.assertEqual(protocol.heard, [])
        self.stream.write(b"x")
        self.assertEqual(protocol.heard, ["pause"])

    def test_a_half_close_with_nothing_waiting_is_at_once(self) -> None:
        protocol = self.take()
        self.stream.loseWriteConnection()
        self.assertEqual(protocol.heard, ["write ended"])
        self.peer.settimeout(0)
        self.assertEqual(self.peer.recv(1), b"")

    def test_what_is_left_of_a_view_is_copied(self) -> None:
        shared = bytearray(b"a" * len(MUCH))
        self.take()
        self.stream.write(memoryview(shared))
        shared[:] = b"b" * len(shared)
        self.assertEqual(self.receive(len(MUCH)), b"a" * len(MUCH))

    def test_a_protocol_can_be_lent_the_buffer(self) -> None:
        protocol = self.take(Lent())
        self.peer.sendall(b"x" * 100_000)
        self.until(lambda: len(protocol.received) == 100_000)
        self.peer.close()
        self.until(lambda: protocol.heard)
        self.assertEqual(protocol.heard, ["read ended"])

    def reads(self, of: list[int]) -> list[int]:
        """What reads take that find so many bytes waiting."""
        asked: list[int] = []

        def receive(buffer: memoryview, most: int) -> int:
            asked.append(most)
            return min(most, of.pop(0))

        self.peer.sendall(b"x")
        with self.faked("recv_into", receive):
            while of:
                self.reactor.iterate(0.01)
        return asked

    @contextlib.contextmanager
    def faked(self, name: str, call: Callable[..., object]) -> Iterator[None]:
        """A socket with this method in place of its own."""
        real = self.stream._socket
        fake = type(
            "Fake", (), {name: staticmethod(call), "__getattr__": lambda _, name: getattr(real, name)}
        )
        self.stream._socket = fake()
        try:
            yield
        finally:
            self.stream._socket = real

    def test_what_is_lent_grows_with_full_reads_and_begins_anew_after_a_pause(self) -> None:
        self.take(Lent())
        much, kb = 10_000_000, 1024
        self.assertEqual(self.reads([10, much, much]), [64 * kb, 64 * kb, 128 * kb])
        self.assertEqual(self.reads([much, 10, much, much]), [256 * kb, 512 * kb, 512 * kb, 1024 * kb])
        self.stream.pauseProducing()
        self.stream.resumeProducing()
        self.assertEqual(self.reads([much, much]), [64 * kb, 128 * kb])

    def test_a_protocol_says_how_much_it_can_be_lent(self) -> None:
        protocol = Lent()
        protocol.lent_at_most = 128 * 1024
        self.take(protocol)
        self.assertEqual(self.reads([1_000_000] * 4), [65536, 131072, 131072, 131072])

    def test_what_is_not_lent_does_not_grow(self) -> None:
        self.take()
        self.assertEqual(self.reads([1_000_000] * 3), [65536] * 3)

    def test_a_hang_up_that_was_meant_for_another_is_no_end(self) -> None:
        """The reactor's events of one turn may be older than the socket that has their number now."""
        protocol = self.take()
        self.reactor.removeReader(self.stream)
        self.stream.readConnectionLost(connectionDone)
        self.turn()
        self.assertEqual(protocol.heard, [])
        self.peer.sendall(b"alive")
        self.turn()
        self.assertEqual(protocol.received, b"alive")

    def test_a_hang_up_without_input_is_an_end(self) -> None:
        protocol = self.take()
        self.peer.shutdown(socket.SHUT_WR)
        self.reactor.removeReader(self.stream)
        self.stream.readConnectionLost(connectionDone)
        self.assertEqual(protocol.heard, ["read ended"])

    def test_the_kernel_s_shortage_of_buffers_is_no_failure(self) -> None:
        protocol = self.take()

        def refuse(data: bytes) -> int:
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

        with self.faked("send", refuse):
            self.stream.write(b"later")
            self.turn()
        self.assertEqual(self.receive(5), b"later")
        self.assertEqual(protocol.heard, [])

    def test_options_of_tcp(self) -> None:
        for enabled in (True, False):
            self.stream.setTcpNoDelay(enabled)
            self.stream.setTcpKeepAlive(enabled)
            self.assertEqual((self.stream.getTcpNoDelay(), self.stream.getTcpKeepAlive()), (enabled,) * 2)

    def test_lost_while_parked_is_told_to_the_next_owner(self) -> None:
        self.stream.abortConnection()
        self.reactor.runUntilCurrent()
        protocol = HalfCloseable()
        hand_over(self.stream, protocol)
        self.assertEqual(protocol.heard, [ConnectionAborted])


class QuickTests(OwnTests):
    """On the reactor as the relay has it."""

    quick = True

    def test_what_is_closed_is_forgotten(self) -> None:
        self.take()
        self.stream.write(MUCH)  # so that it waits for room, too
        self.assertIn(self.stream, self.reactor.getReaders())
        self.assertIn(self.stream, self.reactor.getWriters())
        self.stream.connectionLost(connectionDone)
        self.assertEqual((self.reactor.getWriters(), self.stream in self.reactor.getReaders()), ([], False))
        self.assertNotIn(self.stream, self.reactor._selectables.values())
        self.turn()
