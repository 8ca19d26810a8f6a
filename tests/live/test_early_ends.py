"""A client of the real relay that has said all, and ended its side, before its way is open."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from OpenSSL import SSL
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.live.test_reverse_proxy import in_thread, listen
from tests.support.blocking import Peer
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay

CONNECT = b"CONNECT nas.test:7 HTTP/1.1\r\nHost: nas.test:7\r\n\r\n"
SOCKS = b"\x05\x01\x00" + b"\x05\x01\x00\x03\x08nas.test\x00\x07"
QUESTION = b"question" * 5000


class Secured(Peer):
    """A client that speaks TLS, and ends with close_notify."""

    def __init__(self, raw: socket.socket) -> None:
        raw.settimeout(None)  # pyOpenSSL wants blocking sockets
        self.raw = raw
        self.tls = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), raw)
        self.tls.set_connect_state()
        self.tls.do_handshake()
        self.socket: Any = self.tls

    def end(self) -> Secured:
        self.tls.shutdown()
        return self

    def rest(self) -> bytes:
        data = b""
        try:
            while True:
                data += self.tls.recv(65536)
        except SSL.ZeroReturnError:
            return data

    def close(self) -> None:
        self.raw.close()


class EarlyEndTests(TestCase):
    """The way is open when a parent proxy, which the test plays, says so."""

    timeout = LIMIT
    environ: ClassVar[dict[str, str]] = {}

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-test-")
        self.addCleanup(folder.cleanup)
        issued = Authority(Path(folder.name)).issue("localhost", "127.0.0.1")
        self.listening = listen()
        self.addCleanup(self.listening.close)
        common = (
            f"listen: 127.0.0.1:0, allow: any, parent: http://127.0.0.1:{self.listening.getsockname()[1]}"
        )
        tls = f"tls: {{cert: {issued.cert}, key: {issued.key}}}"
        self.relay = Relay(
            f"""
            listeners:
              proxy: {{type: connect-proxy, {common}}}
              proxy-tls: {{type: connect-proxy, {common}, {tls}}}
              socks: {{type: socks-proxy, {common}}}
              socks-tls: {{type: socks-proxy, {common}, {tls}}}
            """,
            environ=self.environ,
        ).start()
        self.addCleanup(self.relay.stop)

    def client(self, listener: str) -> Peer:
        sock = socket.create_connection(("127.0.0.1", self.relay.port(listener)), timeout=PATIENCE)
        client = Secured(sock) if listener.endswith("-tls") else Peer(sock)
        self.addCleanup(client.close)
        return client

    @in_thread
    def test_it_gets_its_answer(self) -> None:
        for listener in ("proxy", "proxy-tls", "socks", "socks-tls"):
            ask = CONNECT if listener.startswith("proxy") else SOCKS
            client = self.client(listener).send(ask + QUESTION).end()
            parent = Peer(self.listening.accept()[0])
            self.addCleanup(parent.close)
            parent.head()
            parent.send(b"HTTP/1.1 200 OK\r\n\r\n")
            self.assertEqual(parent.rest(), QUESTION, listener)
            parent.send(b"answer").end()
            self.assertTrue(client.rest().endswith(b"answer"), listener)
            self.relay.wait_for(rf"\[access\] {listener} [^\n]*end=downstream phase=done")

    @in_thread
    def test_one_that_said_nothing_has_gone(self) -> None:
        for listener in ("proxy", "proxy-tls", "socks", "socks-tls"):
            client = self.client(listener).send(CONNECT if listener.startswith("proxy") else SOCKS)
            parent = Peer(self.listening.accept()[0])
            self.addCleanup(parent.close)
            parent.head()
            client.end()
            self.assertTrue(parent.has_ended(), listener)
            self.relay.wait_for(rf"\[access\] {listener} [^\n]*end=downstream phase=dial")


class TwistedEarlyEndTests(EarlyEndTests):
    environ: ClassVar[dict[str, str]] = {"LANRELAY_TRANSPORT": "twisted"}
