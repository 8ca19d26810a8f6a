"""
What an event costs does not depend on how much else there is, and a relay that has nothing to do sleeps.

Counted are not seconds but the lines of Python that the relay runs, the same on a busy machine: one for
each turn of a loop, too.
"""

from __future__ import annotations

import mmap
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from statistics import median_low
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from tests.process.support import Pair, Relay, Upstream, forward, poll
from tests.support.ports import free_port
from tests.support.progress import PATIENCE

PROGRAM = """\
import mmap, struct, sys
from twisted.internet.base import ReactorBase
from lanrelay.upstream import wakeup
from lanrelay.cli.main import main

wakeup.EVERY = %s
turns = looks = steps = 0
with open("counted", "w+b") as file:
    file.truncate(24)
    shown = mmap.mmap(file.fileno(), 24)

def step(frame, event, argument):
    global steps
    if event == "call" and "kqueue_on_linux" in frame.f_code.co_filename:
        return None  # what plays the kernel
    steps += 1
    return step

def look(self, before=wakeup.Wakeup._look):
    global looks
    looks += 1
    before(self)

def run(self, before=ReactorBase.run, **keys):
    wait = self.doIteration
    def turn(timeout):
        global turns
        turns += 1
        struct.pack_into("QQQ", shown, 0, turns, looks, steps)
        wait(timeout)
    self.doIteration = turn
    sys.settrace(step)
    before(self, **keys)

wakeup.Wakeup._look, ReactorBase.run = look, run
sys.exit(main(["run", "-c", "relay.yaml"]))
"""

EVERY = 0.2
"""Seconds between two looks at the clocks."""

EVENT = b"14\r\ndata: 0123456789ab\n\n\r\n"


class Counted(NamedTuple):
    """Turns of the reactor, looks of the one who notices sleep, and steps of Python, since the start."""

    turns: int
    looks: int
    steps: int


class CountingRelay:
    """A relay that counts its steps; C{ping} is a pair through a listener of its own."""

    def __init__(self, test: SynchronousTestCase, listeners: str) -> None:
        upstream, port = Upstream(test), free_port()
        self.relay = Relay(test, f"listeners:\n{forward('ping', port, upstream)}{listeners}")
        self.relay._spawn([str(self.relay.install.python), "-c", PROGRAM % EVERY], subprocess.DEVNULL)
        self.relay.ready()
        self.ping = Pair(test, port, upstream)
        with (self.relay.folder / "counted").open("rb") as file:
            self._shown = mmap.mmap(file.fileno(), 24, access=mmap.ACCESS_READ)
        test.addCleanup(self._shown.close)

    @property
    def counted(self) -> Counted:
        return Counted(*struct.unpack("QQQ", self._shown[:]))

    def cost(self, work: Callable[[], object]) -> int:
        """
        The steps of C{work} and of a ping, the median of some times.

        What the kernel lets come first makes a turn more or less now and then, and so does a timer.
        """
        costs = []
        for _ in range(15):
            before = self.settled().steps
            work()
            self.ping.check()
            costs.append(self.settled().steps - before)
        return median_low(costs)

    def settled(self) -> Counted:
        """
        The counts when the relay sleeps. They are shown at the beginning of a turn: the last answer comes
        before the turn that sent it has been counted.
        """
        pid = str(self.relay.pid)
        poll(lambda: subprocess.check_output(["ps", "-o", "stat=", "-p", pid]).startswith(b"S"), "sleep")
        return self.counted


class GrowthTests(SynchronousTestCase):
    def assertFlat(self, cost: Callable[[int], int], many: int) -> None:
        """
        C{cost} of two and of C{many} are alike: a look at each would be a line for each at least.

        Half of that is allowed for what comes in another order the next time, as two ends do.
        """
        few = cost(2)
        self.assertGreater(few, 100)
        self.assertLess(cost(many) - few, many // 2)

    def test_an_event_on_one_of_many_streams(self) -> None:
        def cost(streams: int) -> int:
            upstream, port = Upstream(self), free_port()
            to = f"upstream: 'http://127.0.0.1:{upstream.port}', health: off"
            web = f"type: reverse-proxy, listen: '127.0.0.1:{port}', {to}"
            relay = CountingRelay(self, f"  web: {{{web}}}\n")
            opened = [self.stream(port, upstream) for _ in range(streams)]

            def event() -> None:
                client, server = opened[0]
                server.sendall(EVENT)
                self.assertIn(b"data: ", client.recv(1000))

            return relay.cost(event)

        self.assertFlat(cost, 200)

    def stream(self, port: int, upstream: Upstream) -> tuple[socket.socket, socket.socket]:
        client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.addCleanup(client.close)
        client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        server = upstream.accept()
        server.recv(10_000)
        server.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        self.assertIn(b" 200 ", client.recv(10_000))
        return client, server

    def test_a_connection_beside_many(self) -> None:
        def cost(pairs: int) -> int:
            upstream, port = Upstream(self), free_port()
            relay = CountingRelay(self, forward("a", port, upstream))
            for _ in range(pairs):
                Pair(self, port, upstream)

            def connect() -> None:
                pair = Pair(self, port, upstream)
                pair.client.close()
                self.assertEqual(pair.server.recv(1), b"")
                pair.server.close()

            return relay.cost(connect)

        self.assertFlat(cost, 200)

    def test_a_message_at_one_of_many_listeners(self) -> None:
        def cost(listeners: int) -> int:
            upstream = Upstream(self)
            ports = [free_port() for _ in range(listeners)]
            relay = CountingRelay(
                self, "".join(forward(f"n{number}", port, upstream) for number, port in enumerate(ports))
            )
            return relay.cost(Pair(self, ports[-1], upstream).check)

        self.assertFlat(cost, 60)


class IdleTests(SynchronousTestCase):
    def test_a_relay_that_has_nothing_to_do_does_not_wake_up(self) -> None:
        """
        While there are connections it looks every two seconds, here five times a second, whether the machine
        slept. When the last one has ended it does so once more at most; the turn of the minute may come, too.
        """
        upstream, port = Upstream(self), free_port()
        web = "type: reverse-proxy, listen: '127.0.0.1:0', upstream: 'http://127.0.0.1:9', health: off"
        relay = CountingRelay(
            self,
            f"{forward('a', port, upstream)}  web: {{{web}}}\n"
            "  proxy: {type: connect-proxy, listen: '127.0.0.1:0'}\n"
            "  socks: {type: socks-proxy, listen: '127.0.0.1:0'}\n",
        )
        pair = Pair(self, port, upstream)
        first = relay.counted
        poll(lambda: relay.counted.looks >= first.looks + 5, "five looks")
        for one in (pair, relay.ping):
            one.client.close()
            self.assertEqual(one.server.recv(1), b"")
            one.server.close()
        first = relay.settled()
        time.sleep(8 * EVERY)  # as long as nothing is to happen
        last = relay.settled()
        self.assertLessEqual(last.looks - first.looks, 1)
        self.assertLessEqual(last.turns - first.turns, 2)
        # And it does not stay so.
        Pair(self, port, upstream)
        poll(lambda: relay.counted.looks >= last.looks + 5, "five looks")
