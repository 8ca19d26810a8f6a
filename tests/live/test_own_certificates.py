"""TLS towards clients of the real relay, and certificates of either side that are replaced meanwhile."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority, Issued
from lanrelay.trust.files import EVERY
from tests.live.test_curl import curl
from tests.support.progress import LIMIT
from tests.support.relay import Relay
from tests.support.servers import HttpOrigin
from tests.support.tls_origin import TlsOrigin

reactor: Any = _reactor
NAME = "relay.test"


@skipUnless(shutil.which("curl"), "curl is not installed")
class OwnCertificateTestCase(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.old, self.new = (Authority(self.folder, name) for name in ("Old CA", "New CA"))
        self.cert, self.key = self.folder / "relay.crt", self.folder / "relay.key"
        self.clients = self.folder / "clients.crt"

    def put(self, source: Path, target: Path) -> None:
        """As careful programs do it."""
        part = target.with_suffix(".part")
        shutil.copyfile(source, part)
        part.replace(target)

    def show(self, issued: Issued) -> None:
        self.put(issued.cert, self.cert)
        self.put(issued.key, self.key)

    def start(self, text: str) -> Relay:
        relay = Relay(text).start()
        self.addCleanup(relay.stop)
        return relay

    async def curl(self, relay: Relay, name: str, *arguments: str) -> tuple[int, str]:
        """Its exit status and what it got."""
        port = relay.port(name)
        url = f"https://{NAME}:{port}/status/200"
        done = await deferToThread(
            curl, "--resolve", f"{NAME}:{port}:127.0.0.1", "--max-time", "10", *arguments, url
        )
        return done.returncode, (done.stdout or done.stderr).decode()

    async def looked(self) -> None:
        """Let so much time pass that the files are looked at."""
        await deferLater(reactor, EVERY + 0.1)


class ListenerTests(OwnCertificateTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.show(self.old.issue(NAME))
        self.put(self.old.root, self.clients)
        self.origin = HttpOrigin().start()
        self.addCleanup(self.origin.stop)

    def relay(self, more: str = "") -> Relay:
        return self.start(
            f"""
            listeners:
              secured:
                type: reverse-proxy
                listen: 127.0.0.1:0
                hosts: {NAME}
                tls: {{cert: {self.cert}, key: {self.key}{more}}}
                upstream: {self.origin.url}
            """
        )

    async def test_a_client_must_show_a_certificate_where_client_ca_says_so(self) -> None:
        relay = self.relay(f", client_ca: {self.clients}")
        mine = self.old.issue("me.test", client=True)
        stranger = self.new.issue("you.test", client=True)
        root = ("--cacert", str(self.old.root))

        def shown(issued: Issued) -> tuple[str, ...]:
            return (*root, "--cert", str(issued.cert), "--key", str(issued.key))

        for version in ("1.2", "1.3"):
            only = ("--tls-max", version)
            self.assertEqual((await self.curl(relay, "secured", *shown(mine), *only))[0], 0)
            status, said = await self.curl(relay, "secured", *root, *only)
            self.assertNotEqual(status, 0, said)
            status, said = await self.curl(relay, "secured", *shown(stranger), *only)
            self.assertNotEqual(status, 0, said)
        relay.wait_for("(?s)(error=tls_certificate_error.*){2}")  # curl has gone before it is written
        self.assertEqual((await self.counters())["requests"], 3)

    async def counters(self) -> dict[str, int]:
        done = await deferToThread(curl, f"{self.origin.url}/counters")
        counted: dict[str, int] = json.loads(done.stdout)
        return counted

    async def test_a_new_certificate_is_shown_once_its_key_is_there_too(self) -> None:
        relay = self.relay()
        before, after = ("--cacert", str(self.old.root)), ("--cacert", str(self.new.root))
        self.assertEqual((await self.curl(relay, "secured", *before))[0], 0)
        self.assertEqual((await self.curl(relay, "secured", *after))[0], 60)
        issued = self.new.issue(NAME, file_name="new")
        self.put(issued.cert, self.cert)
        await self.looked()
        self.assertEqual((await self.curl(relay, "secured", *before))[0], 0)
        self.put(issued.key, self.key)
        await self.looked()
        self.assertEqual((await self.curl(relay, "secured", *after))[0], 0)
        self.assertEqual((await self.curl(relay, "secured", *before))[0], 60)
        self.assertNotIn("cannot be used", relay.log)
        self.assertIn("has changed and was read again", relay.log)

    async def test_a_broken_file_leaves_the_old_one_in_force_and_is_told_once(self) -> None:
        relay = self.relay()
        root = ("--cacert", str(self.old.root))
        self.assertEqual((await self.curl(relay, "secured", *root))[0], 0)
        self.cert.write_text("-----BEGIN CERTIFICATE-----\nhalf of")
        for _ in range(4):
            await self.looked()
            self.assertEqual((await self.curl(relay, "secured", *root))[0], 0)
        self.assertEqual(relay.log.count("cannot be used"), 1)
        self.assertIn("holds no certificate", relay.log)

    async def test_a_new_ca_of_the_clients(self) -> None:
        relay = self.relay(f", client_ca: {self.clients}")
        mine = self.new.issue("me.test", client=True)
        shown = ("--cacert", str(self.old.root), "--cert", str(mine.cert), "--key", str(mine.key))
        self.assertNotEqual((await self.curl(relay, "secured", *shown))[0], 0)
        self.put(self.new.root, self.clients)
        await self.looked()
        self.assertEqual((await self.curl(relay, "secured", *shown))[0], 0)


class UpstreamTests(OwnCertificateTestCase):
    async def request(self, relay: Relay) -> str:
        done = await deferToThread(curl, "-w", "%{http_code}", "-o", "/dev/null", self.url(relay))
        return done.stdout.decode()

    def url(self, relay: Relay) -> str:
        return f"http://127.0.0.1:{relay.port('web')}/"

    def test_a_ca_and_a_client_certificate_that_are_replaced(self) -> Deferred[None]:
        async def check() -> None:
            ca = self.folder / "ca.crt"
            self.put(self.old.root, ca)
            self.show(self.old.issue("me.test", client=True, file_name="me"))
            origin = TlsOrigin(self.new.issue(NAME), client_ca=self.new.root)
            self.addCleanup(origin.stop)
            relay = self.start(
                f"""
                listeners:
                  web:
                    type: reverse-proxy
                    listen: 127.0.0.1:0
                    upstream:
                      url: https://{NAME}
                      address: 127.0.0.1:{origin.port}
                      tls: {{ca: {ca}, cert: {self.cert}, key: {self.key}}}
                """
            )
            self.assertEqual(await self.request(relay), "502")
            self.put(self.new.root, ca)
            await self.looked()
            self.assertEqual(await self.request(relay), "502")
            self.assertEqual(origin.heard, b"")
            self.show(self.new.issue("me.test", client=True, file_name="me"))
            await self.looked()
            self.assertEqual(await self.request(relay), "200")

        return Deferred.fromCoroutine(check())
