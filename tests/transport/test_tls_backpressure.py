"""Secured streams whose reader pauses, in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from lanrelay.transport.abilities import Hearer
from lanrelay.transport.records import LARGEST
from lanrelay.transport.stream import hand_over, unread_of
from tests.support.tls import Heard
from tests.transport.test_tls_stream import TlsStreamTestCase


@implementer(IPushProducer)
class Producer:
    paused = False
    stopped = False

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.stopped = True


class Sizes(Protocol, list[int]):
    """Of the portions that came."""

    def dataReceived(self, data: bytes) -> None:
        self.append(len(data))


class Lent(Protocol, Hearer):
    """Is lent them."""

    lent_at_most = LARGEST

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes

    def view_received(self, view: memoryview) -> None:
        self._sizes.append(len(view))


class PausingProtocol(Heard):
    """Pauses after each portion; C{again} resumes from within."""

    again = False

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        stream: Any = self.transport
        stream.pauseProducing()
        if self.again:
            stream.resumeProducing()


class BackpressureTests(TlsStreamTestCase):
    def test_the_producer_hears_of_the_raw_stream_s_buffer(self) -> None:
        self.listen()
        producer = Producer()
        self.client.registerProducer(producer, True)
        self.wire.a.full = True
        self.client.write(b"x")
        self.assertTrue(producer.paused)
        self.wire.a.full = False
        self.assertFalse(producer.paused)
        self.wire.a.lose()
        self.assertTrue(producer.stopped)

    def test_closing_waits_for_the_producer(self) -> None:
        client, server = self.listen()
        producer = Producer()
        self.client.registerProducer(producer, True)
        self.client.loseConnection()
        self.client.write(b"the rest")
        self.assertEqual(client.told, [])
        self.client.unregisterProducer()
        self.wire.run()
        self.assertEqual((client.told, server.told), (["lost"], ["data", "end"]))

    def test_the_peer_s_end_does_not_wait_for_the_producer_of_who_knows_no_half_close(self) -> None:
        _, server = self.listen(half_close=False)
        self.server.registerProducer(Producer(), True)
        self.client.loseWriteConnection()
        self.wire.run()
        self.assertEqual(server.told, ["lost"])
        assert server.reason is not None
        self.assertIsInstance(server.reason.value, ConnectionDone)

    def test_a_half_close_ends_the_producer_s_part(self) -> None:
        client, server = self.listen()
        self.client.registerProducer(Producer(), True)
        self.client.loseWriteConnection()
        self.wire.run()
        self.assertEqual((client.told, server.told), (["flushed"], ["end"]))
        self.client.unregisterProducer()

    def test_a_pause_in_the_middle_holds_the_rest_back(self) -> None:
        pausing = PausingProtocol()
        hand_over(self.server, pausing)
        self.server.resumeProducing()
        self.client.write(b"x" * 300_000)
        self.client.loseWriteConnection()
        self.wire.run()
        portions = 0
        while pausing.reason is None:
            portions += 1
            self.assertEqual(pausing.told, ["data"] * portions)
            self.assertFalse(self.wire.b.reading)
            self.server.resumeProducing()
            self.wire.run()
        self.assertGreater(portions, 4)
        self.assertEqual(len(pausing.data), 300_000)

    def test_portions_grow_until_the_next_pause(self) -> None:
        for lends in (False, True):
            self.setUp()
            sizes = Sizes()
            hand_over(self.server, Lent(sizes) if lends else sizes)
            self.server.resumeProducing()
            for _ in range(2):
                self.client.write(b"x" * 1_000_000)
                self.wire.run()
                self.assertEqual(sizes[:4], [65536, 131072, 262144, 262144])
                self.assertEqual(sum(sizes), 1_000_000)
                sizes.clear()
                self.server.pauseProducing()
                self.server.resumeProducing()

    def test_what_it_holds_back_is_unread(self) -> None:
        """The kernel knows nothing of that, so nobody else would say so."""
        unread = unread_of(self.server)
        waits: list[bool] = []
        reading = Heard()
        reading.dataReceived = lambda data: waits.append(unread())  # type: ignore[method-assign]
        hand_over(self.server, reading)
        self.server.resumeProducing()
        self.client.write(b"x" * (65536 + 131072) + b"more")
        self.wire.run()
        self.assertEqual(waits, [True, True, False])
        self.assertFalse(unread())
        self.server.pauseProducing()
        self.server.dataReceived(b"the beginning of a record")
        self.assertTrue(unread())

    def test_pause_and_resume_from_within_does_not_recurse(self) -> None:
        pausing = PausingProtocol()
        pausing.again = True
        hand_over(self.server, pausing)
        self.server.resumeProducing()
        for _ in range(300):
            self.client.write(b"x" * 20_000)
        self.wire.run()
        self.assertEqual(len(pausing.data), 6_000_000)

    def test_an_error_in_the_protocol_does_not_leave_the_stream_deaf(self) -> None:
        class Faulty(Heard):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                if len(self.told) == 1:
                    raise ZeroDivisionError

        faulty = Faulty()
        hand_over(self.server, faulty)
        self.server.resumeProducing()
        self.client.write(b"1")
        self.assertRaises(ZeroDivisionError, self.wire.run)
        self.client.write(b"2")
        self.wire.run()
        self.assertEqual(faulty.data, b"12")
