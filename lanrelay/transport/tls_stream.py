"""A stream that is secured by TLS, over any other stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.errors import RelayError, TlsBroken, TlsTruncated
from lanrelay.transport.abilities import Abilities, Hearer, abilities_of, hearer_of
from lanrelay.transport.records import LARGEST, records_of
from lanrelay.transport.stream import Parked, Stream, handle_of

if TYPE_CHECKING:
    from OpenSSL import SSL

    from lanrelay.trust.certificate import CertificateInfo

# Bytes for the protocol at most in one go, as from Twisted's sockets. After a full portion it is doubled, up
# to `LARGEST`; each pause sets it back, so that less is held for a slow reader. An HTTPS download through the
# reverse proxy cost 1.19 s/GB with a fixed 64 KiB, and 1.10 so; nginx's 1.02 in the same run.
_PORTION = 65536

# Bytes that a peer can make OpenSSL itself send during the life of a connection. The answer to a key update,
# due once in 2**24 records, is some 30; that to a renegotiation of TLS 1.2 is a few KiB.
_OWN_WORDS = 65536


@implementer(IHalfCloseableProtocol)
class TlsStream(Abilities, Hearer):
    """
    A L{Stream} over a stream; also the protocol of that raw stream. Made by a handshake, parked and paused.

    Our end is close_notify alone (C{loseWriteConnection}), and reading goes on; C{loseConnection} sends
    close_notify and closes without waiting for the peer's. The peer's close_notify is told as
    C{readConnectionLost}, or ends the connection of a protocol without half-close. If the raw stream ends
    without it, that is C{connectionLost} with L{TlsTruncated}.

    At most one portion of the raw stream's bytes is kept here. What is written goes into the raw stream's
    buffer, whose pauses reach the registered producer.

    A L{Hearer} that takes views is given some of OpenSSL's buffer.
    """

    __slots__ = (
        "_SSL",
        "_client",
        "_closing",
        "_decrypt",
        "_draining",
        "_encrypt",
        "_end_told_to",
        "_error",
        "_flush",
        "_has_producer",
        "_lends",
        "_lost",
        "_more",
        "_most",
        "_own_words",
        "_protocol",
        "_quiet",
        "_raw",
        "_raw_ended",
        "_read_ended",
        "_reading",
        "_records",
        "_ssl",
        "_view_received",
        "_waiting",
        "_write_ended",
    )

    def __init__(self, raw: Stream, ssl: SSL.Connection, *, client: bool) -> None:
        from OpenSSL import SSL  # late: it takes 80 ms; the handshake has imported it

        self._SSL: Any = SSL
        self._ssl: Any = ssl
        self._records = records = records_of(ssl)
        self._encrypt, self._decrypt, self._quiet = records.encrypt, records.decrypt, records.quiet
        self._waiting: bytes | memoryview = b""  # what came while the protocol was paused, still encrypted
        self._more = False  # OpenSSL may have more content
        self._most = _PORTION
        self.makeConnection(raw)
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
        self.protocol = Parked()
        self.protocol.makeConnection(self)

    @property
    def protocol(self) -> Any:
        """The protocol that hears of this stream."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        # TLS within TLS uses the same buffer.
        within = isinstance(protocol, TlsStream)
        hearer = hearer_of(protocol)
        lent = hearer.lent_at_most and not within
        self._view_received = hearer.view_received if lent else None

    @property
    def certificate(self) -> CertificateInfo | None:
        """The peer's certificate; C{None} if it showed none."""
        from lanrelay.trust.certificate import Certificate

        certificate = self.shown
        return None if certificate is None else Certificate(certificate).info()

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
        """The protocol that ALPN agreed on; empty for none."""
        name: bytes = self._ssl.get_alpn_proto_negotiated()
        return name.decode("ascii")

    # as a transport: writing ---------------------------------------------------------------------------

    takes_views = True

    def write(self, data: bytes | memoryview) -> None:
        if len(data) > LARGEST:
            view = memoryview(data)
            for start in range(0, len(data), LARGEST):
                self.write(view[start : start + LARGEST])
            return
        if self._write_ended or self._lost or self._error is not None or not data:
            return
        encrypt = self._encrypt
        try:
            records = encrypt(data)
        except self._SSL.Error as error:
            self._broken(error)
        else:
            self._raw.write(records if self._lends else records.tobytes())  # type: ignore[arg-type]

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
        # Only a pull producer is told when a buffer has run empty, and it has to write when it is first
        # asked.
        self._flush = _Flush(self)
        self._raw.registerProducer(self._flush, False)

    def loseConnection(self) -> None:
        if self._closing or self._lost or self._error is not None:
            return
        self._closing = True
        self._reading = False
        if not self._has_producer:  # else when the producer has finished, as Twisted's transports do
            self._close()

    def abortConnection(self) -> None:
        if not self._lost:
            self._reading = False
            self._closing = True
            self._raw.abortConnection()

    # as a transport: reading ---------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._reading = False
        self._most = _PORTION
        if not self._raw_ended:
            self._raw.pauseProducing()

    def resumeProducing(self) -> None:
        if self._closing or self._lost or self._error is not None:
            return
        self._reading = True
        if not self._draining:
            self._drain()  # what has come already, for which no readable event comes
        if self._reading and not self._raw_ended and not self._lost:
            self._raw.resumeProducing()

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> Any:
        return self._raw.getPeer()

    def getHost(self) -> Any:
        return self._raw.getHost()

    @property
    def beneath(self) -> Stream:
        """The raw stream."""
        return self._raw

    def getHandle(self) -> Any:
        """The socket beneath; C{None} where there is none."""
        return handle_of(self._raw)

    def holds_unread(self) -> bool:
        """Whether something was read from the kernel that the protocol was not given yet."""
        raw = self._raw
        return self._more or bool(self._waiting) or (isinstance(raw, TlsStream) and raw.holds_unread())

    # as the protocol of the raw stream --------------------------------------------------------------------

    def makeConnection(self, transport: Stream) -> None:
        """Called by L{hand_over}."""
        self._raw = transport
        # Not to TLS within TLS: its records and ours lie in the same buffer.
        self._lends = abilities_of(transport).takes_views and not isinstance(transport, TlsStream)

    def dataReceived(self, data: bytes | memoryview) -> None:
        if self._read_ended or self._closing or self._error is not None:
            return  # data after close_notify is ignored (RFC 8446 section 6.1)
        if self._waiting or self._draining:
            data = bytes(self._waiting) + bytes(data)
        self._waiting = data
        if not self._draining:
            self._drain()

    view_received = dataReceived
    """What L{TcpStream<lanrelay.transport.tcp.TcpStream>} read, in its own buffer."""

    lent_at_most = LARGEST
    """How many bytes such a view has at most; one write takes as many."""

    def readConnectionLost(self) -> None:
        """The raw stream got a FIN."""
        self._raw_ended = True
        if not (self._draining or self._waiting):
            self._truncated()

    def _truncated(self) -> None:
        if not (self._read_ended or self._closing):
            self._give_up(TlsTruncated("the peer closed the connection without TLS close_notify"))

    def writeConnectionLost(self) -> None:
        """The raw stream is never half-closed by us."""

    def sending_failed(self) -> bool:
        """The protocol decides what follows from a failed send of the raw stream."""
        return hearer_of(self._protocol).sending_failed()

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
        protocol = self._protocol
        if not isinstance(protocol, Parked):  # as in `TcpStream.connectionLost`
            self.protocol = None
        protocol.connectionLost(reason)

    # ------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Give the protocol what has come, as long as it reads. Never called from within itself."""
        self._draining = True
        decrypt = self._decrypt
        answers = False  # OpenSSL may have an answer of its own, to a key update for example
        try:
            while self._reading:
                if self._read_ended:
                    self._tell_end()
                    break
                waiting, self._waiting = self._waiting, b""
                taken, content, error = decrypt(waiting, self._most)
                drained = error is self._quiet
                self._more = False
                if not drained:
                    answers = True
                    if taken != len(waiting):
                        self._waiting = memoryview(waiting)[taken:]
                    drained = isinstance(error, self._SSL.WantReadError)
                    self._more = not drained
                    if error is not None and not drained:
                        self._ended(error)
                if content:
                    if len(content) == self._most < LARGEST:
                        self._most *= 2
                    receive = self._view_received
                    if receive is None:
                        self._protocol.dataReceived(content.tobytes())
                    else:
                        receive(content)
                if drained and not self._waiting:
                    break
        finally:
            self._draining = False
            if self._waiting:
                self._waiting = bytes(self._waiting)  # never a view: the buffer is another's soon
        if self._raw_ended and not self._waiting:
            self._truncated()
        if answers and not (self._lost or self._error is not None):
            self._own_words += self._send()
            if self._own_words > _OWN_WORDS:
                self._give_up(TlsBroken("the peer makes TLS itself answer without end"))

    def _ended(self, error: SSL.Error) -> None:
        self._waiting = b""
        if isinstance(error, self._SSL.ZeroReturnError):
            self._read_ended = True
        else:
            self._broken(error)

    def _tell_end(self) -> None:
        protocol = self.protocol
        if self._end_told_to is protocol:
            return
        self._end_told_to = protocol
        if IHalfCloseableProtocol.providedBy(protocol):
            protocol.readConnectionLost()
        else:
            if self._has_producer:
                self.unregisterProducer()  # it would write for nothing, and a close would wait for it
            self.loseConnection()

    def _send(self) -> int:
        """Pass on to the raw stream what OpenSSL wants to send; gives how much that was."""
        records = self._records.answers()
        if records:
            self._raw.write(records if self._lends else records.tobytes())  # type: ignore[arg-type]
        return len(records)

    def _send_close_notify(self) -> None:
        self._write_ended = True
        try:
            self._ssl.shutdown()
        except self._SSL.Error:
            pass  # the connection is broken already; reading tells it
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
        from lanrelay.trust.alerts import late_error

        self._give_up(late_error(error, client=self._client))

    def _give_up(self, error: RelayError) -> None:
        """The protocol hears C{error} as soon as the raw stream is gone."""
        if self._error is None and not self._lost:
            self._error = error
            self._reading = False
            self._raw.abortConnection()


@implementer(IPullProducer)
class _Flush:
    """Writes close_notify when the raw stream first asks; when it asks again, close_notify has left."""

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
