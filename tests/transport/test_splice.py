"""Bytes that go through the pipe that all streams share."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.observe.session import Session
from lanrelay.transport import splice
from lanrelay.transport.abilities import Hearer
from lanrelay.transport.pump import Pump, PumpLimits, join
from lanrelay.transport.splice import SharedPipe
from lanrelay.transport.stream import hand_over
from lanrelay.transport.tcp import TcpStream
from tests.support.hearing import HalfCloseable

LIMITS = PumpLimits(idle=None, half_closed=60, close=5)
PORTION, ALL = 65536, 1 << 20


class SpliceTestCase(SynchronousTestCase):
    if not hasattr(os, "splice"):
        skip = "only Linux has splice(), and Python from 3.10 on"

    def setUp(self) -> None:
        self.reactor = SelectReactor()
        self.sockets: list[socket.socket] = []
        self.addCleanup(self.close)
        self.addCleanup(self.forget)
        self.forget()
        self.filled: list[int] = []
        real = SharedPipe.fill

        def fill(pipe: SharedPipe, source: int) -> int:
            count = real(pipe, source)
            self.filled.append(count)
            return count

        self.patch(SharedPipe, "fill", fill)

    def forget(self) -> None:
        pipe, splice._pipe, splice._able = splice._pipe, None, True
        if pipe is not None:
            pipe.close()

    def close(self) -> None:
        self.reactor.removeAll()
        for reader in list(self.reactor._internalReaders):
            reader.connectionLost(connectionDone)
        for sock in self.sockets:
            sock.close()

    def stream(self) -> tuple[TcpStream, socket.socket]:
        """One over TCP, and its peer, which does not block."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            peer = socket.create_connection(listening.getsockname())
            ours, address = listening.accept()
        self.sockets += [ours, peer]
        peer.setblocking(False)
        return TcpStream(self.reactor, ours, address), peer

    def pair(self) -> tuple[Pump, socket.socket, socket.socket, Session]:
        (downstream, client), (upstream, server) = self.stream(), self.stream()
        session = Session(id=1, listener="x", kind="tcp-forward", client="c", opened=0, started=0)
        pump = join(self.reactor, downstream, upstream, session=session, limits=LIMITS)
        # As after some full reads.
        for stream in (downstream, upstream):
            stream._most = ALL
        return pump, client, server, session

    def turn(self, turns: int = 1) -> None:
        for _ in range(turns):
            self.reactor.iterate(0.01)

    def send(self, sock: socket.socket, data: bytes) -> int:
        """As much as it takes."""
        sent = 0
        try:
            while sent < len(data):
                sent += sock.send(data[sent:])
        except BlockingIOError:
            pass
        return sent

    def receive(self, sock: socket.socket, count: int) -> bytes:
        received = b""
        for _ in range(2000):
            try:
                received += sock.recv(ALL)
            except BlockingIOError:
                pass
            if len(received) >= count:
                return received
            self.turn()
        raise AssertionError(f"{len(received)} of {count} bytes came")

    def pipe_is_empty(self) -> None:
        pipe = splice._pipe
        if pipe is not None:
            self.assertEqual(pipe.held, 0)
            self.assertRaises(BlockingIOError, os.read, pipe._out, 1)


