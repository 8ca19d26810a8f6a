"""TLS on real sockets, against OpenSSL connections and Python's own ssl module in threads."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.error import ConnectionLost

from lanrelay.errors import (
    ClientCertificateWanted,
    DialError,
    NotTls,
    PeerClosed,
    TlsTimeout,
    TlsTruncated,
    UnknownIssuer,
)
from lanrelay.observe.session import Session
from lanrelay.transport.pump import PumpLimits, join
from lanrelay.transport.stream import Stream
from lanrelay.transport.tls import ClientTls, ServerContext, TlsStream, secure_client, secure_server
from tests.support.sockets import SocketTestCase, in_thread, pause, receive_all, reset, watch_buffers
from tests.support.tls import (
    authority,
    client_certificate,
    client_tls,
    listen_to,
    server_certificate,
    server_context,
)

MB = 1024 * 1024
Peer = Callable[[SSL.Connection], Any]


def server_side(peer: socket.socket, context: ServerContext | None = None) -> SSL.Connection:
    """The peer as a blocking TLS server, after its handshake."""
    peer.settimeout(None)  # pyOpenSSL wants blocking sockets
    inner: Any = (context or server_context())._ready()
    connection = SSL.Connection(inner, peer)
    connection.set_app_data(type("Judgement", (), {"error": None})())
    connection.set_accept_state()
    connection.do_handshake()
    return connection


def read_to_close_notify(connection: SSL.Connection) -> bytes:
    """All that comes before close_notify."""
    parts = []
    while True:
        try:
            parts.append(connection.recv(65536))
        except SSL.ZeroReturnError:
            return b"".join(parts)


class TlsTestCase(SocketTestCase):
    def setUp(self) -> None:
        super().setUp()
        server_certificate()  # here, and not in two threads at once
        client_certificate()

    async def secured(self, peer_does: Peer, tls: ClientTls | None = None) -> tuple[TlsStream, Any]:
        """A stream to a server, and the Deferred of what its peer does after the handshake."""
        raw, peer = await self.pair()

        def serve() -> Any:
            return peer_does(server_side(peer))

        served = in_thread(serve)
        stream = await secure_client(reactor, raw, tls or client_tls(), timeout=20)
        return stream, served

    async def refused(
        self, peer_does: Callable[[socket.socket], Any], tls: ClientTls | None = None
    ) -> tuple[Exception, Any]:
        """Why the handshake failed, and what the peer made of it; nothing is left open."""
        raw, peer = await self.pair()
        served = in_thread(peer_does, peer)
        error: Exception | None = None
        try:
            await secure_client(reactor, raw, tls or client_tls(), timeout=1)
        except DialError as caught:
            error = caught
        assert error is not None
        await pause(0.02)
        self.assertTrue(raw.disconnected)  # type: ignore[attr-defined]
        return error, await served


class HandshakeTests(TlsTestCase):
    async def test_a_server_hears_why_it_was_refused(self) -> None:
        def serve(peer: socket.socket) -> str:
            try:
                server_side(peer)
            except SSL.Error as error:
                return str(error)
            return "no error"

        error, said = await self.refused(serve, client_tls(ca=("system",)))
        self.assertIsInstance(error, UnknownIssuer)
        self.assertIn("unknown ca", said)

    async def test_plain_http(self) -> None:
        def serve(peer: socket.socket) -> None:
            peer.recv(10)
            peer.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        error, _ = await self.refused(serve)
        self.assertIsInstance(error, NotTls)

    async def test_a_server_that_leaves_and_one_that_is_silent(self) -> None:
        for leave, kind in (
            (lambda peer: peer.close(), PeerClosed),
            (reset, PeerClosed),
            (lambda peer: time.sleep(0.01), TlsTimeout),
        ):
            error, _ = await self.refused(leave)
            self.assertIsInstance(error, kind)

    async def test_a_client_certificate_that_is_missing_in_tls_1_3(self) -> None:
        raw, peer = await self.pair()

        def serve() -> None:
            try:
                server_side(peer, server_context(client_ca=True))
            except SSL.Error:
                peer.close()

        served = in_thread(serve)
        stream = await secure_client(reactor, raw, client_tls(), timeout=20)
        heard = listen_to(stream)
        while heard.reason is None:
            await pause(0.01)
        self.assertIsInstance(heard.reason.value, ClientCertificateWanted)
        await served

    async def test_a_client_of_another_openssl(self) -> None:
        raw, peer = await self.pair()
        issued = client_certificate()

        def call() -> tuple[bytes, str | None]:
            context = ssl.create_default_context(cafile=str(authority().root))
            context.load_cert_chain(issued.cert, issued.key)
            with context.wrap_socket(peer, server_hostname="nas.lan") as client:
                client.sendall(b"question")
                return receive_all(client), client.version()

        called = in_thread(call)
        stream = await secure_server(reactor, raw, server_context(client_ca=True), timeout=20)
        assert stream.certificate is not None
        self.assertEqual(stream.certificate.names, ("client.lan",))
        heard = listen_to(stream)
        while heard.data != b"question":
            await pause(0.01)
        stream.write(b"answer" * 100_000)
        stream.loseConnection()
        answer, version = await called
        self.assertEqual((len(answer), version), (600_000, "TLSv1.3"))

    async def test_a_client_without_its_certificate_hears_why(self) -> None:
        raw, peer = await self.pair()

        def call() -> str:
            context = ssl.create_default_context(cafile=str(authority().root))
            try:
                with context.wrap_socket(peer, server_hostname="nas.lan") as client:
                    client.recv(1)
            except ssl.SSLError as error:
                return str(error)
            return "no error"

        called = in_thread(call)
        with self.assertRaises(ClientCertificateWanted):
            await secure_server(reactor, raw, server_context(client_ca=True), timeout=20)
        self.assertIn("certificate required", (await called).lower().replace("_", " "))


class EndTests(TlsTestCase):
    async def test_half_close_and_the_late_answer(self) -> None:
        def serve(connection: SSL.Connection) -> bytes:
            question = read_to_close_notify(connection)
            time.sleep(0.05)
            connection.sendall(b"late answer")
            connection.shutdown()
            return question

        stream, served = await self.secured(serve)
        heard = listen_to(stream)
        stream.write(b"question" * 100_000)
        stream.loseWriteConnection()
        self.assertEqual(len(await served), 800_000)
        while "end" not in heard.told:
            await pause(0.01)
        self.assertEqual(heard.data, b"late answer")
        self.assertEqual(heard.told[0], "flushed")
        stream.loseConnection()
        while heard.reason is None:
            await pause(0)

    async def test_an_end_without_close_notify_is_a_cut(self) -> None:
        def serve(connection: SSL.Connection) -> None:
            connection.sendall(b"half an ans")
            connection.sock_shutdown(socket.SHUT_WR)

        stream, served = await self.secured(serve)
        heard = listen_to(stream)
        await served
        while heard.reason is None:
            await pause(0.01)
        self.assertEqual(heard.data, b"half an ans")
        self.assertIsInstance(heard.reason.value, TlsTruncated)

    async def test_a_reset_is_a_reset(self) -> None:
        raw, peer = await self.pair()
        served = in_thread(server_side, peer)
        stream = await secure_client(reactor, raw, client_tls(), timeout=20)
        heard = listen_to(stream)
        await served
        reset(peer)
        while heard.reason is None:
            await pause(0.01)
        self.assertIsInstance(heard.reason.value, ConnectionLost)


class PumpTests(TlsTestCase):
    """A forward from TCP to TLS."""

    async def forward(self, peer_does: Peer) -> tuple[socket.socket, Any, Any]:
        self.session = Session(id=1, listener="x", kind="tcp-forward", client="c", started=0, opened=0)
        downstream, client = await self.pair()
        upstream, served = await self.secured(peer_does)
        self.streams: tuple[Stream, TlsStream] = downstream, upstream
        limits = PumpLimits(idle=30, half_closed=30, close=5)
        return client, served, join(reactor, downstream, upstream, session=self.session, limits=limits)

    async def test_half_close_both_ways(self) -> None:
        def serve(connection: SSL.Connection) -> bytes:
            question = read_to_close_notify(connection)
            connection.sendall(b"late answer")
            connection.shutdown()
            return question

        client, served, pump = await self.forward(serve)
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(await served, b"question")
        self.assertEqual(await in_thread(receive_all, client), b"late answer")
        await pump.done
        self.assertEqual((self.session.phase, self.session.ended_by), ("done", "downstream"))

    async def test_a_cut_resets_the_client(self) -> None:
        def serve(connection: SSL.Connection) -> None:
            connection.sendall(b"half an ans")
            connection.sock_shutdown(socket.SHUT_WR)

        client, served, pump = await self.forward(serve)
        await served
        await pump.done
        with self.assertRaises(ConnectionResetError):
            await in_thread(receive_all, client)
        self.assertEqual((self.session.phase, self.session.ended_by), ("tunnel", "upstream"))
        self.assertIn("close_notify", self.session.detail)

    async def test_100_mb_to_a_slow_reader_and_back(self) -> None:
        block = bytes(range(256)) * 4096

        def send(to: Any, count: int) -> None:
            for _ in range(count):
                to.sendall(block)

        def receive(client: socket.socket) -> str:
            digest = hashlib.sha256()
            pauses = 25
            while part := client.recv(262144):
                digest.update(part)
                if pauses:
                    pauses -= 1
                    time.sleep(0.02)
            return digest.hexdigest()

        def serve(connection: SSL.Connection) -> str:
            send(connection, 100)
            connection.shutdown()
            return hashlib.sha256(read_to_close_notify(connection)).hexdigest()

        client, served, pump = await self.forward(serve)
        self.most = 0
        self.watch()
        received = in_thread(receive, client)
        self.assertEqual(await received, hashlib.sha256(block * 100).hexdigest())
        sent = in_thread(send, client, 20)
        await sent
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(await served, hashlib.sha256(block * 20).hexdigest())
        await pump.done
        self.assertEqual((self.session.received, self.session.sent), (20 * MB, 100 * MB))
        self.assertEqual((self.session.phase, self.session.ended_by), ("done", "upstream"))
        self.assertLessEqual(self.most, 256 * 1024)

    def watch(self) -> None:
        watch_buffers(self, lambda waiting: setattr(self, "most", max(self.most, waiting)))

    async def test_a_server_that_does_not_read_stops_the_client(self) -> None:
        client, served, pump = await self.forward(lambda connection: connection)
        connection = await served
        client.setblocking(False)
        self.most = 0
        self.watch()
        stalled = 0
        while stalled < 5:
            try:
                client.send(b"x" * 65536)
                stalled = 0
            except BlockingIOError:
                stalled += 1
                await pause(0.02)
        self.assertLessEqual(self.most, 256 * 1024)
        self.assertGreater(self.most, 0)
        pump.abort()
        await pump.done
        del connection


class CertificateInfoTests(TlsTestCase):
    async def test_what_the_upstream_showed(self) -> None:
        stream, served = await self.secured(lambda connection: None)
        await served
        info = stream.certificate
        assert info is not None
        self.assertEqual(info.issuer, "CN=Home CA")
        self.assertEqual(info.not_after, server_certificate().certificate.not_valid_after_utc)
        stream.abortConnection()
