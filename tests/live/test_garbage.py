"""What a connection leaves behind in the real relay: nothing that only the collector of cycles would find."""

from __future__ import annotations

import json
import signal
import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.support.blocking import Peer
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import CHECKOUT, HttpOrigin, TcpServer
from tests.support.tls import authority, server_certificate

TIMES = 20

# Python imports this at its start. The collector does not run but when it is asked.
SITE = """\
import collections, gc, json, os, signal

def look(number, frame):
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    kinds = collections.Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
    gc.set_debug(0)
    gc.garbage.clear()
    gc.collect()
    with open("garbage.new", "w") as file:
        json.dump(kinds, file)
    os.rename("garbage.new", "garbage")

gc.disable()
signal.signal(signal.SIGUSR2, look)
"""

CONFIGURATION = """\
listeners:
  forward: {{type: tcp-forward, listen: 127.0.0.1:0, upstream: "tcp://127.0.0.1:{echo}"}}
  tunnel: {{type: connect-proxy, listen: 127.0.0.1:0}}
  web: {{type: reverse-proxy, listen: 127.0.0.1:0, upstream: "http://127.0.0.1:{http}", health: off}}
  secure:
    type: reverse-proxy
    listen: 127.0.0.1:0
    upstream: {{url: "https://nas.lan", address: "127.0.0.1:{https}", tls: {{ca: {ca}}}}}
    pool: {{size: 0}}
    health: off
"""


class GarbageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.echo = TcpServer("echo").start()
        self.addCleanup(self.echo.stop)
        origin = HttpOrigin().start()
        self.addCleanup(origin.stop)
        secure = HttpOrigin(tls=server_certificate()).start()
        self.addCleanup(secure.stop)
        text = CONFIGURATION.format(
            echo=self.echo.port, http=origin.port, https=secure.port, ca=authority().root
        )
        # Twisted's own transports leave their connectors.
        self.relay = Relay(text, environ={"LANRELAY_TRANSPORT": "own"})
        self.relay.environ["PYTHONPATH"] = f"{self.relay.folder}:{CHECKOUT}"
        (self.relay.folder / "sitecustomize.py").write_text(SITE)
        self.relay.start()
        self.addCleanup(self.relay.stop)

    def garbage(self) -> dict[str, int]:
        """How many objects of our own and of Twisted's were found since the last look, by their type."""
        time.sleep(0.5)  # what was told by a FIN has ended
        found = self.relay.folder / "garbage"
        self.relay.process.send_signal(signal.SIGUSR2)
        until = time.monotonic() + PATIENCE
        while not found.exists():
            self.assertLess(time.monotonic(), until)
            time.sleep(0.02)
        kinds: dict[str, int] = json.loads(found.read_text())
        found.unlink()
        return {kind: count for kind, count in kinds.items() if kind.startswith(("lanrelay.", "twisted."))}

    def nothing_is_left_by(self, listener: str, opening: bytes, answer: bytes) -> None:
        port = self.relay.port(listener)

        def once() -> None:
            client = Peer(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            client.send(opening)
            self.assertIn(answer, client.head())
            client.close()

        once()
        self.garbage()
        for _ in range(TIMES):
            once()
        self.assertEqual({kind: count for kind, count in self.garbage().items() if count >= TIMES}, {})

    def test_a_forward(self) -> None:
        self.nothing_is_left_by("forward", b"ping\r\n\r\n", b"ping")

    def test_a_tunnel(self) -> None:
        self.nothing_is_left_by(
            "tunnel", b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: a:1\r\n\r\n" % self.echo.port, b" 200 "
        )

    def test_a_request(self) -> None:
        self.nothing_is_left_by("web", b"GET /bytes/10 HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 200 ")

    def test_an_event_stream_that_its_client_leaves(self) -> None:
        self.nothing_is_left_by("web", b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 200 ")

    def test_a_request_over_tls(self) -> None:
        self.nothing_is_left_by("secure", b"GET /bytes/10 HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 200 ")
