"""The pump on real sockets."""

from __future__ import annotations

import gc
import hashlib
import socket
import time

from twisted.internet import reactor

from lanrelay.observe.session import Session
from lanrelay.transport.pump import Pump, PumpLimits, _End, join
from lanrelay.transport.stream import Stream
from tests.support.sockets import SocketTestCase, in_thread, pause, receive_all, reset, watch_buffers

MB = 1024 * 1024
BUFFER = MB  # one read of ours, and so what is held for a side that does not read


def send_much(peer: socket.socket, count: int) -> str:
    """C{count} MB and an end; gives their digest."""
    digest = hashlib.sha256()
    block = bytes(range(256)) * 4096
    for number in range(count):
        part = number.to_bytes(4, "big") + block[4:]
        digest.update(part)
        peer.sendall(part)
    peer.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


def receive_slowly(peer: socket.socket, pauses: int) -> str:
    """All there is; the first reads are C{pauses} times 20 ms apart."""
    digest = hashlib.sha256()
    while part := peer.recv(262144):
        digest.update(part)
        if pauses:
            pauses -= 1
            time.sleep(0.02)
    return digest.hexdigest()


class PumpTestCase(SocketTestCase):
    limits = PumpLimits(idle=30, half_closed=30, close=5)

    def setUp(self) -> None:
        super().setUp()
        self.session = Session(id=1, listener="x", kind="tcp-forward", client="c", started=0, opened=0)
        self.most = 0  # bytes that waited in a stream
        watch_buffers(self, lambda waiting: setattr(self, "most", max(self.most, waiting)))

    def join(self, downstream: Stream, upstream: Stream) -> Pump:
        return join(reactor, downstream, upstream, session=self.session, limits=self.limits)


class PumpTests(PumpTestCase):
    async def test_100_mb_both_ways_past_slow_readers(self) -> None:
        downstream, client = await self.pair()
        upstream, server = await self.pair(self.unix())
        pump = self.join(downstream, upstream)
        at_client = in_thread(receive_slowly, client, 25)
        at_server = in_thread(receive_slowly, server, 25)
        sent_up = in_thread(send_much, client, 100)
        sent_down = in_thread(send_much, server, 30)
        self.assertEqual(await sent_up, await at_server)
        self.assertEqual(await sent_down, await at_client)
        await pump.done
        self.assertEqual((self.session.received, self.session.sent), (100 * MB, 30 * MB))
        self.assertEqual((self.session.phase, self.session.error), ("done", ""))
        self.assertLessEqual(self.most, BUFFER)
        self.assertGreater(self.most, 0)

    async def test_a_side_that_never_reads_costs_one_buffer(self) -> None:
        downstream, client = await self.pair()
        upstream, server = await self.pair()
        pump = self.join(downstream, upstream)
        server.setblocking(False)
        sent = stalled = 0
        while stalled < 5:
            try:
                sent += server.send(b"x" * 65536)
                stalled = 0
            except BlockingIOError:
                stalled += 1
                await pause(0.02)
        self.assertLessEqual(self.most, BUFFER)
        self.assertLess(self.session.sent, sent + 1)
        client.close()  # with unread bytes: a RST
        await pump.done
        self.assertEqual(self.session.ended_by, "downstream")
        self.assertEqual(self.session.error, "connection_terminated")

    async def test_half_close_in_both_directions(self) -> None:
        for first, second in (("client", "server"), ("server", "client")):
            downstream, client = await self.pair()
            upstream, server = await self.pair()
            self.session.ended_by = ""
            pump = self.join(downstream, upstream)
            peers = {"client": client, "server": server}
            one, other = peers[first], peers[second]
            one.sendall(b"question")
            one.shutdown(socket.SHUT_WR)
            self.assertEqual(await in_thread(receive_all, other), b"question")
            await pause(0.05)
            other.sendall(b"late answer")
            other.close()
            self.assertEqual(await in_thread(receive_all, one), b"late answer")
            await pump.done
            side = "downstream" if first == "client" else "upstream"
            self.assertEqual((self.session.phase, self.session.ended_by), ("done", side))

    async def test_nothing_is_left_to_the_collector_of_cycles(self) -> None:
        def left() -> int:
            return sum(type(each) in (Pump, _End) for each in gc.get_objects())

        gc.collect()
        self.addCleanup(gc.enable)
        gc.disable()
        before = left()
        for ended in (socket.socket.close, reset):
            downstream, client = await self.pair()
            upstream, server = await self.pair()
            self.session = Session(id=1, listener="x", kind="x", client="c", started=0, opened=0)
            done = self.join(downstream, upstream).done
            del downstream, upstream
            ended(client)
            if ended is socket.socket.close:
                server.close()
            await done
            await pause(0.05)
        self.assertEqual(left(), before)

    async def test_a_reset_comes_out_as_a_reset(self) -> None:
        for side in ("downstream", "upstream"):
            downstream, client = await self.pair()
            upstream, server = await self.pair()
            self.session = Session(id=1, listener="x", kind="x", client="c", started=0, opened=0)
            pump = self.join(downstream, upstream)
            leaving, staying = (client, server) if side == "downstream" else (server, client)
            leaving.sendall(b"half")
            await pause(0.05)
            reset(leaving)
            await pump.done
            self.assertEqual((self.session.phase, self.session.ended_by), ("tunnel", side))
            with self.assertRaises(ConnectionResetError):
                await in_thread(receive_all, staying)

    async def test_abort_is_a_reset_on_both_sides(self) -> None:
        downstream, client = await self.pair()
        upstream, server = await self.pair()
        pump = self.join(downstream, upstream)
        client.sendall(b"x")
        await pause(0.02)
        pump.abort()
        await pump.done
        for peer in (client, server):
            with self.assertRaises(ConnectionResetError):
                await in_thread(receive_all, peer)

    async def test_a_client_that_closes_at_once_ends_it_everywhere(self) -> None:
        downstream, client = await self.pair()
        upstream, server = await self.pair()
        pump = self.join(downstream, upstream)
        client.sendall(b"bye")
        client.close()
        self.assertEqual(await in_thread(receive_all, server), b"bye")
        server.close()
        await pump.done
        self.assertEqual((self.session.phase, self.session.ended_by), ("done", "downstream"))

    async def test_a_stream_that_is_lost_before_the_join(self) -> None:
        downstream, client = await self.pair()
        upstream, server = await self.pair()
        reset(client)
        await pause(0.02)
        pump = self.join(downstream, upstream)
        await pump.done
        self.assertEqual(self.session.ended_by, "downstream")
        with self.assertRaises(ConnectionResetError):
            await in_thread(receive_all, server)
