"""One HTTP request through one upstream, streaming both ways, or its takeover by the pump."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lanrelay.errors import Fault, RelayError, RemoteProtocolError, ResponseTimeout, UpgradeFailed
from lanrelay.http.answers import failed
from lanrelay.http.client import HttpConnection
from lanrelay.http.origin import OriginConnection
from lanrelay.http.route import BodyFilter, Route
from lanrelay.observe.session import Session, Side
from lanrelay.passage.intermediary import wanted_upgrade
from lanrelay.transport.pump import PumpLimits
from lanrelay.wire.events import HTTP_1_0, RequestHead, ResponseHead
from lanrelay.wire.headers import Headers

# What of a request's body is kept while there is no connection to send it on; over it the client is paused.
# A small POST fits, so that its client is still heard, and missed, during the dial.
HELD_MAX: Final = 64 * 1024

# RFC 9110 section 9.2.2; with no body to repeat. CONNECT and TRACE do not come here to be repeated.
REPEATABLE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
REPEATS: Final = 3  # of a request of which nothing was sent


class Exchange:
    """
    One request and its response: the sink of the client's connection and the receiver of the origin's.

    It owns the origin connection from C{start} to the end of the answer, and closes its session once.

    @ivar head: as the client sent it.
    @ivar route: by which it travels.
    @ivar upgrade: the client asked for another protocol, and may be given it.
    @ivar repeats: how often it was sent anew.
    @ivar avoided: the upstream that it may have cost its life.
    @ivar spared: that must not be asked again.
    """

    log = Logger()

    __slots__ = (
        "_bodyless",
        "_dialing",
        "_filter",
        "_full",
        "_head_sent",
        "_held",
        "_held_size",
        "_over",
        "_repeated",
        "_trailers",
        "_whole",
        "avoided",
        "connection",
        "head",
        "origin",
        "repeats",
        "route",
        "session",
        "spared",
        "upgrade",
    )

    def __init__(self, connection: HttpConnection, head: RequestHead, session: Session, route: Route) -> None:
        self.connection = connection
        self.head = head
        self.session = session
        self.route = route
        self.origin: OriginConnection | None = None
        self.repeats = 0
        self.avoided: Any = None
        self.spared = False
        self._repeated = False  # although it had been sent
        index = head.headers.index
        length = index.get(b"content-length")
        self._bodyless = b"transfer-encoding" not in index and (length is None or not int(length[2]))
        self.upgrade = b"upgrade" in index and bool(wanted_upgrade(head))
        self._dialing: Deferred[Any] | None = None
        self._filter: BodyFilter | None = None
        self._held: list[bytes] = []
        self._held_size = 0
        self._whole = self._bodyless  # all of the request has come
        self._trailers: Headers | None = None
        self._full = False  # the client does not read
        self._head_sent = False
        self._over = False

    def start(self) -> Exchange:
        """Begin; returns itself, the sink."""
        limit = self.route.max_body
        if limit is not None and not self._bodyless:
            length = self.head.headers.get(b"content-length")
            if length is not None and int(length) > limit:
                self._too_large(limit)
                return self
        try:
            origin = self.route.take(self)
            if origin is not None:
                self._begin(origin)
            else:
                self._dial()
        except Exception:
            self._not_connected(Failure())  # a bug: its session and its origin must not stay open
        return self

    def has_asked(self, origin: OriginConnection, content: bytes) -> None:
        """In place of L{start}: all of the request was sent to C{origin}, with this content."""
        self.origin = origin
        self._whole = True

    def failed_by(self, failure: Failure) -> None:
        """A bug: its session and its origin must not stay open."""
        self._not_connected(failure)

    def answer_headers(self, headers: Headers) -> Headers:
        """For a subclass: the fields of an answer that the relay makes itself."""
        return headers

    def fault_of(self, head: ResponseHead) -> RelayError | None:
        """For a subclass: what the client is told in place of this final answer."""
        return None

    def refuse_response(self, error: RelayError) -> None:
        """What the origin answered is not for the client; C{error} is."""
        origin, self.origin = self.origin, None
        if origin is not None:
            origin.abort()
        self._fail(error)

    # --- the request, from the client's connection ------------------------------------------------

    def body_received(self, data: bytes) -> None:
        session = self.session
        session.received += len(data)
        limit = self.route.max_body
        if limit is not None and session.received > limit:
            self._too_large(limit)
        else:
            self.send_up(data)

    def send_up(self, data: bytes) -> None:
        """Content for the origin, as soon as there is one."""
        if self._dialing is None and self.origin is not None:
            self.origin.send_body(data)
        elif not self._over:
            self._held.append(data)
            self._held_size += len(data)
            if self._held_size >= HELD_MAX:
                self.connection.pause_reading()

    def body_ended(self, trailers: Headers) -> None:
        if self._whole:
            return  # it had no body, and was sent as a whole
        self._whole = True
        self._trailers = trailers
        if self._dialing is None and self.origin is not None:
            self._request_sent(self.origin)

    def client_gone(self, error: RelayError | None) -> None:
        if self._over:
            return
        by: Side = "relay" if self.connection.aborted else "downstream"
        if error is not None:
            self.session.failed(error, by=by)
            if not self._head_sent:
                self.session.status = error.http_status
        self.session.ended_by = self.session.ended_by or by
        self._finish()

    def pause_sending(self) -> None:
        self._full = True
        if self.origin is not None:
            self.origin.pause_reading()
        if self._filter is not None:
            self._filter.pause()

    def resume_sending(self) -> None:
        self._full = False
        if self._filter is not None:
            self._filter.resume()
        if self.origin is not None:
            self.origin.resume_reading()

    # --- the response, from the origin's connection -----------------------------------------------

    def response_head_received(self, head: ResponseHead) -> None:
        if head.status == 101:
            self._switch(head)
        elif head.status < 200:
            if self.head.version != HTTP_1_0:  # RFC 9110 section 15.2
                self.connection.send_head(self.route.response_head(self, head))
        else:
            changed = self._final_head(head)
            if changed is not None:
                self.send_final(changed)

    def response_body_received(self, data: bytes) -> None:
        session = self.session
        session.last_active = self.route.reactor.seconds()
        if self._filter is not None:
            data = self._filter.feed(data)
            if not data:
                return
        session.sent += len(data)
        self.connection.send_body(data)

    def response_ended(self, trailers: Headers) -> None:
        self.origin = None
        connection = self.connection
        if self._filter is not None:
            rest = self._filter.finish()
            if rest:
                self.session.sent += len(rest)
                connection.send_body(rest)
        self.session.phase = "done"
        self.session.ended_by = "upstream"
        self._finish()
        connection.end(trailers)

    def response_received(self, head: ResponseHead, content: bytes, trailers: Headers) -> None:
        try:
            self._all_received(head, content, trailers)
        except Exception:
            if self._over:
                raise
            self.failed_by(Failure())  # the connection, which is idle by now, cannot tell us by its end

    def _all_received(self, head: ResponseHead, content: bytes, trailers: Headers) -> None:
        changed = self._final_head(head)
        if changed is None:
            return
        if self._filter is not None or self.may_hold_answer(changed):
            self.cork()
            self.send_final(changed)
            if content:
                self.response_body_received(content)
            self.response_ended(trailers)
            self.uncork()
            return
        self.origin = None
        self._head_sent = True
        session = self.session
        session.sent += len(content)
        session.phase = "done"
        session.ended_by = "upstream"
        self._finish()
        self.connection.send_whole(changed, content, trailers)

    def _final_head(self, head: ResponseHead) -> ResponseHead | None:
        """What the client is sent for it; C{None} if that is another answer, which it was sent."""
        error = self.fault_of(head)
        if error is not None:
            self.refuse_response(error)
            return None
        route, session = self.route, self.session
        session.status = head.status
        now = session.last_active = route.reactor.seconds()
        session.first_byte = now - session.opened
        session.phase = "body"
        head = route.response_head(self, head)
        self._filter = route.body_filter(self, head)
        return head

    def origin_failed(self, error: RelayError) -> None:
        origin, self.origin = self.origin, None
        if origin is not None and not isinstance(error, ResponseTimeout) and self._may_repeat(origin):
            self.repeats += 1
            self._dial()
        elif origin is not None:
            self.gave_up(origin, error)
        else:
            self._fail(error)

    def gave_up(self, origin: OriginConnection, error: RelayError) -> None:
        """No answer comes from C{origin}, and nobody else is asked; a subclass may first find out why."""
        self._fail(error)

    def keep(self, origin: OriginConnection) -> bool:
        return self.connection.keep(self.route.place_of(self), origin)

    def pause_upload(self) -> None:
        self.connection.pause_reading()

    def resume_upload(self) -> None:
        self.connection.resume_reading()

    def may_hold_answer(self, head: ResponseHead) -> bool:
        """For a subclass whose C{send_final} may wait, or does more than to send C{head}."""
        return False

    def send_final(self, head: ResponseHead) -> None:
        """The answer's head, for the client; it cannot be taken back. A subclass may wait with it."""
        self._head_sent = True
        self.connection.send_head(head)
        if self._filter is not None and self.origin is not None:
            write = self.connection.chunk_writer
            taker = None if write is None else self._filter.take_chunks(write, self.session)
            if taker is not None:
                self.origin.pass_chunks(self, taker)

    def send_down(self, data: bytes) -> None:
        """Content for the client that did not come from the origin; for a L{BodyFilter}."""
        self.session.sent += len(data)
        self.connection.send_body(data)

    def cork(self) -> None:
        self.connection.cork()

    def uncork(self) -> None:
        self.connection.uncork()

    # --- getting a connection ---------------------------------------------------------------------

    def _dial(self) -> None:
        self.session.phase = "dial"
        dialing = self._dialing = Deferred.fromCoroutine(self.route.connect(self))
        dialing.addCallback(self._connected)
        dialing.addErrback(self._not_connected)

    def _connected(self, origin: OriginConnection) -> None:
        self._dialing = None
        if self._over:
            origin.abort()
        else:
            self._begin(origin)

    def _not_connected(self, failure: Failure) -> None:
        self._dialing = None
        if self._over or failure.check(CancelledError):
            return  # the client has gone
        error = failure.value
        if isinstance(error, RelayError):
            self._fail(error)
        else:
            self.log.failure("bug in an exchange of {listener}", failure, listener=self.session.listener)
            fault = Fault()
            fault.http_status = 502  # what a gateway may say of itself; 500 is the origin's word
            self._fail(fault, by="relay")

    def _begin(self, origin: OriginConnection) -> None:
        self.origin = origin
        session = self.session
        session.address = origin.address
        session.phase = "response" if self._bodyless else "request"
        origin.start(
            self.route.request_head(self, origin),
            self,
            whole=self._bodyless,
            content_follows=bool(self._held) or self.connection.content_at_hand,
        )
        if self._full and self.origin is origin:
            origin.pause_reading()
        if self._bodyless or self.origin is not origin:
            return
        held, self._held = self._held, []
        self._held_size = 0
        for data in held:
            origin.send_body(data)
        if self.origin is not origin:
            return
        if self._whole:
            self._request_sent(origin)
        elif not origin.full:
            self.connection.resume_reading()  # last, for a stream may deliver from within this call

    def _request_sent(self, origin: OriginConnection) -> None:
        if not self._head_sent:
            self.session.phase = "response"
        origin.end_request(self._trailers)

    def _may_repeat(self, origin: OriginConnection) -> bool:
        """
        A request is sent anew only if it cannot have been acted on, or may be acted on twice.

        In the second case once, for it may be what ends its origin: by another upstream if there is one, else
        only if its connection was a kept one, which may close for other reasons (RFC 9110 section 9.2.2).
        """
        if origin.answered or self.repeats >= REPEATS:
            return False
        if not origin.sent:
            return True
        if self._repeated or not self._bodyless or self.upgrade or self.head.method not in REPEATABLE:
            return False
        self.spared = not origin.reused
        self._repeated = origin.reused or self.route.has_other(origin)
        self.avoided = origin.upstream
        return self._repeated

    # --- ends -------------------------------------------------------------------------------------

    def _switch(self, head: ResponseHead) -> None:
        """101: HTTP is over, on both sides."""
        origin = self.origin
        assert origin is not None
        if not self.upgrade:
            self.refuse_response(UpgradeFailed("the upstream switched protocols without being asked"))
            return
        session, timeouts = self.session, self.route.timeouts
        session.status = 101
        session.first_byte = self.route.reactor.seconds() - session.opened
        self.connection.send_head(self.route.response_head(self, head))
        self.origin = None
        self._over = True
        stream, unread = origin.take_over()
        limits = PumpLimits(idle=timeouts.stream, half_closed=timeouts.half_closed, close=timeouts.close)
        pump = self.connection.join(stream, session=session, limits=limits, to_downstream=unread)
        pump.done.addCallback(self._pumped, origin)

    def _pumped(self, result: None, origin: OriginConnection) -> None:
        origin.released()
        self.route.ledger.close(self.session)

    def _too_large(self, limit: int) -> None:
        error = RemoteProtocolError(f"a request body of more than {limit} bytes", 413)
        self._fail(error, by="downstream")

    def _fail(self, error: RelayError, *, by: Side = "upstream") -> None:
        """Say what failed if no answer has begun; else cut it, so that it does not look complete."""
        session, connection = self.session, self.connection
        answer = failed(error, self.head, self.body_in_hand(), upstream=session.target)
        session.failed(error, by=by, detail=answer.explanation)
        if self._head_sent:
            self._finish()
            connection.cut()
            return
        session.status = answer.status
        session.sent += len(answer.body)
        self._finish()
        connection.answer(answer.status, self.answer_headers(answer.headers), answer.body, answer.reason)

    def body_in_hand(self) -> bytes | None:
        """The whole content of the request, if it is still here."""
        return b"".join(self._held) if self._whole and self._held else None

    def _finish(self) -> None:
        """Nothing more is done for this exchange; its session is closed."""
        self._over = True
        self._held.clear()
        origin, self.origin = self.origin, None
        dialing, self._dialing = self._dialing, None
        if self._filter is not None:
            self._filter.stop()
            self._filter = None
        if origin is not None:
            origin.abort()
        if dialing is not None:
            dialing.cancel()
        self.route.ledger.close(self.session)
