"""Joins two streams: bytes, backpressure and ends of either side reach the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.errors import RelayError, StreamError, StreamTimeout
from lanrelay.observe.session import Session
from lanrelay.transport.abilities import Hearer, abilities_of
from lanrelay.transport.deadline import Wait, wait
from lanrelay.transport.drain import Drain
from lanrelay.transport.splice import SharedPipe
from lanrelay.transport.stream import Stream, hand_over


class PumpLimits(NamedTuple):
    """
    Seconds; C{None} is never.

    @ivar idle: silence while both sides are open.
    @ivar half_closed: silence once one side has ended.
    @ivar close: from the end of both directions to an abort; after a break, from the last byte that the other
        side took.
    """

    idle: float | None
    half_closed: float | None
    close: float


def join(
    reactor: Any,
    downstream: Stream,
    upstream: Stream,
    *,
    session: Session,
    limits: PumpLimits,
    to_upstream: bytes = b"",
    to_downstream: bytes = b"",
    ended: Callable[[], object] | None = None,
) -> Pump:
    """
    Take both streams over and move bytes between them until both are gone.

    The streams come paused; from now on only the pump closes them. A stream that was lost while it was
    parked ends the other one before this returns.

    @param to_upstream: bytes of the client that were read before; they go first, and count as moved.
    @param to_downstream: the same, of the upstream.
    @param ended: called once when both streams are gone, perhaps before this returns. Every connection needs
        it, and a call costs less than a Deferred; L{Pump.done} is for a caller that waits.
    """
    pump = Pump(reactor, session, limits, ended)
    pump._take(downstream, upstream)
    pump._begin(to_upstream, to_downstream)
    return pump


class Pump:
    """
    Two joined streams. Made by L{join}.

    An end of file that comes from one side goes on to the other as a half-close, after all bytes before
    it. When both directions have ended both streams are closed.

    What a side had sent before it broke belongs to the other one. Neither side is read any more, and the
    other one is reset when it has all, at least in its kernel. If one of the two had ended in order before,
    the break is no error, for many programs close by such a reset: curl closes after its FIN, PostgreSQL with
    close_notify unread, and their kernels reset what comes later.

    When the streams are gone, all objects here drop their references to each other, so that the collector of
    cycles finds nothing. Before, a forwarded connection left it ten objects (6 us), a tunnel twenty (30 us).
    """

    __slots__ = (
        "_closing",
        "_done",
        "_downstream",
        "_first_end",
        "_limits",
        "_open",
        "_over",
        "_quiet_since",
        "_reactor",
        "_session",
        "_timer",
        "_upstream",
        "_when_over",
    )

    def __init__(
        self,
        reactor: Any,
        session: Session,
        limits: PumpLimits,
        ended: Callable[[], object] | None = None,
    ) -> None:
        self._when_over = ended
        self._done: Deferred[None] | None = None
        self._reactor = reactor
        self._session = session
        self._limits = limits
        self._downstream = _End(self, "downstream")
        self._upstream = _End(self, "upstream")
        self._downstream.other, self._upstream.other = self._upstream, self._downstream
        self._open = False  # both streams are ours
        self._closing = False  # no more bytes are moved
        self._over = False  # both streams are gone
        self._first_end: Literal["downstream", "upstream", ""] = ""
        self._quiet_since: float = reactor.seconds()
        self._timer: Wait | Drain | None = None
        session.phase = "tunnel"

    @property
    def done(self) -> Deferred[None]:
        """
        Fires once, with C{None}, when both streams are gone; never fails by itself. Cancelling it resets
        both.
        """
        if self._over:
            return succeed(None)
        if self._done is None:
            self._done = Deferred(self._cancelled)
        return self._done

    def abort(self, error: RelayError | None = None) -> None:
        """Reset both streams at once. C{error} says why in the session; without it no error is noted."""
        if not self._closing:
            if error is not None:
                self._session.failed(error, by="relay")
            self._session.left(by="relay")
        self._reset()

    def _cancelled(self, done: Deferred[None]) -> None:
        self.abort()

    # what the ends tell -----------------------------------------------------------------------------

    def _moved(self, source: _End, count: int) -> None:
        session = self._session
        now = session.last_active = self._quiet_since = self._reactor.seconds()
        if source is self._downstream:
            session.received += count
        else:
            session.sent += count
            if session.first_byte is None:
                session.first_byte = now - session.opened

    def _flowing(self) -> None:
        """A side reads again: silence counts from here."""
        self._quiet_since = self._reactor.seconds()

    def _ended(self, end: _End) -> None:
        """All that C{end} had to say has been passed on, or is on its way."""
        self._first_end = self._first_end or end.side
        self._quiet_since = self._reactor.seconds()
        if not end.other.read_ended:
            self._set_timer(self._limits.half_closed, self._look)  # from now on that limit counts
        sink = end.other.stream
        sink.unregisterProducer()  # else Twisted delays the half-close for a producer that is paused
        sink.loseWriteConnection()

    def _both_ended(self) -> None:
        """We have ended our side of both streams, as their peers had before."""
        down, up = self._downstream, self._upstream
        self._closing = True
        self._session.done(by=self._first_end)
        for end in (down, up):
            if end.lost is None:
                end.stream.loseConnection()
        if down.lost is None or up.lost is None:  # few streams need more than the call
            self._set_timer(self._limits.close, self._reset)

    def _lost(self, end: _End, reason: Failure) -> None:
        if not self._open or self._over:
            return  # `_begin` looks at what was lost
        other = end.other
        if not self._closing:
            self._closing = True
            if isinstance(reason.value, ConnectionDone):
                self._session.done(by=self._first_end or end.side)
                self._set_timer(self._limits.close, self._reset)
                if other.lost is None:
                    other.stream.unregisterProducer()
                    other.stream.loseConnection()
            else:
                self._broke(end, reason)
                self._let_have(other, then=self._close_late if end.read_ended else self._reset)
        if end.lost is not None and other.lost is not None and not self._over:
            self._over = True
            self._set_timer(None)  # the timer refers to us, too
            del self._downstream, self._upstream, end.other, other.other
            ended, self._when_over = self._when_over, None
            done, self._done = self._done, None
            if ended is not None:
                ended()
            if done is not None:
                done.callback(None)

    def _sending_failed(self, end: _End) -> bool:
        """
        What is sent to C{end} does not arrive any more.

        @return: whether what it sent is still to be read; its loss is told after that.
        """
        if self._closing or end.read_ended:
            return False
        self._broke(end, Failure(CONNECTION_LOST))
        end.stream.unregisterProducer()  # so the other one stays paused
        self._let_have(end.other, then=self._reset, more=True)
        return True

    def _broke(self, end: _End, reason: Failure) -> None:
        session = self._session
        if isinstance(reason.value, RelayError) or not (end.read_ended or end.other.read_ended):
            session.failed(_explain(reason, end), by=end.side)
        else:
            session.done(by=self._first_end)

    def _let_have(self, end: _End, *, then: Callable[[], object], more: bool = False) -> None:
        """Read C{end} no more; call C{then} when all that is on its way to it has arrived."""
        self._set_timer(None)
        if end.lost is not None:
            return
        if not more:
            end.stream.unregisterProducer()
        end.stream.pauseProducing()
        drain = Drain(self._reactor, end.stream, self._limits.close, then, more=more)
        if not self._over and drain.waits:
            self._timer = drain

    def _close_late(self) -> None:
        """
        Close the other side in order: the one that broke had ended before, so nothing that it sent is
        missing.
        """
        self._set_timer(self._limits.close, self._reset)
        for end in (self._downstream, self._upstream):
            if end.lost is None:
                end.stream.loseConnection()

    # ------------------------------------------------------------------------------------------------

    def _take(self, downstream: Stream, upstream: Stream) -> None:
        self._downstream.stream, self._upstream.stream = downstream, upstream
        self._downstream.leads_to(upstream)
        self._upstream.leads_to(downstream)
        hand_over(downstream, self._downstream)
        hand_over(upstream, self._upstream)
        self._open = True

    def _begin(self, to_upstream: bytes, to_downstream: bytes) -> None:
        down, up = self._downstream, self._upstream
        if down.lost is not None or up.lost is not None:
            for end, early in ((down, to_upstream), (up, to_downstream)):
                if end.lost is not None and not self._over:
                    if early and end.other.lost is None:
                        end.dataReceived(early)
                    self._lost(end, end.lost)
            if self._closing:
                return
        self._set_timer(self._limits.idle, self._look)
        up.stream.registerProducer(down, True)
        down.stream.registerProducer(up, True)
        if to_upstream:
            down.dataReceived(to_upstream)
        if to_downstream:
            up.dataReceived(to_downstream)
        if not (down.paused or down.read_ended or self._closing):
            down.stream.resumeProducing()
        if not (up.paused or up.read_ended or self._closing):
            up.stream.resumeProducing()

    def _reset(self) -> None:
        self._closing = True
        self._set_timer(None)
        if self._over:
            return
        for end in (self._downstream, self._upstream):
            if end.lost is None:
                end.stream.abortConnection()

    # the one timer: silence, then the close ------------------------------------------------------------

    def _set_timer(self, delay: float | None, call: Any = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if delay is None else wait(self._reactor, delay, call)

    def _look(self) -> None:
        """Work out what is left of the time: the timer is not moved for each byte."""
        limit = self._limits.half_closed if self._first_end else self._limits.idle
        assert limit is not None
        left = limit
        if not (self._downstream.paused or self._upstream.paused):
            left = self._quiet_since + limit - self._reactor.seconds()
        if left > 0.001:
            self._set_timer(left, self._look)
        else:
            self.abort(StreamTimeout(f"no byte for {limit:g} s"))


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class _End(Hearer):
    """
    One side of a pump: hears its own stream, and is the producer of the other one.

    @ivar copies: the other stream keeps what is written to it, and cannot be lent a view.
    @ivar lent_at_most: see L{Hearer}; as much as the other stream makes use of.
    @ivar paused: the other stream's buffer is full, so this one is not read.
    @ivar read_ended: the peer ended its side.
    @ivar write_ended: our side has ended, and all before has left.
    @ivar lost: why the stream is gone, if it is.
    """

    __slots__ = (
        "copies",
        "lent_at_most",
        "lost",
        "other",
        "paused",
        "pump",
        "read_ended",
        "side",
        "stream",
        "write_ended",
    )

    stream: Stream
    other: _End
    lent_at_most: int
    copies: bool

    def __init__(self, pump: Pump, side: Literal["downstream", "upstream"]) -> None:
        self.pump = pump
        self.side = side
        self.paused = self.read_ended = self.write_ended = False
        self.lost: Failure | None = None

    def leads_to(self, stream: Stream) -> None:
        """What comes is written to C{stream}."""
        able = abilities_of(stream)
        self.lent_at_most, self.copies = able.lent_at_most, not able.takes_views

    # as a protocol; no subclass of Twisted's, whose dictionary would cost an idle pair 200 bytes

    def makeConnection(self, transport: object) -> None:
        """The pump knows the streams already."""

    def connectionMade(self) -> None:
        """Part of C{IProtocol}; never called."""

    def dataReceived(self, data: bytes | memoryview) -> None:
        if self.pump._closing or self.read_ended:
            return
        self.pump._moved(self, len(data))
        self.other.stream.write(data)  # type: ignore[arg-type]  # a view only where it takes one

    def view_received(self, view: memoryview) -> None:
        # As `dataReceived`, without a call for each of the many parts.
        pump = self.pump
        if pump._closing or self.read_ended:
            return
        pump._moved(self, len(view))
        self.other.stream.write(bytes(view) if self.copies else view)  # type: ignore[arg-type]

    @property
    def takes_pipes(self) -> bool:
        return abilities_of(self.other.stream).takes_pipes

    def pipe_received(self, pipe: SharedPipe) -> None:
        if self.pump._closing or self.read_ended:
            return
        self.pump._moved(self, pipe.held)
        self.other.stream.write_pipe(pipe)  # type: ignore[attr-defined]

    def readConnectionLost(self) -> None:
        if self.pump._closing or self.read_ended:
            return
        self.read_ended = True
        self.paused = False
        self.pump._ended(self)

    def writeConnectionLost(self) -> None:
        self.write_ended = True
        if not self.pump._closing and self.other.write_ended:
            self.pump._both_ended()

    def sending_failed(self) -> bool:
        return self.pump._sending_failed(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.lost is None:
            self.lost = reason
            self.pump._lost(self, reason)

    # as the producer of the other stream

    def pauseProducing(self) -> None:
        self.paused = True
        if not self.read_ended:
            self.stream.pauseProducing()

    def resumeProducing(self) -> None:
        if not self.paused:
            return
        self.paused = False
        self.pump._flowing()
        if not (self.read_ended or self.pump._closing):
            self.stream.resumeProducing()

    def stopProducing(self) -> None:
        """The other stream is gone; its C{connectionLost} follows and says how."""


def _explain(reason: Failure, end: _End) -> RelayError:
    if isinstance(reason.value, RelayError):
        return reason.value
    who = "client" if end.side == "downstream" else "upstream"
    return StreamError(f"the connection to the {who} broke (reset or lost)")
