"""WebSocket through the relay, with the C{websockets} package on both ends."""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from websockets.sync.client import connect

from lanrelay.cli.authority import Authority
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME, WebSocketServer


class WebSocketTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name))
        self.server = WebSocketServer(tls=authority.issue(LAN_NAME)).start()
        self.addCleanup(self.server.stop)
        self.trust = ssl.create_default_context(cafile=str(authority.root))
        self.relay = Relay(
            f"""
            listeners:
              reverse:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream:
                  url: https://{LAN_NAME}:{self.server.port}
                  address: {self.server.address}
                  tls: {{ca: {authority.root}}}
              proxy:
                type: connect-proxy
                listen: 127.0.0.1:0
                allow: [loopback]
                resolve: {{{LAN_NAME}: 127.0.0.1}}
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def talk(self, url: str, *, trust: ssl.SSLContext | None = None, proxy: str | None = None) -> None:
        with connect(url, ssl=trust, proxy=proxy, max_size=None, open_timeout=PATIENCE) as client:
            client.send("hello")
            self.assertEqual(client.recv(10), "hello")
            large = os.urandom(5_000_000)
            client.send(large)
            self.assertEqual(client.recv(10), large)
            self.assertTrue(client.ping().wait(PATIENCE))
            client.close(1000, "enough")
            self.assertEqual(client.close_code, 1000)

    def test_reverse_proxy(self) -> Deferred[None]:
        return deferToThread(self.talk, f"ws://127.0.0.1:{self.relay.port('reverse')}/")

    def test_connect_proxy(self) -> Deferred[None]:
        proxy = f"http://127.0.0.1:{self.relay.port('proxy')}"
        return deferToThread(self.talk, self.server.lan_url + "/", trust=self.trust, proxy=proxy)

    def test_many_at_once(self) -> Deferred[None]:
        def run() -> None:
            url = f"ws://127.0.0.1:{self.relay.port('reverse')}/"
            clients = [connect(url, proxy=None, open_timeout=PATIENCE) for _ in range(20)]
            for number, client in enumerate(clients):
                client.send(str(number))
            for number, client in enumerate(clients):
                self.assertEqual(client.recv(10), str(number))
                client.close()

        return deferToThread(run)
