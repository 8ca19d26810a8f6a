"""Reads the whole of what an MCP client posts, then passes it to its program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from lanrelay.errors import RelayError, RemoteProtocolError, RequestDenied
from lanrelay.http.sink import RequestSink
from lanrelay.listeners.exec_answers import PostAnswer
from lanrelay.mcp.lines import LINE_MAX
from lanrelay.mcp.text import Message, NotMcp, error, read
from lanrelay.observe.session import Session as Record
from lanrelay.wire.events import RequestHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.rpc import method_in

if TYPE_CHECKING:
    from lanrelay.http.client import HttpConnection
    from lanrelay.listeners.exec_mcp import Live, McpService

BODY_MAX: Final = LINE_MAX
_JSON: Final = (b"Content-Type", b"application/json")


class Posted:
    """
    One POST to C{/mcp}.

    @ivar live: its session, as soon as that is known.
    """

    def __init__(
        self,
        service: McpService,
        connection: HttpConnection,
        head: RequestHead,
        record: Record,
        page: bytes | None,
    ) -> None:
        self.service, self.connection, self.head = service, connection, head
        self.record, self.page = record, page
        self.live: Live | None = None

    def judge(self) -> None:
        """
        Look at the head.

        @raise RequestDenied: the request is refused.
        """
        kind = (self.head.headers.get(b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise RequestDenied("it is no JSON", http_status=415, remedy="Send application/json.")
        if not (accepts(self.head, b"application/json") or accepts(self.head, b"text/event-stream")):
            raise RequestDenied(
                "the client takes no answer of MCP",
                http_status=406,
                remedy="Accept application/json and text/event-stream.",
            )
        if b"mcp-session-id" in self.head.headers:
            self.live = self.service.session_of(self.head)

    def take(self, content: bytes) -> RequestSink | None:
        """Do what it asks for; gives the sink of its answer, or C{None} if it was answered at once."""
        service, connection, record = self.service, self.connection, self.record
        try:
            messages, batch = read(content)
        except NotMcp as wrong:
            self._error(400, None, -32700, f"This is {wrong}.")
            return None
        record.rpc = method_in(content)
        live = self.live
        begun = live is None and greets(messages)
        if begun:
            assert connection.client is not None
            live = service.begin(connection.client, legacy=False)
        elif live is None:
            first = messages[0]
            if "server/discover" in (message.method for message in messages):
                self._error(400, first.body.get("id"), -32601, "Method not found: begin with initialize.")
                return None
            live = service.session_of(self.head)
        if live.session.over:
            raise RequestDenied("its session is over", http_status=404, remedy="Begin anew with initialize.")
        if not any(message.is_request for message in messages):
            live.host.carrier.client_says(live.session, messages, None)
            service.used(live)
            service.answer(connection, record, 202, service.fields(self.page))
            return None
        stream = live.session.stream(takes_events=accepts(self.head, b"text/event-stream"))
        session = live
        answer = PostAnswer(
            service,
            connection,
            record,
            live,
            stream,
            headers=service.fields(self.page, live),
            over=(lambda: self._greeted(session)) if begun else None,
        )
        answer.content, answer.batch = content, batch
        live.host.carrier.client_says(live.session, messages, stream)
        answer.start()
        return answer

    def _greeted(self, live: Live) -> None:
        """End a session whose handshake has failed, or whose client has gone before it knew of it."""
        if not live.session.version:
            self.service.end(live, by="downstream")

    def _error(self, status: int, identity: object, code: int, message: str) -> None:
        known = identity if isinstance(identity, (str, int)) and not isinstance(identity, bool) else None
        headers = self.service.fields(self.page).added(*_JSON)
        self.service.answer(
            self.connection, self.record, status, headers, error(known, code, message).encode()
        )


class Sent(Posted):
    """One POST to the place that C{/sse} has named; answers come on that stream."""

    def __init__(
        self,
        service: McpService,
        connection: HttpConnection,
        head: RequestHead,
        record: Record,
        page: bytes | None,
        query: bytes,
    ) -> None:
        super().__init__(service, connection, head, record, page)
        self._query = query

    def judge(self) -> None:
        named = parse_qs(self._query.decode("latin-1")).get("sessionId", [""])
        self.live = self.service.find(named[0])
        if self.live is None or not self.live.legacy:
            raise RequestDenied("its session is over", http_status=404, remedy="Begin anew at /sse.")
        if (self.head.headers.get(b"content-type") or b"").partition(b";")[0].strip() != b"application/json":
            raise RequestDenied("it is no JSON", http_status=415, remedy="Send application/json.")

    def take(self, content: bytes) -> RequestSink | None:
        assert self.live is not None
        try:
            messages: Sequence[Message] = read(content)[0]
        except NotMcp as wrong:
            self._error(400, None, -32700, f"This is {wrong}.")
            return None
        self.record.rpc = method_in(content)
        live = self.live
        if live.session.over:
            raise RequestDenied("its session is over", http_status=404, remedy="Begin anew at /sse.")
        self.service.answer(self.connection, self.record, 202, self.service.fields(self.page), b"Accepted")
        live.host.carrier.client_says(live.session, messages, live.session.general)
        self.service.used(live)
        return None


class Body:
    """The sink that collects the content; it pauses the client while the program does not read."""

    def __init__(self, posted: Posted) -> None:
        self._posted = posted
        self._parts: list[bytes] = []
        self._size = 0
        self._answer: RequestSink | None = None
        self._done = self._full = self._held = False

    def start(self) -> Body:
        """Judge the head first."""
        self._posted.judge()
        self._hold()
        return self

    def _hold(self) -> None:
        live = self._posted.live
        if live is not None and live.host.stuffed and not self._held:
            self._held = True
            self._posted.connection.pause_reading()
            live.host.when_free(self._go_on)

    def _go_on(self) -> None:
        self._held = False
        if not self._done:
            self._posted.connection.resume_reading()

    def body_received(self, data: bytes) -> None:
        if self._done:
            return
        self._size += len(data)
        self._posted.record.received += len(data)
        if self._size > BODY_MAX:
            self._refuse(RemoteProtocolError(f"more than {BODY_MAX} bytes of content", 413))
            return
        self._parts.append(data)
        self._hold()

    def body_ended(self, trailers: Headers) -> None:
        if self._done:
            return
        self._done = True
        content = b"".join(self._parts)
        self._parts.clear()
        posted = self._posted
        try:
            self._answer = posted.take(content)
        except RelayError as wrong:
            posted.service.refuse(posted.connection, posted.record, wrong, posted.page, content=content)
            return
        if self._full and self._answer is not None:
            self._answer.pause_sending()

    def _refuse(self, wrong: RelayError) -> None:
        self._done = True
        posted = self._posted
        posted.service.refuse(posted.connection, posted.record, wrong, posted.page)

    def client_gone(self, error: RelayError | None) -> None:
        if self._answer is not None:
            self._answer.client_gone(error)
        elif not self._done:
            self._done = True
            record = self._posted.record
            if error is not None:
                record.failed(error, by="downstream")
            record.left(by="downstream")
            self._posted.service.environment.ledger.close(record)

    def pause_sending(self) -> None:
        self._full = True
        if self._answer is not None:
            self._answer.pause_sending()

    def resume_sending(self) -> None:
        self._full = False
        if self._answer is not None:
            self._answer.resume_sending()


def accepts(head: RequestHead, kind: bytes) -> bool:
    """Whether a client accepts that kind of content; one that does not say accepts all."""
    wanted = [each.partition(b";")[0].strip() for each in head.headers.tokens(b"accept")]
    return not wanted or bool({kind, b"*/*", kind.partition(b"/")[0] + b"/*"} & set(wanted))


def greets(messages: list[Message]) -> bool:
    """Whether this begins a session."""
    return len(messages) == 1 and messages[0].method == "initialize" and messages[0].is_request
