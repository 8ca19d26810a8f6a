"""How a client's HTTP connection uses its stream: when it reads, what leaves together, how it ends."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, cast

from lanrelay.config.model import Duration, Timeouts
from lanrelay.transport.abilities import abilities_of
from lanrelay.transport.deadline import Deadline
from lanrelay.transport.drain import Drain
from lanrelay.transport.stream import Stream
from lanrelay.wire.http1 import Http1Server


class State(IntEnum):
    """
    The states of a client's connection. In the first four it speaks HTTP; code compares by that order.

    ========== ================================================== ============================================
    state      what is so                                         what follows
    ========== ================================================== ============================================
    IDLE       no request is under way; a head may be coming      ASKED: a head came. LINGERING: what came is
                                                                  no request, and was answered. CLOSING: the
                                                                  client has ended, or took too long
    ASKED      a request is under way, no final head was sent     ANSWERING: that is sent. ANSWERED: all is.
                                                                  TUNNEL: after a CONNECT or 101. CLOSING: the
                                                                  client left
    ANSWERING  the final head was sent, the answer goes on        ANSWERED: it is whole. LINGERING or CLOSING:
                                                                  it is cut. TUNNEL: it was no answer but the
                                                                  word that HTTP is over
    ANSWERED   the answer is whole; the next request waits, for   IDLE: it may be looked at. LINGERING or
               the client does not read, or others have their     CLOSING: there may be no next one
               turn of the reactor
    LINGERING  our side has ended; what comes is thrown away      CLOSING: the client has ended, too, or took
                                                                  too long
    CLOSING    the stream closes when what was sent has left it   GONE
    TUNNEL     someone else owns the stream                       GONE
    GONE       the stream is gone, and the listener knows it
    ========== ================================================== ============================================

    Every state may become CLOSING by an abort, and GONE by the loss of the stream. These states do not say
    whether the request is whole, for its answer may end before it.
    """

    IDLE = 0
    ASKED = 1
    ANSWERING = 2
    ANSWERED = 3
    LINGERING = 4
    CLOSING = 5
    TUNNEL = 6
    GONE = 7


IDLE, ASKED, ANSWERING, ANSWERED = State.IDLE, State.ASKED, State.ANSWERING, State.ANSWERED
LINGERING, CLOSING, TUNNEL, GONE = State.LINGERING, State.CLOSING, State.TUNNEL, State.GONE


class Leaving(IntEnum):
    """When a connection ends although its client asks for more."""

    NOT = 0
    AFTER_NEXT = 1  # its next answer says so, and is the last one
    NOW = 2  # it ends with the answer that is under way


class ClientStream:
    """
    The part of an L{HttpConnection<lanrelay.http.client.HttpConnection>} that knows no requests.

    It has slots, and is no subclass of Twisted's C{Protocol}, which has a dictionary. For the more than
    thirty attributes of a connection that took 1.6 KB of an idle client's 3.4.
    """

    __slots__ = (
        "_corked",
        "_deadline",
        "_drain",
        "_paused",
        "_reactor",
        "_read_ended",
        "_stream",
        "_stuffed",
        "_timeouts",
        "_waiting",
        "_wire",
        "_write_ended",
        "state",
    )

    def __init__(self, reactor: Any, timeouts: Timeouts, wire: Http1Server) -> None:
        self._reactor, self._timeouts = reactor, timeouts
        self._wire = wire
        self._stream: Stream = cast(Stream, None)  # from makeConnection on
        self.state = IDLE
        self._paused = False  # the sink has paused reading
        self._stuffed = False  # too much was pipelined, so reading is paused
        self._corked: list[bytes] | None = None
        self._read_ended = self._write_ended = False
        self._waiting = ""  # which timeout runs
        self._deadline = Deadline(reactor, self._too_late)
        self._drain: Drain | None = None

    def makeConnection(self, transport: Any) -> None:
        """Called by L{hand_over<lanrelay.transport.stream.hand_over>}."""
        self._stream = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """For a subclass: begin."""
        raise NotImplementedError

    def _too_late(self) -> None:
        """For a subclass: what L{_wait} has waited for did not come."""
        raise NotImplementedError

    # --- reading and writing ----------------------------------------------------------------------

    def cork(self) -> None:
        """Collect what is sent until C{uncork} or C{end}, so that it leaves in one write."""
        if self._corked is None:
            self._corked = []

    def uncork(self) -> None:
        """Send what was collected."""
        corked, self._corked = self._corked, None
        if corked and self.state != GONE:
            self._stream.write(corked[0] if len(corked) == 1 else b"".join(corked))

    def _resume(self) -> None:
        if not self._paused and not self._stuffed and not self._read_ended:
            self._stream.resumeProducing()

    def _write(self, data: bytes) -> None:
        if self._corked is not None:
            self._corked.append(data)
        elif data:
            self._stream.write(data)

    def _wait(self, waiting: str, timeout: Duration) -> None:
        self._waiting = waiting
        self._deadline.set(timeout)

    # --- ends -------------------------------------------------------------------------------------

    def _linger(self) -> None:
        """
        End our side, and let the client read the answer before anything is reset (RFC 9112 section 9.6).

        A close while the client still sends would have its kernel throw away what it has not read.
        """
        self.state = LINGERING
        self._wait("flush", self._timeouts.half_closed)
        self.uncork()
        self._stream.unregisterProducer()
        self._stream.loseWriteConnection()
        if self.state == LINGERING and not self._read_ended:
            self._stream.resumeProducing()

    def _close(self, *, at_once: bool = False) -> None:
        """
        Send what is buffered, then close.

        A client may read the end of its answer slowly; but there is no wait for one that has ended its own
        side.

        @param at_once: the caller does not mind being told of the loss from within this call, which happens
            if nothing is buffered. A client that comes for one request and leaves costs 6 % less so.
        """
        self.state = CLOSING
        self._wait("close", self._timeouts.close if self._read_ended else self._timeouts.half_closed)
        self.uncork()
        self._stream.unregisterProducer()
        if at_once and abilities_of(self._stream).unsent == 0:
            self._stream.loseWriteConnection()  # then the next call does not wait for another turn
        self._stream.loseConnection()

    def _cut(self) -> None:
        """Reset when what was sent has arrived, so that the answer looks cut after it."""
        self.state = CLOSING
        self._deadline.stop()
        self.uncork()
        self._stream.unregisterProducer()
        self._stream.pauseProducing()
        self._drain = Drain(self._reactor, self._stream, self._timeouts.close, self._stream.abortConnection)

    def _lost(self) -> None:
        """The stream is lost: end all waiting."""
        self._deadline.stop()
        drain, self._drain = self._drain, None
        if drain is not None:
            drain.cancel()

    def _reset(self) -> None:
        self.state = CLOSING
        self._corked = None
        self._deadline.stop()
        self._stream.abortConnection()
