"""The Twisted side of L{lanrelay.wire.http1} as a server: one client connection, one exchange at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.config.model import Duration, Timeouts
from lanrelay.errors import RelayError, RemoteProtocolError
from lanrelay.http.answers import failed
from lanrelay.http.client_stream import (
    ANSWERED,
    ANSWERING,
    ASKED,
    GONE,
    IDLE,
    LINGERING,
    Leaving,
)
from lanrelay.http.ending import Ending
from lanrelay.http.sink import Application, RequestSink
from lanrelay.wire.events import NO_FIELDS, BodyPart, EndOfMessage, Event, RequestHead, ResponseHead
from lanrelay.wire.http1 import Http1Server

if TYPE_CHECKING:
    from lanrelay.transport.client import Client

# Bytes that a client may pipeline before it is paused: one read, as HAProxy and nginx keep one buffer.
PIPELINED_MAX: Final = 64 * 1024
# Pipelined requests that are answered in one turn of the reactor; then other connections have their turn. 64
# KiB hold more than a thousand requests, and each may take a millisecond, or ten.
TURN_MAX: Final = 2
# Bytes of an upload that are read and thrown away after an early answer. Then the client is paused until it
# has read the answer, or C{timeouts.close} has passed.
DISCARDED_MAX: Final = 64 * 1024 * 1024


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class HttpConnection(Ending):
    """
    One client connection: C{hand_over(stream, connection)} starts it.

    It owns its stream until C{take_over} or C{join}. A client that ends its side while its answer is pending
    counts as gone, as in nginx; but not one that has sent a CONNECT and all that is to go through.

    @ivar client: the client that connected; given by the listener.
    @ivar head: the request that is under way, or the last one.
    @ivar content_at_hand: whether some of its content came together with it, and is told in the same call.
    """

    __slots__ = (
        "_application",
        "_discarded",
        "_full",
        "_next_turn",
        "client",
        "content_at_hand",
        "head",
    )

    def __init__(
        self,
        reactor: Any,
        timeouts: Timeouts,
        application: Application,
        gone: Callable[[HttpConnection], None],
        *,
        client: Client | None = None,
        wire: Http1Server | None = None,
    ) -> None:
        super().__init__(reactor, timeouts, wire or Http1Server(), gone)
        self.client = client
        self.head: RequestHead | None = None
        self.content_at_hand = False
        self._application = application
        self._full = False  # the client does not read
        self._discarded = 0
        self._next_turn: Any = None  # the reactor's call for pipelined requests

    # --- for the application, about the request under way -----------------------------------------

    def hand_on(self, begin: Callable[[], RequestSink], content: Sequence[bytes], *, whole: bool) -> None:
        """
        Give the request under way to another sink, which C{begin} makes as L{Application.request_received}
        does; the new one is told what the old one was.

        @param whole: whether all of the request has come.
        """
        if self.state >= LINGERING:
            return
        self._dispatching = True  # an answer must not look for the next request yet
        sink = begin()
        if self._is_asked:
            self.sink = sink
            if self._full:
                sink.pause_sending()
            for data in content:
                if self.sink is sink:
                    sink.body_received(data)
            if whole and self.sink is sink:
                sink.body_ended(NO_FIELDS)
        self._dispatch(())

    @property
    def reads(self) -> bool:
        """Whether the client takes what it is sent, as far as is known."""
        return not self._full

    # --- for a plain exchange, which looks at bytes before the wire does ----------------------------

    @property
    def untouched(self) -> bool:
        """
        Whether all that has come was answered, so that a request that comes now could be answered at once.
        """
        return (
            self.state is IDLE
            and self.kept is None  # the client may be logged in on one of them
            and not (self.leaving or self._full or self._dispatching)
            and self._wire.untouched
        )

    def begin_unread(self, sink: RequestSink) -> None:
        """A whole request came, which the wire has not read; C{sink} has it."""
        self.sink = sink
        self.state = ASKED
        self._waiting = ""
        self._deadline.clear()

    def read(self, request: bytes) -> RequestHead:
        """Let the wire read such a request after all."""
        if self._waiting == "silence":
            self._waiting = ""
            self._deadline.clear()
        self.head = cast(RequestHead, self._wire.receive(request)[0])
        return self.head

    def answer_unread(self, part: bytes, silence: Duration) -> None:
        """
        Send a part of the answer to such a request, from its head on.

        @param silence: seconds after which its sink is told that nothing more has come.
        """
        self.state = ANSWERING
        self._wait("silence", silence)
        self._stream.write(part)

    def has_sent(self, head: ResponseHead) -> None:
        """Let the wire know that the head of an answer was sent so, after it has read the request."""
        self._wire.send(head)

    def end_unread(self, answer: bytes, request: bytes) -> bool:
        """
        Send the whole answer to such a request, or the last part of it.

        @return: whether nothing stands in the way of the next request, so that the connection is L{untouched}
            again.
        """
        self.sink = None
        self.state = IDLE
        self._stream.write(answer)
        if self._full:
            # The wire keeps what comes until the client reads again; meanwhile the client's end is noticed,
            # too.
            self.read(request)
            self._wire.answered()
            self.state = ANSWERED
            self._settle()
            return False
        if self.state is not IDLE:
            return False
        self._waiting = "keepalive"
        self._deadline.set(self._timeouts.keepalive)
        return True

    # --- from the stream --------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._stream.registerProducer(self, True)
        self._waiting = "head"
        self._stream.resumeProducing()
        if self._waiting == "head" and self.state is IDLE:  # no head came during that call
            self._deadline.set(self._timeouts.head)

    def dataReceived(self, data: bytes) -> None:
        if self._dispatching:
            self._late += data  # a stream may deliver what it holds while it is resumed
        elif self.state < LINGERING:
            try:
                events = self._wire.receive(data)
            except RemoteProtocolError as error:
                self._refuse(error)
            else:
                self._dispatch(events)
        elif self.state is LINGERING:
            self._discarded += len(data)
            if self._discarded > DISCARDED_MAX:
                self._stream.pauseProducing()

    def readConnectionLost(self) -> None:
        self._read_ended = True
        if self.state is LINGERING:
            if self._write_ended:
                self._close()
        elif self.state < LINGERING:
            if self._is_asked:
                if self._has_said_all():
                    return  # the stream's next owner is told of the end
                answering = self.state is ANSWERING
                self._leave(None)
                if answering:
                    self._reset()
                    return
            self._close(at_once=True)

    def _has_said_all(self) -> bool:
        """Whether this is a tunnel's client that has not gone: it said something, and waits for an answer."""
        head = self.head
        return head is not None and head.method == b"CONNECT" and bool(self._wire.buffered or self._late)

    def writeConnectionLost(self) -> None:
        self._write_ended = True
        if self.state is LINGERING:
            if self._read_ended:
                self._close()
            else:
                self._wait("close", self._timeouts.close)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.state is GONE:
            return
        self.state = GONE
        self._lost()
        next_turn, self._next_turn = self._next_turn, None
        if next_turn is not None:
            next_turn.cancel()
        self._leave(None)
        self._let_go()
        self._gone(self)

    # IPushProducer: the stream tells whether the client reads.

    def pauseProducing(self) -> None:
        if not self._full:
            self._full = True
            if self.sink is not None:
                self.sink.pause_sending()

    def resumeProducing(self) -> None:
        self._full = False
        if self.sink is not None:
            self.sink.resume_sending()
        elif self._may_go_on:
            self._dispatch(())

    def stopProducing(self) -> None:
        """The stream is lost; C{connectionLost} says so at once."""

    # --- one exchange after another ---------------------------------------------------------------

    def _dispatch(self, events: Sequence[Event]) -> None:
        """Tell the sink what came, then go on with the next request if this one is over."""
        self._dispatching = True
        turn = 1 if events else 0
        try:
            while self.state < LINGERING:
                for event in events:
                    kind = type(event)
                    if kind is RequestHead:
                        self._begin(cast(RequestHead, event), events)
                    elif kind is BodyPart:
                        if self.sink is not None:
                            self.sink.body_received(cast(BodyPart, event).data)
                    elif kind is EndOfMessage:
                        self._receiving = False
                        if self.sink is not None:
                            self.sink.body_ended(cast(EndOfMessage, event).trailers)
                    if self.state >= LINGERING:
                        return
                if self._late:
                    late, self._late = self._late, b""
                    events = self._wire.receive(late)
                    continue
                if self.state is not ANSWERED or not self._over():
                    break
                if turn >= TURN_MAX and self._wire.buffered:
                    if self._next_turn is None:
                        self._next_turn = self._reactor.callLater(0, self._go_on)
                    break
                turn += 1
                self.state = IDLE
                self.head = None
                self._waiting = ""
                events = self._wire.start_next_cycle()
                if not events:
                    break
        except RemoteProtocolError as error:
            self._refuse(error)
            return
        finally:
            self._dispatching = False
        self._settle()

    def _go_on(self) -> None:
        self._next_turn = None
        if self._may_go_on:
            self._dispatch(())

    @property
    def _may_go_on(self) -> bool:
        return (self.state is IDLE or self.state is ANSWERED) and not self._dispatching

    def _begin(self, head: RequestHead, events: Sequence[Event]) -> None:
        whole = type(events[-1]) is EndOfMessage
        self.head = head
        self._receiving = not whole
        self.state = ASKED
        self._waiting = ""
        self._deadline.clear()
        self.content_at_hand = len(events) > 1 and type(events[1]) is BodyPart
        sink = self._application.request_received(self, head)
        self.content_at_hand = False
        if self._is_asked:
            self.sink = sink
            if self._full:
                sink.pause_sending()

    def _over(self) -> bool:
        """After a complete response: whether the next request may be looked at now."""
        leaving = self.leaving is Leaving.NOW
        if self._receiving or leaving or not self._wire.keep_alive:
            if self._receiving or leaving or self._wire.buffered:
                self._linger()
            else:
                self._close()
            return False
        # Answers for a client that pipelines and does not read must not fill the memory.
        return not self._full

    def _settle(self) -> None:
        """Bring reading and the timer in line with what is under way."""
        if self.state >= LINGERING or self._dispatching:
            return
        stuffed = self._wire.buffered > PIPELINED_MAX and self.state is not IDLE
        if stuffed != self._stuffed:
            self._stuffed = stuffed
            if stuffed:
                self._stream.pauseProducing()
            else:
                self._resume()
        if self.state >= LINGERING:
            return  # closed by what came during the call
        if self._is_asked:
            if self._receiving and not self._paused:  # whether or not it waits for a 100
                self._wait("body", self._timeouts.body)
            else:
                self._waiting = ""
                self._deadline.clear()
        elif self._wire.head_begun:
            if self._waiting != "head":
                self._wait("head", self._timeouts.head)
        elif not self._waiting:
            if self._full:  # the end of the last answer waits to be sent
                self._wait("flush", self._timeouts.half_closed)
            else:
                self._wait("keepalive", self._timeouts.keepalive)

    # --- ends -------------------------------------------------------------------------------------

    def _refuse(self, error: RemoteProtocolError) -> None:
        """The client broke the protocol, or was too slow: say so if that is still possible, and close."""
        asked = self._is_asked
        if asked:
            answering = self.state is ANSWERING
            self._leave(error)
            if answering:
                self._reset()
                return
        elif self._wire.response_begun:
            self._linger()  # the request was answered before it broke off
            return
        answer = failed(error)
        if not asked:
            self._application.request_refused(self, error, answer)
        if self.state >= LINGERING:
            return
        self._wire.close_after_response()
        self._dispatching = True  # `end` must not look for a next request
        self.answer(answer.status, answer.headers, answer.body, answer.reason)
        self._dispatching = False
        self._linger()

    def _leave(self, error: RelayError | None) -> None:
        """Tell the sink, which is making the answer, that it is not wanted any more."""
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.client_gone(error)

    def _too_late(self) -> None:
        if self._waiting == "head" and self._wire.head_begun:
            self._refuse(RemoteProtocolError("the request head did not come in time", 408))
        elif self._waiting in ("head", "keepalive"):
            self._close()
        elif self._waiting == "body":
            self._refuse(RemoteProtocolError("the request body stopped coming", 408))
        elif self._waiting == "silence":
            cast("Any", self.sink).silent()
        else:
            self._reset()
