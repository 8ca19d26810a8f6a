"""What every kind of listener does with those who connect, in memory."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import hosts, model
from lanrelay.errors import StreamError
from lanrelay.listeners.service import ListenerService
from lanrelay.transport.client import Client
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.transport.tls import secure_client
from tests.support.listening import Surroundings, accept
from tests.support.memory import MemoryStream
from tests.support.tls import Heard, client_tls, server_certificate
from tests.support.wire import Wire

PROXY = b"PROXY TCP4 127.0.0.1 127.0.0.1 50123 443\r\n"


class FaultyService(ListenerService):
    """Its connections have taken the stream when they break down."""

    kind = "test"
    error: Exception = ZeroDivisionError()

    def connected(self, stream: Stream, client: Client) -> Any:
        hand_over(stream, HalfBorn(self))
        raise self.error


class HalfBorn(Protocol):
    def __init__(self, service: ListenerService) -> None:
        self.service = service

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.service.gone(self)  # type: ignore[arg-type]


class ClientTests(SynchronousTestCase):
    def test_a_socket_of_ipv6_that_serves_ipv4(self) -> None:
        """Whoever looks at the client finds one of IPv4; of IPv6 a whole /64 counts as one."""
        seen: list[Client] = []

        class Service(FaultyService):
            def connected(self, stream: Stream, client: Client) -> Any:
                seen.append(client)
                raise self.error

        config = model.Listener(name="one", listen=(model.LocalhostAddress(port=0),))
        service = Service(Surroundings().environment, config)
        client, here = IPv4Address("TCP", "::ffff:127.0.0.1", 5), IPv4Address("TCP", "::ffff:127.0.0.2", 80)
        with self.assertRaises(ZeroDivisionError):
            accept(service, MemoryStream(client, here))
        self.assertEqual(seen[0].name, "127.0.0.1:5")
        self.assertEqual((seen[0].address, seen[0].local), (ip_address("127.0.0.1"), ip_address("127.0.0.2")))


class FaultTests(SynchronousTestCase):
    def listener(self, error: Exception, **keys: Any) -> FaultyService:
        self.around = Surroundings()
        config = model.Listener(name="one", listen=(model.LocalhostAddress(port=0),), **keys)
        service = FaultyService(self.around.environment, config)
        service.error = error
        service.load()
        return service

    def assert_over(self, service: FaultyService, stream: MemoryStream) -> None:
        self.assertTrue(stream.closed)
        self.assertEqual((service._gate.open, service.open_connections), (0, 0))
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_behind_a_proxy_header(self) -> None:
        for error in (ZeroDivisionError(), StreamError("no bug")):
            service = self.listener(error, accept_proxy=(hosts.client_rule("any"),))
            stream = accept(service)
            stream.receive(PROXY)
            self.assert_over(service, stream)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_behind_tls(self) -> None:
        issued = server_certificate()
        tls = model.ServerTls(cert=issued.cert, key=issued.key)
        for proxy in (False, True):
            rules = (hosts.client_rule("any"),) if proxy else ()
            service = self.listener(ZeroDivisionError(), tls=tls, accept_proxy=rules)
            wire = Wire()
            accept(service, wire.b)
            if proxy:
                wire.b.receive(PROXY)
            securing = Deferred.fromCoroutine(
                secure_client(self.around.clock, wire.a, client_tls(), timeout=10)
            )
            wire.run()
            heard = Heard()
            hand_over(self.successResultOf(securing), heard)
            wire.run()
            self.assertIsNotNone(heard.reason)
            self.assert_over(service, wire.b)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
