"""Trust in servers of others: Caddy with certificates that live seconds, nginx that asks for ours."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from lanrelay.cli.authority import Authority
from lanrelay.trust.files import EVERY
from tests.live.test_several import Answer
from tests.support.peers import PeerTestCase, Program, free_ports
from tests.support.progress import LIMIT
from tests.support.relay import Relay
from tests.support.tls import certificate_pin, public_key_pin

reactor: Any = _reactor
NAME = "lan-host.test"

# What `tls internal` does, faster: a leaf of 6 seconds is replaced after 4.
CADDYFILE = """
{{
    admin off
    storage file_system {storage}
    skip_install_trust
    auto_https disable_redirects
    http_port {plain}
    https_port {port}
    renew_interval 1s
}}
https://{name}:{port} {{
    bind 127.0.0.1
    tls {{
        issuer internal {{
            lifetime 6s
        }}
    }}
    respond "hello"
}}
"""


class CaddyTests(PeerTestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.storage = self.folder / "caddy"
        self.port, self.plain = free_ports(2)
        self.root = self.folder / "root.crt"

    def caddy(self) -> Program:
        """Caddy, which has made its CA."""
        if shutil.which("caddy") is None:
            self.skipTest("caddy is not here")
        config = CADDYFILE.format(storage=self.storage, plain=self.plain, port=self.port, name=NAME)
        home = [f"{name}={{folder}}" for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")]
        command = ["env", *home, "caddy", "run", "--config", "{config}", "--adapter", "caddyfile"]
        caddy = self.program(command, [self.port], config=config, secure={self.port: NAME})
        shutil.copyfile(self.made("root.crt"), self.root)
        return caddy

    def made(self, name: str) -> Path:
        return self.storage / "pki/authorities/local" / name

    def pin(self, path: Path) -> str:
        return public_key_pin(x509.load_pem_x509_certificate(path.read_bytes()))

    async def shown(self) -> str:
        """The pin of its leaf; of the certificate, for some versions of Caddy keep the key."""
        found: list[str] = []

        def whole() -> bool:
            try:
                found.append(certificate_pin(x509.load_pem_x509_certificate(self.leaf().read_bytes())))
            except (FileNotFoundError, ValueError):  # Caddy is writing it
                return False
            return True

        await self.until(whole)
        return found[0]

    def leaf(self) -> Path:
        return self.storage / f"certificates/local/{NAME}/{NAME}.crt"

    def relay(self, **trusts: str) -> Relay:
        text = "listeners:\n"
        for name, tls in trusts.items():
            text += f"""
  {name}:
    type: reverse-proxy
    listen: 127.0.0.1:0
    pool: off
    health: off
    upstream: {{url: "https://{NAME}:{self.port}", address: "127.0.0.1:{self.port}", tls: {{{tls}}}}}
