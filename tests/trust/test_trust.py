"""Certificates, keys and roots from files, and what is said of files that are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lanrelay.cli.authority import Authority
from lanrelay.config.model import Secret, ServerTls, Trust
from lanrelay.errors import StartError, UnknownIssuer
from lanrelay.trust.files import EVERY
from lanrelay.trust.trust import ClientTls, ServerContext
from tests.support.tls import Shake, authority, client_certificate, server_certificate, server_context


class FileTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def complaint(self, trust: Trust) -> str:
        return str(self.assertRaises(StartError, ClientTls(trust, "nas.lan").load))

    def server_complaint(self, cert: Path, key: Path, **more: Any) -> str:
        return str(self.assertRaises(StartError, ServerContext(ServerTls(cert=cert, key=key, **more)).load))


class AuthorityFileTests(FileTestCase):
    def test_what_is_no_certificate_gets_a_remedy(self) -> None:
        root = authority().certificate
        for content, words in (
            (b"", "holds no certificate"),
            (b"hello", "BEGIN CERTIFICATE"),
            (server_certificate().key.read_bytes(), "a private key and no certificate"),
            (root.public_bytes(Encoding.DER), "openssl x509 -inform der"),
            (b"-----BEGIN CERTIFICATE REQUEST-----\nMA==\n-----END CERTIFICATE REQUEST-----\n", "request"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "1 of"),
            (
                root.public_bytes(Encoding.PEM)
                + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "2 of",
            ),
        ):
            path = self.file("root.crt", content)
            said = self.complaint(Trust(ca=(path,)))
            self.assertIn(words, said)
            self.assertIn(str(path), said)
            self.assertTrue(said.startswith("tls.ca: "), said)

    def test_what_cannot_be_read(self) -> None:
        self.assertIn("no file", self.complaint(Trust(ca=(self.folder / "none.crt",))))
        if os.geteuid():
            path = self.file("secret.crt", b"")
            path.chmod(0)
            self.assertIn("may not be read", self.complaint(Trust(ca=(path,))))

    def test_a_folder_gives_all_its_certificates(self) -> None:
        other = Authority(self.folder, "Other CA")
        self.file("home.pem", authority().certificate.public_bytes(Encoding.PEM))
        self.file("notes.txt", b"not looked at")
        self.file("key.pem", server_certificate().key.read_bytes())
        tls = ClientTls(Trust(ca=(self.folder,)), "nas.lan")
        Shake(tls, server_context()).streams()
        Shake(tls, server_context(other.issue("nas.lan", file_name="x"))).streams()

    def test_a_folder_without_any_is_an_error(self) -> None:
        self.assertIn("no file in", self.complaint(Trust(ca=(self.folder,))))
        self.file("root.cer", authority().certificate.public_bytes(Encoding.DER))
        self.assertIn("DER", self.complaint(Trust(ca=(self.folder,))))

    def test_text_around_the_certificates_and_several_in_one_file(self) -> None:
        other = Authority(self.folder, "Other CA")
        path = self.file(
            "all.pem",
            b"# ours\r\n"
            + other.certificate.public_bytes(Encoding.PEM).replace(b"\n", b"\r\n")
            + b"and\n"
            + authority().certificate.public_bytes(Encoding.PEM),
        )
        Shake(ClientTls(Trust(ca=(path,)), "nas.lan"), server_context()).streams()

    def test_system_means_the_environment_s_file_where_there_is_one(self) -> None:
        script = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from tests.support.tls import *\n"
            "from lanrelay.cli.authority import Issued\n"
            "issued = Issued(cert=Path(sys.argv[2]), key=Path(sys.argv[3]), certificate=None)\n"
            "Shake(ClientTls(Trust(), 'nas.lan'), server_context(issued)).streams()\n"
        )
        issued = server_certificate()
        top = str(Path(__file__).parents[2])
        ran = subprocess.run(
            [sys.executable, "-c", script, top, str(issued.cert), str(issued.key)],
            env={**os.environ, "SSL_CERT_FILE": str(authority().root)},
            capture_output=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((ran.returncode, ran.stderr), (0, b""))

    def test_a_machine_without_roots_is_told_and_its_handshakes_explain(self) -> None:
        events: list[Any] = []

        @implementer(ILogObserver)
        def observe(event: Any) -> None:
            events.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.patch(os, "environ", {"SSL_CERT_FILE": str(self.folder / "none")})
        shake = Shake(ClientTls(Trust(), "nas.lan", platform="linux"), server_context())
        self.assertIsInstance(getattr(shake.client, "value", None), UnknownIssuer)
        warnings = [event for event in events if "no trusted roots" in str(event.get("log_format"))]
        self.assertEqual(len(warnings), 1)

    def test_with_the_system_s_roots_alone_nothing_heavy_is_loaded_before_the_first_connection(self) -> None:
        script = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from lanrelay.transport.tls import ClientTls, secure_client, TlsStream\n"
            "from lanrelay.config.model import Trust\n"
            "ClientTls(Trust(), 'nas.lan').load()\n"
            "ClientTls(Trust(verify=False), 'nas.lan').load()\n"
            "heavy = {'OpenSSL', 'cryptography', 'service_identity'} & set(sys.modules)\n"
            "sys.exit(str(heavy) if heavy else 0)\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", script, str(Path(__file__).parents[2])],
            capture_output=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((ran.returncode, ran.stderr), (0, b""))


class OwnCertificateTests(FileTestCase):
    def test_a_key_that_does_not_fit(self) -> None:
        cert, key = server_certificate().cert, client_certificate().key
        for said in (self.server_complaint(cert, key), self.complaint(Trust(cert=cert, key=key))):
            self.assertIn("does not fit", said)
            self.assertIn(str(cert), said)
            self.assertIn(str(key), said)

    def test_what_is_no_key(self) -> None:
        cert = server_certificate().cert
        for content, words in (
            (b"", "no private key"),
            (cert.read_bytes(), "a certificate and no private key"),
            (b"\x30\x82\x01", "openssl pkey -inform der"),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "does not parse"),
        ):
            said = self.server_complaint(cert, self.file("a.key", content))
            self.assertIn(words, said)
            self.assertTrue(said.startswith("tls.key: "), said)

    def test_certificate_and_key_in_one_file(self) -> None:
        issued = server_certificate()
        both = self.file("both.pem", issued.key.read_bytes() + issued.cert.read_bytes())
        ServerContext(ServerTls(cert=both, key=both)).load()
        ClientTls(Trust(cert=both), "nas.lan").load()

    def test_an_encrypted_key_needs_its_passphrase_and_nobody_is_asked(self) -> None:
        issued = authority().issue("sealed.lan", passphrase="open sesame")
        for passphrase, words in ((None, "is encrypted"), ("wrong", "does not open"), ("", "is encrypted")):
            secret = None if passphrase is None else Secret(passphrase)
            said = self.complaint(Trust(cert=issued.cert, key=issued.key, passphrase=secret))
            self.assertIn(words, said)
            self.assertNotIn("sesame", said)
        ClientTls(Trust(cert=issued.cert, key=issued.key, passphrase=Secret("open sesame")), "nas.lan").load()
        self.assertIn("is encrypted", self.server_complaint(issued.cert, issued.key))

    def test_a_passphrase_for_a_key_that_needs_none(self) -> None:
        issued = client_certificate()
        ClientTls(Trust(cert=issued.cert, key=issued.key, passphrase=Secret("x")), "nas.lan").load()

    def test_client_ca_is_read_too(self) -> None:
        issued = server_certificate()
        said = self.server_complaint(issued.cert, issued.key, client_ca=(self.folder / "none.crt",))
        self.assertTrue(said.startswith("tls.client_ca: "), said)

    def test_loading_twice_reads_once(self) -> None:
        issued = authority().issue("twice.lan")
        tls = ClientTls(Trust(cert=issued.cert, key=issued.key), "nas.lan")
        tls.load()
        issued.key.unlink()
        tls.load()


class ReloadTests(FileTestCase):
    """Files that change, on both sides."""

    def setUp(self) -> None:
        super().setUp()
        self.moment = 0.0
        self.old = Authority(self.folder, "Old CA")
        self.new = Authority(self.folder, "New CA")
        self.root = self.file("root.crt", self.old.root.read_bytes())
        issued = self.old.issue("nas.lan", file_name="old")
        self.cert = self.file("server.crt", issued.cert.read_bytes())
        self.key = self.file("server.key", issued.key.read_bytes())

    def put(self, source: Path, target: Path) -> None:
        other = target.with_suffix(".other")
        other.write_bytes(source.read_bytes())
        other.replace(target)
        self.moment += EVERY

    def client(self, **trust: Any) -> ClientTls:
        tls = ClientTls(Trust(ca=(self.root,), **trust), "nas.lan")
        tls._reloaded._seconds = lambda: self.moment
        tls.load()
        return tls

    def server(self, **more: Any) -> ServerContext:
        context = ServerContext(ServerTls(cert=self.cert, key=self.key, **more))
        context._reloaded._seconds = lambda: self.moment
        context.load()
        return context

    def agree(self, client: ClientTls, server: ServerContext) -> bool:
        shake = Shake(client, server)
        return not isinstance(shake.client, Failure) and not isinstance(shake.server, Failure)

    def test_a_server_shows_its_new_certificate_when_the_key_has_come_too(self) -> None:
        server = self.server()
        before, after = self.client(), ClientTls(Trust(ca=(self.new.root,)), "nas.lan")
        self.assertTrue(self.agree(before, server))
        issued = self.new.issue("nas.lan", file_name="new")
        self.put(issued.cert, self.cert)
        self.assertTrue(self.agree(before, server))  # the old pair still
        self.put(issued.key, self.key)
        self.assertFalse(self.agree(before, server))
        self.assertTrue(self.agree(after, server))

    def test_a_client_trusts_its_new_ca(self) -> None:
        client, server = self.client(), server_context(self.new.issue("nas.lan", file_name="new"))
        self.assertFalse(self.agree(client, server))
        self.put(self.new.root, self.root)
        self.assertTrue(self.agree(client, server))
        self.root.write_bytes(b"half of a")
        self.moment += EVERY
        self.assertTrue(self.agree(client, server))

    def test_client_certificates_on_both_sides(self) -> None:
        server = self.server(client_ca=(self.file("clients.crt", self.old.root.read_bytes()),))
        mine = self.old.issue("me.lan", client=True, file_name="mine")
        cert, key = self.file("me.crt", mine.cert.read_bytes()), self.file("me.key", mine.key.read_bytes())
        client = self.client(cert=cert, key=key)
        self.assertTrue(self.agree(client, server))
        self.put(self.new.root, self.folder / "clients.crt")
        self.assertFalse(self.agree(client, server))
        mine = self.new.issue("me.lan", client=True, file_name="mine")
        self.put(mine.cert, cert)
        self.put(mine.key, key)
        self.assertTrue(self.agree(client, server))
