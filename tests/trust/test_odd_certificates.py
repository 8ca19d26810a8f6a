"""Certificates that OpenSSL takes and a strict parser refuses are good enough, in every place."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from cryptography.x509 import load_der_x509_certificate
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import CertificatePin, PublicKeyPin, ServerTls
from lanrelay.errors import (
    CertificateError,
    CertificateExpired,
    PinMismatch,
    StartError,
    UnknownIssuer,
    WrongName,
)
from lanrelay.trust.certificate import Certificate
from lanrelay.trust.pem import read_authorities
from lanrelay.trust.trust import ServerContext
from lanrelay.trust.verify import check_name
from lanrelay.wire import der
from tests.support.odd_certificates import (
    ADDRESS,
    BASIC_CONSTRAINTS,
    DNS_NAME,
    EXTENDED_KEY_USAGE,
    FALSE,
    PRINTABLE,
    Odd,
    extension,
    names,
    odd_authority,
    odd_certificate,
    tlv,
)
from tests.support.tls import Shake, authority, client_tls, server_certificate

NAS = names((DNS_NAME, b"nas.lan"))
NO_CA = extension(BASIC_CONSTRAINTS, bytes.fromhex("3003010100"), critical=FALSE)


class OddCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.root = odd_authority()
        self.ca = self.folder / "roots.pem"
        self.ca.write_bytes(authority().root.read_bytes() + self.root.pem)

    def leaf(self, *extensions: bytes, **more: Any) -> Odd:
        more.setdefault("issuer", self.root)
        return odd_certificate(*extensions, issuer_name=b"Odd CA", **more)

    def shake(self, leaf: Odd, name: str = "nas.lan", **trust: Any) -> Shake:
        issued = leaf.write(self.folder, "leaf")
        server = ServerContext(ServerTls(cert=issued.cert, key=issued.key))
        server.load()
        trust.setdefault("ca", (self.ca,))
        return Shake(client_tls(name, **trust), server)

    def refused(self, shake: Shake) -> Any:
        assert isinstance(shake.client, Failure), shake.client
        self.assertEqual(shake.clock.getDelayedCalls(), [])
        return shake.client.value


class HandshakeTests(OddCase):
    def test_the_odd_ones_are_odd(self) -> None:
        for odd in (self.root, self.leaf(NAS, NO_CA)):
            with self.assertRaises(ValueError):
                load_der_x509_certificate(odd.der)

    def test_defaults_written_out_in_root_and_leaf(self) -> None:
        client, server = self.shake(self.leaf(NAS, NO_CA)).streams()
        info = client.certificate
        assert info is not None
        self.assertEqual((info.issuer, info.names), ("CN=Odd CA", ("nas.lan",)))
        self.assertEqual(info.not_after.year, 2099)
        self.assertIsNone(server.certificate)

    def test_an_address_of_eight_bytes_beside_the_right_name(self) -> None:
        leaf = self.leaf(names((ADDRESS, bytes(8)), (DNS_NAME, b"\xff\xfe"), (DNS_NAME, b"nas.lan")))
        client, _ = self.shake(leaf).streams()
        assert client.certificate is not None
        self.assertEqual(client.certificate.names, ("an address of 8 bytes", "nas.lan"))

    def test_a_subject_that_does_not_decode(self) -> None:
        leaf = self.leaf(NAS, common_name=b"\xff\x00\x1b[31m", common_name_tag=PRINTABLE)
        client, _ = self.shake(leaf).streams()
        assert client.certificate is not None
        self.assertTrue(client.certificate.subject.isprintable(), client.certificate.subject)

    def test_a_refusal_says_what_it_is_as_ever(self) -> None:
        error = self.refused(self.shake(self.leaf(NAS, NO_CA), ca=(authority().root,)))
        self.assertIsInstance(error, UnknownIssuer)
        self.assertEqual(error.issuer, "CN=Odd CA")
        error = self.refused(self.shake(self.leaf(NAS, NO_CA), "other.lan"))
        self.assertIsInstance(error, WrongName)
        self.assertEqual(error.found, ("nas.lan",))
        error = self.refused(self.shake(self.leaf(NAS, NO_CA, dates=b"20210101000000Z")))
        self.assertIsInstance(error, CertificateExpired)

    def test_a_date_that_no_calendar_has(self) -> None:
        error = self.refused(self.shake(self.leaf(NAS, dates=b"00000101000000Z")))
        self.assertIsInstance(error, CertificateError)
        self.assertIn("the certificate expired", str(error))

    def test_pins_of_the_odd(self) -> None:
        leaf = self.leaf(NAS, NO_CA)
        known = Certificate.of(leaf.der)
        for pin in (PublicKeyPin(digest=known.key_digest), CertificatePin(digest=known.digest)):
            self.shake(leaf, ca=(), pin=(pin,)).streams()
            self.shake(leaf, pin=(pin,)).streams()
        other = PublicKeyPin(digest=bytes(32))
        self.assertIsInstance(self.refused(self.shake(leaf, ca=(), pin=(other,))), PinMismatch)

    def test_a_pinned_odd_root_that_is_sent(self) -> None:
        leaf = self.leaf(NAS, NO_CA)
        pin = PublicKeyPin(digest=Certificate.of(self.root.der).key_digest)
        sent = Odd(der=leaf.der, key=leaf.key)
        issued = sent.write(self.folder, "leaf")
        issued.cert.write_bytes(leaf.pem + self.root.pem)
        server = ServerContext(ServerTls(cert=issued.cert, key=issued.key))
        server.load()
        Shake(client_tls("nas.lan", ca=(), pin=(pin,)), server).streams()
        self.assertIsInstance(self.refused(Shake(client_tls("x.lan", ca=(), pin=(pin,)), server)), WrongName)

    def test_a_purpose_that_cannot_be_read_is_no_server_s(self) -> None:
        pin = PublicKeyPin(digest=Certificate.of(self.root.der).key_digest)
        for purpose in (b"\x30\x7f", tlv(0x30, tlv(0x06, der.CLIENT_AUTH))):
            leaf = self.leaf(NAS, extension(EXTENDED_KEY_USAGE, purpose))
            issued = leaf.write(self.folder, "leaf")
            issued.cert.write_bytes(leaf.pem + self.root.pem)
            server = ServerContext(ServerTls(cert=issued.cert, key=issued.key))
            server.load()
            shake = Shake(client_tls("nas.lan", ca=(), pin=(pin,)), server)
            self.assertIsInstance(self.refused(shake), CertificateError)

    def test_a_client_s_odd_certificate_is_taken_by_its_odd_root(self) -> None:
        mine = self.leaf(NAS, NO_CA).write(self.folder, "client")
        own = server_certificate()
        server = ServerContext(ServerTls(cert=own.cert, key=own.key, client_ca=(self.ca,)))
        server.load()
        _, accepted = Shake(client_tls(cert=mine.cert, key=mine.key), server).streams()
        assert accepted.certificate is not None
        self.assertEqual(accepted.certificate.issuer, "CN=Odd CA")


class NameTests(SynchronousTestCase):
    def test_who_is_meant(self) -> None:
        table = {
            "nas.lan": ("nas.lan", "NAS.LAN", "nas.lan.", "NAS.lan."),
            "nas.lan.": ("nas.lan",),
            "*.home.lan": ("nas.home.lan", "xn--strae-oqa.home.lan", "straße.home.lan"),
            "*.home.lan.": ("nas.home.lan",),
            "xn--strae-oqa.lan": ("straße.lan", "xn--strae-oqa.lan"),
        }
        for name, good in table.items():
            certificate = Certificate.of(odd_certificate(names((DNS_NAME, name.encode()))).der)
            for wanted in good:
                check_name(certificate, wanted)

    def test_who_is_not(self) -> None:
        table = {
            "*.lan": ("nas.lan",),
            "*": ("nas", "nas.lan"),
            "*.home.lan": ("home.lan", ".home.lan", "a.b.home.lan"),
            "n*.home.lan": ("nas.home.lan", "n*.home.lan"[1:]),
            "nas.*.lan": ("nas.home.lan",),
            "xn--*.home.lan": ("xn--strae-oqa.home.lan",),
            "192.0.2.5": ("192.0.2.5",),
            "nas.lan\0.evil.lan": ("nas.lan",),
            "": ("nas.lan", ""),
        }
        for name, bad in table.items():
            certificate = Certificate.of(odd_certificate(names((DNS_NAME, name.encode()))).der)
            for wanted in bad:
                with self.assertRaises(WrongName, msg=f"{name} {wanted}"):
                    check_name(certificate, wanted)

    def test_addresses_by_their_bytes(self) -> None:
        certificate = Certificate.of(
            odd_certificate(names((ADDRESS, bytes((192, 0, 2, 5))), (ADDRESS, bytes(15) + b"\1"))).der
        )
        check_name(certificate, "192.0.2.5")
        check_name(certificate, "::1")
        for wanted in ("192.0.2.6", "::2", "::ffff:192.0.2.5"):
            with self.assertRaises(WrongName):
                check_name(certificate, wanted)


class DerTests(SynchronousTestCase):
    def test_what_is_cut_anywhere_names_nobody_and_breaks_nothing(self) -> None:
        whole = odd_certificate(NAS, NO_CA).der
        self.assertEqual(der.alternative_names(whole), ["nas.lan"])
        self.assertEqual(der.purposes(whole), None)
        for end in range(len(whole)):
            self.assertEqual(der.alternative_names(whole[:end]), [])
        for at in range(len(whole)):
            changed = whole[:at] + bytes((whole[at] ^ 0x80,)) + whole[at + 1 :]
            der.alternative_names(changed)
            der.purposes(changed)


class FileTests(OddCase):
    def openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True, timeout=60)

    def test_a_root_that_is_marked_as_trusted_or_not(self) -> None:
        plain = str(authority().root.resolve())
        self.openssl("x509", "-in", plain, "-addtrust", "serverAuth", "-out", "good.pem")
        self.openssl("x509", "-in", plain, "-setalias", "home", "-trustout", "-out", "alias.pem")
        self.openssl("x509", "-in", plain, "-addtrust", "emailProtection", "-out", "mail.pem")
        self.openssl("x509", "-in", plain, "-addreject", "serverAuth", "-out", "bad.pem")
        for good in ("good.pem", "alias.pem"):
            self.assertIn(b"TRUSTED", (self.folder / good).read_bytes())
            (found,) = read_authorities(self.folder / good, "tls.ca")
            self.assertEqual(found.subject, "CN=Home CA")
        for bad in ("mail.pem", "bad.pem"):
            with self.assertRaises(StartError) as caught:
                read_authorities(self.folder / bad, "tls.ca")
            self.assertIn("marked as not trusted", str(caught.exception))

    def test_a_key_for_rsa_pss(self) -> None:
        self.openssl(
            "genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "pss.key"
        )
        self.openssl(
            *("req", "-x509", "-new", "-key", "pss.key", "-subj", "/CN=pss.lan", "-days", "3"),
            *("-addext", "subjectAltName=DNS:pss.lan", "-out", "pss.pem"),
        )
        self.openssl("pkey", "-in", "pss.key", "-aes256", "-passout", "pass:sesame", "-out", "sealed.key")
        cert = self.folder / "pss.pem"
        for key, passphrase in (("pss.key", None), ("sealed.key", "sesame")):
            server = ServerContext(
                ServerTls(cert=cert, key=self.folder / key, passphrase=passphrase)  # type: ignore[arg-type]
            )
            server.load()
            Shake(client_tls("pss.lan", ca=(cert,)), server).streams()

    def test_what_is_another_form_says_how_to_make_pem_of_it(self) -> None:
        root = str(authority().root.resolve())
        self.openssl("crl2pkcs7", "-nocrl", "-certfile", root, "-out", "bag.pem")
        self.openssl("crl2pkcs7", "-nocrl", "-certfile", root, "-outform", "der", "-out", "bag.crt")
        text = authority().root.read_text()
        (self.folder / "wide.pem").write_text(text, encoding="utf-16")
        (self.folder / "bare.pem").write_text(text, encoding="utf-16-le")
        (self.folder / "bom.pem").write_text(text, encoding="utf-8-sig")
        remedies = {
            "bag.pem": "`openssl pkcs7 -print_certs",
            "bag.crt": "`openssl pkcs7 -inform der -print_certs",
            "wide.pem": "`iconv -f utf-16",
            "bare.pem": "`iconv -f utf-16",
        }
        for name, remedy in remedies.items():
            with self.assertRaises(StartError) as caught:
                read_authorities(self.folder / name, "tls.ca")
            self.assertIn(remedy, caught.exception.remedy, name)
        self.assertEqual(len(read_authorities(self.folder / "bom.pem", "tls.ca")), 1)
        key = server_certificate().key.read_text()
        (self.folder / "wide.key").write_text(key, encoding="utf-16")
        own = ServerTls(cert=server_certificate().cert, key=self.folder / "wide.key")
        with self.assertRaises(StartError) as caught:
            ServerContext(own).load()
        self.assertIn("UTF-16", str(caught.exception))

    def test_an_encrypted_key_of_a_listener_has_its_passphrase(self) -> None:
        issued = authority().issue("sealed.lan", passphrase="open sesame", file_name="listener")
        own = ServerTls(cert=issued.cert, key=issued.key)
        with self.assertRaises(StartError) as caught:
            ServerContext(own).load()
        self.assertIn("tls.passphrase", caught.exception.remedy)
        ServerContext(own._replace(passphrase="open sesame")).load()  # type: ignore[arg-type]
