"""Initialises MCP sessions anew that an upstream has forgotten; the client knows them by their old id."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from lanrelay.errors import ExchangeError, RelayError
from lanrelay.http.held import ANSWER_MAX, INITIALIZE_MAX
from lanrelay.http.origin import OriginConnection
from lanrelay.wire.events import NO_FIELDS, RequestHead, ResponseHead
from lanrelay.wire.headers import Headers, make_field
from lanrelay.wire.sse import messages

if TYPE_CHECKING:
    from lanrelay.http.exchange import Exchange

SESSIONS_MAX: Final = 256
"""Sessions remembered for each route; the one that was used longest ago is forgotten first."""

ID_MAX: Final = 256
"""Bytes of a session id; SDKs make 32 or 36."""

PATIENCE: Final = 30.0
"""Seconds for both requests of a recovery; the client waits meanwhile."""

_INITIALIZED: Final = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'

# Fields that belong to the client's request alone, and not to those of a recovery; so do all of Mcp-*.
_OF_THE_REQUEST: Final = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"last-event-id",
        b"range",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_BLANK_LINE: Final = re.compile(rb"\n\r?\n|\r\r")  # ends an event
_FIELDS: Final = (
    make_field(b"Content-Type", b"application/json"),
    make_field(b"Accept", b"application/json, text/event-stream"),
    make_field(b"Accept-Encoding", b"identity"),
)


class McpSession:
    """
    One MCP session.

    @ivar client_id: the id by which its client knows it.
    @ivar upstream_id: the id by which the upstream knows it now.
    @ivar initialize: the content with which its client began it; no fields, so no credentials.
    @ivar waiting: those who wait for the end of its recovery.
    """

    __slots__ = ("client_id", "initialize", "upstream_id", "waiting")

    def __init__(self, client_id: bytes, initialize: bytes) -> None:
        self.client_id = client_id
        self.upstream_id = client_id
        self.initialize = initialize
        self.waiting: list[Deferred[bool]] = []

    def for_client(self, headers: Headers) -> Headers:
        """An answer's fields with the id that the client knows."""
        if self.upstream_id == self.client_id or headers.get(b"mcp-session-id") != self.upstream_id:
            return headers
        return headers.replaced(b"Mcp-Session-Id", self.client_id)


