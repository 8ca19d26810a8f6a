"""Makes asks of the dialogue come true: HTTP/1.1 over kept connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from lanrelay.bridge.dial import Approach, dial
from lanrelay.bridge.http import (
    LARGEST_EVENT,
    EventParser,
    Head,
    Malformed,
    Response,
    is_event_stream,
)
from lanrelay.bridge.loop import Loop, Steps, Task, now
from lanrelay.bridge.messages import Ask, Failure
from lanrelay.bridge.stream import Stream

if TYPE_CHECKING:
    from lanrelay.bridge.seams import CarrierSink

MOST = 200
"""Connections at once, streams among them, before the system is asked for more: macOS allows it 256."""

MOST_OF_ALL = 1200
"""Connections at once; further asks wait. A thousand calls in flight are normal."""

_OTHERS = 48
"""Descriptors that are not for connections."""

CONNECT_WITHIN = 10.0
"""Seconds for name, race, parent and TLS; undici allows the same, and so do bridges that use it."""

KEPT_FOR = 30.0
"""Seconds for which an idle connection is kept."""

FRESH_FOR = 1.0
"""
Seconds for which a kept connection is good for what must not be sent twice. uvicorn and Node close theirs
after 5 s: a request that crosses such an end has perhaps been run.
"""

KEPT = 8
"""Idle connections that are kept at most."""


class Destination(Protocol):
    """Where asks go. It is asked anew for each connection, for the place may have changed."""

    def approach(self, until: float) -> Steps[Approach]:
        """The steps to the place of the target; they raise why there is none."""

    def failed(self) -> None:
        """The connection failed."""

    def head(self, ask: Ask) -> bytes:
        """The request line and the fields of C{ask}, with the person's own; without the length."""


Explain = Callable[[Exception, bool], Failure]
"""Puts an error in words; its flag says whether the server may have done what it was asked."""


