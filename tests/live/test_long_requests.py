"""Requests of 16 KB, one or a thousand: what is kept and written of them is short."""

from __future__ import annotations

import json
import socket

from twisted.trial.unittest import SynchronousTestCase

from tests.live.test_reverse_proxy import listen
from tests.support.blocking import Peer
from tests.support.browser import until
from tests.support.progress import PATIENCE
from tests.support.relay import Relay

LONG = b"a" * 16000
FOLDERS = b"a/" * 8000  # no piece of it looks like a token, which would not be shown


class LongRequestTests(SynchronousTestCase):
    def start(self, form: str = "text") -> Relay:
        self.upstream = listen()
        self.addCleanup(self.upstream.close)
        relay = Relay(
            f"""
            log: {{format: {form}}}
            admin: {{listen: "127.0.0.1:0"}}
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                health: off
                upstream: http://127.0.0.1:{self.upstream.getsockname()[1]}
              routed:
                type: reverse-proxy
                listen: 127.0.0.1:0
                health: off
                routes: [{{path: /lan, upstream: "http://127.0.0.1:{self.upstream.getsockname()[1]}"}}]
              proxy: {{type: connect-proxy, listen: "127.0.0.1:0", deny: any}}
              socks: {{type: socks-proxy, listen: "127.0.0.1:0", deny: any}}
            """
        ).start()
        self.addCleanup(relay.stop)
        return relay

    def ask(self, port: int, request: bytes) -> bytes:
        client = Peer.to(port).send(request)
        self.addCleanup(client.close)
        return client.head()

    def status(self, relay: Relay) -> bytes:
        client = Peer.to(relay.port("admin"))
        client.send(b"GET /status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        try:
            self.assertTrue(client.head().startswith(b"HTTP/1.1 200 "))
            return client.rest()
        finally:
            client.close()

    def test_a_thousand_of_them_make_no_long_document(self) -> None:
        relay = self.start()
        clients: list[socket.socket] = []
        for _ in range(1000):
            client = socket.create_connection(("127.0.0.1", relay.port("web")), timeout=PATIENCE)
            self.addCleanup(client.close)
            client.sendall(b"GET /" + FOLDERS + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            clients.append(client)
        until(lambda: json.loads(self.status(relay))["sessions_open"] == 1000)
        document = self.status(relay)
        self.assertLess(len(document), 1_200_000)
        [path] = {session["path"] for session in json.loads(document)["sessions"]}
        self.assertEqual(path, "/" + FOLDERS[:511].decode() + "...(+15489)")

    def refused(self, relay: Relay) -> None:
        """Every kind of refusal writes less than 2 KB."""
        odd = b'"' * 16000
        host = b"Host: localhost\r\n\r\n"
        requests = {
            "web": [
                b"GET /" + LONG + b" HTTP/1.1\r\nHost: evil.example\r\n\r\n",
                b"GET /" + LONG + b" HTTP/1.1\r\nHost: " + LONG + b"\r\n\r\n",
                b"GET / HTTP/1.1\r\nOrigin: http://" + LONG + b"\r\n" + host,
                b"GET /" + LONG * 2 + b" HTTP/1.1\r\n" + host,
                b"GET / HTTP/1.1\r\nTransfer-Encoding: " + LONG + b"\r\n" + host,
                b"GET / HTTP/1.1\r\nExpect: " + LONG + b"\r\n" + host,
                b"GET / HTTP/1.1\r\nContent-Length: " + LONG + b"\r\n" + host,
                b"GET / HTTP/1.1\r\n" + LONG + b"\r\n" + host,
                LONG[:60] + b" / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            ],
            "routed": [
                b"GET /" + LONG + b" HTTP/1.1\r\n" + host,
                b"GET /%22%0a" + LONG + b" HTTP/1.1\r\n" + host,
            ],
            "proxy": [
                b"CONNECT " + LONG[:250] + b":443 HTTP/1.1\r\n" + host,
                b"CONNECT " + LONG + b":443 HTTP/1.1\r\n" + host,
                b"GET http://" + LONG[:8000] + b"/" + LONG[:8000] + b" HTTP/1.1\r\n" + host,
                b"GET https://localhost/" + LONG + b" HTTP/1.1\r\n" + host,
                b"GET http://localhost/" + odd + b" HTTP/1.1\r\n" + host,
                b"GET /" + LONG + b" HTTP/1.1\r\n" + host,
                b"GET / HTTP/1.1\r\nHost: " + LONG + b"\r\n\r\n",
            ],
            "socks": [b"\5\1\0\5\1\0\3\xff" + octet * 255 + b"\1\xbb" for octet in (b"a", b"\xff", b'"')],
        }
        for listener, several in requests.items():
            for request in several:
                before = len(relay.log.encode())
                self.ask(relay.port(listener), request)
                until(lambda: len(relay.log.encode()) > before)  # noqa: B023 - it is called at once
                written = relay.log.encode()[before:]
                self.assertLess(len(written), 2048, request[:60])
                self.assertEqual(written.count(b"\n"), 1)

    def test_one_that_is_refused_writes_little(self) -> None:
        self.refused(self.start())

    def test_one_that_is_refused_writes_little_as_json(self) -> None:
        self.refused(self.start("json"))
