"""The accept loop: batches, limits, shortages. The sockets are real, the reactor is not."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import LocalhostAddress, TcpAddress
from lanrelay.transport import port as port_module
from lanrelay.transport.port import BoundSocket, Gate, Port
from lanrelay.transport.stream import Parked, Stream, tune
from tests.transport.test_bind import V4, BindTestCase


class FaultyListener:
    """A listening socket whose accept() fails as told."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.faults: list[int] = []
        self.calls = 0

    def accept(self) -> Any:
        self.fail()
        return self.real.accept()

    def _accept(self) -> Any:
        self.fail()
        return self.real._accept()  # type: ignore[attr-defined]

    def fail(self) -> None:
        self.calls += 1
        if self.faults:
            number = self.faults.pop(0)
            raise OSError(number, os.strerror(number))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class Nameless(FaultyListener):
    """Its accept() gives no address with the second connection."""

    def accept(self) -> Any:
        sock, address = super().accept()
        return sock, None if self.calls == 2 else address

    def _accept(self) -> Any:
        descriptor, address = super()._accept()
        return descriptor, None if self.calls == 2 else address


class PortTestCase(BindTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.streams: list[Stream] = []
        self.gate = Gate(1000)
        [self.bound] = self.bind(V4)

    def port(self, bound: BoundSocket | None = None, accepted: Any = None) -> Port:
        port = Port(self.reactor, bound or self.bound, self.gate, accepted or self.accepted)
        self.addCleanup(self.end)
        self.addCleanup(port.stop)
        return port

    def accepted(self, stream: Stream, peer: Any, local: Any) -> None:
        self.streams.append(stream)
        self.names = peer, local

    def end(self) -> None:
        for stream in self.streams:
            stream.abortConnection()
        self.reactor.advance(0)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def connect(self, count: int = 1, bound: BoundSocket | None = None) -> None:
        for _ in range(count):
            client = socket.socket((bound or self.bound).socket.family)
            self.addCleanup(client.close)
            client.connect((bound or self.bound).socket.getsockname())

    def reads(self, port: Port) -> bool:
        return port in self.reactor.getReaders()


class AcceptTests(PortTestCase):
    def test_what_waited_before_the_port_was_started_is_tuned_as_what_comes_later(self) -> None:
        """On Linux the latter inherit it."""
        self.connect(2)
        port = self.port()
        port.start()
        port.doRead()
        self.connect(2)
        port.doRead()
        self.assertEqual(len(self.streams), 4)
        for stream in self.streams:
            handle = stream.getHandle()  # type: ignore[attr-defined]
            self.assertTrue(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            self.assertTrue(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            if hasattr(socket, "TCP_KEEPIDLE"):
                self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 30)

    def test_a_stream_comes_parked_paused_and_tuned(self) -> None:
        port = self.port()
        self.assertFalse(self.reads(port))
        port.start()
        self.assertTrue(self.reads(port))
        self.connect()
        port.doRead()
        [stream] = self.streams
        self.assertIsInstance(stream.protocol, Parked)
        self.assertNotIn(stream, self.reactor.getReaders())
        handle = stream.getHandle()  # type: ignore[attr-defined]
        self.assertTrue(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        self.assertTrue(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        if hasattr(socket, "TCP_KEEPIDLE"):
            self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), 30)
        self.assertFalse(handle.getblocking())
        self.assertEqual(stream.getPeer().host, "127.0.0.1")
        self.assertEqual(stream.getHost().port, self.bound.socket.getsockname()[1])
        self.assertEqual(self.gate.open, 1)
        self.assertIn("127.0.0.1", repr(stream))

    def test_all_that_wait_are_taken_in_one_go_but_no_more_than_a_batch(self) -> None:
        port = self.port()
        port.start()
        self.connect(103)
        port.doRead()
        self.assertEqual(len(self.streams), 100)
        port.doRead()
        self.assertEqual(len(self.streams), 103)

    def test_both_names_are_told(self) -> None:
        everywhere = TcpAddress(host=ip_address("0.0.0.0"), port=0)
        for address in (V4, everywhere):
            [bound] = self.bind(address)
            port = self.port(bound)
            port.start()
            here = ("127.0.0.1", bound.socket.getsockname()[1])
            client = socket.create_connection(here)
            self.addCleanup(client.close)
            port.doRead()
            self.assertEqual(self.names, (client.getsockname(), here))

    def test_who_comes_without_an_address_is_no_client_of_a_unix_socket(self) -> None:
        """
        What macOS gives for a client of an IPv6 listener that reset while it waited; it can be read from.
        C{None} stands for a unix socket's peer further on, and C{clients: [loopback]} lets that in.
        """
        six = self.bind(LocalhostAddress(port=0))[1]
        six.socket = Nameless(six.socket)  # type: ignore[assignment]
        port = self.port(six)
        port.start()
        clients = [socket.create_connection(six.socket.getsockname()[:2]) for _ in range(3)]
        for client in clients:
            self.addCleanup(client.close)
        port.doRead()
        self.assertEqual([stream.getPeer().host for stream in self.streams], ["::1", "::1"])
        self.assertEqual(self.gate.open, 2)
        self.assertEqual(clients[1].recv(1), b"")

    def test_ipv6_and_unix(self) -> None:
        six = self.bind(LocalhostAddress(port=0))[1]
        [unix] = self.bind(self.unix)
        for bound in (six, unix):
            port = self.port(bound)
            port.start()
            self.connect(1, bound)
            port.doRead()
        self.assertEqual(self.streams[0].getPeer().host, "::1")
        self.assertIsNone(self.streams[1].getPeer().name)
        self.assertEqual(self.streams[1].getHost().name, os.fsencode(self.unix.path))

    def test_a_stop_from_within_ends_the_batch_and_closes_at_once(self) -> None:
        def accepted(stream: Stream, *_: Any) -> None:
            self.streams.append(stream)
            port.stop()

        port = self.port(accepted=accepted)
        port.start()
        self.connect(3)
        port.doRead()
        self.assertEqual(len(self.streams), 1)
        self.assertFalse(self.reads(port))
        self.assertEqual(self.bound.socket.fileno(), -1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        port.stop()
        port.start()
        self.assertFalse(self.reads(port))

    def test_stop_removes_the_unix_socket(self) -> None:
        [unix] = self.bind(self.unix)
        port = self.port(unix)
        port.start()
        port.stop()
        self.assertFalse(self.unix.path.exists())

    def test_the_reactor_s_end_stops_it(self) -> None:
        port = self.port()
        port.start()
        port.connectionLost()
        self.assertEqual(self.bound.socket.fileno(), -1)

    def test_a_bug_in_the_listener_costs_one_connection_only(self) -> None:
        def accepted(stream: Stream, *_: Any) -> None:
            self.streams.append(stream)
            if len(self.streams) == 1:
                raise ZeroDivisionError

        port = self.port(accepted=accepted)
        port.start()
        self.connect(2)
        port.doRead()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((len(self.streams), self.gate.open), (2, 1))
        self.reactor.advance(0)
        self.assertTrue(self.streams[0].disconnected)  # type: ignore[attr-defined]

    def test_a_connection_that_the_reactor_cannot_watch_costs_no_more_than_itself(self) -> None:
        """epoll has a limit of its own (fs.epoll.max_user_watches), and says ENOSPC."""

        def accepted(stream: Stream, *_: Any) -> None:
            stream.resumeProducing()
            self.streams.append(stream)

        port = self.port(accepted=accepted)
        port.start()
        self.connect(2)
        watch, faults = self.reactor.addReader, [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))]

        def add_reader(reader: Any) -> None:
            if faults:
                raise faults.pop()
            watch(reader)

        self.reactor.addReader = add_reader  # type: ignore[method-assign]
        port.doRead()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertEqual((len(self.streams), self.gate.open), (1, 1))
        self.assertTrue(self.reads(port))

    def test_clients_that_left_the_queue_are_skipped(self) -> None:
        listener = self.bound.socket = FaultyListener(self.bound.socket)  # type: ignore[assignment]
        listener.faults = [errno.ECONNABORTED, errno.EPERM, errno.EINTR]
        port = self.port()
        port.start()
        self.connect()
        port.doRead()
        self.assertEqual(len(self.streams), 1)
        self.assertTrue(self.reads(port))


class ReleaseTests(PortTestCase):
    """The socket goes to another port, and what waits in its queue with it."""

    def test_a_socket_that_is_released_stays_open(self) -> None:
        before, after = self.port(), self.port()
        before.start()
        self.assertIs(before.release(), self.bound)
        self.connect()
        self.assertFalse(self.reads(before))
        before.doRead()
        self.assertEqual(self.streams, [])
        after.start()
        after.doRead()
        self.assertEqual(len(self.streams), 1)

    def test_one_that_waits_for_a_place_waits_no_more(self) -> None:
        self.gate = Gate(1)
        port = self.port()
        port.start()
        self.connect(2)
        port.doRead()
        port.release()
        self.gate.leave()
        self.assertFalse(self.reads(port))

    def test_all_that_waits_is_accepted_before_the_socket_is_closed(self) -> None:
        port = self.port()
        port.start()
        self.connect(150)
        port.empty_queue()
        self.assertEqual(len(self.streams), 150)

    def test_but_no_more_than_there_is_room_for(self) -> None:
        self.gate = Gate(3)
        port = self.port()
        port.start()
        self.connect(5)
        port.empty_queue()
        self.assertEqual(len(self.streams), 3)

    def test_another_limit(self) -> None:
        self.gate = Gate(1)
        port = self.port()
        port.start()
        self.connect(3)
        port.doRead()
        self.assertFalse(self.reads(port))
        self.gate.resize(2)
        self.assertTrue(self.reads(port))
        port.doRead()
        self.assertEqual(len(self.streams), 2)
        self.gate.resize(1)
        self.gate.leave()
        self.assertFalse(self.reads(port))
        self.gate.leave()
        self.assertTrue(self.reads(port))


class ShortageTests(PortTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.listener = FaultyListener(self.bound.socket)
        self.bound.socket = self.listener  # type: ignore[assignment]
        self.warnings: list[str] = []
        self.patch(Port, "log", self)

    def warn(self, text: str, **fields: Any) -> None:
        self.warnings.append(text.format(**fields))

    def test_it_pauses_and_comes_back(self) -> None:
        for number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL):
            self.listener.faults = [number]
            port = self.port()
            port.start()
            self.connect()
            port.doRead()
            self.assertFalse(self.reads(port))
            self.reactor.advance(0.4)
            self.assertFalse(self.reads(port))
            self.reactor.advance(0.2)
            self.assertTrue(self.reads(port))
            before = len(self.streams)
            port.doRead()
            self.assertEqual(len(self.streams), before + 1)
            self.reactor.removeReader(port)

    def test_it_is_said_once_a_minute(self) -> None:
        self.listener.faults = [errno.EMFILE] * 200
        port = self.port()
        port.start()
        self.connect()
        for _ in range(100):  # 50 seconds
            port.doRead()
            self.reactor.advance(0.5)
        [warning] = self.warnings
        self.assertIn(self.bound.name, warning)
        self.assertIn("Too many open files", warning)
        self.assertEqual(self.listener.calls, 100)
        for _ in range(30):
            port.doRead()
            self.reactor.advance(0.5)
        self.assertEqual(len(self.warnings), 2)

    def test_where_the_system_drops_them_that_is_said(self) -> None:
        self.patch(port_module, "_DROPS", True)
        for number, words in (
            (errno.EMFILE, "are dropped by macOS: Too many"),
            (errno.ENOBUFS, "wait: No buffer"),
        ):
            self.listener.faults = [number]
            port = self.port()
            port.start()
            port.doRead()
            self.assertIn(f"new connections {words}", self.warnings.pop())
            self.reactor.advance(0.5)
            port.release()

    def test_a_place_at_the_gate_does_not_end_the_pause(self) -> None:
        self.listener.faults = [errno.EMFILE]
        port = self.port()
        port.start()
        port.doRead()
        self.gate.when_free(port._go_on)
        self.gate.enter()
        self.gate.leave()
        self.assertFalse(self.reads(port))

    def test_stop_ends_the_pause(self) -> None:
        self.listener.faults = [errno.EMFILE]
        port = self.port()
        port.start()
        port.doRead()
        port.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class TuneTests(SynchronousTestCase):
    def test_what_is_no_tcp_is_left_alone(self) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            tune(sock)
        tune(object())

    def test_a_socket_that_refuses_is_no_error(self) -> None:
        sock = socket.socket()
        sock.close()
        tune(sock)
