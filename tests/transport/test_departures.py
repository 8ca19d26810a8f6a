"""What streams write while a turn of the reactor hands out several events: when and how it leaves."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from lanrelay.transport.reactor_turn import DEPARTURES, Departures
from lanrelay.transport.splice import shared_pipe
from lanrelay.transport.stream import hand_over
from lanrelay.transport.tcp import TcpStream
from tests.support.hearing import HalfCloseable, Producer
from tests.transport.test_reactor_turn import TurnCase

LARGE = b"l" * 100_000


class DepartureTests(TurnCase):
    """The kernel orders the events of a turn; so all of its streams are told the same."""

    def setUp(self) -> None:
        super().setUp()
        self.pairs = [self.pair() for _ in range(3)]

    def pair(self) -> tuple[TcpStream, HalfCloseable, socket.socket]:
        """Streams that have sent something before."""
        stream, protocol, peer = super().pair()
        stream.write(b"hello")
        self.assertEqual(peer.recv(10), b"hello")
        return stream, protocol, peer

    def together(self, told: Callable[[TcpStream, Any], object]) -> None:
        """In one turn each stream hears something, and C{told} is called with it and its protocol."""
        for stream, protocol, peer in self.pairs:
            protocol.on_data = lambda data, stream=stream, protocol=protocol: told(stream, protocol)  # type: ignore[misc]
            peer.sendall(b"x")
        self.turn()
        self.assertEqual([protocol.received for _, protocol, _ in self.pairs], [b"x"] * 3)

    def come(self, peer: socket.socket) -> bytes:
        """What has come there by now."""
        try:
            return peer.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""

    def come_to_all(self) -> list[bytes]:
        return [self.come(peer) for _, _, peer in self.pairs]

    def test_all_of_it_leaves_when_all_have_heard(self) -> None:
        early: list[list[bytes]] = []

        def write(stream: TcpStream, protocol: HalfCloseable) -> None:
            stream.write(b"ab")
            stream.write(memoryview(bytearray(b"cd")))
            early.append(self.come_to_all())
            self.assertEqual(stream.unsent, 4)

        self.together(write)
        self.assertEqual(early, [[b""] * 3] * 3)
        self.assertEqual(self.come_to_all(), [b"abcd"] * 3)
        self.assertEqual([stream.unsent for stream, _, _ in self.pairs], [0] * 3)

    def test_who_is_alone_sends_at_once(self) -> None:
        stream, protocol, peer = self.pairs[0]
        come: list[bytes] = []

        def write(data: bytes) -> None:
            stream.write(b"answer")
            come.append(self.come(peer))

        protocol.on_data = write
        peer.sendall(b"x")
        self.turn()
        self.assertEqual(come, [b"answer"])

    def test_the_first_that_a_stream_sends_leaves_at_once(self) -> None:
        """Who waits for it has just connected, and is mostly awake."""
        self.pairs = [super(DepartureTests, self).pair() for _ in range(3)]
        early: list[int] = []

        def write(stream: TcpStream, protocol: HalfCloseable) -> None:
            stream.write(b"welcome, ")
            early.append(sum(1 for come in self.come_to_all() if come == b"welcome, "))
            stream.write(b"stranger")

        self.together(write)
        self.assertEqual(early, [1, 1, 1])
        self.assertEqual(self.come_to_all(), [b"stranger"] * 3)

    def test_a_view_may_be_overwritten_afterwards(self) -> None:
        shared = bytearray(b"mine")

        def write(stream: TcpStream, protocol: HalfCloseable) -> None:
            shared[:] = b"mine"
            stream.write(memoryview(shared))
            shared[:] = b"lost"

        self.together(write)
        self.assertEqual(self.come_to_all(), [b"mine"] * 3)

    def test_before_something_large_all_leaves_and_the_order_is_kept(self) -> None:
        first: list[list[bytes]] = []

        def write(stream: TcpStream, protocol: HalfCloseable) -> None:
            stream.write(b"<")
            if len(first) < 2:
                first.append([])
                return
            stream.write(LARGE)
            first.append(self.come_to_all())
            stream.write(b">")

        self.together(write)
        last = first[2]
        self.assertEqual(sorted(map(len, last)), [1, 1, 1 + len(LARGE)])
        whole = [was + more for was, more in zip(last, self.come_to_all(), strict=True)]
        self.assertCountEqual(whole, [b"<", b"<", b"<" + LARGE + b">"])

    def test_what_goes_through_a_pipe_comes_after_what_was_written(self) -> None:
        pipe = shared_pipe()
        if pipe is None:
            return  # nothing goes so on this system
        there, here = self.socketpair()

        def write(stream: TcpStream, protocol: HalfCloseable) -> None:
            stream.write(b"first")
            os.write(there.fileno(), b"second")
            pipe.fill(here.fileno())
            stream.write_pipe(pipe)
            stream.write(b"third")

        self.together(write)
        self.assertEqual(self.come_to_all(), [b"firstsecondthird"] * 3)

    def test_an_end_comes_after_what_was_written(self) -> None:
        for end, heard in (
            (TcpStream.loseWriteConnection, ["write ended"]),
            (TcpStream.loseConnection, [ConnectionDone]),
            (TcpStream.abortConnection, [ConnectionAborted]),
            (lambda stream: stream.connectionLost(Failure(ConnectionDone())), [ConnectionDone]),
        ):
            self.pairs = [self.pair() for _ in range(3)]

            def write(stream: TcpStream, protocol: HalfCloseable, end: Any = end) -> None:
                stream.write(b"last words")
                end(stream)

            self.together(write)
            self.turn()
            self.assertEqual([protocol.heard for _, protocol, _ in self.pairs], [heard] * 3)
            for _, _, peer in self.pairs:
                self.assertEqual(self.come(peer), b"last words")
                self.assertEqual(peer.recv(10), b"")

    def test_nothing_leaves_after_an_end(self) -> None:
        def write(stream: TcpStream, protocol: HalfCloseable) -> None:
            stream.loseWriteConnection()
            stream.write(b"too late")

        self.together(write)
        self.assertEqual([peer.recv(10) for _, _, peer in self.pairs], [b""] * 3)

    def test_a_peer_that_does_not_read_pauses_the_producer_and_gets_all_in_the_end(self) -> None:
        for stream, protocol, _ in self.pairs:
            stream.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            stream.registerProducer(Producer(protocol.heard), True)
        turns = 0
        while not all("pause" in protocol.heard for _, protocol, _ in self.pairs):
            for _, protocol, _ in self.pairs:
                protocol.received = b""
            self.together(lambda stream, protocol: stream.write(b"y" * 16_000))
            turns += 1
        for stream, protocol, peer in self.pairs:
            come = 0
            while come < turns * 16_000:
                come += len(self.come(peer))
                self.turn()
            self.assertEqual((come, stream.unsent), (turns * 16_000, 0))
            self.assertEqual(protocol.heard, ["pause", "resume"])

    def test_a_peer_that_has_gone_is_told_as_ever(self) -> None:
        def write(stream: TcpStream, protocol: HalfCloseable) -> None:
            for _, _, peer in self.pairs:
                peer.close()
            stream.write(b"nobody")
            self.assertEqual(protocol.heard, [])

        self.together(write)
        self.assertEqual([protocol.heard for _, protocol, _ in self.pairs], [[]] * 3)
        self.turn()
        self.assertEqual([protocol.heard for _, protocol, _ in self.pairs], [[ConnectionLost]] * 3)

    def test_whoever_gets_the_socket_finds_all_in_it(self) -> None:
        def write(stream: TcpStream, protocol: HalfCloseable) -> None:
            stream.write(b"before")
            stream.getHandle().send(b", after")

        self.together(write)
        self.assertEqual(self.come_to_all(), [b"before, after"] * 3)

    def test_a_new_owner_s_words_come_after_the_old_one_s(self) -> None:
        def write(stream: TcpStream, protocol: HalfCloseable) -> None:
            stream.write(b"old")
            hand_over(stream, HalfCloseable())
            stream.write(b"new")

        self.together(write)
        self.assertEqual(self.come_to_all(), [b"oldnew"] * 3)

    def test_no_more_wait_than_some_dozen(self) -> None:
        self.pairs = [self.pair() for _ in range(40)]
        come: list[int] = []

        def write(stream: TcpStream, protocol: HalfCloseable) -> None:
            stream.write(b"z")
            come.append(sum(1 for one in self.come_to_all() if one))

        for stream, protocol, peer in self.pairs:
            protocol.on_data = lambda data, stream=stream, protocol=protocol: write(stream, protocol)  # type: ignore[misc]
            peer.sendall(b"x")
        self.turn()
        self.assertEqual(come[:33], [*[0] * 31, 32, 0])

    def test_what_a_pause_has_others_write_comes_after_what_they_wrote_before(self) -> None:
        for words in (b"second", LARGE):
            for leave in ("close", "leave"):
                full, _, _ = self.pair()
                others = [self.pair() for _ in range(3)]
                with contextlib.suppress(BlockingIOError):
                    while True:
                        full.getHandle().send(LARGE)

                class Telling(Producer):
                    def pauseProducing(self, others: Any = others, words: bytes = words) -> None:
                        for stream, _, _ in others:
                            stream.write(words)

                full.registerProducer(Telling([]), True)
                departures: Departures = getattr(self.reactor, DEPARTURES)
                departures.open = True
                full.write(b"of no room")
                for stream, _, _ in others:
                    stream.write(b"first")
                getattr(departures, leave)()
                departures.close()
                self.assertEqual([self.come(peer) for _, _, peer in others], [b"first" + words] * 3)

    def test_a_bug_of_one_s_producer_is_nobody_else_s(self) -> None:
        class Broken(Producer):
            def pauseProducing(self) -> None:
                raise ZeroDivisionError

        stream, _, peer = self.pairs[0]
        stream.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        while not stream.unsent:
            stream.write(b"y" * 10_000)
        stream.registerProducer(Broken([]), True)
        while stream.unsent:
            self.come(peer)
            self.turn()
        self.come(peer)

        def write(stream: TcpStream, protocol: HalfCloseable) -> None:
            stream.write(b"z" * 16_000)

        for _ in range(20):
            for _, one, _ in self.pairs:
                one.received = b""
            if stream.disconnected:
                break
            self.together(write)
            for _, _, other in self.pairs[1:]:
                self.come(other)
        self.assertTrue(stream.disconnected)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(self.pairs[1][0].disconnected or self.pairs[2][0].disconnected)
