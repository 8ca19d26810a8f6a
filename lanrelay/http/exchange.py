"""Carries one HTTP request through one upstream, streaming both ways, or hands the streams to the pump."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lanrelay.errors import Fault, RelayError, RemoteProtocolError, ResponseTimeout
from lanrelay.http.answers import failed
from lanrelay.http.client import HttpConnection
from lanrelay.http.doubts import Doubts
from lanrelay.http.held import HeldAnswer
from lanrelay.http.origin import OriginConnection
from lanrelay.http.repetition import Repetition
from lanrelay.http.route import BodyFilter, Doubt, Route
from lanrelay.http.switching import switch
from lanrelay.http.upload import Upload
from lanrelay.observe.session import Session, Side
from lanrelay.passage.intermediary import wanted_upgrade
from lanrelay.wire.events import HTTP_1_0, RequestHead, ResponseHead
from lanrelay.wire.headers import Headers

if TYPE_CHECKING:
    from lanrelay.passage.rule import Asked

_CONTINUE: Final = ResponseHead(status=100, reason=b"Continue")


class Exchange:
    """
    One request and its response: the sink of the client's connection and the receiver of the origin's.

    It owns the origin connection from C{start} to the end of the answer, and closes its session once.

    Its route says what becomes of both heads. Content goes up through an L{Upload}, and down through a
    L{BodyFilter} if it is changed or held. If L{Doubts} want to know an answer before the client does, the
    answer is held, and the request may be made again.

    @ivar head: as the client sent it.
    @ivar target: the target in origin-form, whatever form the client sent.
    @ivar host: the Host by which the client named the relay; empty if none.
    @ivar first_page: whether it asks for the beginning of a list, and not for a continuation.
    @ivar asked: what rules know of it beside the fields, if a rule has asked yet.
    @ivar route: the route by which it travels.
    @ivar origin: the connection to the origin. While C{dialing}, one is being made, or the reason is being
        found out why there is none.
    @ivar over: whether the exchange has ended.
    @ivar upgrade: whether the client asked for another protocol, and may get it.
    @ivar repetition: what is known from having sent it anew; C{None} if it was sent once.
    """

    log = Logger()

    __slots__ = (
        "_doubts",
        "_filter",
        "_full",
        "_head_sent",
        "_upload",
        "asked",
        "connection",
        "dialing",
        "first_page",
        "head",
        "host",
        "origin",
        "over",
        "repetition",
        "route",
        "session",
        "target",
        "upgrade",
    )

    def __init__(
        self,
        connection: HttpConnection,
        head: RequestHead,
        session: Session,
        route: Route,
        *,
        target: bytes = b"",
        host: bytes = b"",
        asked: Asked | None = None,
    ) -> None:
        self.connection = connection
        self.head = head
        self.session = session
        self.route = route
        self.target, self.host, self.asked = target, host, asked
        self.first_page = True
        self.origin: OriginConnection | None = None
        self.repetition: Repetition | None = None
        index = head.headers.index
        length = index.get(b"content-length")
        bodyless = b"transfer-encoding" not in index and (length is None or not int(length[2]))
        self._upload = None if bodyless else Upload(self)
        self.upgrade = b"upgrade" in index and bool(wanted_upgrade(head))
        self.dialing: Deferred[Any] | None = None
        self._doubts: Doubts | None = None
        self._filter: BodyFilter | None = None
        self._full = False  # the client does not read
        self._head_sent = False
        self.over = False

    @property
    def bodyless(self) -> bool:
        """Whether the request has no content."""
        return self._upload is None

    @property
    def page(self) -> bytes | None:
        """The Origin of a page that may read the answer although it is not the relay's own."""
        return None if self.asked is None else self.asked.page

    def start(self) -> Exchange:
        """Begin; returns itself, the sink."""
        doubts = self.route.doubts(self)
        if doubts:
            self._expect(doubts)
        upload = self._upload
        held = None if upload is None else self.route.held_request(self)
        if upload is None or held is None:
            self.go()
            return self
        upload.hold(held)
        self.session.phase = "request"
        if b"expect" in self.head.headers:
            # The relay waits for the content, so it asks for it itself (RFC 9110 section 10.1.1).
            self.head = replace(self.head, headers=self.head.headers.without({b"expect"}))
            self.connection.send_head(_CONTINUE)
        return self

    def _expect(self, doubts: Sequence[Doubt]) -> None:
        self._doubts = Doubts(self, doubts)
        copies = self._doubts.copies
        if copies and self._upload is not None:
            self._upload.keep_copy(copies)

    def go(self) -> None:
        """Find a connection, and send the request on it."""
        limit = self.route.max_body
        if limit is not None and self._upload is not None:
            length = self.head.headers.get(b"content-length")
            if length is not None and int(length) > limit:
                self._too_large(limit)
                return
        try:
            origin = self.route.take(self)
            if origin is not None:
                self._begin(origin)
            else:
                self._dial()
        except Exception:
            self._not_connected(Failure())  # a bug: the session and the origin must not stay open

    def has_asked(self, origin: OriginConnection, content: bytes, doubts: Sequence[Doubt]) -> None:
        """Begin instead of L{start}: all of the request was sent to C{origin} already, with this content."""
        self.origin = origin
        if doubts:
            self._expect(doubts)
        if self._upload is not None:
            self._upload.was_sent(content)

    def is_answered(self) -> None:
        """After L{has_asked}: the client was sent the head of the answer."""
        self._head_sent = True

    def has_answered(self, head: ResponseHead, passed: bytes) -> None:
        """
        In place of L{response_head_received}, after L{is_answered}.

        @param passed: the last of the content that the client was sent, as whole chunks.
        """
        session = self.session
        first_byte, last_active = session.first_byte, session.last_active
        changed = self._final_head(head)
        session.first_byte, session.last_active = first_byte, last_active
        assert changed is not None
        self.connection.has_sent(changed)
        if self._filter is not None:
            self._filter.has_passed(session.sent, passed, self.route.reactor.seconds() - last_active)
        self._pass_chunks()

    def failed_by(self, failure: Failure) -> None:
        """End because of a bug: the session and the origin must not stay open."""
        self._not_connected(failure)

    def refuse_response(self, error: RelayError) -> None:
        """Give the client C{error} instead of the origin's answer."""
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
            if session.received == len(data):
                self.route.content_began(self, data)
            assert self._upload is not None
            self._upload.add(data)

    def body_ended(self, trailers: Headers) -> None:
        if self._upload is not None:
            self._upload.end(trailers)

    def request_sent(self) -> None:
        """All of the request's content has gone to the origin."""
        if not self._head_sent:
            self.session.phase = "response"

    def client_gone(self, error: RelayError | None) -> None:
        if self.over:
            return
        by: Side = "relay" if self.connection.aborted else "downstream"
        if error is not None:
            self.session.failed(error, by=by)
            if not self._head_sent:
                self.session.status = error.http_status
        self.session.left(by=by)
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
            switch(self, head)
        elif head.status < 200:
            if self.head.version != HTTP_1_0:  # RFC 9110 section 15.2
                self.connection.send_head(self.route.response_head(self, head))
        else:
            changed = self._final_head(head)
            if changed is not None:
                self._send_final(changed)

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
        self.origin = None  # it is in the pool again
        if trailers:
            trailers = self.route.response_trailers(trailers)
        if self._doubts is None or self._doubts.holding is None:
            self.end(trailers)
        else:
            if self._filter is not None:
                self._filter.stop()  # the answer is whole, so the filter's timer ends
            self._doubts.decide(trailers)

    def end(self, trailers: Headers) -> None:
        """End the client's answer: all of it has come."""
        connection = self.connection
        if self._filter is not None:
            rest = self._filter.finish()
            if rest:
                self.session.sent += len(rest)
                connection.send_body(rest)
        self.session.done(by="upstream")
        self._finish()
        connection.end(trailers)

    def response_received(self, head: ResponseHead, content: bytes, trailers: Headers) -> None:
        try:
            self._all_received(head, content, trailers)
        except Exception:
            if self.over:
                raise
            self.failed_by(Failure())  # the connection is idle by now, so its end would not be told here

    def _all_received(self, head: ResponseHead, content: bytes, trailers: Headers) -> None:
        changed = self._final_head(head)
        if changed is None:
            return
        if self._filter is not None:
            self.cork()
            self._send_final(changed)
            if content:
                self.response_body_received(content)
            self.response_ended(trailers)
            self.uncork()
            return
        if trailers:
            trailers = self.route.response_trailers(trailers)
        self.origin = None
        self._head_sent = True
        session = self.session
        session.sent += len(content)
        session.done(by="upstream")
        self._finish()
        self.connection.send_whole(changed, content, trailers)

    def _final_head(self, head: ResponseHead) -> ResponseHead | None:
        """The final head that the client gets; C{None} if the client was sent another answer instead."""
        route, session = self.route, self.session
        if head.status == 407:
            error = route.fault_of(self, head)
            if error is not None:
                self.refuse_response(error)
                return None
        held = self._doubts is not None and self._doubts.hold(head, self._upload)
        session.status = head.status
        now = session.last_active = route.reactor.seconds()
        session.first_byte = now - session.opened
        session.phase = "body"
        head = route.response_head(self, head)
        self._filter = route.body_filter(self, head)
        if held:
            if self._filter is None:
                self._filter = HeldAnswer(self, head)
            elif self._doubts is not None:
                self._doubts.let_go()  # a filter changes the answer, or listens to it, as it passes
        return head

    def origin_failed(self, error: RelayError) -> None:
        origin, self.origin = self.origin, None
        repetition = self.repetition or Repetition()
        if (
            origin is not None
            and not isinstance(error, ResponseTimeout)
            and repetition.may_follow(self, origin)
        ):
            repetition.count += 1
            self.repetition = repetition
            self._dial()
        else:
            finding = None if origin is None else self.route.find_out(self, origin, error)
            if finding is None:
                self._fail(error)
            else:
                self.dialing = Deferred.fromCoroutine(finding)
                self.dialing.addErrback(self._not_connected)

    def keep(self, origin: OriginConnection) -> bool:
        return self.connection.keep(self.route.place_of(self), origin)

    def pause_upload(self) -> None:
        self.connection.pause_reading()

    def resume_upload(self) -> None:
        self.connection.resume_reading()

    def _send_final(self, head: ResponseHead) -> None:
        """Send the client the answer's head, which cannot be undone."""
        if self._filter is not None and self._filter.holds_head:
            return  # the filter sends the head
        self._head_sent = True
        self.connection.send_head(head)
        self._pass_chunks()

    def _pass_chunks(self) -> None:
        if self._filter is not None and self.origin is not None:
            write = self.connection.chunk_writer
            taker = None if write is None else self._filter.take_chunks(write, self.session)
            if taker is not None:
                self.origin.pass_chunks(self, taker)

    def send_down(self, data: bytes) -> None:
        """Send the client content that a L{BodyFilter} makes by itself."""
        self.session.sent += len(data)
        self.connection.send_body(data)

    def release(self, head: ResponseHead) -> None:
        """Let go of a held answer: drop its filter, and send the client C{head}."""
        self._filter = None
        if self._doubts is not None:
            self._doubts.let_go()
        self._send_final(head)

    def cork(self) -> None:
        self.connection.cork()

    def uncork(self) -> None:
        self.connection.uncork()

    # --- getting a connection ---------------------------------------------------------------------

    def repeat(self) -> None:
        """Send the request anew, and drop its answer, which was held back."""
        session = self.session
        self._filter = None
        session.status, session.first_byte = 0, None
        if self._upload is not None:
            self._upload.send_again()
        repetition = self.repetition = self.repetition or Repetition()
        repetition.count += 1
        origin = self.connection.take_kept(self.route.place_of(self))
        if origin is not None:
            self._begin(origin)  # on another connection its user may not be logged in
        else:
            self._dial()

    def _dial(self) -> None:
        self.session.phase = "dial"
        dialing = self.dialing = Deferred.fromCoroutine(self.route.connect(self))
        dialing.addCallback(self._connected)
        dialing.addErrback(self._not_connected)

    def _connected(self, origin: OriginConnection) -> None:
        self.dialing = None
        if self.over:
            origin.abort()
        else:
            self._begin(origin)

    def _not_connected(self, failure: Failure) -> None:
        self.dialing = None
        if self.over or failure.check(CancelledError):
            return  # the client has gone
        error = failure.value
        if isinstance(error, RelayError):
            self._fail(error)
        else:
            self.log.failure("bug in an exchange of {listener}", failure, listener=self.session.listener)
            fault = Fault()
            fault.http_status = 502  # the status for a gateway's own fault; 500 means the origin's
            self._fail(fault, by="relay")

    def _begin(self, origin: OriginConnection) -> None:
        self.origin = origin
        session, upload = self.session, self._upload
        session.address = origin.address
        session.phase = "response" if upload is None else "request"
        head = self.route.request_head(self, origin)
        if self._doubts is not None:
            self._doubts.asking(head)
        origin.start(
            head,
            self,
            whole=upload is None,
            content_follows=self.connection.content_at_hand or (upload is not None and upload.waits),
        )
        if self._full and self.origin is origin:
            origin.pause_reading()
        if upload is not None and self.origin is origin:
            upload.begin(origin)

    # --- ends -------------------------------------------------------------------------------------

    def _too_large(self, limit: int) -> None:
        error = RemoteProtocolError(f"a request body of more than {limit} bytes", 413)
        self._fail(error, by="downstream")

    def _fail(self, error: RelayError, *, by: Side = "upstream") -> None:
        """Say what failed if no answer has begun; else cut the answer, so that it does not look complete."""
        session, connection = self.session, self.connection
        answer = failed(
            error,
            self.head,
            None if self._upload is None else self._upload.content,
            upstream=session.target,
            listener=session.listener,
            status_page=partial(self.route.status_page, connection.client),
        )
        session.failed(error, by=by, detail=answer.explanation)
        if self._head_sent:
            self._finish()
            connection.cut()
            return
        session.status = answer.status
        session.sent += len(answer.body)
        self._finish()
        headers = self.route.answer_headers(self, answer.headers)
        connection.answer(answer.status, headers, answer.body, answer.reason)

    def _finish(self) -> None:
        """End the exchange, and close its session."""
        self.over = True
        if self._upload is not None:
            self._upload.drop()
        origin, self.origin = self.origin, None
        dialing, self.dialing = self.dialing, None
        if self._filter is not None:
            self._filter.stop()
            self._filter = None
        if origin is not None:
            origin.abort()
        if dialing is not None:
            dialing.cancel()
        self.route.ledger.close(self.session)
        if self._doubts is not None:
            self._doubts.cancel()
