"""The pump, on streams in memory."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import StreamError, TlsTruncated
from lanrelay.observe.session import Session
from lanrelay.transport.pump import Pump, PumpLimits, join
from tests.support.memory import MemoryStream


class PumpTestCase(SynchronousTestCase):
    limits = PumpLimits(idle=60, half_closed=600, close=5)

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.client, self.server = MemoryStream(), MemoryStream()
        self.session = Session(
            id=1, listener="db", kind="tcp-forward", client="127.0.0.1:5", started=0, opened=990.0
        )
        self.ends: list[object] = []

    def join(self, to_upstream: bytes = b"", to_downstream: bytes = b"") -> Pump:
        pump = join(
            self.clock,
            self.client,
            self.server,
            session=self.session,
            limits=self.limits,
            to_upstream=to_upstream,
            to_downstream=to_downstream,
        )
        pump.done.addBoth(self.ends.append)
        return pump

    def assertOver(self, *, phase: str, by: str, error: str = "") -> None:
        self.assertEqual(self.ends, [None])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(self.client.closed and self.server.closed)
        self.assertEqual((self.session.phase, self.session.ended_by, self.session.error), (phase, by, error))


class BytesTests(PumpTestCase):
    def test_bytes_go_both_ways_and_are_counted(self) -> None:
        self.join()
        self.client.receive(b"question")
        self.clock.advance(2)
        self.server.receive(b"answer!")
        self.assertEqual((self.server.take(), self.client.take()), (b"question", b"answer!"))
        self.assertEqual((self.session.received, self.session.sent), (8, 7))
        self.assertEqual((self.session.first_byte, self.session.last_active), (12.0, 1002.0))
        self.assertEqual(self.session.phase, "tunnel")

    def test_what_was_read_before_goes_first_and_counts(self) -> None:
        self.client.receive(b" world")
        self.server.receive(b" there")
        self.join(to_upstream=b"hello", to_downstream=b"hi")
        self.assertEqual((self.server.take(), self.client.take()), (b"hello world", b"hi there"))
        self.assertEqual((self.session.received, self.session.sent), (11, 8))

    def test_first_byte_stays_what_an_exchange_made_it(self) -> None:
        self.session.first_byte = 0.5
        self.join()
        self.server.receive(b"x")
        self.assertEqual(self.session.first_byte, 0.5)


class EndTests(PumpTestCase):
    def test_client_half_close_still_lets_the_answer_through(self) -> None:
        self.join()
        self.client.receive(b"question")
        self.client.receive_eof()
        self.assertTrue(self.server.half_closed)
        self.assertFalse(self.server.closed)
        self.server.receive(b"answer")
        self.server.receive_eof()
        self.assertEqual(self.client.take(), b"answer")
        self.assertOver(phase="done", by="downstream")

    def test_server_half_close_still_lets_the_question_through(self) -> None:
        self.join()
        self.server.receive_eof()
        self.assertTrue(self.client.half_closed)
        self.client.receive(b"late")
        self.client.receive_eof()
        self.assertEqual(self.server.take(), b"late")
        self.assertOver(phase="done", by="upstream")

    def test_the_end_waits_for_what_was_not_yet_taken(self) -> None:
        self.join()
        self.server.full = True
        self.client.receive(b"question")
        self.server.full = False
        self.server.full = True
        self.client.receive(b" more")
        self.assertFalse(self.client.reading)
        self.client.receive_eof()  # held back: the client is not read
        self.server.full = False
        self.assertEqual(self.server.take(), b"question more")
        self.assertTrue(self.server.half_closed)

    def test_both_ends_at_once_while_neither_side_takes_bytes(self) -> None:
        self.join()
        for stream in (self.client, self.server):
            stream.full = True
        # a write that pauses, and an end that arrives all the same: TLS had it decrypted already
        self.client.protocol.dataReceived(b"up")
        self.server.protocol.dataReceived(b"down")
        self.client.protocol.readConnectionLost()
        self.server.protocol.readConnectionLost()
        self.assertFalse(self.client.closed or self.server.closed)
        self.clock.advance(100)  # `close` runs only when all has left
        self.assertEqual(self.ends, [])
        self.server.full = False
        self.assertTrue(self.server.half_closed)
        self.assertFalse(self.server.closed)
        self.client.full = False
        self.assertEqual((self.server.take(), self.client.take()), (b"up", b"down"))
        self.assertOver(phase="done", by="downstream")

    def test_a_paused_side_that_ends_does_not_hold_the_half_close_back(self) -> None:
        """Twisted waits for a paused producer; the pump must unregister it."""
        self.join()
        self.server.full = True
        self.client.protocol.dataReceived(b"up")
        self.client.protocol.readConnectionLost()
        self.assertIsNone(self.server.producer)
        self.server.full = False
        self.assertTrue(self.server.half_closed)

    def test_a_second_end_of_the_same_side_changes_nothing(self) -> None:
        self.join()
        self.client.receive_eof()
        self.client.resumeProducing()  # Twisted tells of it again
        self.server.receive(b"x")
        self.assertEqual(self.client.take(), b"x")
        self.assertEqual(self.ends, [])

    def test_a_close_that_does_not_come_is_an_abort_in_the_end(self) -> None:
        self.join()
        self.client.loseConnection = lambda: None  # type: ignore[method-assign]
        self.client.receive_eof()
        self.server.receive_eof()
        self.assertTrue(self.server.closed)
        self.clock.advance(4.9)
        self.assertEqual(self.ends, [])
        self.clock.advance(0.2)
        self.assertTrue(self.client.aborted)
        self.assertOver(phase="done", by="downstream")

    def test_a_stream_without_half_close_ends_the_other_after_its_bytes(self) -> None:
        self.join()
        self.client.full = True
        self.server.receive(b"last words")
        self.server.loseConnection()  # as a pipe does whose both ends are gone
        self.assertFalse(self.client.closed)
        self.client.full = False
        self.assertEqual(self.client.take(), b"last words")
        self.assertOver(phase="done", by="upstream")


class LossTests(PumpTestCase):
    def test_a_reset_of_the_client_resets_the_upstream(self) -> None:
        self.join()
        self.client.lose()
        self.assertTrue(self.server.aborted)
        self.assertOver(phase="tunnel", by="downstream", error="connection_terminated")
        self.assertIn("client", self.session.detail)

    def test_what_a_side_had_said_before_it_broke_reaches_the_other(self) -> None:
        for error in (None, TlsTruncated("cut")):
            for side in ("downstream", "upstream"):
                self.setUp()
                self.join()
                speaker, listener = self.client, self.server
                if side == "upstream":
                    speaker, listener = listener, speaker
                listener.full = True
                speaker.receive(b"half an ans")
                speaker.lose(error)
                self.assertFalse(listener.aborted or listener.reading)
                for _ in range(10):  # the limit counts from the last byte that it took
                    self.clock.pump([0.5] * 8)
                    self.assertFalse(listener.aborted)
                    listener.half_closed = False
                    del listener.buffer[:1]
                listener.full = False
                self.clock.advance(0.3)
                self.assertEqual(listener.take(), b"s")
                self.assertTrue(listener.aborted)
                self.assertFalse(listener.half_closed or listener.closing)
                self.assertOver(phase="tunnel", by=side, error="connection_terminated")

    def test_who_takes_nothing_after_the_other_side_broke_is_let_go(self) -> None:
        self.join()
        self.client.full = True
        self.server.receive(b"half an ans")
        self.server.lose()
        self.clock.pump([0.5] * 9)
        self.assertFalse(self.client.aborted)
        self.clock.pump([0.5] * 2)
        self.assertTrue(self.client.aborted)
        self.assertOver(phase="tunnel", by="upstream", error="connection_terminated")

    def test_an_abort_does_not_wait_for_what_is_on_its_way(self) -> None:
        pump = self.join()
        self.client.full = True
        self.server.receive(b"half an ans")
        self.server.lose()
        pump.abort()
        self.assertOver(phase="tunnel", by="upstream", error="connection_terminated")

    def test_a_side_that_breaks_while_the_last_words_of_the_other_leave(self) -> None:
        self.join()
        self.client.full = True
        self.server.receive(b"half an ans")
        self.server.lose()
        self.client.lose()
        self.assertOver(phase="tunnel", by="upstream", error="connection_terminated")

    def test_what_is_said_to_a_broken_side_stops_and_what_it_had_said_goes_on(self) -> None:
        self.join()
        self.client.full = True
        self.server.receive(b"an answer")
        self.assertTrue(self.server.protocol.sending_failed())
        self.client.receive(b"more")
        self.server.receive(b" of two parts")
        self.assertFalse(self.server.reading)
        self.client.full = False
        self.clock.advance(1)
        self.assertEqual(self.client.take(), b"an answer of two parts")
        self.assertFalse(self.client.aborted or self.client.reading)
        self.server.lose()
        self.assertEqual(self.session.received, 0)
        self.assertTrue(self.client.aborted)
        self.assertOver(phase="tunnel", by="upstream", error="connection_terminated")

    def test_who_takes_nothing_of_what_a_broken_side_had_said_is_let_go(self) -> None:
        self.join()
        self.client.full = True
        self.server.receive(b"an answer")
        self.assertTrue(self.server.protocol.sending_failed())
        self.clock.pump([0.5] * 11)
        self.assertOver(phase="tunnel", by="upstream", error="connection_terminated")

    def test_a_broken_side_that_had_said_all_is_not_read_again(self) -> None:
        self.join()
        self.server.receive_eof()
        self.assertFalse(self.server.protocol.sending_failed())

    def test_a_reset_after_one_of_both_has_ended_in_order_is_the_end(self) -> None:
        """curl closes after its FIN, and PostgreSQL before it has read the client's close_notify."""
        for first in ("downstream", "upstream"):
            for second in ("downstream", "upstream"):
                self.setUp()
                self.join()
                sides = {"downstream": self.client, "upstream": self.server}
                sides[first].receive_eof()
                sides[second].receive(b"bye") if first != second else None
                sides[second].lose()
                self.assertOver(phase="done", by=first)

    def test_who_broke_after_its_end_has_said_all_so_the_other_is_closed_in_order(self) -> None:
        self.join()
        self.server.full = True
        self.client.receive(b"all of it")
        self.server.full = False
        self.client.receive_eof()
        self.client.lose()
        self.assertFalse(self.server.aborted)
        self.assertEqual(self.server.take(), b"all of it")
        self.assertOver(phase="done", by="downstream")

    def test_a_client_whose_tls_breaks_after_its_end_has_not_left_in_order(self) -> None:
        self.join()
        self.client.receive_eof()
        self.client.lose(TlsTruncated("cut"))
        self.assertOver(phase="tunnel", by="downstream", error="connection_terminated")

    def test_a_loss_while_paused(self) -> None:
        self.join()
        self.client.full = True
        self.server.receive(b"x")
        self.assertFalse(self.server.reading)
        self.client.lose()
        self.assertTrue(self.server.aborted)
        self.assertOver(phase="tunnel", by="downstream", error="connection_terminated")

    def test_a_reset_while_closing_is_none(self) -> None:
        self.join()
        self.client.loseConnection = lambda: None  # type: ignore[method-assign]
        self.client.receive_eof()
        self.server.receive_eof()
        self.client.lose()
        self.assertOver(phase="done", by="downstream")

    def test_what_comes_after_a_loss_goes_nowhere(self) -> None:
        self.join()
        self.client.lose()
        self.server.protocol.dataReceived(b"late")
        self.server.protocol.readConnectionLost()
        self.assertEqual(self.session.sent, 0)
        self.assertEqual(self.ends, [None])

    def test_streams_that_died_while_they_were_parked(self) -> None:
        for first, second in (("client", "server"), ("server", "client")):
            for both in (False, True):
                self.setUp()
                getattr(self, first).lose()
                if both:
                    getattr(self, second).lose()
                self.join(to_upstream=b"x", to_downstream=b"y")
                by = "upstream" if first == "server" and not both else "downstream"
                self.assertOver(phase="tunnel", by=by, error="connection_terminated")


