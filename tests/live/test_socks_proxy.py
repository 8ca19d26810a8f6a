"""The SOCKS proxy of the real relay with curl, and with sockets that say exactly what odd clients say."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from pathlib import Path
from unittest import skipUnless

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.live.test_curl import curl, download
from tests.support.origin_program import sha256
from tests.support.ports import free_port
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME, HttpOrigin, TcpServer

SIZE = 20_000_000


class SocksCase(TestCase):
    timeout = LIMIT

    def start(self, extra: str = "") -> None:
        self.origin = HttpOrigin().start()
        self.addCleanup(self.origin.stop)
        self.relay = Relay(
            f"""
            admin: {{listen: "127.0.0.1:0"}}
            listeners:
              socks:
                type: socks-proxy
                listen: 127.0.0.1:0
                allow: [loopback]
                resolve: {{{LAN_NAME}: 127.0.0.1}}
                {extra}
            """
        ).start()
        self.addCleanup(self.relay.stop)
        self.address = f"127.0.0.1:{self.relay.port('socks')}"


@skipUnless(shutil.which("curl"), "curl is not installed")
class CurlTests(SocksCase):
    async def curl_says(self, *arguments: str) -> str:
        """What curl writes to its standard error when it fails because of the proxy."""
        done = await deferToThread(curl, *arguments)
        self.assertEqual(done.returncode, 97, done.stderr)  # CURLE_PROXY
        return done.stderr.decode()

    async def test_addresses_and_names(self) -> None:
        self.start()
        for way, host in (("--socks5", "127.0.0.1"), ("--socks5-hostname", LAN_NAME)):
            got = await deferToThread(
                download, way, self.address, f"http://{host}:{self.origin.port}/bytes/{SIZE}"
            )
            self.assertEqual(got, (SIZE, sha256(SIZE)))
        self.relay.wait_for(
            rf'socks 127\.0\.0\.1:\d+ "CONNECT {LAN_NAME}:{self.origin.port}" - in=\d+ out=\d+'
            rf" to={LAN_NAME}:{self.origin.port} addr=127\.0\.0\.1:{self.origin.port} .* phase=done"
        )

    async def test_tls_inside(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name))
        secure = HttpOrigin(tls=authority.issue(LAN_NAME)).start()
        self.addCleanup(secure.stop)
        self.start()
        got = await deferToThread(
            download,
            "--cacert",
            str(authority.root),
            "--socks5-hostname",
            self.address,
            f"{secure.lan_url}/bytes/1000",
        )
        self.assertEqual(got, (1000, sha256(1000)))

    async def test_name_and_password(self) -> None:
        self.start("auth: {users: {alice: secret}}")
        url = f"http://127.0.0.1:{self.origin.port}/bytes/1000"
        got = await deferToThread(download, "--socks5", self.address, "--proxy-user", "alice:secret", url)
        self.assertEqual(got[0], 1000)
        wrong = await self.curl_says("--socks5", self.address, "--proxy-user", "alice:secreT", url)
        self.assertIn("rejected", wrong)
        await self.curl_says("--socks5", self.address, url)
        self.relay.wait_for('phase=policy .*detail=".*credentials are wrong')
        self.assertNotIn("secre", self.relay.log)

    async def test_each_refusal_has_its_code(self) -> None:
        self.start()
        refused = free_port()
        admin = self.relay.port("admin")
        for url, code in (
            (f"http://127.0.0.1:{refused}/", 5),
            ("http://10.0.0.1/", 2),
            (f"http://127.0.0.1:{admin}/", 2),
            (f"http://127.0.0.1:{self.relay.port('socks')}/", 2),
            ("http://does-not-exist.invalid/", 4),
        ):
            said = await self.curl_says("--socks5-hostname", self.address, url)
            self.assertIn(f"({code})", said, url)


class SocketTests(SocksCase):
    def peer(self) -> socket.socket:
        host, _, port = self.address.partition(":")
        peer = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.addCleanup(peer.close)
        return peer

    async def test_all_at_once_and_half_closed(self) -> None:
        """An optimistic client that says everything in one packet and ends its side."""
        self.start()
        digest = TcpServer("digest").start()
        self.addCleanup(digest.stop)

        def run() -> None:
            peer = self.peer()
            request = b"\x05\x01\x00\x01\x7f\x00\x00\x01" + digest.port.to_bytes(2, "big")
            peer.sendall(b"\x05\x01\x00" + request)
            self.assertEqual(exactly(peer, 12), b"\x05\x00\x05\x00\x00\x01" + bytes(6))
            peer.sendall(b"x" * 1000)
            peer.shutdown(socket.SHUT_WR)
            self.assertTrue(rest(peer).startswith(b"1000 "))

        await deferToThread(run)

    async def test_ipv6(self) -> None:
        if not _has_ipv6():
            self.skipTest("this machine has no ::1")
        self.start()
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.addCleanup(server.close)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(100)[::-1])

        def run() -> None:
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            peer = self.peer()
            request = b"\x05\x01\x00\x04" + bytes(15) + b"\x01" + server.getsockname()[1].to_bytes(2, "big")
            peer.sendall(b"\x05\x01\x00" + request)
            self.assertEqual(exactly(peer, 12)[:4], b"\x05\x00\x05\x00")
            peer.sendall(b"abc")
            self.assertEqual(rest(peer), b"cba")
            thread.join(PATIENCE)

        await deferToThread(run)

    async def test_early_bytes_do_not_cost_the_client_its_refusal(self) -> None:
        self.start()

        def run() -> None:
            for _ in range(20):
                peer = self.peer()
                peer.sendall(b"\x05\x01\x00\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50" + b"early" * 2000)
                self.assertEqual(exactly(peer, 12), b"\x05\x00\x05\x02\x00\x01" + bytes(6))

        await deferToThread(run)

    async def test_http_is_closed_at_once(self) -> None:
        self.start()

        def run() -> None:
            peer = self.peer()
            peer.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual(rest(peer), b"")

        await deferToThread(run)
        self.relay.wait_for("phase=head .*speak HTTP")

    async def test_a_slow_greeting_meets_its_limit(self) -> None:
        self.start("timeouts: {head: 300ms}")

        def run() -> None:
            peer = self.peer()
            peer.sendall(b"\x05")
            with self.assertRaises(ConnectionResetError):
                peer.recv(1)

        await deferToThread(run)


def exactly(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := peer.recv(count - len(data))):
        data += more
    return data


def rest(peer: socket.socket) -> bytes:
    data = b""
    while more := peer.recv(65536):
        data += more
    return data


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
