"""Streams in memory that behave as Twisted's sockets do, down to half-close and backpressure."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure

from lanrelay.transport.abilities import Abilities
from lanrelay.transport.stream import Parked


class MemoryStream(Abilities):
    """
    One side of a connection; the test plays the peer.

    C{take()} gives what was written since the last call. C{receive()} plays what the peer sends: it is
    held back while reading is paused, as it is at first (a fresh stream is parked and paused). C{full} plays
    a peer that does not read: the producer is paused at the next write and what is written stays in
    C{buffer} until C{full} is set to C{False}.

    As with Twisted's sockets, reading on after the peer's end tells of that end again; a producer that is
    paused when C{loseWriteConnection} is called, and then unregistered, holds the half-close back for ever;
    a pull producer is asked at its registration, and again whenever what it wrote has left.

    @ivar reading: whether the protocol wants bytes.
    @ivar half_closed: C{loseWriteConnection} was called (and all before it has left).
    @ivar closing: C{loseConnection} was called; C{closed} when it has taken effect.
    @ivar aborted: C{abortConnection} was called.
    """

    shown: Any = None

    def __init__(self, peer: Any = None, host: Any = None) -> None:
        self.protocol: Any = Parked()
        self.protocol.makeConnection(self)  # type: ignore[no-untyped-call, unused-ignore]
        self.buffer = bytearray()
        self.reading = False
        self.half_closed = self.closing = self.closed = self.aborted = False
        self.producer: Any = None
        self.streaming = False
        self.connected = True
        self._half_closing = False
        self._full = False
        self._producer_paused = False
        self._delivering = False
        self._ended = False  # the protocol was told of the peer's end
        self._written = 0
        self._pending: list[bytes | None] = []
        self._out = bytearray()
        self._peer = peer or IPv4Address("TCP", "127.0.0.1", 50001)
        self._host = host or IPv4Address("TCP", "127.0.0.1", 8080)

    # what the test does -------------------------------------------------------------------------

    def take(self) -> bytes:
        """What has left since the last call."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def receive(self, data: bytes) -> None:
        """The peer sends C{data}; it is delivered as soon as the protocol reads."""
        self._pending.append(data)
        self._deliver()

    def receive_eof(self) -> None:
        """The peer ends its side in order."""
        self._pending.append(None)
        self._deliver()

    def lose(self, error: Exception | None = None) -> None:
        """The connection breaks (by default as by a RST)."""
        self._lost(Failure(error or ConnectionLost()))

    @property
    def full(self) -> bool:
        """The peer does not read, and the kernel's buffer is full."""
        return self._full

    @full.setter
    def full(self, value: bool) -> None:
        self._full = value
        if not value:
            self._flush()

    @property
    def unsent(self) -> int:
        return len(self.buffer)

    # ITransport -----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"bytes, not {type(data).__name__}")
        if not self.connected or self.half_closed or not data:
            return
        if self._full:
            self.buffer += data
            if self.producer is not None and self.streaming and not self._producer_paused:
                self._producer_paused = True
                self.producer.pauseProducing()
        else:
            self._out += data
        self._written += len(data)

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def early(self) -> bytes:
        return (self._pending.pop(0) or b"") if self.connected and self._pending and self._pending[0] else b""

    def put_back(self, early: bytes) -> None:
        self._pending.insert(0, early)

    def loseConnection(self) -> None:
        if self.connected and not self.closing:
            self.closing = True
            self.reading = False
            if self.half_closed:
                self._lost(Failure(ConnectionDone()))
            else:
                self._flush()

    def loseWriteConnection(self) -> None:
        self._half_closing = True
        self._flush()

    def abortConnection(self) -> None:
        if self.connected and not self.aborted:
            self.aborted = True
            self.buffer.clear()
            self._lost(Failure(ConnectionAborted()))

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        if self.connected and not self.closing:
            self.reading = True
            if self._ended:
                self._pending.insert(0, None)
            self._deliver()

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError("there is a producer already")
        if not self.connected:
            producer.stopProducing()
            return
        self.producer, self.streaming = producer, streaming
        if not streaming:
            self._pull()

    def unregisterProducer(self) -> None:
        self.producer = None
        self._producer_paused = False
        if self.closing:
            self._flush()

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> Any:
        return self._host

    # ---------------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._pending and self.reading and self.connected:
                data = self._pending.pop(0)
                if data is not None:
                    self.protocol.dataReceived(data)
                elif IHalfCloseableProtocol.providedBy(self.protocol):
                    self.reading = False
                    self._ended = True
                    self.protocol.readConnectionLost()
                else:
                    self._lost(Failure(ConnectionDone()))
        finally:
            self._delivering = False

    def _pull(self) -> None:
        """Ask a pull producer as long as it writes, and what it writes leaves."""
        before = -1
        while self.producer is not None and not self.streaming and before != self._written:
            if self._full and self.buffer:
                return
            before = self._written
            self.producer.resumeProducing()

    def _flush(self) -> None:
        if self._full and self.buffer:
            return
        self._out += self.buffer
        self.buffer.clear()
        if self.producer is not None and not self.streaming:
            self._pull()
        elif self.producer is not None and self._producer_paused:
            self._producer_paused = False
            self.producer.resumeProducing()
        elif self.closing and self.connected:
            self._lost(Failure(ConnectionDone()))
        elif self._half_closing and not self.half_closed and not self.buffer:
            self.half_closed = True
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self.protocol.writeConnectionLost()

    def _lost(self, reason: Failure) -> None:
        if not self.connected:
            return
        self.connected = self.reading = False
        self.closed = True
        if self.producer is not None:
            self.producer.stopProducing()
            self.producer = None
        self.protocol.connectionLost(reason)
