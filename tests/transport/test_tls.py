"""Handshakes in memory: what a certificate can be refused for, and how either side leaves."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.authority import Authority, Issued
from lanrelay.errors import (
    CertificateError,
    CertificateExpired,
    CertificateNotYetValid,
    ClientCertificateWanted,
    NoCommonVersion,
    NotTls,
    PeerClosed,
    RelayError,
    SelfSigned,
    TlsAlert,
    TlsError,
    TlsTimeout,
    UnknownIssuer,
    WrongName,
)
from lanrelay.transport.tls import TlsStream, secure_client, secure_server
from tests.support.memory import MemoryStream
from tests.support.tls import (
    Shake,
    authority,
    client_certificate,
    client_tls,
    listen_to,
    only,
    server_certificate,
    server_context,
)

E = TypeVar("E", bound=RelayError)
NOW = datetime.now(timezone.utc)


def self_signed(folder: Path, *names: str, common_name: str = "nas.lan") -> Issued:
    """A certificate that is its own issuer; without C{names} it bears a common name only."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    cert, key_file = folder / "self.pem", folder / "self.key"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return Issued(cert=cert, key=key_file, certificate=certificate)


class HandshakeTestCase(SynchronousTestCase):
    def folder(self) -> Path:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        return folder

    def refused(self, kind: type[E], shake: Shake) -> E:
        """The client refused with C{kind}, closed, and left no timer; the server heard no more."""
        failure = shake.client
        assert isinstance(failure, Failure), failure
        self.assertIs(failure.type, kind, failure)
        self.assertTrue(shake.wire.a.closed)
        self.assertEqual(shake.clock.getDelayedCalls(), [])
        error = failure.value
        assert isinstance(error, kind)
        return error

    def server_refused(self, kind: type[E], shake: Shake) -> E:
        failure = shake.server
        assert isinstance(failure, Failure), failure
        self.assertIs(failure.type, kind, failure)
        self.assertTrue(shake.wire.b.closed)
        self.assertEqual(shake.clock.getDelayedCalls(), [])
        error = failure.value
        assert isinstance(error, kind)
        return error