"""
        relay = Relay(text).start()
        self.addCleanup(relay.stop)
        return relay

    async def ask(self, relay: Relay, listener: str) -> Answer:
        return await deferToThread(Answer, relay.port(listener))

    async def until(self, met: Any, seconds: float = 20) -> None:
        deadline = reactor.seconds() + seconds
        while not met():
            self.assertLess(reactor.seconds(), deadline)
            await deferLater(reactor, 0.1)

    def test_its_root_is_trusted_by_file_while_its_leaf_rotates(self) -> Deferred[None]:
        async def check() -> None:
            await deferToThread(self.caddy)
            await self.until(lambda: self.leaf().exists())
            first = await self.shown()
            relay = self.relay(
                by_file=f"ca: {self.root}",
                by_pin=f'pin: "{self.pin(self.made("intermediate.crt"))}"',
                both=f'ca: {self.root}, pin: "{self.pin(self.root)}"',
                leaf=f'pin: "{first}"',
            )
            seen: set[str] = set()
            while len(seen) < 3:
                for listener in ("by_file", "by_pin", "both"):
                    answer = await self.ask(relay, listener)
                    self.assertEqual((answer.status, answer.body), (200, "hello"), answer.body)
                if not seen:
                    self.assertEqual((await self.ask(relay, "leaf")).status, 200)
                seen.add(await self.shown())
                await deferLater(reactor, 0.3)
            answer = await self.ask(relay, "leaf")
            self.assertEqual(answer.status, 502)
            found = re.search(r"sha256:[0-9a-f]{64}", answer.body)
            assert found is not None
            self.assertNotEqual(found[0], first)
            self.assertEqual(relay.log.count("lives minutes only"), 1, relay.log)

        return Deferred.fromCoroutine(check())

    def test_a_new_root_is_trusted_when_its_file_is_replaced(self) -> Deferred[None]:
        async def check() -> None:
            caddy = await deferToThread(self.caddy)
            relay = self.relay(web=f"ca: {self.root}")
            await self.until(lambda: self.leaf().exists())
            self.assertEqual((await self.ask(relay, "web")).status, 200)
            kept = self.folder / "kept.crt"
            shutil.copyfile(self.root, kept)
            await deferToThread(caddy.stop)
            shutil.rmtree(self.storage)
            await deferToThread(self.caddy)
            new = self.root.read_bytes()
            shutil.copyfile(kept, self.root)
            await self.until(lambda: self.leaf().exists())
            await deferLater(reactor, EVERY + 0.1)
            answer = await self.ask(relay, "web")
            self.assertEqual(answer.status, 502)
            self.assertIn("tls_certificate_error", answer.headers["Proxy-Status"])
            self.root.write_bytes(new)
            await deferLater(reactor, EVERY + 0.1)
            self.assertEqual((await self.ask(relay, "web")).status, 200)

        return Deferred.fromCoroutine(check())


class NginxTests(PeerTestCase):
    timeout = LIMIT

    def test_it_asks_for_our_certificate_whose_key_is_encrypted(self) -> Deferred[None]:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name))
        issued = authority.issue(NAME)
        mine = authority.issue("me.test", client=True, passphrase="open sesame")
        [port] = free_ports(1)
        server = f"""
            server {{
                listen 127.0.0.1:{port} ssl;
                server_name {NAME};
                ssl_certificate {issued.cert};
                ssl_certificate_key {issued.key};
                ssl_client_certificate {authority.root};
                ssl_verify_client on;
                location / {{ return 200 "$ssl_client_s_dn"; }}
            }}
        """

        async def check() -> None:
            nginx = await deferToThread(self.nginx, server, port)
            text = "listeners:\n"
            shown = f'cert: {mine.cert}, key: {mine.key}, passphrase: "${{PHRASE}}", '
            for name, tls in (("with", shown), ("without", "")):
                text += f"""
  {name}:
    type: reverse-proxy
    listen: 127.0.0.1:0
    retry: {{for: 10s}}
    upstream:
      url: https://{NAME}:{port}
      address: 127.0.0.1
      tls: {{{tls}ca: {authority.root}}}
"""
            relay = Relay(text, environ={"PHRASE": "open sesame"}).start()
            self.addCleanup(relay.stop)
            answer = await deferToThread(Answer, relay.port("with"))
            self.assertEqual((answer.status, answer.body), (200, "CN=me.test"))
            answer = await deferToThread(Answer, relay.port("without"))
            self.assertEqual(answer.status, 400)  # nginx says so itself
            self.assertIn("No required SSL certificate", answer.body)
            self.assertNotIn("sesame", relay.log)
            # A request waits while it is restarted.
            nginx.stop()
            asking = deferToThread(Answer, relay.port("with"))
            await deferLater(reactor, 0.5)
            await deferToThread(nginx.start)
            answer = await asking
            self.assertEqual(answer.status, 200)
            self.assertGreater(answer.seconds, 0.4)

        return Deferred.fromCoroutine(check())
