"""Certificates for tests, and pairs of TLS streams in memory."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.cli.authority import Authority, Issued
from lanrelay.config.model import ServerTls, TlsVersion, Trust
from lanrelay.transport.stream import hand_over
from lanrelay.transport.tls import ClientTls, ServerContext, TlsStream, secure_client, secure_server
from lanrelay.trust.certificate import Certificate
from tests.support.wire import Wire


@cache
def authority() -> Authority:
    """One authority for all tests of a run; keys take time."""
    folder = tempfile.TemporaryDirectory(prefix="lanrelay-test-ca-")
    made = Authority(Path(folder.name), "Home CA")
    made.keep = folder  # type: ignore[attr-defined]  # the folder goes when the process ends
    return made


@cache
def server_certificate() -> Issued:
    """For C{nas.lan} and C{192.0.2.5}."""
    return authority().issue("nas.lan", "192.0.2.5")


@cache
def client_certificate() -> Issued:
    """For a client that shows itself."""
    return authority().issue("client.lan", client=True)


def server_context(
    issued: Issued | None = None, *, client_ca: bool = False, min_version: TlsVersion = "1.2"
) -> ServerContext:
    """A server with C{issued}, by default L{server_certificate}."""
    issued = issued or server_certificate()
    context = ServerContext(
        ServerTls(
            cert=issued.cert,
            key=issued.key,
            client_ca=(authority().root,) if client_ca else (),
            min_version=min_version,
        )
    )
    context.load()
    return context


def client_tls(name: str = "nas.lan", **trust: Any) -> ClientTls:
    """A client that trusts L{authority}, if nothing else is said; a Mac's own keychains are not asked."""
    trust.setdefault("ca", (authority().root,))
    tls = ClientTls(Trust(**trust), name, platform="linux")
    tls.load()
    return tls


def only(context: Any, version: str) -> Any:
    """Hold a L{ClientTls} or L{ServerContext} to one version of TLS at most."""
    from OpenSSL import SSL

    context._ready().set_max_proto_version({"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}[version])
    return context


class Shake:
    """
    A handshake in memory.

    @ivar client: the L{TlsStream}, the failure, or C{None} while it is under way.
    @ivar server: the same of the other side.
    """

    def __init__(self, tls: ClientTls, context: ServerContext, *, run: bool = True) -> None:
        self.clock = Clock()
        self.wire = Wire()
        self.client: TlsStream | Failure | None = None
        self.server: TlsStream | Failure | None = None
        self.client_done = Deferred.fromCoroutine(secure_client(self.clock, self.wire.a, tls, timeout=10))
        self.server_done = Deferred.fromCoroutine(secure_server(self.clock, self.wire.b, context, timeout=10))
        self.client_done.addBoth(lambda result: setattr(self, "client", result))
        self.server_done.addBoth(lambda result: setattr(self, "server", result))
        if run:
            self.wire.run()

    def streams(self) -> tuple[TlsStream, TlsStream]:
        """Both secured streams."""
        for one in (self.client, self.server):
            if isinstance(one, Failure):
                one.raiseException()
        assert isinstance(self.client, TlsStream)
        assert isinstance(self.server, TlsStream)
        return self.client, self.server


class Heard(Protocol):
    """Remembers all that a stream tells; without half-close."""

    def __init__(self) -> None:
        self.data = b""
        self.told: list[str] = []
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self.told.append("data")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason
        self.told.append("lost")


@implementer(IHalfCloseableProtocol)
class HeardHalfClose(Heard):
    """The same, with half-close."""

    def readConnectionLost(self) -> None:
        self.told.append("end")

    def writeConnectionLost(self) -> None:
        self.told.append("flushed")


def listen_to(stream: TlsStream, *, half_close: bool = True, resume: bool = True) -> Heard:
    """Put a listening protocol on a stream."""
    heard = HeardHalfClose() if half_close else Heard()
    hand_over(stream, heard)
    if resume:
        stream.resumeProducing()
    return heard


def public_key_pin(certificate: Any) -> str:
    """The pin of a certificate's public key, as one writes it."""
    return Certificate.of(certificate).key_pin


def certificate_pin(certificate: Any) -> str:
    """The pin of a whole certificate, as one writes it."""
    return Certificate.of(certificate).pin
