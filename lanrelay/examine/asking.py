"""Sends one HTTP request on a connection of its own; its answer is limited in length and time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from lanrelay.errors import (
    DialError,
    PeerClosed,
    RelayError,
    RemoteProtocolError,
    ResponseIncomplete,
    ResponseMalformed,
    ResponseTimeout,
)
from lanrelay.examine.opener import Means, Opener
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.transport.tls_stream import TlsStream
from lanrelay.wire.events import BodyPart, EndOfMessage, Event, RequestHead, ResponseHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.http1 import Http1Client

LONGEST = 1024 * 1024
"""Bytes of an answer that are looked at. A list of some hundred tools with their schemas is 300 KB."""

_FEW = 65536


class NotHttp(ResponseMalformed):
    """
    What came back is no HTTP at all.

    @ivar begins: its first bytes.
    """

    def __init__(self, detail: str, begins: bytes) -> None:
        super().__init__(detail)
        self.begins = begins


class HttpAnswer:
    """
    What came back.

    @ivar content: as much of it as was asked for, or as came in time.
    """

    def __init__(self, head: ResponseHead, content: bytes = b"") -> None:
        self.status = head.status
        self.headers = head.headers
        self.content = content

    def field(self, name: bytes) -> str:
        """The value of a field as text; empty for none."""
        return (self.headers.get(name) or b"").decode("latin-1")

    @property
    def media_type(self) -> str:
        return self.field(b"content-type").partition(";")[0].strip().lower()

    @property
    def is_html(self) -> bool:
        return self.media_type in ("text/html", "application/xhtml+xml")

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")


def request_head(
    method: str, path: str, host: str, fields: Sequence[tuple[str, str]], *, length: int | None = None
) -> RequestHead:
    """
    @param fields: those that the listener sets, then the request's own; of one name the last counts.
    @raise ValueError: a field cannot be sent.
    """
    chosen = {name.lower(): (name, value) for name, value in (("User-Agent", "lanrelay-doctor"), *fields)}
    for name in ("host", "connection", "content-length", "transfer-encoding"):
        chosen.pop(name, None)
    lines = [("Host", host), *chosen.values(), ("Connection", "close")]
    if length is not None:
        lines.append(("Content-Length", str(length)))
    target = "".join(chr(byte) if 0x21 <= byte < 0x7F else f"%{byte:02X}" for byte in path.encode())
    return RequestHead(
        method=method.encode("ascii"),
        target=target.encode("ascii"),
        headers=Headers(
            [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in lines]
        ),
    )


class Asked(Protocol):
    """
    The protocol of the connection; it keeps what comes until it is asked for.

    Its maker calls L{close}.
    """

    def __init__(self, means: Means, head: RequestHead, content: bytes) -> None:
        self._means = means
        self._wire = Http1Client()
        self._out = self._wire.send(head)
        if content:
            self._out += self._wire.send(BodyPart(data=content))
        self._out += self._wire.send(EndOfMessage())
        self._events: deque[Event] = deque()
        self._error: RelayError | None = None
        self._begins = b""
        self._held = 0
        self._waiter: Deferred[None] | None = None
        self._stream: Stream

    def begin(self, stream: Stream) -> None:
        """Send it."""
        self._stream = stream
        hand_over(stream, self)
        stream.write(self._out)
        stream.resumeProducing()

    async def head(self, timeout: float) -> ResponseHead:
        """
        The final head.

        @raise RelayError: none came, or none in time.
        """
        until = self._means.reactor.seconds() + timeout
        while True:
            event = await self._next(until, timeout)
            if isinstance(event, ResponseHead) and event.status >= 200:
                return event

    async def content(self, limit: int, timeout: float) -> bytes:
        """The content up to C{limit} bytes; if it does not end, what comes in time."""
        found, until = b"", self._means.reactor.seconds() + timeout
        while len(found) < limit:
            try:
                event = await self._next(until, timeout)
            except (ResponseTimeout, ResponseIncomplete):
                break
            if isinstance(event, EndOfMessage):
                break
            if isinstance(event, BodyPart):
                found += event.data
                self._held -= len(event.data)
        return found[:limit]

    async def parts(self, timeout: float, *, of: float) -> bytes:
        """
        The content that comes next; empty at its end.

        @param of: the seconds that it had in all, of which C{timeout} are left.
        @raise RelayError: it broke off, or none came in time.
        """
        event = await self._next(self._means.reactor.seconds() + timeout, of)
        if isinstance(event, BodyPart):
            self._held -= len(event.data)
            return event.data
        return b""

    def close(self) -> None:
        """Close the connection, whether or not there is a rest."""
        if self._wire.response_complete and not isinstance(self._stream, TlsStream):
            self._stream.loseConnection()  # all has been sent, so the connection closes at once
        else:
            self._stream.abortConnection()

    async def _next(self, until: float, timeout: float) -> Event:
        while not self._events:
            if self._error is not None:
                raise self._error
            left = until - self._means.reactor.seconds()
            if left <= 0:
                raise ResponseTimeout(f"no answer within {timeout:g} s")
            self._waiter = Deferred()
            try:
                await self._waiter.addTimeout(left, self._means.reactor, _late(timeout))
            finally:
                self._waiter = None
        return self._events.popleft()

    # --- from the stream ---

    def dataReceived(self, data: bytes) -> None:
        if len(self._begins) < 64:
            self._begins += data[:64]
        try:
            events: Sequence[Event] = self._wire.receive(data)
        except RemoteProtocolError as error:
            events = self._wire.before_error
            self._fail(error)
        self._take(events)
        if self._held > 4 * LONGEST:
            self._stream.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        try:
            self._take(self._wire.receive_eof())
        except RemoteProtocolError:
            pass  # told below
        error = reason.value
        if isinstance(error, RelayError):
            self._end(error)
        if not self._begins:
            self._end(PeerClosed("it ended the connection without an answer"))
        self._end(ResponseIncomplete("it ended the connection before its answer was whole"))

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            self._events.append(event)
            if isinstance(event, BodyPart):
                self._held += len(event.data)
        self._wake()

    def _fail(self, error: RemoteProtocolError) -> None:
        if b"HTTP/1."[: len(self._begins)] != self._begins[:7]:
            self._end(NotHttp(error.detail, self._begins))
        else:
            self._end(ResponseMalformed(error.detail))

    def _end(self, error: RelayError) -> None:
        if self._error is None:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.called:
            waiter.callback(None)


def _late(timeout: float) -> Any:
    def late(result: Any, _: float) -> Any:
        if isinstance(result, Failure) and isinstance(result.value, CancelledError):
            raise ResponseTimeout(f"no answer within {timeout:g} s")
        return result

    return late


async def begin(means: Means, opener: Opener, head: RequestHead, content: bytes = b"") -> Asked:
    """
    Send a request on a new connection; its owner closes it.

    @raise DialError: there is no connection, or its certificate is not good; nothing of the request was sent.
    """
    asked = Asked(means, head, content)
    stream = await opener.open()
    asked.begin(stream)
    return asked


async def ask(
    means: Means,
    opener: Opener,
    head: RequestHead,
    content: bytes = b"",
    *,
    timeout: float,
    limit: int = _FEW,
) -> HttpAnswer:
    """
    A request, and its answer up to C{limit} bytes of content.

    @raise DialError: as L{begin}.
    @raise RelayError: no answer.
    """
    asked = await begin(means, opener, head, content)
    try:
        answer = HttpAnswer(await asked.head(timeout))
        if answer.media_type != "text/event-stream":
            answer.content = await asked.content(limit, timeout)
    except DialError as error:
        error.target, error.address = opener.label, str(opener.address)
        raise
    finally:
        asked.close()
    return answer