class CertificateMatrixTests(HandshakeTestCase):
    def test_name_and_address_that_it_bears(self) -> None:
        for name in ("nas.lan", "NAS.lan.", "192.0.2.5"):
            Shake(client_tls(name), server_context()).streams()

    def test_an_unknown_authority_is_named(self) -> None:
        shake = Shake(client_tls(ca=("system",)), server_context())
        error = self.refused(UnknownIssuer, shake)
        self.assertEqual(error.issuer, "CN=Home CA")
        self.assertIn("CN=Home CA", str(error))
        self.assertEqual(error.proxy_status, "tls_certificate_error")
        self.assertTrue(error.permanent)
        alert = self.server_refused(TlsAlert, shake)
        self.assertEqual(alert.alert, "unknown_ca")

    def test_another_authority_of_the_same_name(self) -> None:
        other = Authority(self.folder(), "Home CA")
        error = self.refused(UnknownIssuer, Shake(client_tls(ca=(other.root,)), server_context()))
        self.assertEqual(error.issuer, "CN=Home CA")

    def test_expired_with_its_date(self) -> None:
        moment = datetime(2024, 2, 29, 12, 0, tzinfo=timezone.utc)
        issued = authority().issue(
            "nas.lan", not_before=moment - timedelta(days=9), not_after=moment, file_name="expired"
        )
        error = self.refused(CertificateExpired, Shake(client_tls(), server_context(issued)))
        self.assertEqual(error.moment, moment)
        self.assertIn("2024-02-29 12:00 UTC", str(error))

    def test_not_yet_valid_with_its_date(self) -> None:
        issued = authority().issue("nas.lan", not_before=NOW + timedelta(days=2), file_name="early")
        error = self.refused(CertificateNotYetValid, Shake(client_tls(), server_context(issued)))
        assert error.moment is not None
        self.assertGreater(error.moment, NOW)

    def test_self_signed(self) -> None:
        issued = self_signed(self.folder(), "nas.lan")
        self.refused(SelfSigned, Shake(client_tls(), server_context(issued)))

    def test_a_self_signed_certificate_can_be_named_as_its_own_authority(self) -> None:
        issued = self_signed(self.folder(), "nas.lan")
        Shake(client_tls(ca=(issued.cert,)), server_context(issued)).streams()

    def test_a_server_s_own_certificate_can_be_named_instead_of_its_authority(self) -> None:
        Shake(client_tls(ca=(server_certificate().cert,)), server_context()).streams()

    def test_a_wrong_name_tells_those_found(self) -> None:
        for name in ("other.lan", "192.0.2.6", "lan", "x.nas.lan", "2001:db8::1"):
            error = self.refused(WrongName, Shake(client_tls(name), server_context()))
            self.assertEqual((error.wanted, error.found), (name, ("nas.lan", "192.0.2.5")))
            self.assertIn("nas.lan, 192.0.2.5", str(error))

    def test_nothing_goes_to_a_server_of_another_name_not_even_the_handshake_s_end(self) -> None:
        shake = Shake(client_tls("other.lan"), server_context())
        self.assertEqual(shake.wire.carried[0].count(b"\x17\x03\x03"), 0)

    def test_a_common_name_is_no_name(self) -> None:
        issued = self_signed(self.folder())
        error = self.refused(WrongName, Shake(client_tls(ca=(issued.cert,)), server_context(issued)))
        self.assertEqual(error.found, ())
        self.assertIn("common name", str(error))

    def test_an_address_among_the_dns_names_does_not_count_nor_spoil_the_others(self) -> None:
        issued = self_signed(self.folder(), "nas.lan", "192.0.2.9", "*")
        Shake(client_tls(ca=(issued.cert,)), server_context(issued)).streams()
        shake = Shake(client_tls("192.0.2.9", ca=(issued.cert,)), server_context(issued))
        self.assertEqual(self.refused(WrongName, shake).found, ("nas.lan", "192.0.2.9", "*"))

    def test_wildcards_and_ipv6(self) -> None:
        issued = authority().issue("*.home.lan", "fd00::5", file_name="wild")
        context = server_context(issued)
        for name in ("nas.home.lan", "fd00::5", "fd00:0:0:0::5"):
            Shake(client_tls(name), context).streams()
        for name in ("home.lan", "a.b.home.lan", "fd00::6"):
            self.refused(WrongName, Shake(client_tls(name), context))

    def test_a_client_s_certificate_is_no_server_s(self) -> None:
        issued = authority().issue("nas.lan", client=True, file_name="wrong-purpose")
        shake = Shake(client_tls(), server_context(issued))
        self.assertIn("purpose", str(self.refused(CertificateError, shake)))

    def test_verify_false_asks_nothing(self) -> None:
        issued = self_signed(self.folder())
        Shake(client_tls("other.lan", verify=False), server_context(issued)).streams()


