"""A program's MCP over HTTP: guards, paths, the sessions, and the programs that serve them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred

from lanrelay.config import model
from lanrelay.errors import ProgramEnded, RelayError, RemoteProtocolError, RequestDenied, TooManyPrograms
from lanrelay.http.answers import Answer, failed
from lanrelay.http.client import HttpConnection
from lanrelay.http.sink import UNHEARD, RequestSink
from lanrelay.listeners.exec_answers import EventsAnswer
from lanrelay.listeners.exec_host import Host
from lanrelay.listeners.exec_programs import Programs
from lanrelay.listeners.exec_requests import Body, Posted, Sent, accepts
from lanrelay.listeners.service import Environment, ListenerService
from lanrelay.mcp.known import McpServer
from lanrelay.mcp.sessions import VERSIONS, Session
from lanrelay.observe.session import BRIEF, Side, brief
from lanrelay.observe.session import Session as Record
from lanrelay.passage.browser import check_browser, is_own_origin, preflight_response, with_cors
from lanrelay.passage.intermediary import with_date
from lanrelay.transport.client import Client
from lanrelay.transport.deadline import Deadline
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.wire.events import RequestHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.target import parse_target

SESSION: Final = b"Mcp-Session-Id"
MESSAGES: Final = b"/messages"
ABANDONED: Final = 60.0
"""Seconds after which a client that has not come back for an answer is not expected any more."""
SESSIONS_MAX: Final = 1000
"""Sessions that one program serves at once."""


class Live:
    """
    A session that has begun and not ended.

    @ivar used: the reactor's seconds when it was last busy.
    @ivar legacy: over HTTP+SSE; it lives as long as its stream is heard.
    @ivar record: for the status page and the log; bytes are counted in those of its requests.
    """

    __slots__ = ("deadline", "host", "legacy", "record", "session", "used")

    def __init__(self, session: Session, host: Host, record: Record, *, legacy: bool) -> None:
        self.session, self.host, self.record, self.legacy = session, host, record, legacy
        self.used = 0.0
        self.deadline: Deadline | None = None

    @property
    def calls(self) -> int:
        """How many of its requests have no answer yet."""
        return self.host.carrier.calls_of(self.session)

    @property
    def heard(self) -> bool:
        """Whether a client waits for its messages."""
        return any(stream.listener is not None for stream in self.session.streams.values())


class McpService(Programs):
    """C{type: exec} with C{protocol: mcp-http}; the application of its HTTP connections."""

    def __init__(self, environment: Environment, config: model.Exec) -> None:
        super().__init__(environment, config)
        self._place = f"listeners.{config.name}"
        self._live: dict[str, Live] = {}
        self._hosts: set[Host] = set()
        self._server = environment.servers.of(config.name, *config.command)
        self._elders: list[McpService] = []
        self._stopping = False

    @property
    def mcp_servers(self) -> Sequence[McpServer]:
        return [self._server]

    @property
    def mcp_sessions(self) -> int:
        return len(self._live)

    def connected(self, stream: Stream, client: Client) -> HttpConnection:
        connection = HttpConnection(
            self.environment.reactor, self.config.timeouts, self, self.gone, client=client
        )
        hand_over(stream, connection)
        return connection

    # --- life ---------------------------------------------------------------------------------------------

    def follow(self, predecessor: ListenerService | None) -> None:
        super().follow(predecessor)
        if isinstance(predecessor, McpService):
            self._elders = [each for each in (predecessor, *predecessor._elders) if each._live]

    def stopService(self) -> Deferred[None]:
        self._stopping = True
        for live in list(self._live.values()):
            if not live.calls:
                self.end(live)
        return super().stopService()

    def abort(self) -> None:
        for live in list(self._live.values()):
            self.end(live)
        super().abort()

    # --- sessions -----------------------------------------------------------------------------------------

    def find(self, identity: str) -> Live | None:
        """
        The session of this id, if it is not over; sessions of listeners that this one replaces live on in
        those.
        """
        self._elders = [each for each in self._elders if each._live]
        for service in (self, *self._elders):
            live = service._live.get(identity)
            if live is not None:
                return live
        return None

    def begin(self, client: Client, *, legacy: bool) -> Live:
        """
        A new session.

        @raise RelayError: no program can be had for it.
        """
        if self._stopping:
            raise TooManyPrograms("the listener is about to end")
        host = self._host()
        session = Session()
        record = self.open_session(client, "tunnel")
        record.target = self.leads_to()
        if host.program is not None:
            record.address = f"pid {host.program.pid}"
        live = Live(session, host, record, legacy=legacy)
        live.deadline = Deadline(self.environment.reactor, lambda: self.end(live))
        self._live[session.id] = live
        host.carrier.add(session)
        self.used(live)
        return live

    def _host(self) -> Host:
        config = self.exec
        for host in self._hosts:
            if config.shared and not host.ending:
                if len(host.carrier.sessions) >= SESSIONS_MAX and not self._make_room():
                    raise TooManyPrograms(f"{SESSIONS_MAX} sessions are busy")
                return host
        running = [host for host in self._hosts if not host.ending]
        if len(running) >= (1 if config.shared else config.max_processes):
            self._make_room()
        ending = sum(host.ending for host in self._hosts)
        host = Host(self._note, self._host_ended, shared=config.shared)
        host.carrier.server = self._server
        host.begin(self.start_program(lambda program: self._hosts.discard(host), spare=ending))
        self._hosts.add(host)
        return host

    def _make_room(self) -> bool:
        """
        End the session that is idle for longest. One whose client listens goes only if there is no other, and
        one that owes an answer only if no client has waited for that for a while.
        """
        before = self.environment.reactor.seconds() - ABANDONED
        idle = [
            live for live in self._live.values() if not live.calls or (not live.heard and live.used < before)
        ]
        if not idle:
            return False
        longest = min(idle, key=lambda live: (live.calls > 0, live.heard, live.used))
        self.log.info("{listener}: the longest idle session makes room", listener=self.config.name)
        self.end(longest)
        return True

    def used(self, live: Live) -> None:
        """Something of a session has begun or ended."""
        live.used = self.environment.reactor.seconds()
        live.record.last_active = live.used
        if live.session.over or live.deadline is None:
            return
        if self._stopping and not live.calls:
            self.end(live)
        elif live.heard:
            live.deadline.clear()
        else:  # also if an answer is still to come, but no client waits for it
            live.deadline.set(self.config.timeouts.tunnel)

    def end(self, live: Live, error: RelayError | None = None, *, by: Side = "relay") -> None:
        """End a session, and its program if that serves no other."""
        if self._live.pop(live.session.id, None) is None:
            for elder in self._elders:
                if live.session.id in elder._live:
                    elder.end(live, error, by=by)
            return
        if live.deadline is not None:
            live.deadline.stop()
        host, record = live.host, live.record
        host.carrier.remove(live.session)
        if not host.carrier.sessions and not host.ending:
            host.end()
        if error is not None:
            record.failed(error, by=by)
        else:
            record.done(by=by)
        self.environment.ledger.close(record)

    def _host_ended(self, host: Host, cause: str) -> None:
        told = host.program is not None and host.program.told_to_end
        for live in [each for each in self._live.values() if each.host is host]:
            live.session.over = True
            self.end(live, None if told else ProgramEnded(cause), by="upstream")

    def _note(self, sentence: str) -> None:
        self.log.warn("{listener}: {sentence}", listener=self.config.name, sentence=sentence)

    # --- Application --------------------------------------------------------------------------------------

    def request_received(self, connection: HttpConnection, head: RequestHead) -> RequestSink:
        assert connection.client is not None
        record = self.open_session(connection.client, "policy")
        record.method = head.method.decode("ascii")
        record.target = self.leads_to()
        page: bytes | None = None
        try:
            target = parse_target(head.method, head.target).path if head.target[:1] != b"/" else head.target
            path, _, query = target.partition(b"?")
            shown = path.decode("latin-1")
            record.path = shown if len(shown) <= BRIEF else brief(shown)
            secure = self.config.tls is not None
            guard = self.exec.guard
            check_browser(head, guard, connection.client.local, place=self._place, secure=secure)
            if b"origin" in head.headers and not is_own_origin(head, guard, secure=secure):
                page = head.headers.get(b"origin")
            preflight = preflight_response(head) if page is not None else None
            if preflight is not None:
                self.answer(connection, record, preflight.status, preflight.headers)
                return UNHEARD
            return self._route(connection, head, record, path.rstrip(b"/"), query, page)
        except RelayError as error:
            self.refuse(connection, record, error, page)
            return UNHEARD
        except Exception:
            self.bug(record)
            raise  # whoever called logs it, and closes the connection

    def request_refused(self, connection: HttpConnection, error: RemoteProtocolError, answer: Answer) -> None:
        assert connection.client is not None
        record = self.open_session(connection.client, "head")
        record.sent, record.status = len(answer.body), answer.status
        record.failed(error, by="downstream", detail=answer.explanation)
        self.environment.ledger.close(record)

    def _route(
        self,
        connection: HttpConnection,
        head: RequestHead,
        record: Record,
        path: bytes,
        query: bytes,
        page: bytes | None,
    ) -> RequestSink:
        method = head.method
        if path == b"/mcp" and method == b"POST":
            return Body(Posted(self, connection, head, record, page)).start()
        if path == b"/mcp" and method == b"GET":
            return self._hear(connection, head, record, page)
        if path == b"/mcp" and method == b"DELETE":
            self.end(self.session_of(head), by="downstream")
            self.answer(connection, record, 200, self.fields(page))
            return UNHEARD
        if path == b"/sse" and method == b"GET":
            return self._hear_as_of_old(connection, record, page)
        if path == MESSAGES and method == b"POST":
            return Body(Sent(self, connection, head, record, page, query)).start()
        allowed = {b"/mcp": b"GET, POST, DELETE", b"/sse": b"GET", MESSAGES: b"POST"}.get(path)
        if allowed is None:
            remedy = "" if path.startswith(b"/.well-known") else "MCP is at /mcp, and at /sse as of old."
            raise RequestDenied("there is nothing at this path", http_status=404, remedy=remedy)
        denied = RequestDenied(
            "this method is not for this path", http_status=405, remedy="Use an MCP client."
        )
        self.refuse(connection, record, denied, page, Headers([(b"Allow", allowed)]))
        return UNHEARD

    def session_of(self, head: RequestHead) -> Live:
        """
        The session that a request names.

        @raise RequestDenied: the request names none, or one that is over, or an unknown version.
        """
        version = head.headers.get(b"mcp-protocol-version")
        if version is not None and version.decode("latin-1") not in VERSIONS:
            raise RequestDenied(
                "its MCP-Protocol-Version is not served here",
                http_status=400,
                remedy=f"Begin with initialize; {', '.join(VERSIONS[1:])} are served.",
            )
        named = head.headers.get(b"mcp-session-id")
        if named is None:
            raise RequestDenied(
                "it names no session",
                http_status=400,
                remedy="Begin with initialize, and send Mcp-Session-Id.",
            )
        live = self.find(named.decode("latin-1"))
        if live is None or live.legacy:
            raise RequestDenied("its session is over", http_status=404, remedy="Begin anew with initialize.")
        return live

    def _hear(
        self, connection: HttpConnection, head: RequestHead, record: Record, page: bytes | None
    ) -> RequestSink:
        live = self.session_of(head)
        if not accepts(head, b"text/event-stream"):
            raise RequestDenied(
                "a GET here is for events", http_status=406, remedy="Accept text/event-stream."
            )
        stream, after = live.session.general, 0
        last = head.headers.get(b"last-event-id")
        if last is not None:
            found = live.session.find(last.decode("latin-1"))
            if found is None:
                raise RequestDenied(
                    "what followed that event is not kept any more",
                    http_status=400,
                    remedy="Make the request anew.",
                )
            stream, after = found
        headers = self.fields(page, live)
        answer = EventsAnswer(self, connection, record, live, stream, headers=headers, after=after)
        if last is None:
            answer.from_now_on()
        return answer.start()

    def _hear_as_of_old(self, connection: HttpConnection, record: Record, page: bytes | None) -> RequestSink:
        assert connection.client is not None
        live = self.begin(connection.client, legacy=True)
        where = b"%b?sessionId=%b" % (MESSAGES, live.session.id.encode())
        return EventsAnswer(
            self,
            connection,
            record,
            live,
            live.session.general,
            headers=self.fields(page),
            opening=b"event: endpoint\ndata: %b\n\n" % where,
            numbered=False,
            over=lambda: self.end(live, by="downstream"),
        ).start()

    # --- answers ------------------------------------------------------------------------------------------

    def fields(self, page: bytes | None, live: Live | None = None) -> Headers:
        """The fields that every answer has."""
        headers = with_date(Headers([]), time.time())
        if live is not None:
            headers = headers.added(SESSION, live.session.id.encode())
        return headers if page is None else with_cors(headers, page)

    def answer(
        self, connection: HttpConnection, record: Record, status: int, headers: Headers, body: bytes = b""
    ) -> None:
        """Send a whole answer, with which the record ends."""
        record.status, record.sent = status, len(body)
        record.done(by="relay")
        self.environment.ledger.close(record)
        connection.answer(status, headers, body)

    def refuse(
        self,
        connection: HttpConnection,
        record: Record,
        error: RelayError,
        page: bytes | None,
        more: Headers | None = None,
        content: bytes | None = None,
    ) -> None:
        """Answer that the request is refused, and why."""
        answer = failed(
            error,
            connection.head,
            content,
            listener=self.config.name,
            status_page=partial(self.environment.status_page, connection.client),
        )
        headers = answer.headers
        for name, value in more or ():
            headers = headers.added(name, value)
        if page is not None:
            headers = with_cors(headers, page)
        record.status, record.sent = answer.status, len(answer.body)
        by: Side = "downstream" if isinstance(error, RemoteProtocolError) else "relay"
        record.failed(error, by=by, detail=answer.explanation)
        self.environment.ledger.close(record)
        connection.answer(answer.status, headers, answer.body, answer.reason)
