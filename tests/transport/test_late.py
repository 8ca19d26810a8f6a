"""A renegotiation of TLS 1.2 in memory: what is written in its middle, and who the server is after it."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from lanrelay.cli.authority import Issued
from lanrelay.errors import CertificateError, TlsBroken
from lanrelay.transport import records
from lanrelay.transport.late import LateTlsStream
from lanrelay.transport.tls import TlsStream, secure_client
from tests.support.memory import MemoryStream
from tests.support.tls import (
    Heard,
    authority,
    client_certificate,
    client_tls,
    listen_to,
    server_certificate,
)


@implementer(IPushProducer)
class Source:
    def __init__(self) -> None:
        self.said: list[str] = []

    def pauseProducing(self) -> None:
        self.said.append("pause")

    def resumeProducing(self) -> None:
        self.said.append("resume")

    def stopProducing(self) -> None:
        self.said.append("stop")


class Server:
    """OpenSSL's own, in memory."""

    def __init__(self, issued: Issued, raw: MemoryStream) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.load_verify_locations(str(authority().root))
        # Else the client would come back with its session, and nobody would show anything.
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self.use(context, issued)
        self.raw = raw
        self.ssl: Any = SSL.Connection(context, None)
        self.ssl.set_accept_state()
        self.received = b""
        self.ended = False

    def use(self, context: SSL.Context, issued: Issued) -> None:
        context.use_certificate_chain_file(str(issued.cert))
        context.use_privatekey_file(str(issued.key))

    def step(self) -> bool:
        """Read what came, answer; whether there was anything."""
        data = self.raw.take()
        if data:
            self.ssl.bio_write(data)
            try:
                while True:
                    self.received += self.ssl.recv(65536)
            except SSL.WantReadError:
                pass
            except SSL.ZeroReturnError:
                self.ended = True
        return self.send() or bool(data)

    def send(self) -> bool:
        try:
            self.raw.receive(self.ssl.bio_read(1 << 20))
        except SSL.WantReadError:
            return False
        return True

    def run(self) -> None:
        while self.step():
            pass

    def ask(self) -> None:
        """A HelloRequest, on its way."""
        self.ssl.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *rest: bool(rest[-1]))
        self.ssl.renegotiate()
        self.ssl.do_handshake()
        self.send()


class LateCase(SynchronousTestCase):
    def setUp(self) -> None:
        mine = client_certificate()
        self.raw = MemoryStream()
        self.server = Server(server_certificate(), self.raw)
        tls = client_tls(cert=mine.cert, key=mine.key)
        made = Deferred.fromCoroutine(secure_client(Clock(), self.raw, tls, timeout=10))
        self.server.run()
        stream: TlsStream = self.successResultOf(made)
        assert isinstance(stream, LateTlsStream)
        self.stream = stream
        self.heard: Heard = listen_to(stream)

    def shown(self) -> str:
        certificate = self.server.ssl.get_peer_certificate(as_cryptography=True)
        return "" if certificate is None else str(certificate.subject.rfc4514_string())


class RenegotiationTests(LateCase):
    def test_the_certificate_is_shown_when_it_is_asked_for(self) -> None:
        self.assertEqual(self.shown(), "")
        self.server.ask()
        self.server.run()
        self.assertEqual(self.shown(), "CN=client.lan")
        self.stream.write(b"up")
        self.server.ssl.send(b"down")
        self.server.run()
        self.assertEqual((self.server.received, self.heard.data), (b"up", b"down"))

    def test_what_is_written_meanwhile_comes_after_it_in_order_and_its_source_waits(self) -> None:
        source = Source()
        self.stream.registerProducer(source, True)
        self.server.ask()  # the client has begun
        for number in range(20):
            self.stream.write(b"%d," % number)
        self.assertEqual(source.said, ["pause"])
        self.stream.unregisterProducer()
        later = Source()
        self.stream.registerProducer(later, True)
        self.assertEqual(later.said, ["pause"])
        self.server.run()
        self.assertEqual(later.said, ["pause", "resume"])
        self.stream.write(b"end")
        self.stream.unregisterProducer()
        self.stream.loseWriteConnection()
        self.server.run()
        self.assertEqual(self.server.received, b"".join(b"%d," % number for number in range(20)) + b"end")
        self.assertTrue(self.server.ended)
        self.assertEqual(self.heard.told, ["flushed"])

    def test_an_end_in_the_middle_comes_after_what_waits(self) -> None:
        self.server.ask()
        self.stream.write(b"last")
        self.stream.loseWriteConnection()
        self.assertFalse(self.server.ended)
        self.server.run()
        self.assertEqual((self.server.received, self.server.ended), (b"last", True))

    def test_a_close_in_the_middle_is_a_cut(self) -> None:
        self.server.ask()
        self.stream.write(b"lost")
        self.stream.loseConnection()
        self.assertTrue(self.raw.aborted)
        self.assertEqual(self.heard.told, ["lost"])

    def test_what_waits_has_a_bound(self) -> None:
        self.server.ask()
        for _ in range(17):
            self.stream.write(bytes(65536))
        assert self.heard.reason is not None
        self.assertIsInstance(self.heard.reason.value, TlsBroken)

    def test_another_certificate_is_not_the_server_that_was_judged(self) -> None:
        other = authority().issue("nas.lan", file_name="another")
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.load_verify_locations(str(authority().root))
        self.server.use(context, other)
        self.server.ssl.set_context(context)
        self.server.ask()
        self.server.run()
        self.server.ssl.send(b"believe me")
        self.server.run()
        self.assertEqual(self.heard.data, b"")
        assert self.heard.reason is not None
        self.assertIsInstance(self.heard.reason.value, CertificateError)

    def test_without_end_it_is_ended(self) -> None:
        for _ in range(200):
            self.server.ask()
            self.server.run()
            if self.heard.reason is not None:
                break
        assert self.heard.reason is not None
        self.assertIsInstance(self.heard.reason.value, TlsBroken)


class PublicTests(RenegotiationTests):
    """By what pyOpenSSL documents."""

    def setUp(self) -> None:
        self.patch(records, "_beneath", lambda: None)
        super().setUp()


class OthersTests(SynchronousTestCase):
    def test_who_has_no_certificate_does_not_renegotiate(self) -> None:
        raw = MemoryStream()
        server = Server(server_certificate(), raw)
        made = Deferred.fromCoroutine(secure_client(Clock(), raw, client_tls(), timeout=10))
        server.run()
        stream = self.successResultOf(made)
        self.assertNotIsInstance(stream, LateTlsStream)
        heard = listen_to(stream)
        server.ask()
        with self.assertRaises(SSL.Error):
            server.run()
        self.assertEqual(heard.data, b"")
