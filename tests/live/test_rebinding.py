"""A name that turns to 127.0.0.1, asked for through a live forward proxy."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from tests.live.test_reverse_proxy import listen
from tests.support.blocking import Peer
from tests.support.names import Names
from tests.support.relay import Relay

TABLE = {
    "rebound.test": ["127.0.0.1"],
    "rebound6.test": ["::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "app.localhost": ["192.0.2.1"],
}


class RebindingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.inside = listen()
        self.addCleanup(self.inside.close)
        self.port = self.inside.getsockname()[1]

    def start(self, rules: str = "") -> None:
        names = Names(TABLE)
        self.addCleanup(names.remove)
        self.relay = Relay(
            f"""
            listeners:
              proxy: {{type: connect-proxy, listen: "127.0.0.1:0", resolve: {{fixed.lan: 127.0.0.1}}{rules}}}
              socks: {{type: socks-proxy, listen: "127.0.0.1:0", resolve: {{fixed.lan: 127.0.0.1}}{rules}}}
            """,
            environ=names.environ,
        ).start()
        self.addCleanup(self.relay.stop)

    def status(self, request: bytes) -> bytes:
        client = Peer.to(self.relay.port("proxy")).send(request)
        self.addCleanup(client.close)
        return client.head()[9:12]

    def connect(self, host: str) -> bytes:
        return self.status(f"CONNECT {host}:{self.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def reply(self, host: str) -> int:
        name = host.encode()
        client = Peer.to(self.relay.port("socks"))
        self.addCleanup(client.close)
        client.send(b"\5\1\0\5\1\0\3" + bytes([len(name)]) + name + struct.pack(">H", self.port))
        return client.exactly(6)[3]

    def test_by_default_it_does_not_lead_in(self) -> None:
        self.start()
        for host in ("rebound.test", "rebound6.test", "mapped.test", "REBOUND.test."):
            self.assertEqual(self.connect(host), b"403", host)
            self.assertEqual(self.reply(host), 2, host)
            absolute = f"GET http://{host}:{self.port}/ HTTP/1.1\r\nHost: x\r\n\r\n"
            self.assertEqual(self.status(absolute.encode()), b"403", host)
        self.assertIn("for rebound.test `loopback` has to be written in `allow`", self.relay.log)

    def test_what_is_plainly_on_this_machine_is_reached_all_the_same(self) -> None:
        self.start()
        for host in ("127.0.0.1", "localhost", "app.localhost", "fixed.lan", "2130706433"):
            self.assertEqual(self.connect(host), b"200", host)
            self.assertEqual(self.reply(host), 0, host)

    def test_where_the_word_is_written_it_does(self) -> None:
        self.start(", allow: loopback")
        self.assertEqual(self.connect("rebound.test"), b"200")
        self.assertEqual(self.reply("rebound.test"), 0)
