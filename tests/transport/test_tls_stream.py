"""Secured streams in memory: ends, backpressure, truncation."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import TlsBroken, TlsTruncated
from lanrelay.observe.session import Session
from lanrelay.transport.pump import PumpLimits, join
from lanrelay.transport.records import PublicRecords
from lanrelay.transport.stream import Parked
from lanrelay.transport.tls import TlsStream
from tests.support.memory import MemoryStream
from tests.support.tls import Heard, Shake, client_tls, listen_to, only, server_context


class TlsStreamTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        shake = Shake(client_tls(), server_context())
        self.wire, self.clock = shake.wire, shake.clock
        self.client, self.server = shake.streams()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def listen(self, **how: bool) -> tuple[Heard, Heard]:
        heard = listen_to(self.client, **how), listen_to(self.server, **how)
        self.wire.run()
        return heard


class ByteTests(TlsStreamTestCase):
    def test_a_fresh_stream_is_parked_and_paused(self) -> None:
        for stream, raw in ((self.client, self.wire.a), (self.server, self.wire.b)):
            self.assertIsInstance(stream.protocol, Parked)
            self.assertFalse(raw.reading)

    def test_bytes_go_both_ways(self) -> None:
        client, server = self.listen()
        self.client.write(b"question")
        self.server.writeSequence([b"ans", b"wer"])
        self.client.write(b"")
        self.wire.run()
        self.assertEqual((server.data, client.data), (b"question", b"answer"))
        self.assertNotIn(b"question", bytes(self.wire.carried[0]))

    def test_large_writes_arrive_whole_and_in_portions(self) -> None:
        _, server = self.listen()
        data = bytes(range(256)) * 4096
        self.client.write(data)
        self.wire.run()
        self.assertEqual(server.data, data)
        self.assertLess(len(server.told), 20)

    def test_what_the_other_side_sent_with_its_last_flight_is_not_lost(self) -> None:
        self.client.write(b"early")
        self.wire.run()
        self.assertEqual(listen_to(self.server).data, b"early")

    def test_who_is_there_is_known(self) -> None:
        info = self.client.certificate
        assert info is not None
        self.assertEqual(info.names, ("nas.lan", "192.0.2.5"))
        self.assertEqual((info.subject, info.issuer), ("CN=nas.lan", "CN=Home CA"))
        self.assertGreater(info.not_after, info.not_before)
        self.assertIsNone(self.server.certificate)
        self.assertEqual(self.client.version, "TLSv1.3")
        self.assertEqual(self.client.getPeer(), self.wire.a.getPeer())
        self.assertEqual(self.client.getHost(), self.wire.a.getHost())


class EndTests(TlsStreamTestCase):
    def test_half_close_is_close_notify_and_reading_goes_on(self) -> None:
        client, server = self.listen()
        self.client.write(b"question")
        self.client.loseWriteConnection()
        self.wire.run()
        self.assertEqual(server.told, ["data", "end"])
        self.assertEqual(client.told, ["flushed"])
        self.assertFalse(self.wire.a.half_closed, "no FIN")
        self.server.write(b"late answer")
        self.wire.run()
        self.assertEqual(client.data, b"late answer")
        self.server.loseWriteConnection()
        self.wire.run()
        self.assertEqual(client.told, ["flushed", "data", "end"])
        self.assertEqual(server.told, ["data", "end", "flushed"])
        self.client.loseConnection()
        self.server.loseConnection()
        self.wire.run()
        for heard in (client, server):
            assert heard.reason is not None
            self.assertIsInstance(heard.reason.value, ConnectionDone)

    def test_writes_after_the_half_close_go_nowhere(self) -> None:
        _, server = self.listen()
        self.client.loseWriteConnection()
        self.client.loseWriteConnection()
        self.client.write(b"late")
        self.wire.run()
        self.assertEqual(server.told, ["end"])

    def test_the_half_close_is_told_when_all_has_left(self) -> None:
        client, server = self.listen()
        self.wire.a.full = True
        self.client.write(b"x" * 100_000)
        self.client.loseWriteConnection()
        self.assertEqual(client.told, [])
        self.wire.a.full = False
        self.assertEqual(client.told, ["flushed"])
        self.wire.run()
        self.assertEqual((len(server.data), server.told[-1]), (100_000, "end"))
        self.assertIsNone(self.wire.a.producer)

    def test_close_while_the_half_close_is_under_way(self) -> None:
        client, server = self.listen()
        self.wire.a.full = True
        self.client.write(b"x")
        self.client.loseWriteConnection()
        self.client.loseConnection()
        self.wire.a.full = False
        self.wire.run()
        self.assertEqual(client.told, ["lost"])
        self.assertEqual(server.told, ["data", "end"])

    def test_close_sends_close_notify_and_does_not_wait(self) -> None:
        client, server = self.listen()
        self.client.write(b"bye")
        self.client.loseConnection()
        self.assertEqual(client.told, ["lost"])
        self.wire.run()
        self.assertEqual(server.told, ["data", "end"], "no truncation, and FIN is no second end")
        self.server.loseConnection()
        self.assertEqual(server.told, ["data", "end", "lost"])

    def test_a_protocol_without_half_close_is_closed_at_the_peer_s_end(self) -> None:
        _client, server = self.listen(half_close=False)
        self.client.loseWriteConnection()
        self.wire.run()
        self.assertEqual(server.told, ["lost"])
        assert server.reason is not None
        self.assertIsInstance(server.reason.value, ConnectionDone)

    def test_a_parked_stream_remembers_its_orderly_end(self) -> None:
        self.client.loseConnection()
        self.server.resumeProducing()
        self.wire.run()
        parked = self.server.protocol
        self.assertIsInstance(parked.lost.value, ConnectionDone)

    def test_an_end_that_came_while_paused_is_told_after_the_bytes(self) -> None:
        self.client.write(b"x" * 200_000)
        self.client.loseWriteConnection()
        self.wire.run()
        server = listen_to(self.server)
        self.wire.run()
        self.assertEqual((len(server.data), server.told[-1]), (200_000, "end"))

    def test_a_new_owner_hears_of_the_end_too(self) -> None:
        _, server = self.listen()
        self.client.loseWriteConnection()
        self.wire.run()
        self.assertEqual(server.told, ["end"])
        self.server.resumeProducing()
        self.assertEqual(server.told, ["end"])
        self.assertEqual(listen_to(self.server).told, ["end"])

    def test_what_comes_after_close_notify_is_ignored(self) -> None:
        _, server = self.listen()
        self.client.loseWriteConnection()
        self.wire.run()
        self.wire.b.receive(b"garbage")
        self.assertEqual(server.told, ["end"])

    def test_fin_without_close_notify_is_a_cut(self) -> None:
        for half_close in (True, False):
            self.setUp()
            client, _ = self.listen(half_close=half_close)
            self.wire.a.receive_eof()
            self.assertEqual(client.told, ["lost"])
            assert client.reason is not None
            self.assertIsInstance(client.reason.value, TlsTruncated)
            self.assertTrue(self.wire.a.aborted)

    def test_fin_without_close_notify_after_our_half_close_is_a_cut_too(self) -> None:
        client, _ = self.listen()
        self.client.loseWriteConnection()
        self.wire.a.receive_eof()
        assert client.reason is not None
        self.assertIsInstance(client.reason.value, TlsTruncated)

    def test_reset_and_abort(self) -> None:
        client, server = self.listen()
        self.client.abortConnection()
        self.wire.run()
        assert client.reason is not None
        assert server.reason is not None
        self.assertIsInstance(client.reason.value, ConnectionAborted)
        self.assertIsInstance(server.reason.value, ConnectionLost)
        for stream in (self.client, self.server):  # nothing more happens
            stream.write(b"x")
            stream.loseWriteConnection()
            stream.loseConnection()
            stream.abortConnection()
            stream.resumeProducing()
        self.assertEqual((client.told, server.told), (["lost"], ["lost"]))

    def test_a_broken_record_ends_it(self) -> None:
        client, _ = self.listen()
        self.wire.a.receive(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert client.reason is not None
        self.assertIsInstance(client.reason.value, TlsBroken)
        self.assertEqual(client.told, ["lost"])
        self.assertTrue(self.wire.a.aborted)

    def test_a_record_of_another_protocol_ends_it(self) -> None:
        client, _ = self.listen()
        self.wire.a.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert client.reason is not None
        self.assertIsInstance(client.reason.value, TlsBroken)


class Talkative:
    """OpenSSL, if each record that comes made it answer 40 bytes, as a key update does."""

    def __init__(self) -> None:
        self._answers = b""

    def bio_write(self, data: bytes) -> int:
        self._answers += bytes(40)
        return len(data)

    def recv(self, size: int) -> bytes:
        raise SSL.WantReadError

    def bio_read(self, size: int) -> bytes:
        if not self._answers:
            raise SSL.WantReadError
        answers, self._answers = self._answers[:size], self._answers[size:]
        return answers


class AnswerTests(TlsStreamTestCase):
    def test_a_peer_that_makes_openssl_answer_without_end_is_dropped(self) -> None:
        """It need not read what it asks for, and nothing tells it to stop (RFC 8446 section 4.6.3)."""
        client, _ = self.listen()
        talkative = PublicRecords(Talkative())
        self.client._records, self.client._decrypt = talkative, talkative.decrypt
        self.wire.a.full = True
        for _ in range(1000):
            self.wire.a.receive(b"x")
        self.assertEqual(client.told, [])
        for _ in range(1000):
            self.wire.a.receive(b"x")
        assert client.reason is not None
        self.assertIsInstance(client.reason.value, TlsBroken)
        self.assertTrue(self.wire.a.aborted)


class OlderVersionTests(SynchronousTestCase):
    def test_half_close_works_in_tls_1_2_too(self) -> None:
        shake = Shake(only(client_tls(), "1.2"), server_context())
        ours, theirs = shake.streams()
        client, server = listen_to(ours), listen_to(theirs)
        ours.loseWriteConnection()
        shake.wire.run()
        theirs.write(b"late answer")
        theirs.loseWriteConnection()
        shake.wire.run()
        self.assertEqual(ours.version, "TLSv1.2")
        self.assertEqual((client.told, server.told), (["flushed", "data", "end"], ["end", "flushed"]))


class PumpOverTlsTests(SynchronousTestCase):
    """A forward from TCP to TLS, with the upstream's side played by another secured stream."""

    def setUp(self) -> None:
        self.shake = Shake(client_tls(), server_context())
        upstream, self.server = self.shake.streams()
        self.client = MemoryStream()
        self.clock = Clock()
        self.session = Session(id=1, listener="x", kind="tcp-forward", client="c", started=0, opened=0)
        self.ends: list[object] = []
        limits = PumpLimits(idle=None, half_closed=60, close=5)
        pump = join(self.clock, self.client, upstream, session=self.session, limits=limits)
        pump.done.addBoth(self.ends.append)
        self.heard = listen_to(self.server)
        self.shake.wire.run()

    def run_wire(self) -> None:
        self.shake.wire.run()

    def test_half_close_goes_through_and_the_late_answer_comes(self) -> None:
        self.client.receive(b"question")
        self.client.receive_eof()
        self.run_wire()
        self.assertEqual(self.heard.told, ["data", "end"])
        self.server.write(b"late answer")
        self.server.loseWriteConnection()
        self.run_wire()
        self.assertEqual(self.client.take(), b"late answer")
        self.assertTrue(self.client.closed)
        self.assertEqual(self.ends, [None])
        self.assertEqual((self.session.phase, self.session.ended_by), ("done", "downstream"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_cut_tls_stream_resets_the_client(self) -> None:
        self.server.write(b"half an ans")
        self.run_wire()
        self.shake.wire.a.receive_eof()
        self.assertTrue(self.client.aborted)
        self.assertEqual(self.ends, [None])
        self.assertEqual((self.session.phase, self.session.ended_by), ("tunnel", "upstream"))
        self.assertIn("close_notify", self.session.detail)

    def test_a_client_that_does_not_read_stops_the_upstream(self) -> None:
        self.client.full = True
        self.server.write(b"x" * 300_000)
        self.run_wire()
        self.assertFalse(self.shake.wire.a.reading)
        self.assertLess(len(self.client.buffer), 70_000)
        while self.client.buffer:
            self.client.full = False
            self.run_wire()
        self.assertEqual(len(self.client.take()), 300_000)

    def test_an_upstream_that_does_not_read_stops_the_client(self) -> None:
        self.shake.wire.a.full = True
        self.client.receive(b"x")
        self.assertFalse(self.client.reading)
        self.shake.wire.a.full = False
        self.assertTrue(self.client.reading)

    def test_the_stream_is_what_the_seam_says(self) -> None:
        self.assertIsInstance(self.server, TlsStream)
