"""The TLS handshake, on either side of a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from lanrelay.errors import DialError, NotTls, PeerClosed, TlsError, TlsTimeout
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.transport.tls_stream import TlsStream
from lanrelay.trust.trust import ClientTls, ServerContext

if TYPE_CHECKING:
    from OpenSSL import SSL

__all__ = ["ClientTls", "ServerContext", "TlsStream", "secure_client", "secure_server"]


async def secure_client(
    reactor: Any, stream: Stream, tls: ClientTls, *, timeout: float, alpn: tuple[str, ...] = ()
) -> TlsStream:
    """
    Secure a stream to a server, whose certificate is judged before this returns.

    @param stream: taken over; closed whatever goes wrong, also on cancellation.
    @param timeout: seconds for all of it.
    @param alpn: application protocols to offer.
    @return: parked and paused.
    @raise TlsError: the subclass says why.
    @raise PeerClosed: the server left in the middle of it.
    """
    try:
        await tls.prepare(reactor)
        connection = tls.connection(alpn)
    except BaseException:
        stream.abortConnection()
        raise
    return await _Handshake(reactor, connection, tls.judge, client=True).run(stream, timeout)


async def secure_server(reactor: Any, stream: Stream, context: ServerContext, *, timeout: float) -> TlsStream:
    """
    Secure a stream from a client; a client certificate that the listener wants has been judged.

    @param stream: taken over; closed whatever goes wrong, also on cancellation.
    @param timeout: seconds for all of it.
    @return: parked and paused.
    @raise TlsError: the subclass says why.
    @raise PeerClosed: the client left in the middle of it.
    """
    try:
        connection = context.connection()
    except BaseException:
        stream.abortConnection()
        raise
    return await _Handshake(reactor, connection, _no_more_to_judge, client=False).run(stream, timeout)


def _no_more_to_judge(connection: SSL.Connection) -> None:
    pass


class _Handshake(Protocol):
    """
    The protocol of the raw stream while the handshake is under way.

    @param judge: looks at the peer's certificate after OpenSSL has accepted it; raises L{TlsError}.
    """

    def __init__(
        self, reactor: Any, ssl: Any, judge: Callable[[SSL.Connection], None], *, client: bool
    ) -> None:
        self._reactor = reactor
        self._ssl = ssl
        self._judge = judge
        self._client = client
        self._stream: Stream
        self._heard = False
        self._timer: IDelayedCall | None = None
        self._done: Deferred[TlsStream] | None = Deferred(self._cancelled)

    def run(self, stream: Stream, timeout: float) -> Deferred[TlsStream]:
        done = self._done
        assert done is not None
        self._stream = stream
        self._timer = self._reactor.callLater(timeout, self._too_late, timeout)
        hand_over(stream, self)
        if self._done is not None:
            self._step()
        if self._done is not None:
            stream.resumeProducing()
        return done

    def dataReceived(self, data: bytes) -> None:
        if self._done is None:
            return
        if not self._heard:
            self._heard = True
            if not _looks_like_tls(data):
                self._fail(NotTls(self._what_else(data)))
                return
        self._ssl.bio_write(data)
        self._step()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        who = "server" if self._client else "client"
        self._finish(PeerClosed(f"the {who} closed the connection during the TLS handshake"))

    # ------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        from OpenSSL import SSL  # late: it takes 80 ms; by now the context has imported it

        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            self._send()
        except SSL.Error as error:
            self._fail(self._explain(error), alert=True)
        else:
            try:
                self._judge(self._ssl)
            except TlsError as error:
                self._fail(error)  # nothing is sent, not even the end of the handshake
            else:
                self._send()
                self._secured()

    def _send(self) -> None:
        from OpenSSL import SSL  # late: see above

        while True:
            try:
                self._stream.write(self._ssl.bio_read(65536))
            except SSL.WantReadError:
                return

    def _secured(self) -> None:
        stream = self._stream
        stream.pauseProducing()
        kind = TlsStream
        if self._ssl.get_app_data().late:
            from lanrelay.transport.late import LateTlsStream as kind  # few upstreams are shown a certificate
        secured = kind(stream, self._ssl, client=self._client)
        hand_over(stream, secured)  # type: ignore[arg-type]
        done = self._settle()
        if done is not None:
            done.callback(secured)

    def _explain(self, error: Exception) -> TlsError:
        from lanrelay.trust.alerts import handshake_error

        found: TlsError | None = self._ssl.get_app_data().error
        if found is not None:
            return found
        seen = self._ssl.get_peer_certificate() is not None
        return handshake_error(error, client=self._client, certificate_seen=seen)

    def _what_else(self, data: bytes) -> str:
        if not self._client:
            # The line may hold a path and a query, which do not belong in the log.
            what = "plain HTTP" if b"HTTP/1." in data else "no TLS"
            return f"the client speaks {what}"
        line = data[:60].split(b"\r", 1)[0].split(b"\n", 1)[0]
        if line.isascii() and line.decode("ascii").isprintable():
            return f'the server speaks no TLS: it said "{line.decode("ascii")}"'
        return "the server speaks no TLS"

    # its ends ---------------------------------------------------------------------------------------------

    def _settle(self) -> Deferred[TlsStream] | None:
        done, self._done = self._done, None
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        return done

    def _finish(self, error: DialError) -> None:
        done = self._settle()
        if done is not None:
            done.errback(Failure(error))

    def _fail(self, error: TlsError, *, alert: bool = False) -> None:
        done = self._settle()
        if alert:
            # The reason is for the peer's log and its user. This close needs no time limit: the little that a
            # handshake sends always fits into the kernel's buffer.
            self._send()
            self._stream.loseConnection()
        else:
            self._stream.abortConnection()
        if done is not None:
            done.errback(Failure(error))

    def _too_late(self, timeout: float) -> None:
        self._fail(TlsTimeout(f"the TLS handshake took longer than {timeout:g} s"))

    def _cancelled(self, _: Deferred[TlsStream]) -> None:
        self._settle()
        self._stream.abortConnection()


def _looks_like_tls(data: bytes) -> bool:
    """Whether the bytes begin a record with a handshake or an alert (RFC 8446 section 5.1)."""
    return data[0] in (21, 22) and data[1:2] in (b"\x03", b"")