class ChainTests(HandshakeTestCase):
    """root -> intermediate -> leaf"""

    def setUp(self) -> None:
        self.root = authority()
        self.where = self.folder()
        middle = Authority(self.where, "Middle CA")
        builder = (
            x509.CertificateBuilder()
            .subject_name(middle.certificate.subject)
            .issuer_name(self.root.certificate.subject)
            .public_key(middle.certificate.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        )
        self.middle = builder.sign(self.root._key, hashes.SHA256())
        self.leaf = middle.issue("nas.lan")
        self.bundle = self.where / "bundle.pem"
        self.bundle.write_bytes(self.leaf.cert.read_bytes() + self.pem(self.middle))

    def pem(self, certificate: x509.Certificate) -> bytes:
        return certificate.public_bytes(serialization.Encoding.PEM)

    def whole(self) -> Issued:
        return Issued(cert=self.bundle, key=self.leaf.key, certificate=self.leaf.certificate)

    def test_the_chain_in_the_file_is_sent(self) -> None:
        Shake(client_tls(), server_context(self.whole())).streams()

    def test_a_chain_that_is_not_sent_names_the_missing_issuer(self) -> None:
        error = self.refused(UnknownIssuer, Shake(client_tls(), server_context(self.leaf)))
        self.assertEqual(error.issuer, "CN=Middle CA")

    def test_an_intermediate_can_be_trusted_by_itself(self) -> None:
        trusted = self.where / "middle.pem"
        trusted.write_bytes(self.pem(self.middle))
        for issued in (self.leaf, self.whole()):
            Shake(client_tls(ca=(trusted,)), server_context(issued)).streams()

    def test_a_root_that_is_sent_along_is_not_trusted_for_that(self) -> None:
        self.bundle.write_bytes(self.bundle.read_bytes() + self.root.root.read_bytes())
        shake = Shake(client_tls(ca=("system",)), server_context(self.whole()))
        self.assertEqual(self.refused(UnknownIssuer, shake).issuer, "CN=Home CA")


class ServerNameTests(HandshakeTestCase):
    def asked_for(self, name: str) -> str | None:
        shake = Shake(client_tls(name, verify=False), server_context())
        server: Any = shake.streams()[1]
        asked: bytes | None = server._ssl.get_servername()
        return None if asked is None else asked.decode()

    def test_sni_is_the_name_and_never_an_address(self) -> None:
        self.assertEqual(self.asked_for("nas.lan"), "nas.lan")
        self.assertEqual(self.asked_for("nas.lan."), "nas.lan")
        self.assertEqual(self.asked_for("bücher.lan"), "xn--bcher-kva.lan")
        for address in ("192.0.2.5", "fd00::5", ""):
            self.assertIsNone(self.asked_for(address))


class VersionTests(HandshakeTestCase):
    def test_no_common_version(self) -> None:
        shake = Shake(only(client_tls(), "1.2"), server_context(min_version="1.3"))
        error = self.refused(NoCommonVersion, shake)
        self.assertEqual(error.proxy_status, "tls_protocol_error")
        self.server_refused(NoCommonVersion, shake)

    def test_a_server_that_is_too_old(self) -> None:
        shake = Shake(client_tls(min_version="1.3"), only(server_context(), "1.2"))
        self.refused(NoCommonVersion, shake)

    def test_no_common_cipher(self) -> None:
        context: Any = only(server_context(), "1.2")
        context._ready().set_cipher_list(b"AES256-SHA256")
        shake = Shake(client_tls(), context)
        self.refused(NoCommonVersion, shake)
        self.server_refused(NoCommonVersion, shake)

    def test_tls_1_0_only_where_it_is_asked_for(self) -> None:
        from OpenSSL import SSL

        context: Any = server_context(min_version="1.0")
        context._ready().set_max_proto_version(SSL.TLS1_VERSION)
        self.refused(NoCommonVersion, Shake(client_tls(), context))
        client, _ = Shake(client_tls(min_version="1.0"), context).streams()
        self.assertEqual(client.version, "TLSv1")

    def test_alpn_is_offered_when_asked(self) -> None:
        context: Any = server_context()
        context._ready().set_alpn_select_callback(lambda _, offered: offered[0])
        for offer, agreed in (((), ""), (("http/1.1",), "http/1.1")):
            clock, shake = Clock(), Shake(client_tls(), context, run=False)
            shake.client_done.cancel()
            stream = shake.wire.a = MemoryStream()
            done = Deferred.fromCoroutine(secure_client(clock, stream, client_tls(), timeout=5, alpn=offer))
            shake.wire.run()
            self.assertEqual(self.successResultOf(done).application_protocol, agreed)


class ClientCertificateTests(HandshakeTestCase):
    def shown(self) -> dict[str, Any]:
        issued = client_certificate()
        return {"cert": issued.cert, "key": issued.key}

    def test_one_that_is_right_is_taken(self) -> None:
        for version in ("1.2", "1.3"):
            tls = only(client_tls(**self.shown()), version)
            _, server = Shake(tls, server_context(client_ca=True)).streams()
            info = server.certificate
            assert info is not None
            self.assertEqual(info.subject, "CN=client.lan")

    def test_missing_in_tls_1_2_is_known_at_once(self) -> None:
        shake = Shake(only(client_tls(), "1.2"), server_context(client_ca=True))
        error = self.refused(ClientCertificateWanted, shake)
        self.assertEqual(error.proxy_status, "tls_alert_received")
        self.server_refused(ClientCertificateWanted, shake)

    def test_missing_in_tls_1_3_comes_as_the_first_read(self) -> None:
        shake = Shake(client_tls(), server_context(client_ca=True))
        self.server_refused(ClientCertificateWanted, shake)
        assert isinstance(shake.client, TlsStream)
        heard = listen_to(shake.client)
        shake.wire.run()
        assert heard.reason is not None
        error = heard.reason.value
        assert isinstance(error, ClientCertificateWanted)
        self.assertEqual(error.alert, "certificate_required")
        self.assertEqual(heard.told, ["lost"])

    def test_one_of_another_authority_is_refused(self) -> None:
        other = Authority(self.folder(), "Other CA").issue("client.lan", client=True)
        for version in ("1.2", "1.3"):
            tls = only(client_tls(cert=other.cert, key=other.key), version)
            shake = Shake(tls, server_context(client_ca=True))
            error = self.server_refused(UnknownIssuer, shake)
            self.assertEqual(error.issuer, "CN=Other CA")
            if version == "1.2":
                self.refused(ClientCertificateWanted, shake)
            else:
                assert isinstance(shake.client, TlsStream)
                heard = listen_to(shake.client)
                shake.wire.run()
                assert heard.reason is not None
                self.assertIsInstance(heard.reason.value, ClientCertificateWanted)


class OtherPeerTests(HandshakeTestCase):
    def start(self, *, client: bool = True) -> tuple[MemoryStream, Clock, list[Any]]:
        stream, clock = MemoryStream(), Clock()
        results: list[Any] = []
        start: Any = (
            secure_client(clock, stream, client_tls(), timeout=10)
            if client
            else secure_server(clock, stream, server_context(), timeout=10)
        )
        self.waiting = Deferred.fromCoroutine(start)
        self.waiting.addBoth(results.append)
        return stream, clock, results

    def fails(self, kind: type[RelayError], started: tuple[MemoryStream, Clock, list[Any]]) -> str:
        stream, clock, results = started
        [failure] = results
        self.assertIs(failure.type, kind, failure)
        self.assertTrue(stream.closed)
        self.assertEqual(clock.getDelayedCalls(), [])
        return str(failure.value)

    def test_plain_http_from_a_server(self) -> None:
        started = self.start()
        started[0].receive(b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n")
        self.assertIn('"HTTP/1.1 400 Bad Request"', self.fails(NotTls, started))

    def test_another_protocol_from_a_server(self) -> None:
        for said in (b"SSH-2.0-OpenSSH_9.9\r\n", b"\x00\x01\x02", b"\xff"):
            started = self.start()
            started[0].receive(said)
            self.fails(NotTls, started)

    def test_plain_http_from_a_client_and_its_query_is_not_told(self) -> None:
        started = self.start(client=False)
        started[0].receive(b"GET /?token=hush HTTP/1.1\r\n\r\n")
        self.assertEqual(self.fails(NotTls, started), "the client speaks plain HTTP")

    def test_a_record_that_is_no_handshake(self) -> None:
        started = self.start()
        started[0].receive(b"\x16\x03\x03\x00\x04abcd")
        self.fails(TlsError, started)

    def test_silence(self) -> None:
        started = self.start()
        started[1].advance(9.9)
        self.assertEqual(started[2], [])
        started[1].advance(0.2)
        self.assertEqual(self.fails(TlsTimeout, started), "the TLS handshake took longer than 10 s")

    def test_an_end_and_a_reset_are_no_tls_errors(self) -> None:
        for leave in (MemoryStream.receive_eof, MemoryStream.lose):
            for client in (True, False):
                started = self.start(client=client)
                leave(started[0])
                self.fails(PeerClosed, started)

    def test_a_stream_that_died_while_it_was_parked(self) -> None:
        stream, clock = MemoryStream(), Clock()
        stream.lose()
        done = Deferred.fromCoroutine(secure_client(clock, stream, client_tls(), timeout=10))
        self.failureResultOf(done, PeerClosed)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_cancellation_resets_and_leaves_nothing(self) -> None:
        for client in (True, False):
            stream, clock, results = self.start(client=client)
            self.waiting.cancel()
            self.assertTrue(stream.aborted)
            self.assertEqual(len(results), 1)
            self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_client_hello_in_single_bytes(self) -> None:
        shake = Shake(client_tls(), server_context(), run=False)
        for byte in shake.wire.a.take():
            shake.wire.b.receive(bytes([byte]))
        shake.wire.run()
        shake.streams()
