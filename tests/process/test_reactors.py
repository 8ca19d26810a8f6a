"""The relay on the reactors that a user may ask Twisted for, with its own transports and with Twisted's."""

from __future__ import annotations

import select
from signal import SIGTERM

from twisted.trial.unittest import SynchronousTestCase

from tests.process.support import Mode, Relay, Upstream

MUCH = bytes(range(256)) * 4096 * 4  # 4 MB: more than the sockets' buffers hold

CONFIGURATION = """\
listeners:
  forward: {{type: tcp-forward, listen: "127.0.0.1:0", upstream: "tcp://127.0.0.1:{port}"}}
"""


class ReactorTests(SynchronousTestCase):
    def carries(self, reactor: str, mode: Mode = "foreground", transport: str = "own") -> None:
        upstream = Upstream(self)
        relay = Relay(self, CONFIGURATION.format(port=upstream.port), mode=mode)
        relay.variables["LANRELAY_TRANSPORT"] = transport
        relay.start(*([f"--reactor={reactor}"] if reactor else []))
        client = relay.connect("forward")
        server = upstream.accept()
        client.sendall(b"ping")
        self.assertEqual(server.recv(10), b"ping")
        server.setblocking(False)
        sent = 0
        try:
            while sent < len(MUCH):
                sent += server.send(MUCH[sent:])
        except BlockingIOError:
            pass
        server.setblocking(True)
        received = b""
        while len(received) < sent:  # the relay has been paused by then
            received += client.recv(65536)
        self.assertEqual(received, MUCH[:sent])
        client.shutdown(1)
        self.assertEqual(server.recv(10), b"")
        server.sendall(b"the answer")
        server.close()
        self.assertEqual(client.recv(100), b"the answer")
        self.assertEqual(client.recv(100), b"")
        idle = relay.connect("forward")
        refused = upstream.accept()
        refused.close()
        self.assertEqual(idle.recv(1), b"")
        idle.close()
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        self.assertNotIn("Traceback", relay.log() + relay.errors())

    def test_the_one_it_chooses(self) -> None:
        self.carries("")
        self.carries("", mode="twist")

    def test_select(self) -> None:
        self.carries("select")
        self.carries("select", mode="twist")

    def test_poll(self) -> None:
        self.carries("poll")
        self.carries("poll", mode="twist")

    if not hasattr(select, "poll"):
        test_poll.skip = "no poll() here"  # type: ignore[attr-defined]

    def test_epoll(self) -> None:
        self.carries("epoll")

    if not hasattr(select, "epoll"):
        test_epoll.skip = "only Linux has epoll"  # type: ignore[attr-defined]

    def test_kqueue(self) -> None:
        self.carries("kqueue")
        self.carries("kqueue", mode="twist")

    if not hasattr(select, "kqueue"):
        test_kqueue.skip = "no kqueue here"  # type: ignore[attr-defined]

    def test_twisted_s_transports(self) -> None:
        for reactor in ("", "select"):
            self.carries(reactor, transport="twisted")