class PumpTests(SpliceTestCase):
    def test_much_goes_through_the_pipe_and_is_counted(self) -> None:
        _, client, server, session = self.pair()
        data = os.urandom(300_000)
        sent = self.send(server, data)
        self.assertEqual(self.receive(client, sent), data[:sent])
        self.assertEqual(sum(self.filled), sent)
        self.assertEqual((session.sent, session.received), (sent, 0))
        self.assertIsNotNone(session.first_byte)
        self.pipe_is_empty()

    def test_little_is_copied_again(self) -> None:
        _, client, server, _ = self.pair()
        for _ in range(3):
            server.send(b"little")
            self.assertEqual(self.receive(client, 6), b"little")
        self.assertEqual(self.filled, [6])

    def test_what_a_stalled_reader_does_not_take_is_held_once_and_comes_in_order(self) -> None:
        pump, client, server, session = self.pair()
        data = os.urandom(30_000_000)
        sent = 0
        for _ in range(60):
            sent += self.send(server, data[sent:])
            self.turn()
        self.assertLess(session.sent, sent)  # it is not read any more
        held = pump._downstream.stream.unsent  # type: ignore[attr-defined]
        self.assertTrue(0 < held <= ALL, held)
        self.pipe_is_empty()
        self.assertEqual(self.receive(client, sent), data[:sent])
        self.assertTrue(any(count >= PORTION for count in self.filled))

    def test_a_byte_out_of_band_does_not_stop_what_comes_behind_it(self) -> None:
        """splice() never goes past one; Twisted's transports leave it out, as recv() does."""
        for end in (False, True):
            _, client, server, _ = self.pair()
            data = os.urandom(200_000)
            server.send(data[:PORTION])
            server.send(b"!", socket.MSG_OOB)
            sent = PORTION + self.send(server, data[PORTION:])
            if end:
                server.shutdown(socket.SHUT_WR)
            self.assertEqual(self.receive(client, sent), data[:sent])
            self.pipe_is_empty()
        self.turn(3)
        self.assertEqual(client.recv(1), b"")

    def test_two_pairs_do_not_mix(self) -> None:
        pairs = [self.pair() for _ in range(2)]
        texts = [bytes([number]) * 8_000_000 for number in range(2)]
        sent = [0, 0]
        for _ in range(40):  # nobody reads, so both are stopped in the middle
            for number, (_, _, server, _) in enumerate(pairs):
                sent[number] += self.send(server, texts[number][sent[number] :])
            self.turn()
        for number, (_, client, _, _) in enumerate(pairs):
            self.assertEqual(self.receive(client, sent[number]), texts[number][: sent[number]])

    def test_the_end_comes_after_all_bytes(self) -> None:
        pump, client, server, _ = self.pair()
        sent = self.send(server, b"x" * 5_000_000)
        server.shutdown(socket.SHUT_WR)
        self.receive(client, sent)
        self.turn(3)
        self.assertEqual(client.recv(1), b"")
        client.close()
        self.turn(5)
        self.assertTrue(pump.done.called)

    def test_a_sink_that_was_reset_ends_the_pair(self) -> None:
        pump, client, server, session = self.pair()
        ended: list[Any] = []
        pump.done.addCallback(ended.append)
        server.send(b"x" * 100)
        self.turn()
        client.close()  # with an unread byte: a reset
        for stream in (pump._downstream.stream, pump._upstream.stream):
            stream._most = ALL  # type: ignore[attr-defined]
        self.send(server, b"y" * 200_000)
        self.turn(5)
        self.assertEqual(ended, [None])
        self.assertNotEqual(session.error, "")
        self.pipe_is_empty()

    def test_a_kernel_that_does_not_splice_is_asked_once(self) -> None:
        for name in ("fill", "send"):
            self.forget()
            asked: list[int] = []

            def refuse(pipe: SharedPipe, number: int, asked: list[int] = asked) -> int:
                asked.append(number)
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

            with self.subTest(name):
                patched = self.patch(SharedPipe, name, refuse)
                _, client, server, _ = self.pair()
                sent = self.send(server, b"x" * 1_000_000)
                self.assertEqual(self.receive(client, sent), b"x" * sent)
                self.assertEqual(len(asked), 1)
                patched.restore()

    def test_without_descriptors_it_is_copied(self) -> None:
        def none(flags: int) -> tuple[int, int]:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(os, "pipe2", none)
        _, client, server, _ = self.pair()
        sent = self.send(server, b"x" * 1_000_000)
        self.assertEqual(self.receive(client, sent), b"x" * sent)
        self.assertEqual(self.filled, [])


class Careless(HalfCloseable, Hearer):
    """Does not take what it is given."""

    lent_at_most = ALL
    takes_pipes = True
    bug = False

    def view_received(self, view: memoryview) -> None:
        self.received += view

    def pipe_received(self, pipe: SharedPipe) -> None:
        if self.bug:
            raise ZeroDivisionError


class LeftOverTests(SpliceTestCase):
    """What was not taken out of the pipe is not given to anybody."""

    def left(self, *, bug: bool) -> None:
        stream, peer = self.stream()
        protocol = Careless()
        protocol.bug = bug
        hand_over(stream, protocol)
        stream.resumeProducing()
        stream._most = ALL
        peer.send(b"secret" * 1000)
        self.turn(2)
        self.assertEqual(sum(self.filled), 6000)
        self.assertIsNone(splice._pipe)
        _, client, server, _ = self.pair()
        server.send(b"public" * 20_000)
        self.assertNotIn(b"secret", self.receive(client, 120_000))

    def test_by_carelessness(self) -> None:
        self.left(bug=False)

    def test_by_a_bug(self) -> None:
        self.left(bug=True)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_pump_that_is_closing(self) -> None:
        pump, _, server, _ = self.pair()
        pump._closing = True
        server.send(b"secret" * 1000)
        self.turn(2)
        self.assertIsNone(splice._pipe)

    def test_a_pipe_that_is_in_use_is_not_given_to_another(self) -> None:
        pipe = splice.shared_pipe()
        assert pipe is not None
        pipe.held = 1
        self.assertIsNone(splice.shared_pipe())
        pipe.held = 0
        self.assertIs(splice.shared_pipe(), pipe)

    def test_a_stream_that_has_ended_its_side_sends_nothing(self) -> None:
        stream, peer = self.stream()
        hand_over(stream, HalfCloseable())
        source, feed = self.stream()
        feed.send(b"x" * 1000)
        pipe = splice.shared_pipe()
        assert pipe is not None
        pipe.fill(source.fileno())
        stream.loseWriteConnection()
        stream.write_pipe(pipe)
        self.pipe_is_empty()
        peer.setblocking(True)
        self.assertEqual(peer.recv(10), b"")
