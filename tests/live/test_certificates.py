"""
Which certificates the real relay takes from an upstream, and what it says of those it does not take.

Each origin remembers every byte that it was sent inside of TLS: one that is refused has heard nothing.
"""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority, Issued
from tests.live.test_curl import curl
from tests.support.odd_certificates import (
    ADDRESS,
    DNS_NAME,
    names,
    odd_authority,
    odd_certificate,
)
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.tls import certificate_pin, public_key_pin
from tests.support.tls_origin import TlsOrigin
from tests.transport.test_tls import self_signed

NAME = "lan-host.test"
NOW = datetime.now(timezone.utc)


@dataclass
class Case:
    """
    An origin, how the relay is told to trust it, and what comes of it.

    @ivar error: the word of RFC 9209; empty if it is accepted.
    @ivar says: phrases of the explanation.
    @ivar checked: a health check, which sends nothing, notices it too.
    @ivar tls: further keys of C{upstream.tls}; C{ROOT} and C{FOLDER} stand for paths.
    """

    origin: TlsOrigin
    error: str = ""
    says: tuple[str, ...] = ()
    tls: str = "ca: ROOT"
    host: str = NAME
    status: int = 502
    checked: bool = True


class MatrixTestCase(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.authority = Authority(self.folder, "Home CA")
        self.good = self.authority.issue(NAME, "127.0.0.1", file_name="good")
        self.cases: dict[str, Case] = {}

    def origin(self, issued: Issued | None, **how: Any) -> TlsOrigin:
        origin = TlsOrigin(issued, **how)
        self.addCleanup(origin.stop)
        return origin

    def issue(self, name: str = NAME, **how: Any) -> Issued:
        return self.authority.issue(name, file_name=f"issued{len(list(self.folder.iterdir()))}", **how)

    def other(self, name: str) -> Authority:
        folder = self.folder / name
        folder.mkdir()
        return Authority(folder, name)

    def case(self, name: str, origin: TlsOrigin, error: str = "", *says: str, **how: Any) -> None:
        self.cases[name] = Case(origin, error, says, **how)

    def start(self) -> Relay:
        text = "log: {format: json}\nlisteners:\n"
        for name, case in self.cases.items():
            tls = case.tls.replace("ROOT", str(self.authority.root)).replace("FOLDER", str(self.folder))
            text += f"""
  {name}:
    type: reverse-proxy
    listen: 127.0.0.1:0
    health: {{fall: 1}}
    upstream:
      url: https://{case.host}:{case.origin.port}
      address: 127.0.0.1:{case.origin.port}
      tls: {{{tls}}}
"""
        relay = Relay(text, environ={"PHRASE": "open sesame"}).start()
        self.addCleanup(relay.stop)
        return relay

    def judge(self, relay: Relay, name: str) -> None:
        """One request, and everything that is said of it; blocks."""
        case = self.cases[name]
        url = f"http://127.0.0.1:{relay.port(name)}/private?token=s3cret"
        done = curl("-i", "-H", "Authorization: Bearer s3cret", "--data", "s3cret", url)
        head, _, body = done.stdout.decode().partition("\r\n\r\n")
        lines = [json.loads(line) for line in relay.log.splitlines()]
        (access,) = [line for line in lines if line.get("listener") == name]
        if not case.error:
            self.assertIn(" 200 ", head.splitlines()[0], (name, body))
            self.assertIn(b"s3cret", case.origin.heard, name)
            self.assertNotIn("error", access, name)
            return
        self.assertIn(f" {case.status} ", head.splitlines()[0], (name, body))
        self.assertEqual(case.origin.heard, b"", name)
        self.assertNotIn(b"s3cret", case.origin.raw, name)
        self.assertIn(f"error={case.error};", head, name)
        self.assertEqual((access["status"], access["error"]), (case.status, case.error), name)
        first, _, *sentences = body.splitlines()
        self.assertIn(f"({case.error})", first, name)
        self.assertEqual(access["detail"], " ".join(sentences), name)
        for phrase in case.says:
            self.assertIn(phrase, access["detail"], name)
        self.assertNotIn("s3cret", body + relay.log, name)
        # The log said the same sentences when the first check failed.
        down = f"https://{case.host}:{case.origin.port} is down: {' '.join(sentences)}"
        if case.checked:
            self.assertIn(
                down, [line.get("message") for line in lines if str(case.origin.port) in str(line)], name
            )

    async def judge_all(self) -> None:
        relay = await deferToThread(self.start)
        for case in self.cases.values():
            if case.error and case.checked:
                pattern = rf"{case.host}:{case.origin.port} is down"
                await deferToThread(relay.wait_for, pattern, within=PATIENCE)
        await gatherResults([deferToThread(self.judge, relay, name) for name in self.cases], True)


@skipUnless(shutil.which("curl"), "curl is not installed")
class MatrixTests(MatrixTestCase):
    def test_what_is_taken_and_what_is_refused(self) -> Deferred[None]:
        bad = "tls_certificate_error"
        origin, issue = self.origin, self.issue
        self.case("good", origin(self.good))
        self.case("address", origin(self.good), host="127.0.0.1")
        self.case("named", origin(self.good), host="other.test", tls=f"ca: ROOT, server_name: {NAME}")
        self.case("folder", origin(self.good), tls="ca: FOLDER")
        self.case("believed", origin(self_signed(self.folder)), tls="verify: false")

        past = NOW - timedelta(days=9)
        old = issue(not_before=past - timedelta(days=9), not_after=past)
        self.case("expired", origin(old), bad, f"expired on {past:%Y-%m-%d %H:%M} UTC")
        young = issue(not_before=NOW + timedelta(days=2))
        self.case("young", origin(young), bad, "is not valid before")
        self.case("wrong-name", origin(issue("other.test")), bad, "is for other.test", f"not for {NAME}")
        only_name = origin(issue())
        self.case("no-address", only_name, bad, f"is for {NAME}", "not for 127.0.0.1", host="127.0.0.1")
        (self.folder / "self").mkdir()
        own = self_signed(self.folder / "self", NAME)
        self.case("self-signed", origin(own), bad, "is self-signed")
        (self.folder / "cn").mkdir()
        common = self_signed(self.folder / "cn", common_name=NAME)
        self.case("common-name", origin(common), bad, "no name", tls=f"ca: {common.cert}")
        stranger = self.other("Somebody's CA")
        unknown = stranger.issue(NAME)
        self.case("unknown", origin(unknown), bad, 'issued by "CN=Somebody\'s CA"', "tls.ca")
        self.case("system", origin(self.good), bad, 'issued by "CN=Home CA"', tls="ca: system")
        appended = origin(unknown, chain=(stranger.certificate, self.authority.certificate))
        self.case("appended", appended, bad, "Somebody's CA")
        self.case("purpose", origin(issue(client=True)), bad, "purpose")

        # What OpenSSL takes and a strict parser refuses, beside the right root in one file.
        odd_root = odd_authority()
        roots = self.folder / "roots"
        roots.write_bytes(self.authority.root.read_bytes() + odd_root.pem)
        names_of_it = names((ADDRESS, bytes(8)), (DNS_NAME, NAME.encode() + b"."))
        (self.folder / "odd").mkdir()
        odd = odd_certificate(names_of_it, issuer=odd_root, issuer_name=b"Odd CA")
        odd_leaf = odd.write(self.folder / "odd", "odd")
        self.case("odd", origin(odd_leaf), tls=f"ca: {roots}")
        self.case("odd-unknown", origin(odd_leaf), bad, 'issued by "CN=Odd CA"')
        self.case(
            "odd-name",
            origin(odd_leaf),
            bad,
            f"is for an address of 8 bytes, {NAME}.",
            tls=f"ca: {roots}",
            host="elsewhere.test",
        )

        for name, version in (("tls10", ssl.TLSVersion.TLSv1), ("tls11", ssl.TLSVersion.TLSv1_1)):
            self.case(name, origin(self.good, at_most=version), "tls_protocol_error", "version")
        newer = "ca: ROOT, min_version: 1.3"
        older = origin(self.good, at_most=ssl.TLSVersion.TLSv1_2)
        self.case("tls12", older, "tls_protocol_error", "version", tls=newer)
        allowed = origin(self.good, at_most=ssl.TLSVersion.TLSv1_1)
        self.case("tls11-allowed", allowed, tls="ca: ROOT, min_version: 1.0")
        self.case("plain", origin(None), "tls_protocol_error", "does not speak TLS")
        return Deferred.fromCoroutine(self.judge_all())

    def test_pins(self) -> Deferred[None]:
        bad = "tls_certificate_error"
        origin = self.origin
        leaf, root = self.good.certificate, self.authority.certificate
        key, whole = f'"{public_key_pin(leaf)}"', f'"{certificate_pin(leaf)}"'
        root_key = f'"{public_key_pin(root)}"'
        for name, pin in (("key", key), ("whole", whole), ("several", f"[{root_key}, {key}]")):
            self.case(name, origin(self.good), tls=f"pin: {pin}", host="anything.test")
        self.case("root", origin(self.good, chain=(root,)), tls=f"pin: {root_key}")
        self.case("both", origin(self.good), tls=f"ca: ROOT, pin: {root_key}")
        (self.folder / "self").mkdir()
        own = self_signed(self.folder / "self")
        self.case("self-signed", origin(own), tls=f'pin: "{public_key_pin(own.certificate)}"')

        stranger = self.other("Somebody's CA")
        unknown = stranger.issue(NAME)
        found = public_key_pin(unknown.certificate)
        for name, chain in (
            ("other", ()),
            ("appended", (root,)),
            ("all", (stranger.certificate, leaf, root)),
        ):
            self.case(name, origin(unknown, chain=chain), bad, found, "tls.pin", tls=f"pin: {root_key}")
        self.case("forged", origin(unknown, chain=(leaf,)), bad, found, tls=f"pin: {key}")
        renewed = self.issue()
        found = certificate_pin(renewed.certificate)
        self.case("renewed", origin(renewed), bad, found, tls=f"pin: {whole}")
        self.case("unfit", origin(renewed), bad, "verified chain", tls=f"ca: ROOT, pin: {key}")
        self.case("unchained", origin(unknown), bad, "is not trusted", tls=f"ca: ROOT, pin: {key}")
        wrong = origin(self.issue("other.test"), chain=(root,))
        self.case("wrong-name", wrong, bad, "not for lan-host.test", tls=f"pin: {root_key}")
        return Deferred.fromCoroutine(self.judge_all())

    def test_client_certificates_and_their_passphrases(self) -> Deferred[None]:
        mine = self.authority.issue("me.test", client=True, passphrase="open sesame", file_name="me")
        shown = f"ca: ROOT, cert: {mine.cert}, key: {mine.key}"
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            name = version.name.lower().replace("_", "")

            def origin(version: ssl.TLSVersion = version) -> TlsOrigin:
                return self.origin(self.good, client_ca=self.authority.root, at_most=version)

            self.case(f"{name}-shown", origin(), tls=f'{shown}, passphrase: "${{PHRASE}}"')
            # With TLS 1.3 the server says so when the client has ended the handshake, and knows the peer.
            checked = version is ssl.TLSVersion.TLSv1_2
            self.case(
                f"{name}-missing", origin(), "tls_alert_received", "client certificate", checked=checked
            )
        return Deferred.fromCoroutine(self.judge_all())


class SilentTests(MatrixTestCase):
    @skipUnless(shutil.which("curl"), "curl is not installed")
    async def test_a_server_that_says_nothing(self) -> None:
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        relay = Relay(
            f"""
            listeners:
              silent:
                type: reverse-proxy
                listen: 127.0.0.1:0
                timeouts: {{handshake: 300ms}}
                retry: off
                upstream: "https://127.0.0.1:{silent.getsockname()[1]}"
            """
        ).start()
        self.addCleanup(relay.stop)
        done = await deferToThread(curl, "-i", f"http://127.0.0.1:{relay.port('silent')}/")
        self.assertIn(b"504", done.stdout.splitlines()[0])
        self.assertIn(b"error=connection_timeout", done.stdout)
