"""What each kind of pin lets pass, in handshakes in memory, and what a server gains by sending others."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from shutil import which
from typing import Any
from unittest import skipUnless

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.authority import Issued
from lanrelay.config import values
from lanrelay.config.model import Trust
from lanrelay.errors import (
    CertificateError,
    CertificateExpired,
    PinMismatch,
    RelayError,
    UnknownIssuer,
    WrongName,
)
from lanrelay.transport.tls import ClientTls
from lanrelay.upstream.explain import explain
from tests.support.logs import Logged
from tests.support.tls import Shake, certificate_pin, public_key_pin, server_context

NOW = datetime.now(timezone.utc)


class Holder:
    """A certificate with its key, which may sign others."""

    def __init__(
        self,
        name: str,
        issuer: Holder | None = None,
        *,
        ca: bool = False,
        days: float = 90,
        begun: float = 1,
        key: Any = None,
        purpose: Any = None,
        digest: Any = None,
    ) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=begun))
            .not_valid_after(NOW + timedelta(days=days - begun))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        )
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if isinstance(signer.key, ed25519.Ed25519PrivateKey):
            self.certificate = builder.sign(signer.key, None)
        else:
            self.certificate = builder.sign(signer.key, digest or SHA256())

    @property
    def key_pin(self) -> str:
        return public_key_pin(self.certificate)

    @property
    def pin(self) -> str:
        return certificate_pin(self.certificate)


class PinTestCase(SynchronousTestCase):
    root = Holder("Root CA", ca=True)
    middle = Holder("Middle CA", root, ca=True)
    leaf = Holder("nas.lan", middle)
    stranger = Holder("Stranger CA", ca=True)

    def setUp(self) -> None:
        self.logged = Logged(self)

    def file(self, *holders: Holder) -> Path:
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(one.certificate.public_bytes(Encoding.PEM) for one in holders))
        return path

    def issued(self, *chain: Holder) -> Issued:
        """A server that shows the first, and sends the others along."""
        key = Path(self.mktemp())
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_bytes(chain[0].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return Issued(cert=self.file(*chain), key=key, certificate=chain[0].certificate)

    def shake(
        self, *chain: Holder, pins: list[str], name: str = "nas.lan", ca: tuple[Path, ...] = ()
    ) -> Shake:
        trust = Trust(ca=ca, pin=tuple(values.pin(pin) for pin in pins))
        return Shake(ClientTls(trust, name), server_context(self.issued(*chain)))

    def accepted(self, *chain: Holder, **how: Any) -> None:
        self.shake(*chain, **how).streams()

    def refused(self, kind: type[RelayError], *chain: Holder, **how: Any) -> Any:
        """The client refused with C{kind}, and sent nothing more, not even the end of the handshake."""
        shake = self.shake(*chain, **how)
        assert isinstance(shake.client, Failure), shake.client
        self.assertIs(shake.client.type, kind, shake.client)
        self.assertTrue(shake.wire.a.closed)
        self.assertIsInstance(shake.server, Failure)
        return shake.client.value


class AloneTests(PinTestCase):
    """Without C{tls.ca}."""

    def test_a_pinned_leaf_needs_no_chain_no_name_and_no_dates(self) -> None:
        old = Holder("nas.lan", days=10, begun=400)
        for chain in ((self.leaf,), (self.leaf, self.middle), (self.leaf, self.stranger), (old,)):
            for pin in (chain[0].key_pin, chain[0].pin):
                self.accepted(*chain, pins=[pin], name="another.lan")

    def test_one_of_several_is_enough(self) -> None:
        self.accepted(self.leaf, pins=[self.stranger.pin, self.leaf.key_pin])

    def test_another_leaf_is_refused_whoever_issued_it(self) -> None:
        other = Holder("nas.lan", self.middle)
        error = self.refused(PinMismatch, other, self.middle, pins=[self.leaf.key_pin])
        self.assertEqual(error.found, other.key_pin)
        self.assertEqual(error.proxy_status, "tls_certificate_error")
        self.assertTrue(error.permanent)
        error = self.refused(PinMismatch, other, pins=[self.leaf.pin])
        self.assertEqual(error.found, other.pin)

    def test_a_new_certificate_with_the_same_key_fits_the_key_s_pin_only(self) -> None:
        renewed = Holder("nas.lan", self.middle, key=self.leaf.key)
        self.accepted(renewed, pins=[self.leaf.key_pin])
        self.refused(PinMismatch, renewed, pins=[self.leaf.pin])

    def test_a_pinned_ca_that_was_sent_is_the_anchor(self) -> None:
        for pinned in (self.middle, self.root):
            for pin in (pinned.pin, pinned.key_pin):
                self.accepted(self.leaf, self.middle, self.root, pins=[pin])

    def test_the_anchor_need_not_be_a_root(self) -> None:
        self.accepted(self.leaf, self.middle, pins=[self.middle.pin])

    def test_a_pinned_ca_that_was_not_sent_is_unknown(self) -> None:
        self.refused(PinMismatch, self.leaf, self.middle, pins=[self.root.pin])

    def test_below_a_pinned_ca_name_and_dates_count(self) -> None:
        for pin in (self.middle.pin, self.middle.key_pin):
            error = self.refused(WrongName, self.leaf, self.middle, pins=[pin], name="other.lan")
            self.assertEqual(error.found, ("nas.lan",))
            old = Holder("nas.lan", self.middle, days=10, begun=11)
            self.refused(CertificateExpired, old, self.middle, pins=[pin])
        outlived = Holder("Old CA", ca=True, days=10, begun=11)
        self.refused(CertificateExpired, Holder("nas.lan", outlived), outlived, pins=[outlived.pin])

    def test_a_server_that_appends_the_pinned_certificate_gains_nothing(self) -> None:
        mine = Holder("nas.lan", self.stranger)
        alone = Holder("nas.lan")
        for pinned in (self.middle, self.root, self.leaf):
            for pin in (pinned.pin, pinned.key_pin):
                for chain in (
                    (mine, self.stranger, pinned),
                    (mine, pinned),
                    (mine, pinned, self.stranger),
                    (alone, pinned),
                    (mine, self.stranger, self.leaf, self.middle, self.root),
                ):
                    error = self.refused(PinMismatch, *chain, pins=[pin])
                    self.assertIn(error.found, (chain[0].key_pin, chain[0].pin))

    def test_a_forged_certificate_with_the_pinned_key_gains_nothing(self) -> None:
        """Anybody can put a public key into a certificate of his own."""
        forger = Holder("Forger CA", ca=True)
        forged = x509.CertificateBuilder(
            issuer_name=forger.name,
            subject_name=forger.name,
            public_key=self.middle.key.public_key(),
            serial_number=7,
            not_valid_before=NOW - timedelta(days=1),
            not_valid_after=NOW + timedelta(days=1),
        ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        fake = Holder("Forger CA", ca=True)
        fake.certificate = forged.sign(forger.key, SHA256())
        self.assertEqual(fake.key_pin, self.middle.key_pin)
        mine = Holder("nas.lan", forger)
        for chain in ((mine, fake), (mine, forger, fake), (mine, fake, forger)):
            self.refused(PinMismatch, *chain, pins=[self.middle.key_pin])

    def test_a_pinned_certificate_that_is_no_ca_s_vouches_for_nobody(self) -> None:
        web = Holder("web.lan", self.middle)
        mine = Holder("nas.lan", web)  # signed with the key of a server's certificate
        for pin in (web.pin, web.key_pin):
            error = self.refused(CertificateError, mine, web, pins=[pin])
            self.assertIn("no CA's", str(error))
        between = Holder("nas.lan", Holder("Middle CA", self.middle))
        self.refused(PinMismatch, between, self.middle, pins=[self.middle.pin])

    def test_purpose_and_digest_count_below_a_pinned_ca(self) -> None:
        client = Holder("nas.lan", self.middle, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
        error = self.refused(CertificateError, client, self.middle, pins=[self.middle.pin])
        self.assertIn("purpose", str(error))
        for purpose in (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE):
            server = Holder("nas.lan", self.middle, purpose=purpose)
            self.accepted(server, self.middle, pins=[self.middle.pin])

    def test_other_kinds_of_key(self) -> None:
        for key in (ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)):
            ca = Holder("CA", ca=True, key=key)
            self.accepted(Holder("nas.lan", ca), ca, pins=[ca.key_pin])
            leaf = Holder("nas.lan", key=key)
            self.accepted(leaf, pins=[leaf.key_pin])

    def test_the_explanation_shows_the_pin_as_one_writes_it(self) -> None:
        error = self.refused(PinMismatch, self.leaf, pins=[self.stranger.key_pin])
        explanation = explain(error)
        self.assertIn(self.leaf.key_pin, explanation.what)
        self.assertIn("tls.pin", explanation.remedy)


class BesideACaTests(PinTestCase):
    """With C{tls.ca}."""

    def setUp(self) -> None:
        super().setUp()
        self.roots = (self.file(self.root),)

    def test_a_pin_anywhere_in_the_verified_chain(self) -> None:
        for pinned in (self.leaf, self.middle, self.root):
            for pin in (pinned.pin, pinned.key_pin):
                self.accepted(self.leaf, self.middle, pins=[pin], ca=self.roots)

    def test_the_chain_is_verified_all_the_same(self) -> None:
        leaf = Holder("nas.lan", self.stranger)
        self.refused(UnknownIssuer, leaf, self.stranger, pins=[leaf.pin], ca=self.roots)
        self.refused(WrongName, self.leaf, self.middle, pins=[self.leaf.pin], ca=self.roots, name="other.lan")
        old = Holder("nas.lan", self.middle, days=10, begun=11)
        self.refused(CertificateExpired, old, self.middle, pins=[old.pin], ca=self.roots)

    def test_a_good_chain_without_the_pin(self) -> None:
        error = self.refused(PinMismatch, self.leaf, self.middle, pins=[self.stranger.key_pin], ca=self.roots)
        self.assertEqual(error.found, self.leaf.key_pin)

    def test_what_is_sent_beside_the_verified_chain_does_not_count(self) -> None:
        other = Holder("Other CA", self.root, ca=True)
        leaf = Holder("nas.lan", other)
        for pinned in (self.middle, self.stranger, self.leaf):
            self.refused(PinMismatch, leaf, other, pinned, pins=[pinned.pin], ca=self.roots)


class ShortLivedTests(PinTestCase):
    def test_a_leaf_that_lives_under_30_days_is_warned_of_once(self) -> None:
        for hours, said in ((12, "12 hours"), (240, "10 days")):
            leaf = Holder("nas.lan", self.middle, days=hours / 24, begun=0.1)
            for ca in ((), (self.file(self.root),)):
                logged = Logged(self)
                trust = Trust(ca=ca, pin=(values.pin(leaf.key_pin),))
                tls, context = ClientTls(trust, "nas.lan"), server_context(self.issued(leaf, self.middle))
                for _ in range(2):
                    Shake(tls, context).streams()
                (warning,) = logged.warnings
                self.assertIn(said, warning)
                self.assertIn("nas.lan", warning)

    def test_nothing_is_said_of_one_that_lives_longer_nor_of_a_pinned_ca(self) -> None:
        self.accepted(self.leaf, pins=[self.leaf.pin])
        short = Holder("nas.lan", self.middle, days=0.5, begun=0.1)
        self.accepted(short, self.middle, pins=[self.middle.pin])
        self.accepted(short, self.middle, pins=[self.middle.pin, short.pin], ca=(self.file(self.root),))
        self.assertEqual(self.logged.warnings, [])


@skipUnless(which("openssl"), "openssl is not installed")
class SpellingTests(PinTestCase):
    def test_pins_are_those_that_openssl_and_curl_make(self) -> None:
        for holder in (
            self.leaf,
            Holder("rsa", key=rsa.generate_private_key(65537, 2048)),
            Holder("ed", key=ed25519.Ed25519PrivateKey.generate()),
        ):
            path = self.file(holder)
            made = subprocess.run(
                f"openssl x509 -in {path} -pubkey -noout | openssl pkey -pubin -outform der"
                " | openssl dgst -sha256 -binary | openssl base64",
                shell=True,
                capture_output=True,
                check=True,
            ).stdout.decode()
            self.assertEqual(holder.key_pin, f"sha256//{made.strip()}")
            made = subprocess.run(
                ["openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256"],
                capture_output=True,
                check=True,
            ).stdout.decode()
            self.assertEqual(values.pin(holder.pin), values.pin(f"sha256:{made.strip().partition('=')[2]}"))

    def test_sha1_below_a_pinned_ca(self) -> None:
        """cryptography signs no SHA-1 any more; OpenSSL does."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        ca = self.issued(self.middle)
        script = (
            "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key"
            " -subj /CN=nas.lan -out leaf.csr 2>/dev/null && printf 'subjectAltName=DNS:nas.lan' > ext &&"
            f" openssl x509 -req -in leaf.csr -CA {ca.cert.absolute()} -CAkey {ca.key.absolute()}"
            " -extfile ext -sha1 -days 90 -set_serial 9 -out leaf.pem 2>/dev/null"
        )
        subprocess.run(script, shell=True, cwd=folder, check=True)
        leaf = Holder("nas.lan")
        leaf.certificate = x509.load_pem_x509_certificate((folder / "leaf.pem").read_bytes())
        self.assertIsInstance(leaf.certificate.signature_hash_algorithm, SHA1)
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        leaf.key = load_pem_private_key((folder / "leaf.key").read_bytes(), None)
        error = self.refused(CertificateError, leaf, self.middle, pins=[self.middle.pin])
        self.assertIn("digest", str(error))
