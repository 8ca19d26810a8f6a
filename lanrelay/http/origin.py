"""An HTTP/1.1 connection to an origin: requests go out, and what comes back goes to a receiver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.config.model import Duration, Timeouts
from lanrelay.errors import (
    RelayError,
    RemoteProtocolError,
    ResponseIncomplete,
    ResponseMalformed,
    ResponseTimeout,
    StreamError,
    StreamTimeout,
    TlsOnPlain,
    Unanswered,
)
from lanrelay.http.asking import Asker, ChunkTaker, Home, OriginReceiver
from lanrelay.transport.abilities import Hearer, abilities_of
from lanrelay.transport.deadline import Deadline
from lanrelay.transport.stream import Stream, unread_of
from lanrelay.wire.events import BodyPart, EndOfMessage, Event, RequestHead, ResponseHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.http1 import Http1Client

_END: Final = EndOfMessage()


@implementer(IHalfCloseableProtocol, IPushProducer)
class OriginConnection(Protocol, Hearer):
    """
    C{hand_over(stream, connection)} starts it; then one C{start} after another, while C{reusable}.

    It owns its stream until C{take_over}. Between requests it belongs to its C{home}, which is told of its
    end whatever the reason; bytes that come while no request is under way end it. A connection that may be
    logged in belongs to its receivers' client instead, and counts as in use until its end.

    @ivar address: the address that was reached, for the session.
    @ivar upstream: the upstream to which it leads, in a type of the owner's.
    @ivar reused: whether a request was made on it before the one under way.
    @ivar sent: whether bytes of the request under way were written.
    @ivar answered: whether bytes of its answer came.
    @ivar full: whether the origin does not read what is sent.
    @ivar repeats: what its askers know of its answers; C{chunked} of those in chunks.
    @ivar kept: whether it waits for the next request of the one client that it serves.
    """

    def __init__(
        self,
        reactor: Any,
        timeouts: Timeouts,
        *,
        address: str = "",
        upstream: Any = None,
        home: Home | None = None,
    ) -> None:
        self.address = address
        self.upstream = upstream
        self.repeats: Any = None
        self.chunked: Any = None
        self.reused = False
        self.sent = False
        self.answered = False
        self.full = False
        self.kept = False
        self._timeouts = timeouts
        self._home = home
        self._wire = Http1Client()
        self._unread: Callable[[], Any] | None = None
        self._stream: Stream = cast(Stream, None)  # set by connectionMade
        self._receiver: OriginReceiver | None = None
        self._chunk_taker: ChunkTaker | None = None
        self._chunk_expected: ChunkTaker | None = None  # the taker, while the next bytes begin a chunk
        self._asker: Asker | None = None  # until there is a receiver
        self._held_head = b""  # of a request whose content comes with the next call
        self._request_ended = False
        self._head_received = False
        self._used = False
        self._open = True  # neither closed nor given away
        self._gone = False
        self._paused = False
        self._waiting = ""
        self._deadline = Deadline(reactor, self._too_late)

    @property
    def quiet(self) -> bool:
        """
        Whether nothing has come after the last answer: what the reactor has not told of yet would be read as
        the answer to the next request.
        """
        if self._unread is None:
            self._unread = unread_of(self._stream)
        return not self._unread()

    @property
    def ready(self) -> bool:
        """Whether it can take a request: it is open, and L{quiet}."""
        return self._open and self.quiet

    # --- for the receiver -------------------------------------------------------------------------

    def start(
        self,
        head: RequestHead,
        receiver: OriginReceiver,
        *,
        whole: bool = False,
        content_follows: bool = False,
    ) -> None:
        """
        Send a request head; C{receiver} hears the rest.

        If the connection is already lost, C{receiver} is told during this call.

        @param whole: there is no body, and the head is the whole request.
        @param content_follows: L{send_body} is called before this turn of the reactor ends; the head leaves
            with that, in one system call and mostly in one packet.
        """
        self.reused, self._used = self._used, True
        self.answered = self._request_ended = self._head_received = self.kept = False
        self._receiver = receiver
        self.sent = self._open
        if not self._open:
            self._fail(StreamError("the upstream closed the connection before the request was sent"))
            return
        if whole:
            self._stream.write(self._wire.send_whole(head))
            self._request_sent()
        elif content_follows:
            self._held_head = self._wire.send(head)
        else:
            self._stream.write(self._wire.send(head))

    def ask(self, request: bytes, asker: Asker) -> None:
        """
        Send a whole request that was judged already; C{asker} is told the rest.

        The wire does not know of it. If anything but an answer that C{asker} takes happens, L{go_on} makes
        all as if L{start} had been called.
        """
        self.reused, self._used = self._used, True
        self.answered = self._head_received = False
        self._asker = asker
        self.sent = self._open
        if not self._open:
            self._fail(StreamError("the upstream closed the connection before the request was sent"))
            return
        self._stream.write(request)
        self._request_ended = True
        if self._timeouts.response is not None:
            self._wait("response", self._timeouts.response)

    def go_on(self, head: RequestHead, content: bytes, receiver: OriginReceiver) -> None:
        """Give C{receiver} the rest of what L{ask} began; L{ask} has sent C{head} and C{content}."""
        self._asker = None
        self._receiver = receiver
        self._wire.send(head)
        if content:
            self._wire.send(BodyPart(data=content))
        self._wire.send(_END)

    def goes_on(self) -> None:
        """Of the answer to L{ask} more is to come than has."""
        self._head_received = True
        if self._timeouts.stream is None:
            self._deadline.clear()
        else:
            self._wait("stream", self._timeouts.stream)

    def read(self, head: bytes) -> ResponseHead:
        """After L{go_on}: let the wire read the head of an answer that goes on, which its asker has taken."""
        return cast(ResponseHead, self._wire.receive(head)[0])

    def free(self) -> None:
        """The answer to L{ask} was taken: give the connection back to its home, to serve again."""
        self._asker = None
        if self._waiting:
            self._waiting = ""
            self._deadline.clear()
        if self._open and not (self._home is not None and self._home.put(self)):
            self.close()

    def send_body(self, data: bytes) -> None:
        """Send content bytes of the request."""
        if self._open:
            self._stream.write(self._with_head(self._wire.send(BodyPart(data=data))))

    def _with_head(self, data: bytes) -> bytes:
        if self._held_head:
            data = self._held_head + data
            self._held_head = b""
        return data

    def end_request(self, trailers: Headers | None = None) -> None:
        """The request is whole; from now on C{timeouts.response} runs."""
        if self._open:
            data = self._with_head(self._wire.send(EndOfMessage(trailers=trailers) if trailers else _END))
            if data:
                self._stream.write(data)
            self._request_sent()

    def pass_chunks(self, receiver: OriginReceiver, taker: ChunkTaker) -> None:
        """Until the answer ends, ask C{taker} first whenever the bytes that come begin a chunk."""
        if self._receiver is receiver:
            self._chunk_taker = taker

    def pause_reading(self) -> None:
        """Hold the response back, if it has not ended; meanwhile its silence does not count."""
        if not self._paused and self._open and self._receiver is not None:
            self._paused = True
            self._stream.pauseProducing()
            if self._waiting == "stream":
                self._deadline.clear()

    def resume_reading(self) -> None:
        """Let the response come again."""
        if self._paused and self._open:
            self._paused = False
            if self._head_received:
                self._wait("stream", self._timeouts.stream)
            self._stream.resumeProducing()

    def take_over(self) -> tuple[Stream, bytes]:
        """
        After a 101: the caller owns the stream, which is paused, and the bytes after the head.

        The connection counts as in use until the caller calls L{released}.
        """
        self._forget_receiver()
        self._deadline.stop()
        self._stream.unregisterProducer()
        self._stream.pauseProducing()
        return self._stream, self._wire.take_unread()

    def released(self) -> None:
        """The stream that was taken over is gone."""
        self._out_of_use()

    def abort(self) -> None:
        """The answer is not wanted any more: reset, so that the origin notices at once."""
        self._forget_receiver()
        self._asker = None
        if self._open:
            self._deadline.stop()
            self._out_of_use()
            self._stream.abortConnection()

    def close(self) -> None:
        """Close in order; for a connection on which nothing is under way."""
        if self._open:
            self._out_of_use()
            self._wait("close", self._timeouts.close)
            self._stream.unregisterProducer()
            self._stream.loseConnection()

    # --- from the stream --------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._stream = cast(Stream, self.transport)
        self._stream.registerProducer(self, True)
        self._stream.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        taker = self._chunk_expected
        if taker is not None and taker.chunk_came(data):
            if self._timeouts.stream is not None and not self._paused:
                self._wait("stream", self._timeouts.stream)
            return
        asker = self._asker
        if asker is not None:
            self.answered = True
            if asker.answered(data):
                return
        receiver = self._receiver
        if receiver is None:
            if self._open:
                self.abort()  # an answer without a request
            return
        self.answered = True
        try:
            events = self._wire.receive(data)
        except RemoteProtocolError as error:
            self._fail(self._malformed(error, data))
            return
        if self._head_received:
            if self._timeouts.stream is not None and not self._paused:
                self._wait("stream", self._timeouts.stream)
        elif events and _is_whole(events):
            self._response_ended()
            content = cast(BodyPart, events[1]).data if len(events) == 3 else b""
            receiver.response_received(
                cast(ResponseHead, events[0]), content, cast(EndOfMessage, events[-1]).trailers
            )
            return
        self._chunk_expected = None
        if len(events) == 1:
            self._tell(events[0])
        elif events:
            receiver.cork()
            for event in events:
                self._tell(event)
                if self._receiver is not receiver:
                    break
            receiver.uncork()
        if self._chunk_taker is not None and self._wire.between_chunks:
            self._chunk_expected = self._chunk_taker

    def readConnectionLost(self) -> None:
        """
        The origin has ended its side: with a FIN, or on TLS with close_notify, after which a FIN may never
        come.

        Nothing more can be asked, so our side ends, too; what it does not read of an upload is dropped.
        """
        self._out_of_use()
        if self._asker is not None:
            self._asker.general()
        self._origin_ended()
        if self.full:
            self._stream.abortConnection()
        elif not self._gone:
            self._wait("close", self._timeouts.close)
            self._stream.unregisterProducer()
            self._stream.loseConnection()

    def writeConnectionLost(self) -> None:
        """Part of C{IHalfCloseableProtocol}; our side never ends alone."""

    def sending_failed(self) -> bool:
        """
        Told by L{TcpStream<lanrelay.transport.tcp.TcpStream>}: the origin has reset an upload that it does
        not want to read. Its answer may have come before that, and can still be read.
        """
        return self._receiver is not None

    def _malformed(self, error: RemoteProtocolError, data: bytes) -> RelayError:
        plain = not abilities_of(self._stream).version
        if data[:1] == b"\x15" and plain and not self._head_received:  # an alert (RFC 8446 section 5.1)
            fault = TlsOnPlain("it answered with a TLS alert")
            fault.address = self.address
            return fault
        return ResponseMalformed(f"the upstream's answer is not valid: {error}")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone = True
        self._deadline.stop()
        if self._asker is not None:
            self._asker.general()
        receiver = self._receiver
        self._out_of_use()
        if receiver is None:
            return
        if reason.check(ConnectionDone):
            self._origin_ended()
        elif isinstance(reason.value, RelayError):
            self._fail(reason.value)
        elif self.answered:
            self._fail(ResponseIncomplete("the connection to the upstream broke (reset or lost)"))
        else:
            self._fail(StreamError("the connection to the upstream broke (reset or lost) before it answered"))

    # IPushProducer: the stream tells whether the origin reads.

    def pauseProducing(self) -> None:
        if not self.full:
            self.full = True
            if self._asker is not None:
                self._asker.general()
            if self._receiver is not None:
                self._receiver.pause_upload()

    def resumeProducing(self) -> None:
        if self.full:
            self.full = False
            if self._receiver is not None:
                self._receiver.resume_upload()

    def stopProducing(self) -> None:
        """The stream is lost; C{connectionLost} says so at once."""

    # ------------------------------------------------------------------------------------------------------

    def _request_sent(self) -> None:
        self._request_ended = True
        if self._timeouts.response is not None and not self._head_received:
            self._wait("response", self._timeouts.response)

    def _tell(self, event: object) -> None:
        receiver = self._receiver
        assert receiver is not None
        kind = type(event)
        if kind is BodyPart:
            receiver.response_body_received(cast(BodyPart, event).data)
        elif kind is ResponseHead:
            head = cast(ResponseHead, event)
            if head.status >= 200:
                self._head_received = True
                self._deadline.clear()
                if not self._paused:
                    self._wait("stream", self._timeouts.stream)
            receiver.response_head_received(head)
        elif kind is EndOfMessage:
            self._response_ended()
            receiver.response_ended(cast(EndOfMessage, event).trailers)

    def _origin_ended(self) -> None:
        """What the end of the origin's side means for the answer under way, if there is one."""
        receiver = self._receiver
        if receiver is None:
            return
        try:
            for event in self._wire.receive_eof():
                if self._receiver is receiver:
                    self._tell(event)
        except RemoteProtocolError as error:
            if self.answered:
                self._fail(ResponseIncomplete(f"the upstream closed the connection too early: {error}"))
        if self._receiver is receiver:
            self._fail(Unanswered("the upstream closed the connection before it answered"))

    def _response_ended(self) -> None:
        """Give the connection back before the receiver goes on, for the next request may want it."""
        receiver = self._receiver
        self._forget_receiver()
        self._deadline.clear()
        if not self._open:
            return
        if not self._request_ended or self.full:
            self.abort()  # the rest of the upload is of no use
            return
        if self._paused:
            self._paused = False
            self._stream.resumeProducing()  # this may end it at once, if something came unasked
        if self._open and not (self._wire.reusable and self._goes_home(receiver)):
            self.close()

    def _goes_home(self, receiver: OriginReceiver | None) -> bool:
        """Whether its home, or the client, keeps it for the next request."""
        if self._wire.personal:
            self.kept = receiver is not None and receiver.keep(self)
            return self.kept
        return self._home is not None and self._home.put(self)

    def _forget_receiver(self) -> None:
        self._receiver = self._chunk_taker = self._chunk_expected = None

    def _fail(self, error: RelayError) -> None:
        if self._asker is not None:
            self._asker.general()
        receiver, self._receiver = self._receiver, None
        self.abort()
        if receiver is not None:
            receiver.origin_failed(error)

    def _out_of_use(self) -> None:
        if self._open:
            self._open = False
            self._unread = None  # its descriptor's number will be another's
            if self._home is not None:
                self._home.ended(self)

    def _wait(self, waiting: str, timeout: Duration) -> None:
        if timeout is not None and not self._gone:
            self._waiting = waiting
            self._deadline.set(timeout)

    def _too_late(self) -> None:
        if self._waiting == "response":
            self._fail(ResponseTimeout(f"no answer within {self._timeouts.response:g} s"))
        elif self._waiting == "stream":
            self._fail(StreamTimeout(f"silence of {self._timeouts.stream:g} s inside the answer"))
        else:
            self._stream.abortConnection()


def _is_whole(events: list[Event]) -> bool:
    """Whether these are a final head, its content in one part at most, and the end."""
    head = events[0]
    return (
        len(events) <= 3
        and type(events[-1]) is EndOfMessage
        and type(head) is ResponseHead
        and head.status >= 200
    )
