"""The forward proxy of the real relay, with sockets that say exactly what odd clients say."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.support.blocking import Peer
from tests.support.origin_program import sha256
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME, HttpOrigin, TcpServer

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ConnectProxyTests(TestCase):
    timeout = LIMIT

    def start(self, extra: str = "") -> None:
        self.origin = HttpOrigin().start()
        self.addCleanup(self.origin.stop)
        self.relay = Relay(
            f"""
            admin: {{listen: "127.0.0.1:0"}}
            listeners:
              proxy:
                type: connect-proxy
                listen: 127.0.0.1:0
                allow: [loopback]
                resolve: {{{LAN_NAME}: 127.0.0.1}}
                {extra}
            """
        ).start()
        self.addCleanup(self.relay.stop)
        self.port = self.relay.port("proxy")

    def peer(self) -> Peer:
        peer = Peer.to(self.port)
        self.addCleanup(peer.socket.close)
        return peer

    def server(self, mode: str) -> TcpServer:
        server = TcpServer(mode).start()
        self.addCleanup(server.stop)
        return server

    def in_thread(self, function: Any) -> Deferred[None]:
        return deferToThread(function)

    def test_what_clients_say_to_connect(self) -> Deferred[None]:
        """HTTP/1.0 without Host (older Python, Java), C{Connection: close} (Go, .NET), and the usual."""
        self.start()
        echo = self.server("echo")

        def run() -> None:
            for fields in (
                b"HTTP/1.0\r\n\r\n",
                b"HTTP/1.0\r\nUser-Agent: old\r\nProxy-Connection: Keep-Alive\r\n\r\n",
                b"HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
                b"HTTP/1.1\r\nHost: 127.0.0.1\r\nProxy-Connection: close\r\nConnection: close\r\n\r\n",
                b"HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            ):
                client = self.peer().send(b"CONNECT 127.0.0.1:%d " % echo.port + fields)
                self.assertEqual(client.head(), ESTABLISHED, fields)
                for word in (b"one", b"two", b"three"):
                    self.assertEqual(client.send(word).exactly(len(word)), word)
                    time.sleep(0.05)
                self.assertEqual(client.end().rest(), b"")

        return self.in_thread(run)

    def test_bytes_before_the_answer_and_a_half_close(self) -> Deferred[None]:
        self.start()
        digest = self.server("digest")

        def run() -> None:
            data = bytes(range(256)) * 4000
            client = self.peer().send(
                b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % digest.port + data
            )
            self.assertEqual(client.end().head(), ESTABLISHED)
            expected = f"{len(data)} {hashlib.sha256(data).hexdigest()}\n"
            self.assertEqual(client.rest().decode(), expected)

        return self.in_thread(run)

    def test_a_failed_connect_ends_the_connection(self) -> Deferred[None]:
        self.start()

        def run() -> None:
            with socket.create_server(("127.0.0.1", 0)) as free:
                closed_port = free.getsockname()[1]
            request = b"GET %s/seen HTTP/1.1\r\nHost: x\r\n\r\n" % self.origin.url.encode()
            client = self.peer()
            client.send(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % closed_port + request * 3)
            answer = client.rest()
            said = b"HTTP/1.1 502 Nothing listens on 127.0.0.1:%d\r\n" % closed_port
            self.assertTrue(answer.startswith(said), answer)
            self.assertIn(b"error=connection_refused", answer)
            self.assertEqual(answer.count(b"HTTP/1.1"), 1)
            self.assertNotIn('"GET /seen"', self.relay.log)

        return self.in_thread(run)

    def test_one_connection_asks_for_several_hosts(self) -> Deferred[None]:
        self.start()
        other = HttpOrigin().start()
        self.addCleanup(other.stop)

        def run() -> None:
            client = self.peer()
            for origin in (self.origin, other, self.origin):
                client.send(f"GET {origin.lan_url}/seen?q=1 HTTP/1.1\r\nHost: wrong\r\n\r\n".encode())
                head = client.head().decode()
                length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
                seen = json.loads(client.exactly(length))
                self.assertEqual(seen["target"], "/seen?q=1")
                self.assertIn(["Host", f"{LAN_NAME}:{origin.port}"], seen["fields"])

        return self.in_thread(run)

    def test_the_admin_page_and_the_proxy_itself_are_refused(self) -> Deferred[None]:
        self.start()

        def run() -> None:
            for port in (self.relay.port("admin"), self.port):
                for host in (
                    "127.0.0.1",
                    "localhost",
                    "[::1]",
                    "127.1",
                    "2130706433",
                    "[::ffff:7f00:1]",
                    "0.0.0.0",
                ):
                    client = self.peer().send(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                    self.assertTrue(client.rest().startswith(b"HTTP/1.1 403 "), (host, port))

        return self.in_thread(run)

    def test_names_and_addresses_outside_allow_are_refused(self) -> Deferred[None]:
        self.start("deny: [denied.test]")

        def run() -> None:
            for host, word in (
                ("denied.test", b"http_request_denied"),
                ("192.0.2.1", b"destination_ip_prohibited"),
                ("169.254.169.254", b"destination_ip_prohibited"),
                ("0xa9fea9fe", b"destination_ip_prohibited"),
                ("[::ffff:a9fe:a9fe]", b"destination_ip_prohibited"),
            ):
                client = self.peer().send(f"CONNECT {host}:80 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                answer = client.rest()
                self.assertTrue(answer.startswith(b"HTTP/1.1 403 "), (host, answer))
                self.assertIn(word, answer)

        return self.in_thread(run)

    def test_auth(self) -> Deferred[None]:
        digest = base64.b64encode(hashlib.sha1(b"secret word").digest()).decode()
        file = Path(self.mktemp()).absolute()
        file.write_text(f"alice:{{SHA}}{digest}\n")
        self.start(f"auth: {{file: {file}}}")
        echo = self.server("echo")

        def run() -> None:
            connect = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n" % echo.port
            self.assertIn(
                b'Proxy-Authenticate: Basic realm="lanrelay"', self.peer().send(connect + b"\r\n").rest()
            )
            field = b"Proxy-Authorization: Basic %s\r\n" % base64.b64encode(b"alice:secret word")
            client = self.peer().send(connect + field + b"\r\n")
            self.assertEqual(client.head(), ESTABLISHED)
            client = self.peer()
            request = f"GET {self.origin.url}/seen HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
            client.send(request + field + b"\r\n")
            self.assertIn(b" 200 ", client.head())
            self.assertNotIn(b"Proxy-Authorization", client.rest())
            self.assertNotIn("alice", self.relay.log)
            self.assertNotIn(base64.b64encode(b"alice:secret word").decode(), self.relay.log)

        return self.in_thread(run)

    def test_a_client_that_does_not_read_costs_no_memory(self) -> Deferred[None]:
        self.start()

        def run() -> None:
            before = self.relay.rss
            size = 100_000_000
            tunnel = self.peer().send(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % self.origin.port)
            self.assertEqual(tunnel.head(), ESTABLISHED)
            tunnel.send(b"GET /bytes/%d HTTP/1.1\r\nHost: x\r\n\r\n" % size)
            plain = self.peer()
            plain.send(f"GET {self.origin.url}/bytes/{size} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            deadline = time.monotonic() + 2
            most = 0
            while time.monotonic() < deadline:
                most = max(most, self.relay.rss)
                time.sleep(0.1)
            self.assertLess(most - before, 20_000_000)
            for client in (tunnel, plain):
                head = client.head()
                seen, length = hashlib.sha256(), 0
                while length < size:
                    data = client.socket.recv(1 << 20)
                    self.assertTrue(data)
                    seen.update(data)
                    length += len(data)
                self.assertIn(seen.hexdigest().encode(), head)
            self.assertEqual(seen.hexdigest(), sha256(size))
            self.assertLess(self.relay.rss - before, 20_000_000)

        return self.in_thread(run)

    def test_a_stop_gives_a_tunnel_time_to_end(self) -> Deferred[None]:
        self.start("timeouts: {drain: 1h}")
        echo = self.server("echo")

        def run() -> None:
            client = self.peer().send(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % echo.port)
            self.assertEqual(client.head(), ESTABLISHED)
            self.relay.process.terminate()
            self.relay.wait_for("stopped listening")
            with self.assertRaises(OSError):
                Peer.to(self.port)
            self.assertEqual(client.send(b"still there").exactly(11), b"still there")
            self.assertEqual(client.end().rest(), b"")
            self.assertEqual(self.relay.process.wait(PATIENCE), 0)

        return self.in_thread(run)


class TlsListenerTests(TestCase):
    """A proxy that is itself reached over TLS (C{HTTPS_PROXY=https://...})."""

    timeout = LIMIT

    def test_a_tunnel_inside_tls(self) -> Deferred[None]:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name))
        issued = authority.issue("localhost", "127.0.0.1")
        digest = TcpServer("digest").start()
        self.addCleanup(digest.stop)
        relay = Relay(
            f"""
            listeners:
              proxy:
                type: connect-proxy
                listen: 127.0.0.1:0
                allow: [loopback]
                tls: {{cert: {issued.cert}, key: {issued.key}}}
            """
        ).start()
        self.addCleanup(relay.stop)

        def run() -> None:
            context = ssl.create_default_context(cafile=str(authority.root))
            raw = socket.create_connection(("127.0.0.1", relay.port("proxy")), timeout=PATIENCE)
            with context.wrap_socket(raw, server_hostname="localhost") as client:
                client.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % digest.port)
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += client.recv(1)
                self.assertEqual(head, ESTABLISHED)
                data = bytes(1_000_000)
                client.sendall(data)
                # Python cannot half-close TLS and read on, so the end of the tunnel is that of the client.
            relay.wait_for("CONNECT 127.0.0.1")
            self.assertIn("in=1000000", relay.log)

        return deferToThread(run)