class McpSessions:
    """
    The sessions of one route that are remembered; after a reload, also those of the route that replaces it.

    A client that knows the id of a session could have it initialised anew; but with that it could use the
    session anyway.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._sessions: OrderedDict[bytes, McpSession] = OrderedDict()
        self._running: dict[McpSession, Deferred[None]] = {}
        self._users = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, client_id: bytes) -> McpSession | None:
        """The session that a client means."""
        session = self._sessions.get(client_id)
        if session is not None:
            self._sessions.move_to_end(client_id)
        return session

    def began(self, client_id: bytes, initialize: bytes) -> None:
        """The upstream has answered C{initialize} with this id."""
        if not client_id or len(client_id) > ID_MAX or len(initialize) > INITIALIZE_MAX:
            return
        if not _is_initialize(initialize):
            return
        self._sessions[client_id] = McpSession(client_id, initialize)
        self._sessions.move_to_end(client_id)
        if len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)

    def ended(self, session: McpSession) -> None:
        """The client has ended the session."""
        if self._sessions.get(session.client_id) is session:
            del self._sessions[session.client_id]

    def recover(self, session: McpSession, exchange: Exchange) -> Deferred[bool]:
        """
        Initialise C{session} anew, with the fields (credentials too) of C{exchange}'s request.

        Requests that find the same session forgotten at the same time wait for the same recovery. A request
        that waits no longer cancels its Deferred.

        @return: whether it succeeded; never fails.
        """
        waiter: Deferred[bool] = Deferred(session.waiting.remove)
        session.waiting.append(waiter)
        if session not in self._running:
            running = Deferred.fromCoroutine(self._initialise(session, exchange))
            running.addTimeout(PATIENCE, self._reactor)
            self._running[session] = running
            running.addBoth(self._recovered, session, session.upstream_id)
        return waiter

    def share(self) -> None:
        """Another route uses it, and owes a L{close}."""
        self._users += 1

    def close(self) -> None:
        """A route does not use it any more; after the last one nothing is recovered."""
        self._users -= 1
        if self._users > 0:
            return
        for running in list(self._running.values()):
            running.cancel()
        self._sessions.clear()

    def _recovered(self, result: object, session: McpSession, forgotten: bytes) -> None:
        self._running.pop(session, None)
        if isinstance(result, Failure):
            self._failed(result)
        waiting, session.waiting = session.waiting, []
        for waiter in waiting:
            waiter.callback(session.upstream_id != forgotten)

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, (RelayError, TimeoutError)):
            self.log.info("an MCP session could not be initialised anew: {error}", error=str(error))
        elif not failure.check(CancelledError):
            self.log.failure("bug while an MCP session was initialised anew", failure)

    async def _initialise(self, session: McpSession, exchange: Exchange) -> None:
        """
        @raise RelayError: the session cannot be initialised.
        """
        head, content = await _ask(exchange, session.initialize)
        new_id = head.headers.get(b"mcp-session-id")
        if head.status != 200 or not new_id or len(new_id) > ID_MAX:
            raise ExchangeError(f"the upstream answered initialize with {head.status}, or without a session")
        agreed = _result(head, content).get("protocolVersion")
        version = exchange.head.headers.get(b"mcp-protocol-version")
        if version is not None and version.decode("latin-1") != agreed:
            raise ExchangeError("the upstream now wants another version of the protocol")
        fields = Headers([(b"Mcp-Session-Id", new_id)])
        if version is not None:
            fields = fields.added(b"MCP-Protocol-Version", version)
        head, _ = await _ask(exchange, _INITIALIZED, fields)
        if not 200 <= head.status < 300:
            raise ExchangeError(f"the upstream answered notifications/initialized with {head.status}")
        session.upstream_id = new_id
        self.log.info("an MCP session that the upstream had forgotten was initialised anew")


# --- one request of a recovery ------------------------------------------------------------------------


async def _ask(exchange: Exchange, content: bytes, fields: Headers = NO_FIELDS) -> tuple[ResponseHead, bytes]:
    """
    POST C{content} to where C{exchange} was sent, with its fields.

    @raise RelayError: no whole answer came.
    """
    route = exchange.route
    origin = route.take(exchange) or await route.connect(exchange)
    model = route.request_head(exchange, origin)
    kept = [
        field
        for field in model.headers.fields
        if field[0] not in _OF_THE_REQUEST and not field[0].startswith(b"mcp-")
    ]
    length = make_field(b"Content-Length", b"%d" % len(content))
    headers = Headers.of([*kept, *_FIELDS, *fields.fields, length])
    inquiry = _Inquiry(origin, exchange)
    origin.start(RequestHead(method=b"POST", target=model.target, headers=headers), inquiry)
    origin.send_body(content)
    origin.end_request()
    return await inquiry.done


class _Inquiry:
    """
    The receiver of one answer that is for the relay itself.

    @ivar done: fires with the head and the content; cancelling it aborts the connection.
    """

    def __init__(self, origin: OriginConnection, exchange: Exchange) -> None:
        self.keep = exchange.keep
        self.done: Deferred[tuple[ResponseHead, bytes]] = Deferred(lambda _: origin.abort())
        self._origin = origin
        self._head: ResponseHead | None = None
        self._content = bytearray()  # for an event stream, without the events that were looked at
        self._came = 0

    def response_head_received(self, head: ResponseHead) -> None:
        if head.status == 101:
            self._give_up("it switched protocols")
        elif head.status >= 200:
            self._head = head

    def response_body_received(self, data: bytes) -> None:
        assert self._head is not None
        self._content += data
        self._came += len(data)
        if self._came > ANSWER_MAX:
            self._give_up("its answer is too long")
        elif _is_event_stream(self._head):
            self._look(len(data))

    def _look(self, new: int) -> None:
        """Look at the events that the last C{new} bytes have made whole; at each once, however they come."""
        content = self._content
        start = max(len(content) - new - 2, 0)
        end = max((found.end() for found in _BLANK_LINE.finditer(content, start)), default=0)
        if not end:
            return
        if _find_reply(messages(bytes(content[:end]))) is None:
            del content[:end]
            return
        self._origin.abort()  # the reply has come, but a server may keep the stream open
        self._over()

    def response_ended(self, trailers: Headers) -> None:
        self._over()

    def response_received(self, head: ResponseHead, content: bytes, trailers: Headers) -> None:
        self._head = head
        self._content += content
        if len(content) > ANSWER_MAX:
            self._give_up("its answer is too long")
        else:
            self._over()

    def origin_failed(self, error: RelayError) -> None:
        self.done.errback(error)

    def pause_upload(self) -> None: ...
    def resume_upload(self) -> None: ...
    def cork(self) -> None: ...
    def uncork(self) -> None: ...

    def _over(self) -> None:
        assert self._head is not None
        self.done.callback((self._head, bytes(self._content)))

    def _give_up(self, why: str) -> None:
        self._origin.abort()
        self.done.errback(ExchangeError(f"the upstream did not answer as an MCP server does: {why}"))


def _is_event_stream(head: ResponseHead) -> bool:
    kind = head.headers.get(b"content-type") or b""
    return kind.partition(b";")[0].strip().lower() == b"text/event-stream"


def _result(head: ResponseHead, content: bytes) -> dict[str, Any]:
    """
    The result of initialize.

    @raise ExchangeError: there is none.
    """
    reply = _find_reply(messages(content) if _is_event_stream(head) else [content])
    result = None if reply is None else reply.get("result")
    if not isinstance(result, dict):
        raise ExchangeError("the upstream did not accept initialize")
    return result


def _find_reply(texts: list[bytes]) -> dict[str, Any] | None:
    for text in texts:
        reply = _parsed(text)
        if "result" in reply or "error" in reply:
            return reply
    return None


def _is_initialize(content: bytes) -> bool:
    return _parsed(content).get("method") == "initialize"


def _parsed(text: bytes) -> dict[str, Any]:
    """The JSON object in C{text}; an empty one if it is anything else."""
    import json  # only here; a relay whose upstreams forget nothing needs none

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
