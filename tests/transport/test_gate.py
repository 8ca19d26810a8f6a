"""At its limit a port accepts nothing; what comes waits in the kernel's queue."""

from __future__ import annotations

from typing import Any

from lanrelay.config.model import LocalhostAddress
from lanrelay.transport.port import Gate, Port
from lanrelay.transport.stream import Stream
from tests.transport.test_port import PortTestCase


class GateTests(PortTestCase):
    def test_at_the_limit_connections_stay_in_the_queue(self) -> None:
        self.gate = Gate(2)
        port = self.port()
        port.start()
        self.connect(5)
        port.doRead()
        self.assertEqual(len(self.streams), 2)
        self.assertFalse(self.reads(port))
        self.gate.leave()
        self.assertTrue(self.reads(port))
        port.doRead()
        self.assertEqual(len(self.streams), 3)
        self.assertFalse(self.reads(port))

    def test_the_ports_of_a_listener_share_the_limit(self) -> None:
        self.gate = Gate(1)
        first, second = (self.port(bound) for bound in self.bind(LocalhostAddress(port=0)))
        for port in (first, second):
            port.start()
            self.connect(1, port.bound)
            port.doRead()
            port.doRead()
        self.assertEqual(len(self.streams), 1)
        self.assertFalse(self.reads(first) or self.reads(second))
        self.gate.leave()
        self.assertTrue(self.reads(first) and self.reads(second))
        second.doRead()
        self.assertEqual(len(self.streams), 2)

    def test_who_leaves_from_within_makes_room_in_the_same_batch(self) -> None:
        self.gate = Gate(1)

        def accepted(stream: Stream, *_: Any) -> None:
            self.streams.append(stream)
            self.gate.leave()

        port = self.port(accepted=accepted)
        port.start()
        self.connect(3)
        port.doRead()
        self.assertEqual((len(self.streams), self.gate.open), (3, 0))
        self.assertTrue(self.reads(port))

    def test_a_stopped_port_does_not_come_back(self) -> None:
        self.gate = Gate(1)
        port = self.port()
        port.start()
        self.connect(2)
        port.doRead()
        port.stop()
        self.gate.leave()
        self.assertFalse(self.reads(port))

    def test_one_gate_within_another(self) -> None:
        """The listeners share what the process has."""
        warnings: list[str] = []
        self.patch(Port, "log", self)
        self.warn = lambda text, **fields: warnings.append(text.format(**fields))
        around = Gate(2)
        ports, gates = [], [Gate(10, around), Gate(1, around)]
        for gate, bound in zip(gates, self.bind(LocalhostAddress(port=0)), strict=True):
            self.gate = gate
            port = self.port(bound)
            port.start()
            self.connect(3, bound)
            ports.append(port)
        first, second = ports
        first.doRead()
        self.assertEqual((len(self.streams), around.open), (2, 2))
        second.doRead()
        self.assertEqual((len(self.streams), gates[1].open), (2, 0))
        self.assertFalse(self.reads(first) or self.reads(second))
        self.assertEqual(len(warnings), 2)
        self.assertIn("ulimit -n", warnings[0])
        gates[0].leave()
        self.assertTrue(self.reads(first) and self.reads(second))
        second.doRead()
        self.assertEqual((gates[1].open, around.open), (1, 2))
        gates[0].leave()
        self.assertTrue(self.reads(first))
        self.assertFalse(self.reads(second))  # its own limit
        gates[1].leave()
        self.assertTrue(self.reads(second))
        around.resize(0)
        second.doRead()
        second.stop()
        around.resize(10)
        self.assertFalse(self.reads(second))

    def test_it_says_when_the_first_of_some_enters(self) -> None:
        stirred: list[int] = []
        gate = Gate(2, stirred=lambda: stirred.append(gate.open))
        self.assertTrue(gate.enter() and gate.enter())
        self.assertFalse(gate.enter())
        gate.leave()
        self.assertTrue(gate.enter())
        self.assertEqual(stirred, [0])
        gate.leave()
        gate.leave()
        self.assertTrue(gate.enter())
        self.assertEqual(stirred, [0, 0])

    def test_enter_and_leave(self) -> None:
        gate = Gate(1)
        self.assertTrue(gate.enter())
        self.assertFalse(gate.enter())
        self.assertEqual(gate.open, 1)
        gate.leave()
        self.assertTrue(gate.enter())
