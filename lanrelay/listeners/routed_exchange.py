"""An exchange of a reverse proxy: what of its request and its answer has to be whole before it goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from lanrelay.errors import RelayError, TlsOnPlain
from lanrelay.http.client import HttpConnection
from lanrelay.http.exchange import Exchange
from lanrelay.http.held import BODY_MAX, HELD, INITIALIZE_MAX, HeldAnswer, Whole
from lanrelay.http.origin import OriginConnection
from lanrelay.observe.session import Session
from lanrelay.passage.browser import with_cors
from lanrelay.passage.intermediary import ruled_trailers
from lanrelay.passage.oauth import FORM_MAX, Rewrite, is_form
from lanrelay.wire.events import RequestHead, ResponseHead
from lanrelay.wire.headers import Headers, logs_in_connection
from lanrelay.wire.rpc import method_in

if TYPE_CHECKING:
    from lanrelay.http.mcp_sessions import McpSession
    from lanrelay.listeners.route import ProxyRoute

_CONTINUE: Final = ResponseHead(status=100, reason=b"Continue")


class RoutedExchange(Exchange):
    """
    An exchange of a reverse proxy.

    Four things are held back until they are whole, and pass unchanged over their bounds: a form, whose
    C{resource} may have to be rewritten, the metadata document of an OAuth server, the 404 to an MCP session
    that may be initialised anew, and a redirect to the other spelling of what was asked for. What would be
    repeated after the last two is copied as it passes.

    @ivar route: by which it travels.
    @ivar target: what the client asked for in origin-form, whatever form it sent.
    @ivar host: the Host that the client named the relay by; empty if none.
    @ivar page: the Origin of a page that may read the answer although it is not the relay's own.
    @ivar mcp: the MCP session to which the request belongs, if that is remembered.
    @ivar at_root: the upstream is asked for what has two spellings, see L{ProxyRoute.is_root}.
    @ivar asked: then the target that it was given.
    @ivar first_page: what is asked for is no continuation of a list.
    @ivar respelled: then its answer wants the other spelling, which has been taken.
    """

    __slots__ = (
        "_copy",
        "_form",
        "_lost",
        "_mcp_id",
        "_recovered",
        "_recovering",
        "asked",
        "at_root",
        "first_page",
        "host",
        "mcp",
        "page",
        "respelled",
        "target",
    )

    route: ProxyRoute

    def __init__(
        self,
        connection: HttpConnection,
        head: RequestHead,
        session: Session,
        route: ProxyRoute,
        *,
        target: bytes,
        host: bytes,
        page: bytes | None,
    ) -> None:
        super().__init__(connection, head, session, route)
        self.target = target
        self.host = host
        self.page = page
        self._form: Whole | None = None
        self._lost: HeldAnswer | None = None  # what says that the session was forgotten
        self.mcp: McpSession | None = None
        self._mcp_id = b""  # by which the upstream was told of the session
        self._copy: Whole | None = None
        self._recovered = False
        self._recovering: Deferred[bool] | None = None
        self.at_root = route.is_root(target)
        self.asked = b""
        self.first_page = True
        self.respelled = False

    def start(self) -> Exchange:
        if self.route.recovers:
            self._find_session()
        if self.at_root and not (self._bodyless or self.route.is_settled):
            self._copy = Whole(BODY_MAX)
        if self._bodyless or not self._is_form():
            return super().start()
        self._form = Whole(FORM_MAX)
        self.session.phase = "request"
        if b"expect" in self.head.headers:
            # Its content is waited for here, so it is asked for here (RFC 9110 section 10.1.1).
            self.head = replace(self.head, headers=self.head.headers.without({b"expect"}))
            self.connection.send_head(_CONTINUE)
        return self

    def has_asked(self, origin: OriginConnection, content: bytes, mcp: McpSession | None = None) -> None:
        """@param mcp: the session in which it was asked."""
        super().has_asked(origin, content)
        self.first_page = b'"cursor"' not in content
        if self.route.recovers:
            self._follow(mcp)
            if self._copy is not None and not self._copy.add(content):
                self._copy = None

    def answer_headers(self, headers: Headers) -> Headers:
        return headers if self.page is None else with_cors(headers, self.page)

    # --- the request --------------------------------------------------------------------------------

    def send_up(self, data: bytes) -> None:
        session = self.session
        if session.received == len(data) and data[:1] == b"{":
            session.rpc = method_in(data)
            self.first_page = b'"cursor"' not in data
        form = self._form
        if form is not None:
            if not form.add(data):
                self._form_is(form.content)
            return
        if self._copy is not None and not self._copy.add(data):
            self._copy = None
        super().send_up(data)

    def body_ended(self, trailers: Headers) -> None:
        if self._form is not None:
            came = self._form.content
            content = self.route.form_to_upstream(came, self.host)
            if content != came and b"content-length" in self.head.headers:
                length = b"%d" % len(content)
                self.head = replace(self.head, headers=self.head.headers.replaced(b"Content-Length", length))
            self._form_is(content)
        if trailers:
            trailers = ruled_trailers(trailers, self.route.config.request_headers)
        super().body_ended(trailers)

    def body_in_hand(self) -> bytes | None:
        if self._copy is not None and self._whole:
            return self._copy.content
        return super().body_in_hand()

    def _is_form(self) -> bool:
        """Whether the content may hold a C{resource} that has to be rewritten."""
        headers = self.head.headers
        if not is_form(headers):
            return False
        if not self.route.rewrites_oauth or b"content-encoding" in headers:
            return False
        length = headers.get(b"content-length")
        return length is None or int(length) <= FORM_MAX

    def _form_is(self, content: bytes) -> None:
        """Begin at last, with what was held back."""
        self._form = None
        super().start()
        if content:
            self.send_up(content)

    # --- the answer ---------------------------------------------------------------------------------

    def may_hold_answer(self, head: ResponseHead) -> bool:
        return (
            self.at_root
            # What begins, ends or is missing of a session; any other answer means nothing for it.
            or (self.mcp is not None and (head.status == 404 or self.head.method == b"DELETE"))
            or (self._copy is not None and b"mcp-session-id" in head.headers.index)
            or (self.route.rewrites_oauth and b"/.well-known/" in self.target)
        )

    def send_final(self, head: ResponseHead) -> None:
        if self.respelled and self._at_hand():
            self._lost = self._hold(head, None)
            return
        if self._may_recover(head):
            self._lost = self._hold(head, None)
            return
        if self.route.recovers:
            self._note_session(head)
        if self.route.rewrites_oauth and b"/.well-known/" in self.target:
            rewrite = self.route.document_rewriter(self, head)
            if rewrite is not None and self.head.method == b"HEAD":  # nobody knows how long it would be
                head = replace(head, headers=head.headers.without({b"content-length"}))
            elif rewrite is not None:
                self._hold(head, rewrite)
                return
        super().send_final(head)

    def response_received(self, head: ResponseHead, content: bytes, trailers: Headers) -> None:
        if trailers:
            trailers = ruled_trailers(trailers, self.route.config.response_headers)
        super().response_received(head, content, trailers)

    def response_ended(self, trailers: Headers) -> None:
        if trailers:
            trailers = ruled_trailers(trailers, self.route.config.response_headers)
        if self._lost is None:
            super().response_ended(trailers)
            return
        self.origin = None  # it has found its way to the pool
        self._lost.stop()
        self._lost.trailers = trailers
        if self.respelled:
            self.at_root = self.respelled = False  # once
            self._repeat()
        else:
            self._recover()

    def _hold(self, head: ResponseHead, rewrite: Rewrite | None) -> HeldAnswer:
        """Send nothing of an answer before it is whole; one that does not end in time passes as it came."""
        timer = self.route.reactor.callLater(HELD, self._held_too_long)
        held = self._filter = HeldAnswer(head, self._send_held, rewrite, timer)
        return held

    def _held_too_long(self) -> None:
        held = self._filter
        assert isinstance(held, HeldAnswer)
        self._send_held(held.head)
        if held.content:
            self.send_down(held.content)

    def _send_held(self, head: ResponseHead) -> None:
        self._filter = self._lost = None
        super().send_final(head)

    def gave_up(self, origin: OriginConnection, error: RelayError) -> None:
        noticing = self.route.noticing
        if isinstance(error, TlsOnPlain):
            noticing.notice(origin.upstream, error, origin.address)
        if not noticing.doubts_scheme(origin, error):
            super().gave_up(origin, error)
            return
        finding = self._dialing = Deferred.fromCoroutine(noticing.find_scheme(origin, error))
        finding.addErrback(self._not_connected)

    # --- MCP sessions -------------------------------------------------------------------------------

    def in_session(self, mcp: McpSession, headers: Headers) -> Headers:
        """The request's fields with the session's id as the upstream knows it."""
        self._mcp_id = mcp.upstream_id
        if self._recovered:
            headers = headers.without({b"last-event-id"})  # it names an event of the forgotten session
        if mcp.upstream_id == mcp.client_id:
            return headers
        return headers.replaced(b"Mcp-Session-Id", mcp.upstream_id)

    def named_session(self, given: bytes) -> None:
        """The upstream was told of the session by this id."""
        self._mcp_id = given

    def _find_session(self) -> None:
        given = self.head.headers.get(b"mcp-session-id")
        self._follow(None if given is None else self.route.in_session(given))

    def _follow(self, mcp: McpSession | None) -> None:
        """It belongs to C{mcp}, or may begin a session."""
        self.mcp = mcp
        given = b"mcp-session-id" in self.head.headers.index
        if self.head.method == b"POST":
            if self.mcp is not None:
                self._copy = Whole(BODY_MAX)
            elif not given and b"json" in (self.head.headers.get(b"content-type") or b"").lower():
                self._copy = Whole(INITIALIZE_MAX)  # a session may begin with it

    def _note_session(self, head: ResponseHead) -> None:
        """What the answer means for the session; the copy is not needed any more."""
        copy, self._copy = self._copy, None
        done = 200 <= head.status < 300
        if self.mcp is None:
            begun = head.headers.get(b"mcp-session-id")
            if (
                done
                and begun is not None
                and copy is not None
                and self._whole
                and len(copy.content) <= INITIALIZE_MAX
            ):
                self.route.session_began(begun, copy.content)
        elif self.head.method == b"DELETE" and (done or head.status == 404):
            assert self.route.sessions is not None
            self.route.sessions.ended(self.mcp)

    def _may_recover(self, head: ResponseHead) -> bool:
        """
        Once for each request, and only if all of it is at hand; and never with what logs in a connection, for
        that is said once.
        """
        return (
            head.status == 404
            and self.mcp is not None
            and not self._recovered
            and self.head.method != b"DELETE"
            and self._at_hand()
        )

    def _at_hand(self) -> bool:
        """The request can be sent anew, and its answer be held back."""
        return (
            not self.upgrade
            and self._filter is None
            and (self._bodyless or (self._whole and self._copy is not None))
            and not logs_in_connection(self.head.headers.get(b"authorization") or b"")
        )

    def _recover(self) -> None:
        mcp, sessions = self.mcp, self.route.sessions
        assert mcp is not None
        assert sessions is not None
        if mcp.upstream_id != self._mcp_id:
            self._again()  # another request has found it forgotten before
            return
        self.session.phase = "dial"
        recovering = self._recovering = sessions.recover(mcp, self)
        recovering.addCallback(self._was_recovered)
        recovering.addErrback(self._not_recovered)

    def _was_recovered(self, success: bool) -> None:
        self._recovering = None
        if success:
            self._again()
            return
        lost = self._lost
        assert lost is not None
        self._note_session(lost.head)
        super().response_ended(lost.trailers)

    def _not_recovered(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._not_connected(failure)  # a bug

    def _again(self) -> None:
        """Send the request anew, in the session that was initialised anew."""
        self._recovered = True
        self._repeat()

    def _repeat(self) -> None:
        """Send the request anew; its answer was held back, and is not wanted any more."""
        session, copy = self.session, self._copy
        self._filter = self._lost = None
        session.status, session.first_byte = 0, None
        if copy is not None:
            self._held = [copy.content]
            self._held_size = len(self._held[0])
        self.repeats += 1
        origin = self.connection.take_kept(self.route.place_of(self))
        if origin is not None:
            self._begin(origin)  # elsewhere its user may not be logged in
        else:
            self._dial()

    def _finish(self) -> None:
        super()._finish()
        recovering, self._recovering = self._recovering, None
        if recovering is not None:
            recovering.cancel()
