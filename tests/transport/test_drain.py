"""What has not arrived of what was written; C{tests.live.test_cut_tunnels} shows the waiting for it."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from lanrelay.transport.drain import Drain, unsent_of


class Telling(Protocol):
    """Tells when it is lost."""

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class LostTests(TestCase):
    timeout = 30

    async def test_a_stream_of_twisted_s_that_is_lost_has_nothing_on_its_way(self) -> None:
        """It has no socket any more; a look at it that came a moment later raised."""
        from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint

        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
            Factory.forProtocol(Telling)
        )
        self.addCleanup(port.stopListening)
        client: Any = await TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port).connect(
            Factory.forProtocol(Telling)
        )
        stream = client.transport
        stream.write(b"x" * 10_000_000)
        self.assertGreater(unsent_of(stream), 0)
        stream.abortConnection()
        await client.lost
        self.assertEqual(unsent_of(stream), 0)
        done: list[bool] = []
        self.assertFalse(Drain(reactor, stream, 5.0, lambda: done.append(True)).waits)
        self.assertEqual(done, [True])
