"""The real relay behind parent proxies of others: tinyproxy and microsocks."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.internet.threads import deferToThread

from lanrelay.cli.authority import Authority
from tests.live.test_curl import curl, download
from tests.support.origin_program import sha256
from tests.support.peers import PeerTestCase, free_ports
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME, HttpOrigin

SIZE = 5_000_000


def way_of(seen: Any) -> str:
    """Through whom a request came, by its Via."""
    return ", ".join(value for name, value in seen["fields"] if name.lower() == "via")


@skipUnless(shutil.which("curl"), "curl is not installed")
class ParentTests(PeerTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.authority = Authority(Path(folder.name))
        self.root = str(self.authority.root)

    def origin(self, *, tls: bool = False) -> HttpOrigin:
        origin = HttpOrigin(tls=self.authority.issue(LAN_NAME) if tls else None).start()
        self.addCleanup(origin.stop)
        return origin

    def relay(self, text: str) -> Relay:
        relay = Relay(text).start()
        self.addCleanup(relay.stop)
        return relay

    async def gets(self, *arguments: str) -> None:
        """curl gets /bytes/SIZE whole."""
        *options, base = arguments
        got = await deferToThread(download, *options, f"{base}/bytes/{SIZE}")
        self.assertEqual(got, (SIZE, sha256(SIZE)))

    async def seen(self, *arguments: str) -> Any:
        """What the origin says it saw."""
        *options, base = arguments
        done = await deferToThread(curl, *options, f"{base}/seen")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    async def upstreams_via(self, via: str) -> Relay:
        """Forwards and reverse proxies reach their upstreams via C{via}, TLS too."""
        plain, secure = self.origin(), self.origin(tls=True)
        relay = self.relay(
            f"""
            listeners:
              forward:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream: {{url: "tcp://localhost:{plain.port}", via: "{via}"}}
              reverse:
                type: reverse-proxy
                listen: 127.0.0.1:0
                health: off
                upstream:
                  url: {secure.lan_url}
                  address: {secure.address}
                  via: {via}
                  tls: {{ca: {self.root}}}
            """
        )
        for name in ("forward", "reverse"):
            await self.gets(f"http://127.0.0.1:{relay.port(name)}")
        return relay

    # --- tinyproxy ------------------------------------------------------------------------------------

    async def test_upstreams_via_tinyproxy(self) -> None:
        await self.upstreams_via(f"http://127.0.0.1:{self.tinyproxy()}")

    async def test_upstreams_via_tinyproxy_with_credentials(self) -> None:
        port = self.tinyproxy("BasicAuth alice s3cret")
        relay = await self.upstreams_via(f"http://alice:s3cret@127.0.0.1:{port}")
        self.assertNotIn("s3cret", relay.log)

    async def test_what_tinyproxy_refuses_is_told(self) -> None:
        port = self.tinyproxy("BasicAuth alice secret\nConnectPort 443")
        plain = self.origin()
        relay = self.relay(
            f"""
            listeners:
              wrong:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {{url: "http://{plain.address}", via: "http://alice:wrong@127.0.0.1:{port}"}}
              port:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {{url: "http://{plain.address}", via: "http://alice:secret@127.0.0.1:{port}"}}
            """
        )
        for name, status in (("wrong", "40"), ("port", "403")):
            done = await deferToThread(curl, "-i", f"http://127.0.0.1:{relay.port(name)}/")
            answer = done.stdout.decode()
            self.assertTrue(answer.startswith("HTTP/1.1 502 "), answer)
            self.assertIn(
                f"The parent proxy http://127.0.0.1:{port} does not lead to {plain.address}", answer
            )
            self.assertIn(f"it answered {status}", answer)

    async def test_connect_proxy_behind_tinyproxy(self) -> None:
        """
        Names go to tinyproxy, which has them from a relay of its own (loopback would be reached directly); it
        is asked for http:// URLs as browsers ask, for it tunnels to port 443 alone.
        """
        plain, secure = self.origin(), self.origin(tls=True)
        [far_port] = free_ports(1)
        self.relay(
            f"""
            listeners:
              far:
                type: connect-proxy
                listen: 127.0.0.1:{far_port}
                resolve: {{{LAN_NAME}: 127.0.0.1}}
            """
        )
        far = f'Upstream http 127.0.0.1:{far_port} "{LAN_NAME}"'
        port = self.tinyproxy(f"BasicAuth alice secret\nConnectPort {secure.port}\n{far}")
        relay = self.relay(
            f"""
            listeners:
              near:
                type: connect-proxy
                listen: 127.0.0.1:0
                parent: http://alice:secret@127.0.0.1:{port}
              socks:
                type: socks-proxy
                listen: 127.0.0.1:0
                parent: http://alice:secret@127.0.0.1:{port}
            """
        )
        near = f"http://127.0.0.1:{relay.port('near')}"
        socks = f"127.0.0.1:{relay.port('socks')}"
        await self.gets("--proxy", near, f"http://{LAN_NAME}:{plain.port}")
        await self.gets("--proxy", near, "--cacert", self.root, secure.lan_url)
        await self.gets("--socks5-hostname", socks, "--cacert", self.root, secure.lan_url)
        seen = await self.seen("--proxy", near, f"http://{LAN_NAME}:{plain.port}")
        self.assertRegex(way_of(seen), "lanrelay-near.*tinyproxy.*lanrelay-far")
        self.assertNotIn("proxy-authorization", {name.lower() for name, _ in seen["fields"]})
        # Loopback is this machine, whoever the parent is.
        direct = await self.seen("--proxy", near, f"http://127.0.0.1:{plain.port}")
        self.assertRegex(way_of(direct), "^1.1 lanrelay-near-[0-9a-f]+$")

    # --- microsocks -----------------------------------------------------------------------------------

    async def test_upstreams_via_microsocks(self) -> None:
        await self.upstreams_via(f"socks5://127.0.0.1:{self.microsocks()}")

    async def test_upstreams_via_microsocks_with_credentials(self) -> None:
        port = self.microsocks("-u", "alice", "-P", "s3cret")
        relay = await self.upstreams_via(f"socks5://alice:s3cret@127.0.0.1:{port}")
        self.assertNotIn("s3cret", relay.log)

    async def test_what_microsocks_refuses_is_told(self) -> None:
        port = self.microsocks("-u", "alice", "-P", "secret")
        [unused] = free_ports(1)
        relay = self.relay(
            f"""
            listeners:
              wrong:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {{url: "http://127.0.0.1:{unused}", via: "socks5://alice:wrong@127.0.0.1:{port}"}}
              refused:
                type: reverse-proxy
                listen: 127.0.0.1:0
                retry: off
                upstream: {{url: "http://127.0.0.1:{unused}", via: "socks5://alice:secret@127.0.0.1:{port}"}}
            """
        )
        for name, words in (
            ("wrong", "does not accept the name and the password"),
            ("refused", "connection refused"),
        ):
            done = await deferToThread(curl, f"http://127.0.0.1:{relay.port(name)}/")
            self.assertIn(words, done.stdout.decode())

    async def test_a_parent_that_is_not_there(self) -> None:
        [unused] = free_ports(1)
        relay = self.relay(
            f"""
            listeners:
              near:
                type: connect-proxy
                listen: 127.0.0.1:0
                parent: http://127.0.0.1:{unused}
            """
        )
        near = f"http://127.0.0.1:{relay.port('near')}"
        done = await deferToThread(curl, "--proxy", near, f"http://{LAN_NAME}/")
        self.assertIn(
            f"The parent proxy http://127.0.0.1:{unused} cannot be used: Nothing on this machine listens",
            done.stdout.decode(),
        )

    # --- two relays -----------------------------------------------------------------------------------

    async def test_relays_behind_each_other(self) -> None:
        secure = self.origin(tls=True)
        far = self.relay(
            f"""
            listeners:
              socks:
                type: socks-proxy
                listen: 127.0.0.1:0
                auth: {{users: {{alice: secret}}}}
                resolve: {{{LAN_NAME}: 127.0.0.1}}
            """
        )
        near = self.relay(
            f"""
            listeners:
              socks:
                type: socks-proxy
                listen: 127.0.0.1:0
                parent: socks5://alice:secret@127.0.0.1:{far.port("socks")}
            """
        )
        socks = f"127.0.0.1:{near.port('socks')}"
        await self.gets("--socks5-hostname", socks, "--cacert", self.root, secure.lan_url)
