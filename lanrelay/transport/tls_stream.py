"""A stream that is secured by TLS, over any other stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.errors import RelayError, TlsBroken, TlsTruncated
from lanrelay.transport.stream import Parked, Stream

if TYPE_CHECKING:
    from OpenSSL import SSL

    from lanrelay.transport.verify import CertificateInfo

_RECORD = 16384  # bytes in a TLS record at most, and what SSL_read gives at most (RFC 8446 section 5.1)
_PORTION = 65536  # bytes for the protocol at most in one go, as from Twisted's sockets
_CIPHERTEXT = _PORTION + 4096  # with the overhead of its records

# Bytes that a peer can make OpenSSL itself send, over the life of a connection. A key update is answered with
# some 30, and is due once in 2**24 records; a renegotiation of TLS 1.2 with a few KiB.
_OWN_WORDS = 65536


@implementer(IHalfCloseableProtocol)
class TlsStream:
    """
    A L{Stream} over a stream; also the protocol of that raw stream. Made by a handshake, parked and paused.

    Our end is close_notify alone (C{loseWriteConnection}), and reading goes on; C{loseConnection} sends
    close_notify and closes without waiting for the peer's. The peer's close_notify is C{readConnectionLost},
    or for a protocol without half-close the end of the connection. A raw stream that ends without it is
    C{connectionLost} with L{TlsTruncated}.

    Nothing is kept here beyond one portion of the raw stream's bytes: what is written goes into the raw
    stream's buffer, whose pauses reach the registered producer.
    """

    __slots__ = (
        "_SSL",
        "_client",
        "_closing",
        "_draining",
        "_end_told_to",
        "_error",
        "_flush",
        "_has_producer",
        "_lost",
        "_own_words",
        "_raw",
        "_raw_ended",
        "_read_ended",
        "_reading",
        "_ssl",
        "_write_ended",
        "protocol",
    )

    def __init__(self, raw: Stream, ssl: SSL.Connection, *, client: bool) -> None:
        from OpenSSL import SSL  # late: 80 ms; here it was imported for the handshake

        self._SSL: Any = SSL
        self._ssl: Any = ssl
        self._raw = raw
        self._client = client
        self._reading = False  # the protocol wants bytes
        self._draining = False  # `_drain` is on the stack
        self._read_ended = False  # close_notify came
        self._raw_ended = False  # FIN came
        self._end_told_to: object = None
        self._write_ended = False  # close_notify was sent
        self._closing = False  # loseConnection was called
        self._lost = False
        self._own_words = 0
        self._error: RelayError | None = None  # why we aborted the raw stream
        self._has_producer = False
        self._flush: _Flush | None = None
        self.protocol: Any = Parked()
        self.protocol.makeConnection(self)  # type: ignore[no-untyped-call, unused-ignore]

    @property
    def certificate(self) -> CertificateInfo | None:
        """What the peer showed; C{None} if nothing."""
        from lanrelay.transport.verify import certificate_info

        certificate = self.shown
        return None if certificate is None else certificate_info(certificate.to_cryptography())

    @property
    def shown(self) -> Any:
        """The same as pyOpenSSL's C{X509}, not parsed."""
        return self._ssl.get_peer_certificate()

    @property
    def version(self) -> str:
        """The protocol version, as C{"TLSv1.3"}."""
        name: str = self._ssl.get_protocol_version_name()
        return name

    @property
    def application_protocol(self) -> str:
        """What was agreed on by ALPN; empty for nothing."""
        name: bytes = self._ssl.get_alpn_proto_negotiated()
        return name.decode("ascii")

    # as a transport: writing ---------------------------------------------------------------------------

    takes_views = True
    """C{write} takes a C{memoryview} too, and keeps no part of it."""

    def write(self, data: bytes | memoryview) -> None:
        if len(data) > _PORTION:  # OpenSSL's buffers never shrink again
            view = memoryview(data)
            for start in range(0, len(data), _PORTION):
                self.write(view[start : start + _PORTION])
            return
        if self._write_ended or self._lost or self._error is not None or not data:
            return
        try:
            self._ssl.sendall(data)
        except self._SSL.Error as error:
            self._broken(error)
        else:
            self._send()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._has_producer = not self._lost
        self._raw.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self._has_producer = False
        if self._flush is None:
            self._raw.unregisterProducer()
        if self._closing:
            self._close()

    def loseWriteConnection(self) -> None:
        if self._write_ended or self._lost or self._error is not None:
            return
        if self._has_producer:
            self.unregisterProducer()
        # Only a pull producer hears when a buffer has run empty, and it has to write when it is asked first.
        self._flush = _Flush(self)
        self._raw.registerProducer(self._flush, False)

    def loseConnection(self) -> None:
        if self._closing or self._lost or self._error is not None:
            return
        self._closing = True
        self._reading = False
        if not self._has_producer:  # else when it has finished, as Twisted's transports do
            self._close()

    def abortConnection(self) -> None:
        if not self._lost:
            self._reading = False
            self._closing = True
            self._raw.abortConnection()

    # as a transport: reading ---------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._reading = False
        if not self._raw_ended:
            self._raw.pauseProducing()

    def resumeProducing(self) -> None:
        if self._closing or self._lost or self._error is not None:
            return
        self._reading = True
        if not self._draining:
            self._drain()  # what OpenSSL has decrypted already: no readable event comes for that
        if self._reading and not self._raw_ended and not self._lost:
            self._raw.resumeProducing()

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> Any:
        return self._raw.getPeer()

    def getHost(self) -> Any:
        return self._raw.getHost()

    def getHandle(self) -> Any:
        """The socket beneath; C{None} where there is none."""
        handle = getattr(self._raw, "getHandle", None)
        return None if handle is None else handle()

    # as the protocol of the raw stream --------------------------------------------------------------------

    def makeConnection(self, transport: Stream) -> None:
        """Called by L{hand_over}."""
        self._raw = transport

    def dataReceived(self, data: bytes) -> None:
        if self._read_ended or self._closing or self._error is not None:
            return  # what comes after close_notify is not the peer's (RFC 8446 section 6.1)
        self._ssl.bio_write(data)
        if not self._draining:
            self._drain()

    def readConnectionLost(self) -> None:
        """FIN."""
        self._raw_ended = True
        if not (self._read_ended or self._closing):
            self._give_up(TlsTruncated("the peer closed the connection without TLS close_notify"))

    def writeConnectionLost(self) -> None:
        """The raw stream is never half-closed by us."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The raw stream is gone."""
        if self._lost:
            return
        self._lost = True
        self._reading = False
        if self._error is not None:
            reason = Failure(self._error)
        elif isinstance(reason.value, ConnectionDone) and not (self._closing or self._read_ended):
            reason = Failure(TlsTruncated("the peer closed the connection without TLS close_notify"))
        self.protocol.connectionLost(reason)

    # ------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Give the protocol what has come, as long as it wants it. Never called from within itself."""
        self._draining = True
        try:
            while self._reading:
                if self._read_ended:
                    self._tell_end()
                    break
                data, more = self._decrypt()
                if data:
                    self.protocol.dataReceived(data)
                if not more:
                    break
        finally:
            self._draining = False
        if not (self._lost or self._error is not None):
            self._own_words += self._send()  # answers of OpenSSL's own, to a key update for example
            if self._own_words > _OWN_WORDS:
                self._give_up(TlsBroken("the peer makes TLS itself answer without end"))

    def _decrypt(self) -> tuple[bytes, bool]:
        """A portion of what was sent to us, and whether it is worth to ask again."""
        recv = self._ssl.recv
        parts: list[bytes] = []
        size = 0
        while size < _PORTION:
            try:
                part = recv(_RECORD)
            except self._SSL.WantReadError:
                return b"".join(parts), False
            except self._SSL.ZeroReturnError:
                self._read_ended = True
                return b"".join(parts), True
            except self._SSL.Error as error:
                self._broken(error)
                return b"".join(parts), False
            parts.append(part)
            size += len(part)
        return b"".join(parts), True

    def _tell_end(self) -> None:
        protocol = self.protocol
        if self._end_told_to is protocol:
            return
        self._end_told_to = protocol
        if IHalfCloseableProtocol.providedBy(protocol):
            protocol.readConnectionLost()
        else:
            self.loseConnection()

    def _send(self) -> int:
        """Pass on to the raw stream what OpenSSL wants to send; how much that was."""
        sent = 0
        while True:
            try:
                data = self._ssl.bio_read(_CIPHERTEXT)
            except self._SSL.WantReadError:
                return sent
            self._raw.write(data)
            sent += len(data)
            if len(data) < _CIPHERTEXT:
                return sent

    def _send_close_notify(self) -> None:
        self._write_ended = True
        try:
            self._ssl.shutdown()
        except self._SSL.Error:
            pass  # the connection is broken already; whoever reads hears of it
        self._send()

    def _close(self) -> None:
        if self._flush is not None:
            self._flush = None
            self._raw.unregisterProducer()
        if not self._write_ended:
            self._send_close_notify()
        self._raw.loseConnection()

    def _flushed(self) -> None:
        """Our close_notify has left."""
        self._flush = None
        self._raw.unregisterProducer()
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.writeConnectionLost()

    def _broken(self, error: Exception) -> None:
        from lanrelay.transport.alerts import late_error

        self._give_up(late_error(error, client=self._client))

    def _give_up(self, error: RelayError) -> None:
        """The protocol hears C{error} as soon as the raw stream is gone."""
        if self._error is None and not self._lost:
            self._error = error
            self._reading = False
            self._raw.abortConnection()


@implementer(IPullProducer)
class _Flush:
    """Writes close_notify when the raw stream asks first, and hears that it has left when it asks again."""

    __slots__ = ("asked", "stream")

    def __init__(self, stream: TlsStream) -> None:
        self.stream = stream
        self.asked = False

    def resumeProducing(self) -> None:
        if not self.asked:
            self.asked = True
            self.stream._send_close_notify()
        elif self.stream._flush is self:
            self.stream._flushed()

    def stopProducing(self) -> None:
        """The raw stream is gone; C{connectionLost} follows."""
