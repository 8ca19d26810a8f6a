"""A stream of which some bytes were read too early: its next owner gets them first."""

from __future__ import annotations

from typing import Any

from lanrelay.transport.abilities import Abilities
from lanrelay.transport.stream import Stream


def with_unread(stream: Stream, unread: bytes) -> Stream:
    """C{stream}, but its next owner gets C{unread} before all else; the stream must be paused."""
    return UnreadStream(stream, unread) if unread else stream


class UnreadStream(Abilities):
    """
    A L{Stream} over a stream that was read too far, as when a greeting and what follows come in one piece.

    Its protocol is the protocol of the stream beneath, so that after the first bytes nothing stands between
    the two. The bytes are given out from within C{resumeProducing}, as a TLS stream does it.
    """

    __slots__ = (
        "_raw",
        "_unread",
        "_wanted",
        "abortConnection",
        "getHost",
        "getPeer",
        "loseConnection",
        "loseWriteConnection",
        "registerProducer",
        "stopProducing",
        "unregisterProducer",
        "write",
        "writeSequence",
    )

    def __init__(self, raw: Stream, unread: bytes) -> None:
        self._raw = raw
        self._unread = unread
        self._wanted = False  # the protocol reads
        self.write = raw.write
        self.writeSequence = raw.writeSequence
        self.loseConnection = raw.loseConnection
        self.loseWriteConnection = raw.loseWriteConnection
        self.abortConnection = raw.abortConnection
        self.stopProducing = raw.stopProducing
        self.registerProducer = raw.registerProducer
        self.unregisterProducer = raw.unregisterProducer
        self.getPeer = raw.getPeer
        self.getHost = raw.getHost

    @property
    def beneath(self) -> Stream:
        return self._raw

    @property
    def protocol(self) -> Any:
        return self._raw.protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._raw.protocol = protocol

    def pauseProducing(self) -> None:
        self._wanted = False
        self._raw.pauseProducing()

    def resumeProducing(self) -> None:
        self._wanted = True
        unread, self._unread = self._unread, b""
        if unread:
            self._raw.protocol.dataReceived(unread)
        if self._wanted:
            self._raw.resumeProducing()
