"""
The plain way through a reverse proxy, for requests and answers that are as most are.

A small exchange takes two fifths of the instructions that it takes by L{lanrelay.http.exchange} (in memory,
without system calls), because nothing is made that only an unusual exchange needs. Nothing is judged
otherwise. A request that is not plain, or that any guard would look at, does not begin here; and a request
that is under way becomes an L{Exchange}, as if it had been one from the start, as soon as anything but a
plain answer comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.errors import RelayError
from lanrelay.http.client import HttpConnection
from lanrelay.http.client_stream import IDLE
from lanrelay.http.exchange import Exchange
from lanrelay.http.origin import OriginConnection
from lanrelay.http.plain_way import Answers, PlainWay
from lanrelay.mcp.known import TOLD_BY
from lanrelay.observe.session import BRIEF, Session, brief
from lanrelay.wire.framing import whole_chunk
from lanrelay.wire.headers import Headers
from lanrelay.wire.limits import LIMITS
from lanrelay.wire.plain import read_plain_answer, read_plain_chunked, read_plain_request
from lanrelay.wire.rpc import method_in
from lanrelay.wire.template import Repeats

if TYPE_CHECKING:
    from lanrelay.http.mcp_sessions import McpSession

Asked = tuple[str, bytes | None, str, int, bytes]
"""
For a request: its method, the id of its MCP session, its path as a session's record has it, where its content
begins, and the bytes for the origin.
"""


_TARGET: Final = 256  # characters of a target that is remembered
_KEPT: Final = 16 * 1024  # bytes of a request, and the head of its answer, while that goes on
_CHUNKED: Final = b"Transfer-Encoding: chunked"
_LAST_CHUNK: Final = b"0\r\n\r\n"
_TAIL: Final = 8  # bytes by which is known where in an event a stream is


@implementer(IProtocol, IHalfCloseableProtocol)
class PlainExchange:
    """
    Stands before a client's connection, and takes requests that can go the plain way, one after another.

    It sees all bytes first. While a request goes the plain way, this is its sink, and the asker of the origin
    connection; all other requests belong to the connection.

    @ivar connection: the client's.
    @ivar let_in: the last Host that the guard let in on this connection, and would let in again.
    """

    __slots__ = (
        "_answer",
        "_between",
        "_content",
        "_given",
        "_last",
        "_mcp",
        "_origin",
        "_path",
        "_repeats",
        "_request",
        "_session",
        "_target",
        "_way",
        "connection",
        "let_in",
    )

    def __init__(self, way: PlainWay, connection: HttpConnection) -> None:
        self.connection = connection
        self.let_in = b""
        self._way = way
        self._repeats = Repeats(way.request_fields)
        self._between = False  # whether the last request went the plain way, and nothing came since
        # For the request under way: where it went, what is known of it, its bytes, where in these its content
        # begins, the id of its MCP session, and that session, if it is remembered.
        self._origin: OriginConnection | None = None
        self._session: Any = None
        self._request = b""
        self._content = 0
        self._target = self._path = ""  # of the last request
        self._given: bytes | None = None
        self._mcp: McpSession | None = None
        # For an answer that goes on: its head as it came, and the last bytes of its content.
        self._answer = self._last = b""

    @property
    def plain(self) -> bool:
        """Whether a request goes the plain way now."""
        return self._origin is not None

    # IProtocol, and the half-closes of a stream.

    def makeConnection(self, transport: Any) -> None:
        self.connection.makeConnection(transport)

    def connectionMade(self) -> None:
        """The connection has been told."""

    def dataReceived(self, data: bytes) -> None:
        connection = self.connection
        if self._origin is not None:
            self.general()  # more came before the answer
        elif (
            (connection.state is IDLE and not connection.leaving) if self._between else connection.untouched
        ) and self._take(data):
            return
        self._between = False
        connection.dataReceived(data)

    def readConnectionLost(self) -> None:
        self.connection.readConnectionLost()

    def writeConnectionLost(self) -> None:
        self.connection.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connection.connectionLost(reason)

    # ------------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> bool:
        """Take a request; C{False} if it cannot go the plain way: then nothing was done."""
        way, client = self._way, self.connection.client
        asked = self._like_the_last(data) or self._judged(data)
        if asked is None or client is None:
            return False
        method, given, path, content, request = asked
        mcp = None if given is None else way.route.in_session(given)
        if mcp is not None and mcp.upstream_id != given:
            return False
        if way.max_body is not None and len(data) - content > way.max_body:
            return False
        origin = None if way.noticing.found else way.take()
        if origin is None:
            return False
        self._session = session = way.ledger.open(way.listener, way.kind, client.name, phase="response")
        session.method = method
        session.path = path
        session.target, session.address = way.route.target, origin.address
        session.received = len(data) - content
        if session.received:
            session.rpc = method_in(data, content)
        self._origin, self._request, self._content = origin, data, content
        self._given, self._mcp = given, mcp
        self._between = False
        self.connection.begin_unread(self)
        try:
            origin.ask(request, self)
        except Exception:
            failure = Failure()
            exchange = self.general() or cast("Exchange | None", self.connection.sink)
            if exchange is not None:
                exchange.failed_by(failure)
        return True

    def _judged(self, data: bytes) -> Asked | None:
        """Read a request, and make the bytes for the origin; C{None} if it cannot go the plain way."""
        way, client = self._way, self.connection.client
        request = read_plain_request(data, way.request_fields)
        if request is None:
            return None
        method, target, lines, noted, content = request
        if client is None or b"host" not in noted:
            return None
        host = noted[b"host"][2]
        if host != self.let_in and client.local not in way.known_hosts.get(host, ()):
            return None
        if target != self._target and not self._is_plain_target(target):
            return None
        if not way.rare.isdisjoint(noted) and way.requests.weigh(noted, method.encode("ascii")):
            return None
        way.route.plain_request(lines, noted[b"host"])
        self.let_in = host
        lines.append(data[content:])
        passed = b"\r\n".join(lines)
        session_id = noted.get(b"mcp-session-id")
        given = None if session_id is None else session_id[2]
        self._repeats.saw((method, given), data, len(method) + len(target) + 1, content, passed)
        return method, given, self._path, content, passed

    def _like_the_last(self, data: bytes) -> Asked | None:
        """The same for a request that differs from an earlier one only in its target and some values."""
        template = self._repeats.template
        if template is None:
            return None
        if not data.startswith(template.start):
            return None
        method: str
        method, given = template.what
        start = len(method) + 1
        at = data.find(b" ", start)
        target = data[start:at].decode("latin-1")
        if target != self._target and (
            "#" in target
            or not target.isprintable()
            or len(target) > LIMITS.target
            or not self._is_plain_target(target)
        ):
            return None
        fitting = template.fit(data, at)
        if fitting is None:
            return None
        passed, content = fitting
        return method, given, self._path, content, passed

    def _is_plain_target(self, target: str) -> bool:
        """Whether a target concerns no rule. The last one is remembered, for the next is often the same."""
        if self._way.requests.in_target(target):
            return False
        path = target.partition("?")[0]
        self._path = path if len(path) <= BRIEF else brief(path)
        self._target = target if len(target) <= _TARGET else ""
        return True

    # Asker: what the origin sends.

    def answered(self, data: bytes) -> bool:
        if self._answer:
            return self._went_on(data)
        answer, mcp = None, self._mcp
        # A connection that leaves has to say so in the answer, and meanwhile the session may have got another
        # id.
        if not (self.connection.leaving or (mcp is not None and mcp.upstream_id != mcp.client_id)):
            answers = self._way.answers if self._given is None else self._way.session_answers
            if data.endswith(b"\r\n") and self._begun(data, answers):
                return True
            answer = self._answer_like_the_last(data, answers) or self._answer_judged(data, answers)
        if answer is None:
            self.general()
            return False
        way, request = self._way, self._request
        session: Session = self._session
        session.status, content, passed = answer
        now = session.last_active = way.seconds()
        session.first_byte = now - session.opened
        session.sent = len(data) - content
        if session.rpc and session.rpc in TOLD_BY and session.status == 200:
            first = request.find(b'"cursor"', self._content) < 0
            way.route.server.answered(session.rpc, [data[content:]], first=first)
        self._done(passed)
        return True

    def _done(self, passed: bytes) -> None:
        """End the exchange: C{passed} is all of the answer, or the last of it."""
        origin, session, request = self._origin, self._session, self._request
        session.done(by="upstream")
        self._origin = self._session = self._mcp = None
        self._request = self._answer = self._last = b""
        origin.free()  # type: ignore[union-attr]
        self._between = self.connection.end_unread(passed, request)  # nothing came after the request
        self._way.ledger.close(session)

    def _answer_judged(self, data: bytes, answers: Answers) -> tuple[int, int, bytes] | None:
        """
        The status, where the content begins, and the bytes for the client; C{None} if the answer is not
        plain.
        """
        origin = self._origin
        answer = read_plain_answer(data, answers.fields)
        if answer is None or origin is None:
            return None
        status, lines, noted, content = answer
        rules = answers.rules
        if status in rules.statuses or (not rules.rare.isdisjoint(noted) and rules.weigh(noted, status)):
            return None
        self._way.route.plain_answer(lines, noted)
        lines.append(data[content:])
        passed = b"\r\n".join(lines)
        if b"date" in noted:  # else it is ours, and differs next time
            if origin.repeats is None or origin.repeats.owner is not answers:
                origin.repeats = Repeats(answers.fields, answers)
            origin.repeats.saw(status, data, 0, content, passed)
        return status, content, passed

    def _answer_like_the_last(self, data: bytes, answers: Answers) -> tuple[int, int, bytes] | None:
        """The same for an answer that differs from an earlier one only in some values."""
        repeats: Repeats | None = self._origin.repeats  # type: ignore[union-attr]
        # The connection may have served the listener that was there before a reload.
        template = None if repeats is None or repeats.owner is not answers else repeats.template
        fitting = None if template is None else template.fit(data, 0)
        if template is None or fitting is None:
            return None
        passed, content = fitting
        return template.what, content, passed

    # An answer in chunks: each as we would write it, and with the first of them, or before it, the head.

    def _begun(self, data: bytes, answers: Answers) -> bool:
        """
        Take the head of an answer in chunks, with what of it came; C{False}: it is not plain.

        Of those that go on only event streams are: of others mostly a part of a chunk would come next.
        """
        way, origin = self._way, self._origin
        session: Session = self._session
        start = data.find(b"\r\n\r\n") + 4
        if start < 4 or origin is None or session.rpc in TOLD_BY:
            return False
        head, content = data[:start], data[start:]
        size = whole_chunk(content) if content else 0
        whole = not size and content.endswith(_LAST_CHUNK)
        if whole:
            chunk = content[: -len(_LAST_CHUNK)]
            size = whole_chunk(chunk) if chunk else 0
            if chunk and not size:
                return False
        elif content and size < _TAIL:
            return False
        begun = self._head_like_the_last(head, answers) or self._head_judged(head, answers)
        if begun is None:
            return False
        (status, events), passed = begun
        if not whole and not (events and len(self._request) + start <= _KEPT):
            return False
        if events and session.method == "GET":  # it may name an endpoint
            return False
        session.status = status
        now = session.last_active = way.seconds()
        session.first_byte = now - session.opened
        session.sent = size
        if whole:
            self._done(passed + content)
            return True
        session.phase = "body"
        self._answer, self._last = head, content[-2 - _TAIL : -2]
        origin.goes_on()
        self.connection.answer_unread(passed + content, way.route.silence)
        return True

    def _went_on(self, data: bytes) -> bool:
        """More of such an answer; C{False}: it is not plain."""
        session: Session = self._session
        size = whole_chunk(data)
        if size >= _TAIL:
            session.last_active = self._way.seconds()
            session.sent += size
            self._last = data[-2 - _TAIL : -2]
            self._origin.goes_on()  # type: ignore[union-attr]
            self.connection.answer_unread(data, self._way.route.silence)
            return True
        if not size and data.endswith(_LAST_CHUNK) and not self.connection.leaving:
            chunk = data[: -len(_LAST_CHUNK)]
            size = whole_chunk(chunk)
            if size or not chunk:
                if size:
                    session.last_active = self._way.seconds()
                    session.sent += size
                self._done(data)
                return True
        self.general()
        return False

    def _head_judged(self, head: bytes, answers: Answers) -> tuple[tuple[int, bool], bytes] | None:
        """
        Its status, and whether an event stream follows to which a comment may be added; what goes to the
        client. C{None}: it is not plain.
        """
        origin = self._origin
        answer = read_plain_chunked(head, answers.chunked)
        if answer is None or origin is None:
            return None
        status, lines, noted = answer
        rules = answers.rules
        if status in rules.statuses or (not rules.rare.isdisjoint(noted) and rules.weigh(noted, status)):
            return None
        kind = noted.get(b"content-type")
        events = kind is not None and kind[2].partition(b";")[0].strip().lower() == b"text/event-stream"
        if events and b"content-encoding" in noted:
            return None
        self._way.route.plain_answer(lines, noted)
        lines[-1:] = (_CHUNKED, b"", b"")
        passed = b"\r\n".join(lines)
        if b"date" in noted:  # else it is ours, and another one next time
            if origin.chunked is None or origin.chunked.owner is not answers:
                origin.chunked = Repeats(answers.chunked, answers)
            origin.chunked.saw((status, events), head, 0, len(head), passed)
        return (status, events), passed

    def _head_like_the_last(self, head: bytes, answers: Answers) -> tuple[tuple[int, bool], bytes] | None:
        """The same, for one that differs from another before it in some values."""
        repeats: Repeats | None = self._origin.chunked  # type: ignore[union-attr]
        template = None if repeats is None or repeats.owner is not answers else repeats.template
        fitting = None if template is None else template.fit(head, 0)
        if template is None or fitting is None:
            return None
        return template.what, fitting[0]

    def silent(self) -> None:
        """Nothing has come of an answer that goes on: a comment may be due."""
        self.general()

    def general(self) -> Exchange | None:
        """
        Make an L{Exchange} of the request under way, as if it had been one from the start; C{None} if there
        is none, or it is one already.
        """
        origin, session, request, content = self._origin, self._session, self._request, self._content
        if origin is None:
            return None
        route = self._way.route
        connection = self.connection
        head = connection.read(request)
        given, mcp = self._given, self._mcp
        answer, last = self._answer, self._last
        self._origin = self._session = self._mcp = None
        self._request = self._answer = self._last = b""
        exchange = route.go_on(connection, head, session, origin, request[content:], given=given, mcp=mcp)
        if connection.sink is self:  # else the client has gone, which is being told
            connection.sink = exchange
        if answer:
            exchange.is_answered()
        try:
            asked = route.request_head(exchange, origin)
        except Exception:
            origin.abort()
            exchange.failed_by(Failure())
        else:
            origin.go_on(asked, request[content:], exchange)
            if answer:
                exchange.has_answered(origin.read(answer), last)
        return exchange

    # RequestSink: whatever happens to the client leaves the plain way.

    def body_received(self, data: bytes) -> None:
        raise AssertionError("all of the request had come")

    def body_ended(self, trailers: Headers) -> None:
        raise AssertionError("all of the request had come")

    def client_gone(self, error: RelayError | None) -> None:
        exchange = self.general()
        if exchange is not None:
            exchange.client_gone(error)

    def pause_sending(self) -> None:
        exchange = self.general()
        if exchange is not None:
            exchange.pause_sending()

    def resume_sending(self) -> None:
        exchange = self.general()
        if exchange is not None:
            exchange.resume_sending()
