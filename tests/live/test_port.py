"""Accepting under the real reactor."""

from __future__ import annotations

import resource
import socket
from ipaddress import ip_address

from twisted.internet import reactor

from lanrelay.config.model import TcpAddress
from lanrelay.transport.port import Gate, Port, bind
from lanrelay.transport.stream import Stream
from tests.support.progress import PATIENCE
from tests.support.sockets import SocketTestCase, pause


class PortTests(SocketTestCase):
    def start(self, gate: Gate) -> tuple[Port, list[Stream]]:
        [bound] = bind(TcpAddress(host=ip_address("127.0.0.1"), port=0))
        port = Port(reactor, bound, gate, lambda stream, *_: self._made.append(stream))
        port.start()
        self.addCleanup(port.stop)
        return port, self._made

    def connect(self, port: Port) -> socket.socket:
        client = socket.socket()
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        client.connect(port.bound.socket.getsockname())
        return client

    async def test_at_the_limit_the_next_one_waits_until_one_leaves(self) -> None:
        gate = Gate(2)
        port, streams = self.start(gate)
        for _ in range(3):
            self.connect(port)
        await pause(0.05)
        self.assertEqual(len(streams), 2)
        streams[0].abortConnection()
        gate.leave()
        await pause(0.05)
        self.assertEqual(len(streams), 3)

    async def test_out_of_descriptors_it_pauses_and_recovers(self) -> None:
        gate = Gate(1000)
        port, streams = self.start(gate)
        clients = [self.connect(port) for _ in range(2)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        # accept() of the real socket fails from here on: the lowest free descriptor is over the limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(clients[0].fileno(), 3), hard))
        try:
            port.doRead()
            self.assertEqual(streams, [])
            self.assertNotIn(port, reactor.getReaders())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await pause(0.7)
        self.assertEqual(len(streams), 2)

    async def test_two_thousand_connections(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 4200
        if hard != resource.RLIM_INFINITY and hard < wanted:
            self.skipTest("the descriptor limit is too low")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        port, streams = self.start(Gate(4096))
        for count in range(20):
            for _ in range(100):
                self.connect(port)
            while len(streams) < (count + 1) * 100:
                await pause(0)
        self.assertEqual(len(streams), 2000)
