"""Tests of the idle connections to an upstream, in memory."""

from __future__ import annotations

import socket

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.http.origin import OriginConnection
from lanrelay.http.pool import Pool
from lanrelay.transport import stream as stream_module
from lanrelay.transport.stream import hand_over
from tests.http.test_origin import GET, WHOLE, Receiver
from tests.support.memory import MemoryStream
from tests.support.tls import Shake, client_tls, listen_to, server_context


class Upstream:
    """Counts."""

    open = 0


class PoolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream = Upstream()
        self.pool = Pool(self.clock, model.Pool(size=2, idle=4.0), self.upstream)

    def adopted(self) -> tuple[OriginConnection, MemoryStream]:
        """A new connection, in use."""
        stream = MemoryStream()
        connection = OriginConnection(self.clock, model.Timeouts(), home=self.pool)
        self.pool.adopt(connection)
        hand_over(stream, connection)
        return connection, stream

    def idle(self) -> tuple[OriginConnection, MemoryStream]:
        connection, stream = self.adopted()
        self.assertTrue(self.pool.put(connection))
        return connection, stream

    def test_an_empty_pool_gives_nothing(self) -> None:
        self.assertIsNone(self.pool.take())

    def test_the_one_used_last_is_taken_first(self) -> None:
        first, _ = self.idle()
        self.clock.advance(1)
        second, _ = self.idle()
        self.assertIs(self.pool.take(), second)
        self.assertIs(self.pool.take(), first)
        self.assertIsNone(self.pool.take())

    def test_it_counts_those_in_use(self) -> None:
        connection, _ = self.adopted()
        self.assertEqual(self.upstream.open, 1)
        self.pool.put(connection)
        self.assertEqual(self.upstream.open, 0)
        self.pool.take()
        self.assertEqual(self.upstream.open, 1)
        connection.abort()
        self.assertEqual(self.upstream.open, 0)

    def test_what_is_kept_for_one_client_is_in_use_and_goes_with_the_upstream(self) -> None:
        connection, stream = self.adopted()
        connection.kept = True
        self.clock.advance(100)
        self.idle()
        self.assertIsNot(self.pool.take(), connection)
        self.assertEqual((self.upstream.open, stream.connected), (2, True))
        self.pool.drop_idle()
        self.assertEqual((self.upstream.open, stream.connected), (1, False))

    def test_over_its_size_the_oldest_closes(self) -> None:
        _, oldest = self.idle()
        _, second = self.idle()
        _, third = self.idle()
        self.assertEqual(
            (oldest.connected, second.connected, third.connected, len(self.pool)), (False, True, True, 2)
        )

    def test_an_idle_one_closes_in_time(self) -> None:
        _, first = self.idle()
        self.clock.advance(2)
        _, second = self.idle()
        self.clock.advance(2)
        self.assertEqual((first.connected, second.connected), (False, True))
        self.clock.advance(2)
        self.assertFalse(second.connected)
        self.assertEqual(len(self.pool), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_is_too_old_is_not_given_though_its_timer_is_late(self) -> None:
        """The process was held up, or the machine slept."""
        _, stream = self.idle()
        self.clock.rightNow += 60
        self.assertIsNone(self.pool.take())
        self.assertFalse(stream.connected)

    def test_one_that_closes_leaves(self) -> None:
        _, stream = self.idle()
        stream.receive_eof()
        self.assertEqual(len(self.pool), 0)
        self.assertIsNone(self.pool.take())
        self.assertEqual(self.upstream.open, 0)

    def test_one_that_has_said_something_unread_is_passed_over(self) -> None:
        """The reactor may tell of the next request first; what came would be read as its answer."""
        _, quiet = self.idle()
        connection, stream = self.idle()
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        ours.setblocking(False)
        stream.getHandle = lambda: ours  # type: ignore[attr-defined]
        theirs.send(b"HTTP/1.1 200 OK\r\n")
        self.assertIsNot(self.pool.take(), connection)
        self.assertIsNone(self.pool.take())
        self.assertTrue(quiet.connected)
        ours.recv(100)
        self.assertIs(self.pool.take(), connection)
        self.pool.put(connection)
        theirs.close()
        self.assertIsNone(self.pool.take())
        connection.close()
        self.assertEqual(self.upstream.open, 1)
        self.pool.close()

    def test_one_whose_tls_holds_something_unread_is_passed_over(self) -> None:
        """A client that pipelines asks from within the end of the answer before."""
        shake = Shake(client_tls(), server_context())
        ours, theirs = shake.streams()
        connection = OriginConnection(self.clock, model.Timeouts(), home=self.pool)
        self.pool.adopt(connection)
        hand_over(ours, connection)
        listen_to(theirs)
        receiver = Receiver()
        taken: list[OriginConnection | None] = []
        receiver.response_ended = lambda trailers: taken.append(self.pool.take())  # type: ignore[method-assign]
        connection.start(GET, receiver, whole=True)
        shake.wire.run()
        # Its end is that of what is decrypted in one go, and behind it comes the answer to nothing.
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 65000\r\nX: "
        fill = b"y" * (65536 - 65000 - len(head) - 4)
        theirs.write(head + fill + b"\r\n\r\n" + b"x" * 65000 + WHOLE)
        shake.wire.run()
        self.assertEqual(taken, [None])
        self.assertEqual((len(self.pool), self.upstream.open), (0, 0))

    def test_where_python_has_no_poll_it_is_looked_at_as_well(self) -> None:
        self.patch(stream_module, "_poll", None)
        self.test_one_that_has_said_something_unread_is_passed_over()

    def test_one_in_use_that_breaks_is_counted_out(self) -> None:
        _, stream = self.adopted()
        stream.lose()
        self.assertEqual(self.upstream.open, 0)

    def test_a_pool_of_size_0_keeps_nothing(self) -> None:
        self.pool = Pool(self.clock, model.Pool(size=0), self.upstream)
        connection, _ = self.adopted()
        self.assertFalse(self.pool.put(connection))

    def test_a_closed_pool_closes_what_is_idle_and_what_comes_back(self) -> None:
        _, idle = self.idle()
        in_use, _ = self.adopted()
        self.pool.close()
        self.assertFalse(idle.connected)
        self.assertFalse(self.pool.put(in_use))
        in_use.close()
        self.assertEqual(self.upstream.open, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_sleep_counts_although_the_clock_stands_still(self) -> None:
        asleep = 0.0
        self.pool = Pool(self.clock, model.Pool(size=2, idle=4.0), self.upstream, clock=lambda: asleep)
        _, stream = self.idle()
        asleep = 3600.0
        self.assertIsNone(self.pool.take())
        self.assertTrue(stream.closed)

    def test_idle_ones_can_be_dropped_and_later_ones_are_kept(self) -> None:
        _, stream = self.idle()
        used, other = self.adopted()
        self.pool.drop_idle()
        self.assertTrue(stream.closed)
        self.assertFalse(other.closed)
        self.assertEqual(len(self.pool), 0)
        self.assertTrue(self.pool.put(used))
        self.assertIs(self.pool.take(), used)
