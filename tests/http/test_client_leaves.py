"""A client that has been answered ends its side of a real socket."""

from __future__ import annotations

import socket

from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import Timeouts
from lanrelay.http.client import HttpConnection
from lanrelay.transport.stream import hand_over
from lanrelay.transport.tcp import TcpStream
from lanrelay.wire.headers import Headers
from tests.http.test_client import GET, Application
from tests.support.progress import PATIENCE


class LeavingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.gone: list[HttpConnection] = []
        ours, self.client = socket.socketpair()
        self.addCleanup(self.client.close)
        self.client.settimeout(PATIENCE)
        self.stream = TcpStream(self.reactor, ours, "")
        self.addCleanup(ours.close)
        self.connection = HttpConnection(self.reactor, Timeouts(), Application(), self.gone.append)
        hand_over(self.stream, self.connection)

    def says(self, data: bytes) -> None:
        self.client.sendall(data)
        self.stream.doRead()

    def ends(self) -> None:
        self.client.shutdown(socket.SHUT_WR)
        self.stream.doRead()

    def test_it_is_over_in_the_same_turn(self) -> None:
        self.says(GET.replace(b"/a", b"/now"))
        self.assertTrue(self.client.recv(65536).endswith(b"ok"))
        self.ends()
        self.assertEqual(self.gone, [self.connection])
        self.assertTrue(self.stream.disconnected)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.client.recv(10), b"")

    def test_what_is_buffered_for_it_leaves_before(self) -> None:
        self.says(GET)
        self.connection.answer(200, Headers(), b"x" * 4_000_000)
        self.ends()
        self.assertEqual(self.gone, [])
        received = 0
        while not self.gone:
            received += len(self.client.recv(65536))
            why = self.stream.doWrite()
            if why is not None:
                self.stream.connectionLost(Failure(why))
        while data := self.client.recv(65536):
            received += len(data)
        self.assertGreater(received, 4_000_000)
        self.assertEqual(self.gone, [self.connection])
