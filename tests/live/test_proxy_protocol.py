"""The PROXY protocol between the real relay and curl, HAProxy and nginx, in both directions."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.internet.threads import deferToThread

from lanrelay.cli.authority import Authority
from tests.live.test_curl import curl
from tests.support.peers import PeerTestCase, free_ports
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import HttpOrigin

CLIENT = "127.0.0.9"
"""Another loopback address than that of whoever is in between."""


def from_client(*arguments: str) -> str:
    """What curl gets when it connects from C{CLIENT}; blocks."""
    done = curl("--fail", "--interface", CLIENT, *arguments)
    if done.returncode:
        raise AssertionError(f"curl: {done.returncode}: {done.stderr.decode()}")
    return done.stdout.decode()


def everything(read: Callable[[int], bytes]) -> bytes:
    data = b""
    while more := read(65536):
        data += more
    return data


class ProxyCase(PeerTestCase):
    def relay(self, text: str) -> Relay:
        relay = Relay(text).start()
        self.addCleanup(relay.stop)
        return relay


@skipUnless(shutil.which("curl"), "curl is not installed")
class AcceptTests(ProxyCase):
    def start(self, peers: str = "127.0.0.1", more: str = "", clients: str = "loopback") -> Relay:
        self.origin = HttpOrigin().start()
        self.addCleanup(self.origin.stop)
        [self.port] = free_ports(1)
        return self.relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:{self.port}
                accept_proxy: {peers}
                clients: {clients}
                forwarded: x-forwarded
                hosts: any
                {more}
                upstream: {self.origin.url}
            """
        )

    async def client_seen(self, *arguments: str) -> Any:
        """The client's address as the origin was told it."""
        seen = json.loads(await deferToThread(from_client, *arguments))
        return {name.lower(): value for name, value in seen["fields"]}["x-forwarded-for"]

    async def test_curl(self) -> None:
        relay = self.start(peers=CLIENT)
        url = f"http://127.0.0.1:{self.port}/seen"
        self.assertEqual(await self.client_seen("--haproxy-protocol", url), CLIENT)
        relay.wait_for(rf'web {CLIENT}:\d+ "GET /seen" 200')
        # Without the header the listed peer is closed, and with it nobody else is believed.
        done = await deferToThread(curl, "--interface", CLIENT, url)
        self.assertIn(done.returncode, (52, 56))
        relay.wait_for("no PROXY header where one is due")
        done = await deferToThread(curl, "--haproxy-protocol", "-i", url)
        self.assertTrue(done.stdout.startswith(b"HTTP/1.1 400 "), done.stdout)

    async def test_it_comes_before_tls(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name))
        issued = authority.issue("localhost")
        self.start(peers=CLIENT, more=f"tls: {{cert: {issued.cert}, key: {issued.key}}}")
        resolve = f"localhost:{self.port}:127.0.0.1"
        url = f"https://localhost:{self.port}/seen"
        self.assertEqual(
            await self.client_seen(
                "--haproxy-protocol", "--cacert", str(authority.root), "--resolve", resolve, url
            ),
            CLIENT,
        )

    async def test_header_and_what_follows_in_one_piece(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name))
        issued = authority.issue("localhost")
        self.start()
        secure = self.relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                accept_proxy: loopback
                clients: any
                forwarded: x-forwarded
                tls: {{cert: {issued.cert}, key: {issued.key}}}
                upstream: {self.origin.url}
            """
        )
        context = ssl.create_default_context(cafile=str(authority.root))
        header = b"PROXY TCP4 127.0.0.77 127.0.0.1 50000 443\r\n"
        request = b"GET /seen HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

        def plain() -> bytes:
            with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as peer:
                peer.sendall(header + request)
                return everything(peer.recv)

        def tls() -> bytes:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with socket.create_connection(("127.0.0.1", secure.port("web")), timeout=PATIENCE) as peer:
                first = header
                while True:
                    try:
                        client.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        peer.sendall(first + outgoing.read())
                        first = b""
                        incoming.write(peer.recv(65536))
                client.write(request)
                peer.sendall(outgoing.read())
                incoming.write(everything(peer.recv))
                return everything(client.read)

        for ask in (plain, tls):
            answer = await deferToThread(ask)
            self.assertIn(b"127.0.0.77", answer)

    async def test_haproxy(self) -> None:
        for option in ("send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"):
            relay = self.start()
            [front] = free_ports(1)
            self.haproxy(
                f"""
                listen front
                    bind 127.0.0.1:{front}
                    server relay 127.0.0.1:{self.port} {option} check inter 200ms
                """,
                front,
            )
            self.assertEqual(await self.client_seen(f"http://127.0.0.1:{front}/seen"), CLIENT, option)
            self.assertNotIn("no PROXY header", relay.log)

    async def test_clients_judges_whom_haproxy_announces(self) -> None:
        relay = self.start(clients="127.0.0.8")
        [front] = free_ports(1)
        self.haproxy(
            f"""
            listen front
                bind 127.0.0.1:{front}
                server relay 127.0.0.1:{self.port} send-proxy-v2
            """,
            front,
        )
        with self.assertRaises(AssertionError):
            await self.client_seen(f"http://127.0.0.1:{front}/seen")
        relay.wait_for(rf"the client {CLIENT}:\d+ is not in this listener's clients")

    async def test_nginx(self) -> None:
        self.start()
        [front] = free_ports(1)
        server = (
            f"server {{ listen 127.0.0.1:{front}; proxy_pass 127.0.0.1:{self.port}; proxy_protocol on; }}"
        )
        self.nginx(server, front, stream=True)
        self.assertEqual(await self.client_seen(f"http://127.0.0.1:{front}/seen"), CLIENT)


@skipUnless(shutil.which("curl"), "curl is not installed")
class SendTests(ProxyCase):
    """What HAProxy and nginx take for the client behind the relay."""

    async def announced(self, port: int) -> None:
        """To a server on C{port} that answers with the address it was told."""
        for version in ("v1", "v2"):
            relay = self.relay(
                f"""
                listeners:
                  forward:
                    type: tcp-forward
                    listen: 127.0.0.1:0
                    upstream: {{url: "tcp://127.0.0.1:{port}", send_proxy: {version}}}
                  reverse:
                    type: reverse-proxy
                    listen: 127.0.0.1:0
                    health: {{path: /, interval: 100ms}}
                    upstream: {{url: "http://127.0.0.1:{port}", send_proxy: {version}}}
                """
            )
            for name in ("forward", "reverse"):
                where = relay.port(name)
                for client in (CLIENT, "127.0.0.8"):  # the second must not get the first one's connection
                    done = await deferToThread(curl, "--interface", client, f"http://127.0.0.1:{where}/")
                    words = done.stdout.decode().split()
                    self.assertEqual(words[:1], [client], (version, name, done))
                    self.assertEqual(words[1:], [str(where)] if words[1:] else [])
            self.assertNotIn("is down", relay.log)

    async def test_haproxy(self) -> None:
        [port] = free_ports(1)
        self.haproxy(
            f"""
            frontend front
                mode http
                bind 127.0.0.1:{port} accept-proxy
                http-request return status 200 content-type text/plain lf-string "%[src] %[dst_port]"
            """,
            port,
        )
        await self.announced(port)

    async def test_nginx(self) -> None:
        [port] = free_ports(1)
        answer = 'return 200 "$proxy_protocol_addr $proxy_protocol_server_port";'
        self.nginx(f"server {{ listen 127.0.0.1:{port} proxy_protocol; location / {{ {answer} }} }}", port)
        await self.announced(port)