class Carrier:
    """
    @param most: connections at once.
    @ivar backlog: bytes that have not gone to the kernel yet.
    @ivar scheme: whether the target speaks TLS although its URL says not; and when that was seen.
    """

    def __init__(
        self, loop: Loop, target: Destination, sink: CarrierSink, explain: Explain, *, most: int = MOST
    ) -> None:
        self.backlog = 0
        self.loop = loop
        self.sink = sink
        self.explain = explain
        self.target = target
        self._most = most
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._by_number: dict[int, _Connection] = {}
        self._queue: deque[Ask] = deque()
        self._held = False
        self._asked = False
        self.scheme: tuple[float, bool] | None = None

    def ask(self, ask: Ask) -> None:
        """Carry it; the sink hears of it only after this has returned."""
        kept = self._kept(ask)
        if kept is not None:
            self._use(kept, ask)
        elif len(self._open) >= self._most and not self._widened():
            self._queue.append(ask)
            self.backlog += len(ask.body or b"")
        else:
            made = _Connection(self)
            self._open.add(made)
            self._by_number[ask.number] = made
            made.dial(self.target, ask)

    def drop(self, number: int) -> None:
        """Let go of an ask, wherever it is."""
        connection = self._by_number.get(number)
        if connection is not None:
            connection.close()
            self._by_number.pop(number, None)
            self.closed(connection)
        else:
            for ask in [ask for ask in self._queue if ask.number == number]:
                self._queue.remove(ask)
                self.backlog -= len(ask.body or b"")

    def hold(self, held: bool) -> None:
        """Read no answers for now, or go on."""
        if held != self._held:
            self._held = held
            for one in self._open:
                one.hold(held)

    def close(self) -> None:
        self._queue.clear()
        for one in list(self._open):
            one.close()
        self._open.clear()
        self._idle.clear()
        self._by_number.clear()

    # --- what connections tell ---

    @property
    def held(self) -> bool:
        return self._held

    def head(self, ask: Ask) -> bytes:
        return self.target.head(ask)

    def forget(self, number: int) -> None:
        self._by_number.pop(number, None)

    def done(self, connection: _Connection, number: int, stays: bool) -> None:
        """An ask has ended in order."""
        self._by_number.pop(number, None)
        if stays and self._queue:
            self._use(connection, self._next())
        elif stays and len(self._idle) < KEPT:
            self._idle.append(connection)
            connection.wait(now() + KEPT_FOR)
        else:
            connection.close()
            self.closed(connection)

    def closed(self, connection: _Connection) -> None:
        """The connection is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        while self._queue and len(self._open) < self._most:
            self.ask(self._next())

    def _next(self) -> Ask:
        ask = self._queue.popleft()
        self.backlog -= len(ask.body or b"")
        return ask

    def again(self, ask: Ask) -> None:
        """The kept connection was closed, so the ask goes out on a new one."""
        made = _Connection(self)
        self._open.add(made)
        self._by_number[ask.number] = made
        made.dial(self.target, ask)

    def _widened(self) -> bool:
        """Have the system allow more connections, once."""
        if self._asked:
            return False
        self._asked = True
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MOST_OF_ALL + _OTHERS if hard == resource.RLIM_INFINITY else min(MOST_OF_ALL + _OTHERS, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            except (OSError, ValueError):
                wanted = soft
        self._most = max(self._most, wanted - _OTHERS)
        return len(self._open) < self._most

    def _kept(self, ask: Ask) -> _Connection | None:
        while self._idle:
            connection = self._idle[-1]
            if not ask.replayable and now() - connection.since > FRESH_FOR:
                return None
            self._idle.pop()
            if connection.is_usable():
                return connection
            connection.close()
            self._open.discard(connection)
        return None

    def _use(self, connection: _Connection, ask: Ask) -> None:
        self._by_number[ask.number] = connection
        connection.send(ask)


class _Connection:
    """
    One connection, from its dialing to its end.

    @ivar ask: what it carries just now.
    @ivar since: when it began to wait.
    """

    def __init__(self, carrier: Carrier) -> None:
        self.ask: Ask | None = None
        self.since = 0.0
        self._carrier = carrier
        self._dialing: Task | None = None
        self._stream: Stream | None = None
        self._response: Response | None = None
        self._events: EventParser | None = None
        self._content: list[bytes] = []
        self._size = 0
        self._stays = False
        self._used = False
        self._owed = 0
        self._timer = carrier.loop.at(0, _nothing)
        self._timer.cancel()

    def _owe(self, count: int) -> None:
        self._carrier.backlog += count - self._owed
        self._owed = count

    def _flushed(self) -> None:
        self._owe(0)
        self._carrier.sink.moved()

    def dial(self, target: Destination, ask: Ask) -> None:
        self.ask = ask
        self._owe(len(ask.body or b""))
        # Later, for the sink hears of an ask only after C{ask} has returned.
        self._carrier.loop.post(lambda: self._dial(target, ask))

    def _dial(self, target: Destination, ask: Ask) -> None:
        if self.ask is not ask:
            return
        self._dialing = Task(self._carrier.loop, self._steps(target), self._dialed)

    def _steps(self, target: Destination) -> Steps[Stream]:
        approach = yield from target.approach(now() + CONNECT_WITHIN)
        return (yield from dial(self._carrier.loop, approach, within=CONNECT_WITHIN))

    def _dialed(self, stream: Stream | None, error: Exception | None) -> None:
        self._dialing = None
        if stream is None:
            assert error is not None
            self._carrier.target.failed()
            self._fail(error, ran=False)
            return
        self._stream = stream
        stream.received = self._received
        stream.ended = self._ended
        stream.flushed = self._flushed
        if not self._carrier.held:
            stream.resume()
        assert self.ask is not None
        self.send(self.ask)

    def send(self, ask: Ask) -> None:
        """The next request."""
        stream = self._stream
        assert stream is not None
        self._timer.cancel()
        self.ask = ask
        self._response = Response(ask.method)
        self._events = None
        self._content.clear()
        self._size = 0
        head = self._carrier.head(ask)
        body = ask.body
        self._owe(len(body or b""))
        if body is None:
            stream.write(head + b"\r\n")
            return
        head += b"Content-Length: %d\r\n\r\n" % len(body)
        if len(body) < 65536:
            stream.write(head + body)
        else:
            stream.write(head, body)

    def wait(self, until: float) -> None:
        """For a request."""
        self.ask = None
        self._response = None
        self._used = True
        self.since = now()
        if self._stream is not None:
            self._stream.resume()  # so that its end is noticed, also while answers are held
        self._timer = self._carrier.loop.at(until, self._too_long)

    def is_usable(self) -> bool:
        """Neither a byte nor the end has come."""
        from select import POLLIN, poll

        if self._stream is None or self._stream.closed:
            return False
        look = poll()
        look.register(self._stream.fileno(), POLLIN)
        return not look.poll(0)

    def hold(self, held: bool) -> None:
        if self._stream is not None and self.ask is not None:
            if held:
                self._stream.pause()
            else:
                self._stream.resume()

    def close(self) -> None:
        self._timer.cancel()
        self._owe(0)
        if self._dialing is not None:
            self._dialing.cancel()
            self._dialing = None
        if self._stream is not None:
            self._stream.close()
        self.ask = None

    # --- what comes ---

    def _too_long(self) -> None:
        self.close()
        self._carrier.closed(self)

    def _received(self, data: bytes) -> None:
        ask = self.ask
        if self._response is None or ask is None:  # the server speaks unasked: a 408, mostly
            self._too_long()
            return
        try:
            for part in self._response.feed(data):
                if self.ask is not ask:
                    return  # it was dropped meanwhile
                self._part(part)
        except Malformed as error:
            self._fail(error, ran=True)

    def _part(self, part: object) -> None:
        ask, sink = self.ask, self._carrier.sink
        assert ask is not None
        if isinstance(part, Head):
            self._stays = part.stays
            if is_event_stream(part.fields):
                self._events = EventParser()
            sink.answered(ask.number, part.status, part.reason, part.fields)
        elif isinstance(part, bytes):
            if self._events is not None:
                for event in self._events.feed(part):
                    if self.ask is not ask:
                        return  # it was dropped meanwhile
                    sink.event(ask.number, event)
            else:
                self._size += len(part)
                if self._size > LARGEST_EVENT:
                    raise Malformed("its body is larger than 64 MB")
                self._content.append(part)
        else:
            self._complete(ask)

    def _complete(self, ask: Ask) -> None:
        sink = self._carrier.sink
        content = None if self._events is not None else b"".join(self._content)
        self._content.clear()
        response, stream = self._response, self._stream
        assert response is not None
        assert stream is not None
        stays = self._stays and not response.rest and not stream.unsent
        self.ask = None
        self._response = None
        self._carrier.done(self, ask.number, stays)
        if content is not None:
            sink.content(ask.number, content)
        sink.finished(ask.number)

    def _ended(self, error: Exception | None) -> None:
        ask, response = self.ask, self._response
        if ask is None or response is None:
            self._too_long()
            return
        if not response.begun and self._used and ask.replayable:
            self.close()
            self._carrier.closed(self)
            self._carrier.again(ask)
            return
        assert self._stream is not None
        if not response.begun and not self._used and self._stream.is_plain:
            self._look_whether_tls(error or Cut(False))
            return
        if error is not None:
            self._fail(error, ran=True)
            return
        try:
            for part in response.ended():
                self._part(part)
        except Malformed:
            self._fail(Cut(response.begun), ran=True)

    def _look_whether_tls(self, error: Exception) -> None:
        """
        Find out why a new connection in plain text ended without a word: some servers of TLS send no alert.
        """
        from lanrelay.bridge.scheme import SpeaksTls, speaks_tls
        from lanrelay.wire.tls_question import KNOWN_FOR

        carrier = self._carrier
        assert self._stream is not None
        self._stream.close()
        self._stream = None

        def looked(found: bool | None, failed: Exception | None) -> None:
            self._dialing = None
            carrier.scheme = now(), bool(found)
            if found:
                self._fail(SpeaksTls(), ran=False)
            else:
                self._fail(error, ran=True)

        known = carrier.scheme
        if known is not None and now() < known[0] + KNOWN_FOR:
            looked(known[1], None)
        else:
            approach = carrier.target.approach(now() + CONNECT_WITHIN)
            self._dialing = Task(carrier.loop, speaks_tls(carrier.loop, approach), looked)

    def _fail(self, error: Exception, *, ran: bool) -> None:
        ask = self.ask
        assert ask is not None
        self._carrier.forget(ask.number)
        self.close()
        self._carrier.closed(self)
        self._carrier.sink.failed(ask.number, self._carrier.explain(error, ran))


class Cut(Exception):
    """
    The server ended the connection before its answer was whole.

    @ivar begun: a part of the answer had come.
    """

    def __init__(self, begun: bool) -> None:
        super().__init__("the connection ended before the answer was whole")
        self.begun = begun


def _nothing() -> None:
    """No call."""
