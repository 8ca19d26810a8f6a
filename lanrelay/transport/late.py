"""
A client's side of TLS that shows its certificate when the server asks for it after the handshake.

Apache with C{SSLVerifyClient} for one path, and IIS, ask after they have read the request: in TLS 1.2 by a
renegotiation, in TLS 1.3 by post-handshake authentication (RFC 8446 section 4.6.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lanrelay.errors import TlsBroken
from lanrelay.transport.stream import Stream
from lanrelay.transport.tls_stream import TlsStream

if TYPE_CHECKING:
    from OpenSSL import SSL

# Bytes that wait for the end of a renegotiation. The sender is paused meanwhile, so this has to hold only
# what was read in one turn; Apache itself takes 128 KiB of content by then.
_HELD_AT_MOST = 1024 * 1024


class LateTlsStream(TlsStream):
    """
    A L{TlsStream} that outlives a renegotiation: what is written in the middle of one waits for its end.

    The producer is paused meanwhile. A close in the middle of a renegotiation cuts off what waits.
    """

    __slots__ = ("_end_held", "_held", "_judgement", "_paused", "_producer")

    def __init__(self, raw: Stream, ssl: SSL.Connection, *, client: bool) -> None:
        super().__init__(raw, ssl, client=client)
        self._judgement: Any = ssl.get_app_data()
        self._records.expect_other_keys()
        self._encrypt, self._decrypt = self._encrypt_or_hold, self._decrypt_judged
        self._held: list[bytes] = []
        self._end_held = False
        self._producer: Any = None
        self._paused = False

    # as a transport ------------------------------------------------------------------------------------

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer if streaming else None
        super().registerProducer(producer, streaming)
        self._pause_producer()

    def unregisterProducer(self) -> None:
        self._producer, self._paused = None, False
        super().unregisterProducer()

    def loseWriteConnection(self) -> None:
        if self._held:
            self._end_held = True
        else:
            super().loseWriteConnection()

    # ------------------------------------------------------------------------------------------------

    def _encrypt_or_hold(self, data: bytes | memoryview) -> memoryview:
        if not self._held:
            try:
                return self._records.encrypt(data)
            except self._SSL.WantReadError:
                pass  # in the middle of a renegotiation
        self._held.append(bytes(data))
        self._pause_producer()
        if sum(map(len, self._held)) > _HELD_AT_MOST:
            self._give_up(TlsBroken("the server does not end a TLS renegotiation while it is written to"))
        return memoryview(b"")

    def _pause_producer(self) -> None:
        if self._held and self._producer is not None and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def _drain(self) -> None:
        super()._drain()
        if self._held and not (self._lost or self._error is not None):
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for part in held:
            self.write(part)  # this holds it again if it is still too early
        if self._held:
            return
        paused, self._paused = self._paused, False
        if paused and self._producer is not None:
            self._producer.resumeProducing()
        if self._end_held and not self._held:
            self._end_held = False
            self.loseWriteConnection()

    def _close(self) -> None:
        if self._held:
            self._raw.abortConnection()
        else:
            super()._close()

    def _decrypt_judged(self, data: bytes | memoryview, most: int) -> tuple[int, memoryview, Any]:
        taken, content, error = self._records.decrypt(data, most)
        if self._judgement.error is not None:
            return taken, content[:0], self._SSL.Error([])  # `_ended` explains it
        return taken, content, error

    def _ended(self, error: SSL.Error) -> None:
        if self._judgement.error is not None:
            self._waiting = b""
            self._give_up(self._judgement.error)
        else:
            super()._ended(error)