class AbortTests(PumpTestCase):
    def test_abort_resets_both_and_keeps_the_reason(self) -> None:
        pump = self.join()
        pump.abort(StreamError("the rules have changed"))
        self.assertTrue(self.client.aborted and self.server.aborted)
        self.assertOver(phase="tunnel", by="relay", error="connection_terminated")

    def test_abort_without_an_error_is_ours(self) -> None:
        pump = self.join()
        pump.abort()
        pump.abort()
        self.assertOver(phase="tunnel", by="relay")

    def test_who_cancels_the_wait_resets_both(self) -> None:
        async def wait() -> None:
            await pump.done

        pump = join(self.clock, self.client, self.server, session=self.session, limits=self.limits)
        waiting = Deferred.fromCoroutine(wait())
        waiting.cancel()
        self.assertTrue(self.client.aborted and self.server.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(waiting)


class BackpressureTests(PumpTestCase):
    def test_a_side_that_does_not_take_bytes_stops_the_other_one(self) -> None:
        self.join()
        for reader, writer in ((self.client, self.server), (self.server, self.client)):
            reader.full = True
            writer.receive(b"1")
            writer.receive(b"2")
            self.assertFalse(writer.reading)
            self.assertEqual(bytes(reader.buffer), b"1")
            self.assertTrue(reader.reading)
            reader.full = False
            self.assertTrue(writer.reading)
            self.assertEqual(reader.take(), b"12")

    def test_early_bytes_that_are_not_taken_pause_their_side_from_the_start(self) -> None:
        self.server.full = True
        self.join(to_upstream=b"early")
        self.assertFalse(self.client.reading)
        self.assertTrue(self.server.reading)
        self.server.full = False
        self.assertTrue(self.client.reading)


class SilenceTests(PumpTestCase):
    def test_silence_on_both_sides_ends_it(self) -> None:
        self.join()
        self.clock.advance(59)
        self.client.receive(b"x")
        self.clock.advance(59.9)
        self.assertEqual(self.ends, [])
        self.clock.advance(0.2)
        self.assertTrue(self.client.aborted and self.server.aborted)
        self.assertOver(phase="tunnel", by="relay", error="connection_read_timeout")
        self.assertEqual(self.session.detail, "no byte for 60 s")

    def test_a_pause_by_backpressure_is_no_silence(self) -> None:
        self.join()
        self.client.full = True
        self.server.receive(b"x")
        for _ in range(21):  # so that the timer is half way when the pause ends
            self.clock.advance(30)
        self.assertEqual(self.ends, [])
        self.client.full = False
        self.clock.advance(59)
        self.assertEqual(self.ends, [])
        self.clock.pump([1.0, 60.0])
        self.assertOver(phase="tunnel", by="relay", error="connection_read_timeout")

    def test_another_limit_holds_once_one_side_has_ended(self) -> None:
        self.join()
        self.clock.advance(50)
        self.client.receive_eof()
        self.clock.advance(599)
        self.assertEqual(self.ends, [])
        self.clock.advance(2)
        self.assertOver(phase="tunnel", by="relay", error="connection_read_timeout")

    def test_a_side_that_ended_while_it_was_paused_no_longer_counts_as_paused(self) -> None:
        self.join()
        self.server.full = True
        self.client.protocol.dataReceived(b"up")
        self.client.protocol.readConnectionLost()
        self.clock.advance(601)
        self.assertOver(phase="tunnel", by="relay", error="connection_read_timeout")

    def test_never_is_never_until_one_side_has_ended(self) -> None:
        self.limits = PumpLimits(idle=None, half_closed=3600, close=5)
        self.join()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(1_000_000)
        self.server.receive_eof()
        self.clock.advance(3601)
        self.assertOver(phase="tunnel", by="relay", error="connection_read_timeout")

    def test_bytes_do_not_move_the_timer(self) -> None:
        self.join()
        [timer] = self.clock.getDelayedCalls()
        for _ in range(10):
            self.client.receive(b"x")
        self.assertEqual(self.clock.getDelayedCalls(), [timer])
        self.assertEqual(timer.getTime(), 1060)
