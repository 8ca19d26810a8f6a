"""Tests of the PROXY protocol on listeners and towards upstreams, in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import hosts, model
from lanrelay.listeners.reverse_proxy import ReverseProxyService
from lanrelay.listeners.service import ListenerService
from lanrelay.listeners.tcp_forward import TcpForwardService
from lanrelay.transport.client import Client, accepted_from
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.upstream.dial import Dialer
from tests.support.dialing import FakeConnect, FakeResolver
from tests.support.listening import Surroundings, accept, tcp_upstreams
from tests.support.memory import MemoryStream

V1 = b"PROXY TCP4 203.0.113.7 198.51.100.5 50123 443\r\n"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
BALANCER = IPv4Address("TCP", "10.0.0.5", 40000)
HERE = IPv4Address("TCP", "192.168.1.5", 8080)


def client_rules(*texts: str) -> tuple[model.ClientRule, ...]:
    return tuple(map(hosts.client_rule, texts))


class Taken(ListenerService):
    """Remembers the clients that were let in, and reads what they say."""

    kind = "test"

    def __init__(self, environment: Any, config: model.Listener) -> None:
        super().__init__(environment, config)
        self.clients: list[Client] = []
        self.streams: list[Stream] = []

    def connected(self, stream: Stream, client: Client) -> Any:
        self.clients.append(client)
        self.streams.append(stream)
        return object()


class Reader(Protocol):
    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class AcceptTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.around = Surroundings()
        self.service = self.listener()

    def listener(self, **keys: Any) -> Taken:
        keys.setdefault("accept_proxy", client_rules("10.0.0.5"))
        keys.setdefault("clients", client_rules("203.0.113.0/24"))
        config = model.Listener(name="one", listen=(model.LocalhostAddress(port=0),), **keys)
        return Taken(self.around.environment, config)

    def arrive(self, *data: bytes, peer: Any = BALANCER) -> MemoryStream:
        stream = accept(self.service, MemoryStream(peer=peer, host=HERE))
        for part in data:
            stream.receive(part)
        return stream

    def closed(self, stream: MemoryStream) -> None:
        self.assertTrue(stream.closed)
        self.assertEqual(self.service.clients, [])
        self.assertEqual((self.service._gate.open, self.service.open_connections), (0, 0))
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_the_announced_client_is_the_client(self) -> None:
        self.arrive(V1)
        [client] = self.service.clients
        self.assertEqual((client.name, str(client.address)), ("203.0.113.7:50123", "203.0.113.7"))
        self.assertEqual((str(client.local), client.local_port, client.port), ("198.51.100.5", 443, 50123))
        endpoints = client.endpoints
        assert endpoints is not None
        self.assertEqual((endpoints.source, endpoints.destination_port), (client.address, 443))
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_an_ipv4_mapped_client_is_shown_as_ipv4(self) -> None:
        self.arrive(b"PROXY TCP6 ::ffff:203.0.113.7 fd00::1 50123 443\r\n")
        self.assertEqual(self.service.clients[0].name, "203.0.113.7:50123")

    def test_clients_judges_whom_the_peer_announces(self) -> None:
        self.service = self.listener(clients=client_rules("10.0.0.0/8"))
        self.closed(self.arrive(V1))
        [session] = self.around.closed
        self.assertEqual((session.client, session.phase), ("203.0.113.7:50123", "accept"))
        self.assertEqual(session.error, "http_request_denied")

    def test_a_peer_that_speaks_for_itself_is_judged_itself(self) -> None:
        self.closed(self.arrive(LOCAL))
        self.service = self.listener(clients=client_rules("10.0.0.0/8"))
        for header in (LOCAL, b"PROXY UNKNOWN\r\n"):
            self.arrive(header)
            self.assertEqual(self.service.clients.pop().name, "10.0.0.5:40000")

    def test_a_header_is_required_of_the_listed(self) -> None:
        for data in (b"GET / HTTP/1.1\r\n", b"PROXY TCP4 nonsense\r\n", b"\x16\x03\x01"):
            self.around.closed.clear()
            self.closed(self.arrive(data))
            [session] = self.around.closed
            self.assertEqual((session.client, session.phase), ("10.0.0.5:40000", "head"))
            self.assertIn("accept_proxy", session.detail)

    def test_and_in_time(self) -> None:
        stream = self.arrive(V1[:10])
        self.around.clock.advance(10.1)
        self.closed(stream)
        self.assertEqual(len(self.around.closed), 1)

    def test_a_listed_peer_that_leaves(self) -> None:
        stream = self.arrive(V1[:10])
        stream.receive_eof()
        self.closed(stream)

    def test_of_others_nothing_is_believed(self) -> None:
        stranger = IPv4Address("TCP", "203.0.113.99", 40000)
        stream = self.arrive(V1, peer=stranger)
        self.assertEqual(self.service.clients[0].name, "203.0.113.99:40000")
        self.assertEqual(stream._pending, [V1], "it is the listener's to read")
        self.service.clients.clear()
        self.around.closed.clear()
        self.assertTrue(self.arrive(V1, peer=IPv4Address("TCP", "10.0.0.6", 40000)).aborted)
        self.assertEqual(self.service.clients, [])

    def test_a_unix_socket_counts_as_loopback(self) -> None:
        self.service = self.listener(accept_proxy=client_rules("loopback"))
        unix = MemoryStream(peer=UNIXAddress(b""), host=UNIXAddress(b"/run/x"))
        accept(self.service, unix).receive(V1)
        self.assertEqual(self.service.clients[0].name, "203.0.113.7:50123")

    def test_what_follows_the_header_reaches_the_listener(self) -> None:
        self.arrive(V1 + b"hello")
        [stream] = self.service.streams
        reader = Reader()
        hand_over(stream, reader)
        stream.resumeProducing()
        self.assertEqual(reader.received, b"hello")

    def test_a_stop_ends_who_has_said_nothing(self) -> None:
        stream = self.arrive(V1[:10])
        self.service.startService()
        self.successResultOf(self.service.stopService())
        self.closed(stream)
        self.assertEqual(self.around.closed, [])


class SendCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.around = Surroundings()
        self.connect = FakeConnect()
        dialer = Dialer(self.around.clock, FakeResolver(), connect=self.connect)  # type: ignore[arg-type]
        self.environment = replace(self.around.environment, dialer=dialer)

    def upstreams(self, version: Any, scheme: Any = "tcp") -> model.Upstreams:
        url = model.UpstreamUrl(scheme=scheme, host="10.0.0.9", port=5432)
        return model.Upstreams(members=(model.Upstream(url=url, send_proxy=version),))

    def client(self, peer: Any = BALANCER, host: Any = HERE) -> MemoryStream:
        return MemoryStream(peer=peer, host=host)


class ForwardTests(SendCase):
    def forward(self, version: Any, **keys: Any) -> TcpForwardService:
        config = model.TcpForward(
            name="db",
            listen=(model.LocalhostAddress(port=0),),
            clients=client_rules("any"),
            upstreams=self.upstreams(version),
            **keys,
        )
        return TcpForwardService(self.environment, config)

    def test_each_version(self) -> None:
        for version, header in (
            ("v1", b"PROXY TCP4 10.0.0.5 192.168.1.5 40000 8080\r\n"),
            ("v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x0a\x00\x00\x05\xc0\xa8\x01\x05\x9c\x40\x1f\x90"),
        ):
            client = accept(self.forward(version), self.client())
            client.receive(b"hello")
            upstream = self.connect.answer("10.0.0.9:5432")
            self.assertEqual(upstream.take(), header + b"hello")

    def test_whom_a_header_announced_is_announced(self) -> None:
        client = accept(self.forward("v1", accept_proxy=client_rules("10.0.0.5")), self.client())
        client.receive(V1 + b"hello")
        self.assertEqual(self.connect.answer("10.0.0.9:5432").take(), V1 + b"hello")

    def test_ipv6_and_unix_sockets(self) -> None:
        six = self.client(IPv6Address("TCP", "fd00::5", 40000), IPv6Address("TCP", "fd00::1", 8080))
        accept(self.forward("v1"), six)
        self.assertEqual(
            self.connect.answer("10.0.0.9:5432").take(), b"PROXY TCP6 fd00::5 fd00::1 40000 8080\r\n"
        )
        unix = self.client(UNIXAddress(b""), UNIXAddress(b"/run/x"))
        accept(self.forward("v1"), unix)
        self.assertEqual(self.connect.answer("10.0.0.9:5432").take(), b"PROXY UNKNOWN\r\n")

    def test_nothing_is_sent_unasked(self) -> None:
        config = model.TcpForward(
            name="db",
            listen=(model.LocalhostAddress(port=0),),
            clients=client_rules("any"),
            upstreams=tcp_upstreams(("10.0.0.9", 5432)),
        )
        accept(TcpForwardService(self.environment, config), self.client())
        self.assertEqual(self.connect.answer("10.0.0.9:5432").take(), b"")


class ReverseTests(SendCase):
    REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def reverse(self, version: Any) -> ReverseProxyService:
        config = model.ReverseProxy(
            name="web",
            listen=(model.LocalhostAddress(port=0),),
            clients=client_rules("any"),
            routes=(model.Route(upstreams=self.upstreams(version, "http")),),
        )
        return ReverseProxyService(self.environment, config)

    def test_a_connection_speaks_for_one_client_and_is_not_kept(self) -> None:
        service = self.reverse("v1")
        for port in (40001, 40002):
            client = accept(service, self.client(IPv4Address("TCP", "10.0.0.5", port)))
            for _ in range(2):
                client.receive(self.REQUEST)
                origin = self.connect.answer("10.0.0.9:5432")
                header = b"PROXY TCP4 10.0.0.5 192.168.1.5 %d 8080\r\n" % port
                self.assertTrue(origin.take().startswith(header + b"GET / HTTP/1.1\r\n"))
                origin.receive(self.ANSWER)
                self.assertTrue(client.take().endswith(b"ok"))
                self.assertTrue(origin.closed)

    def test_header_and_request_in_one_piece(self) -> None:
        url = model.UpstreamUrl(scheme="http", host="10.0.0.9", port=5432)
        config = model.ReverseProxy(
            name="web",
            listen=(model.LocalhostAddress(port=0),),
            clients=client_rules("any"),
            accept_proxy=client_rules("10.0.0.5"),
            forwarded="x-forwarded",
            routes=(model.Route(upstreams=model.Upstreams(members=(model.Upstream(url=url),))),),
        )
        service = ReverseProxyService(self.environment, config)
        client = accept(service, self.client())
        client.receive(V1 + self.REQUEST)
        origin = self.connect.answer("10.0.0.9:5432")
        self.assertIn(b"\r\nX-Forwarded-For: 203.0.113.7\r\n", origin.take())
        origin.receive(self.ANSWER)
        self.assertTrue(client.take().endswith(b"ok"))
        client.receive_eof()
        self.assertEqual(service.open_connections, 0)
        # One that is refused, and gone, before the listener has even taken it.
        rude = accept(service, self.client())
        rude.receive(V1 + b"\x00\x01\x02")
        rude.receive_eof()
        self.assertEqual((rude.closed, service.open_connections, service._gate.open), (True, 0, 0))

    def test_without_it_the_connection_is_kept(self) -> None:
        client = accept(self.reverse(None), self.client())
        client.receive(self.REQUEST)
        origin = self.connect.answer("10.0.0.9:5432")
        origin.receive(self.ANSWER)
        client.receive(self.REQUEST)
        self.assertEqual(origin.take().count(b"GET / HTTP/1.1\r\n"), 2)


class ClientTests(SynchronousTestCase):
    def test_addresses_and_ports_of_the_stream(self) -> None:
        client = accepted_from((BALANCER.host, BALANCER.port), (HERE.host, HERE.port), secure=False)
        self.assertEqual((client.port, client.local_port), (40000, 8080))
