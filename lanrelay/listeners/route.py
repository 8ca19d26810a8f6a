"""How requests travel on one route of a reverse proxy: which path, which fields, which origin connections."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Hashable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lanrelay.config import model
from lanrelay.errors import RelayError, TlsOnPlain
from lanrelay.http.event_stream import EventStream
from lanrelay.http.exchange import Exchange
from lanrelay.http.held import BODY_MAX, HeldAnswer, HeldRequest
from lanrelay.http.noticing import Noticing
from lanrelay.http.origin import OriginConnection
from lanrelay.http.origins import Origins
from lanrelay.http.plain_way import PlainRoute
from lanrelay.http.route import BodyFilter, Doubt
from lanrelay.listeners.addressing import Addressing, Respelling
from lanrelay.listeners.mcp_overheard import listening
from lanrelay.listeners.oauth_content import OAuthContent
from lanrelay.listeners.route_rules import answer_rules, request_rules
from lanrelay.listeners.service import Environment
from lanrelay.mcp.known import TOLD_BY
from lanrelay.passage.browser import with_cors
from lanrelay.passage.intermediary import (
    date_field,
    next_hop,
    response_to_forward,
    ruled_trailers,
    via,
    with_date,
)
from lanrelay.passage.oauth import split_well_known
from lanrelay.passage.places import Places, Site, asks_for_events
from lanrelay.passage.rule import Asked, changed
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.upstream.noticed import STATUSES
from lanrelay.upstream.upstream import Upstream
from lanrelay.wire.events import HTTP_1_0, HTTP_1_1, RequestHead, ResponseHead
from lanrelay.wire.headers import HOP_BY_HOP, Field, Headers, make_field
from lanrelay.wire.rpc import method_in

if TYPE_CHECKING:
    from lanrelay.http.client import HttpConnection
    from lanrelay.http.mcp_sessions import McpSession, McpSessions
    from lanrelay.observe.session import Session


class ProxyRoute(PlainRoute):
    """
    A L{Route<lanrelay.http.route.Route>}: one entry of C{routes}.

    @ivar path: the prefix, without its trailing slash; empty for all.
    @ivar recovers: MCP sessions are initialised anew where they were forgotten.
    @ivar sessions: the MCP sessions that are remembered; C{None} until the first has begun.
    @ivar noticing: notes what answers tell about the way in which the upstreams are asked.
    @ivar server: what is known of the MCP server behind it.
    @ivar requests: what becomes of a request's fields here.
    @ivar answers: what becomes of an answer's.
    @ivar session_answers: the same for answers to requests with the id of an MCP session.
    @param name: this listener's name in Via.
    @param siblings: all routes of the listener, in the order of matching.
    """

    def __init__(
        self,
        environment: Environment,
        listener: model.ReverseProxy,
        config: model.Route,
        name: str,
        siblings: Iterable[ProxyRoute],
    ) -> None:
        self.reactor: Any = environment.reactor
        self.ledger = environment.ledger
        self.status_page = environment.status_page
        self.timeouts = listener.timeouts
        self.max_body = listener.max_body
        self.config = config
        self.path = config.path.rstrip("/").encode()
        inheritance = environment.inheritance
        self.group = UpstreamGroup(
            self.reactor, environment.dialer, config.upstreams, listener.timeouts, inheritance=inheritance
        )
        self.origins = Origins(
            self.reactor, self.group, listener.pool, listener.timeouts, inheritance=inheritance
        )
        self.target = self.group.members[0].name
        urls = (member.url for member in self.group.members)
        self.server = environment.servers.of(listener.name, config.path, *urls)
        self._closed = False
        self.recovers = listener.session_recovery
        self.silence = listener.sse_keepalive
        self.sessions: McpSessions | None = None
        if self.recovers and inheritance is not None:
            self.sessions = inheritance.sessions(self.group)
            if self.sessions is not None:
                self.sessions.share()
        self.noticing = Noticing(self.group.members, preserved=config.host == "preserve")
        self._oauth = (
            OAuthContent(self, partial(find_route, siblings)) if "oauth" in listener.rewrite else None
        )
        self._listener = listener
        self._secure = listener.tls is not None
        self._via = make_field(b"Via", via((1, 1), name))
        self._via_old = make_field(b"Via", via(HTTP_1_0, name))
        self._sides = {upstream: Addressing(upstream, config) for upstream in self.group.members}
        host = self._sides[self.group.members[0]].host
        self._host_line = b"" if host is None else host[3]
        self._places: dict[tuple[Upstream, bytes], Places | None] = {}
        self._has_paths = any(side.path for side in self._sides.values())
        self.requests = request_rules(listener, config)
        self.answers = answer_rules(listener, config)
        self.session_answers = answer_rules(listener, config, in_session=True)

    def session_began(self, client_id: bytes, initialize: bytes) -> None:
        """The upstream may have begun an MCP session."""
        if self.sessions is None:
            from lanrelay.http.mcp_sessions import McpSessions  # many upstreams have none

            self.sessions = McpSessions(self.reactor)
            self.sessions.share()
        self.sessions.began(client_id, initialize)

    def matches(self, path: bytes) -> bool:
        """Whether C{path}, without its query, lies under the prefix, by whole segments."""
        prefix = self.path
        return not prefix or (path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/"))

    def close(self) -> None:
        """Close what is idle, and begin nothing new."""
        self.origins.close()
        if self.sessions is not None and not self._closed:
            self.sessions.close()
        self._closed = True

    # --- Route -------------------------------------------------------------------------------------------

    def take(self, exchange: Exchange) -> OriginConnection | None:
        return exchange.connection.take_kept(self) or self.origins.take()

    def place_of(self, exchange: Exchange) -> Hashable:
        return self

    def has_other(self, origin: OriginConnection) -> bool:
        return self.origins.has_other(origin.upstream)

    async def connect(self, exchange: Exchange) -> OriginConnection:
        return await self.origins.connect(exchange)

    def request_head(self, exchange: Exchange, origin: OriginConnection) -> RequestHead:
        head = exchange.head
        index = head.headers.index
        side = self._sides[origin.upstream]
        host_field = side.host or make_field(b"Host", exchange.host or side.authority)
        via_field = self._via if head.version == HTTP_1_1 else self._via_old
        if HOP_BY_HOP.isdisjoint(index) and head.headers.unique and b"host" in index and b"via" not in index:
            changed_index = index.copy()  # nearly always: all but these two fields passes as it came
            changed_index[b"host"] = host_field
            changed_index[b"via"] = via_field
            headers = Headers.of_index(changed_index)
        else:
            kept = [field for field in next_hop(head).fields if field[0] != b"host"]
            headers = Headers.of([host_field, *kept, via_field])
        concerned = self.requests.concerned(head.headers, head.method, exchange.target, asked=exchange.asked)
        if concerned:
            asked = self._asked(exchange)
            asked.status, asked.origin = 0, side.origin
            asked.places = self.places_for(origin.upstream, exchange.host)
            headers = changed(concerned, headers, asked)
        target = self._target(exchange.target, side)
        if self._oauth is not None and b"resource=" in target:
            target = self._oauth.target_to_upstream(target, exchange.host)
        return RequestHead(method=head.method, target=target, headers=headers)

    def response_head(self, exchange: Exchange, head: ResponseHead) -> ResponseHead:
        index = head.headers.index
        headers = response_to_forward(head)
        via_field = self._via if head.version == HTTP_1_1 else self._via_old
        upstream = None if exchange.origin is None else exchange.origin.upstream
        if upstream is not None:
            upstream.answered = True
            if self.noticing.found and 200 <= head.status < 400:
                self.noticing.disproved(upstream, self._host_for(exchange))
        if head.status < 200:  # a Date in it would mean nothing
            headers = headers.appended([via_field])
        elif headers.unique and b"via" not in index:
            changed_index = headers.index if headers is not head.headers else index.copy()
            changed_index[b"via"] = via_field
            if b"date" not in index:
                changed_index[b"date"] = date_field(time.time())
            headers = Headers.of_index(changed_index)
        else:
            headers = with_date(headers.appended([via_field]), time.time())
        concerned = self.answers.concerned(head.headers, head.status, asked=exchange.asked)
        if concerned:
            asked = self._asked(exchange)
            asked.status = head.status
            asked.places = None if upstream is None else self.places_for(upstream, exchange.host)
            headers = changed(concerned, headers, asked)
        answer = ResponseHead(status=head.status, reason=head.reason, headers=headers)
        if (
            self._oauth is not None
            and exchange.head.method == b"HEAD"
            and self._oauth.rewriter(exchange, answer) is not None
        ):
            answer.headers = headers.without({b"content-length"})  # its length is not known
        return answer

    def _asked(self, exchange: Exchange) -> Asked:
        """What the rules may know of C{exchange}, gathered once for all of them."""
        asked = exchange.asked
        if asked is None:
            head, client = exchange.head, exchange.connection.client
            asked = exchange.asked = Asked(
                method=head.method,
                target=exchange.target,
                version=head.version,
                client=None if client is None else client.address,
                host=exchange.host,
            )
        return asked

    def answer_headers(self, exchange: Exchange, headers: Headers) -> Headers:
        page = exchange.page
        return headers if page is None else with_cors(headers, page)

    def request_trailers(self, trailers: Headers) -> Headers:
        return ruled_trailers(trailers, self.config.request_headers)

    def response_trailers(self, trailers: Headers) -> Headers:
        return ruled_trailers(trailers, self.config.response_headers)

    def held_request(self, exchange: Exchange) -> HeldRequest | None:
        return None if self._oauth is None else self._oauth.held_request(exchange)

    def content_began(self, exchange: Exchange, data: bytes) -> None:
        method = exchange.session.rpc = method_in(data)
        if method in TOLD_BY:
            exchange.first_page = b'"cursor"' not in data

    def find_out(
        self, exchange: Exchange, origin: OriginConnection, error: RelayError
    ) -> Coroutine[Any, Any, None] | None:
        noticing = self.noticing
        if isinstance(error, TlsOnPlain):
            noticing.notice(origin.upstream, error, origin.address)
        return noticing.find_scheme(origin, error) if noticing.doubts_scheme(origin, error) else None

    # --- what is made again -------------------------------------------------------------------------------

    def doubts(self, exchange: Exchange) -> Sequence[Doubt]:
        head = exchange.head
        given = head.headers.index.get(b"mcp-session-id") if self.recovers else None
        if given is None and not self._has_paths and (head.method != b"POST" or not self.recovers):
            return ()  # nearly always, if it is not MCP
        return self._doubts(exchange, None if given is None else self.in_session(given[2]))

    def _doubts(self, exchange: Exchange, mcp: McpSession | None, *, told: bytes = b"") -> Sequence[Doubt]:
        doubts: list[Doubt] = []
        if self._has_paths and self._is_root(exchange.target):
            settled = all(side.settled for side in self._sides.values())
            copies = 0 if settled or exchange.bodyless else BODY_MAX
            doubts.append(Respelling(exchange, self._leads_back, copies=copies))
        if mcp is not None:
            from lanrelay.http.recovery import Recovery  # loaded with the sessions

            assert self.sessions is not None
            recovery = Recovery(self.sessions, mcp, exchange.head.method, told=told)
            self._asked(exchange).names = recovery
            doubts.append(recovery)
        elif self.recovers and exchange.head.method == b"POST":
            from lanrelay.http.recovery import Beginning, may_begin  # few clients post

            if may_begin(exchange.head):
                doubts.append(Beginning(self.session_began))
        return doubts

    def go_on(
        self,
        connection: HttpConnection,
        head: RequestHead,
        session: Session,
        origin: OriginConnection,
        content: bytes,
        *,
        given: bytes | None,
        mcp: McpSession | None,
    ) -> Exchange:
        """
        An exchange for a request that is under way by the plain way, as if it had been one from the start.

        @param given: with which C{origin} was told of C{mcp}.
        """
        host = head.headers.get(b"host") or b""
        exchange = Exchange(connection, head, session, self, target=head.target, host=host)
        exchange.first_page = b'"cursor"' not in content
        exchange.has_asked(origin, content, self._doubts(exchange, mcp, told=given or b""))
        return exchange

    def _is_root(self, target: bytes) -> bool:
        """Whether an upstream is asked for just the path of its URL, which has two spellings."""
        if self.path and not self.config.strip_prefix:
            return False
        return target.partition(b"?")[0] == (self.path or b"/")

    def _leads_back(self, exchange: Exchange, head: ResponseHead, asked: bytes) -> bool:
        """Whether a redirect leads to what the client asked for, in the root's other spelling."""
        assert exchange.origin is not None
        named = self.places_for(exchange.origin.upstream, exchange.host)
        if named is None:
            return False
        side = self._sides[exchange.origin.upstream]
        before = side.slash
        own = named.relay.scheme.encode("ascii") + b"://" + named.relay.authority + exchange.target
        again = side.respelled(exchange.head.method, head, asked, named, own)
        if side.slash != before:
            self._places.clear()
        return again

    def body_filter(self, exchange: Exchange, head: ResponseHead) -> BodyFilter | None:
        """
        The filter for an event stream of unknown length that is not encoded, for content that names the
        upstream, and for content that may tell of a fault or of an MCP server; all else passes as it is.
        """
        status, rpc = head.status, exchange.session.rpc
        found: BodyFilter | None = None
        if status in STATUSES and exchange.origin is not None:
            return self.noticing.overhear(status, exchange.origin, self._host_for(exchange))
        kind = head.headers.index.get(b"content-type")
        if kind is not None and kind[2].lower().startswith(b"text/event-stream"):
            found = self._event_stream(exchange, head)
        elif self._oauth is not None and exchange.head.method != b"HEAD":
            rewrite = self._oauth.rewriter(exchange, head)
            found = None if rewrite is None else HeldAnswer(exchange, head, rewrite)
        if rpc and rpc in TOLD_BY and status == 200 and b"content-encoding" not in head.headers:
            return listening(self.server, rpc, head, found, first=exchange.first_page)
        return found

    def _event_stream(self, exchange: Exchange, head: ResponseHead) -> EventStream | None:
        headers = head.headers
        kind = headers.get(b"content-type") or b""
        if kind.partition(b";")[0].strip().lower() != b"text/event-stream":
            return None
        if exchange.head.method == b"HEAD" or head.status in (204, 304) or b"content-length" in headers:
            return None
        if any(coding != b"identity" for coding in headers.tokens(b"content-encoding")):
            return None
        rewrite = None
        request = exchange.head
        asked_for = "endpoint" in self._listener.rewrite and asks_for_events(request.method, request.headers)
        if asked_for and exchange.origin is not None:
            named = self.places_for(exchange.origin.upstream, exchange.host)
            rewrite = None if named is None else named.to_relay
        silence = self._listener.sse_keepalive
        if silence is None and rewrite is None:
            return None
        return EventStream(self.reactor, silence, exchange.send_down, rewrite)

    def _host_for(self, exchange: Exchange) -> bytes:
        """The Host that the exchange's upstream got."""
        assert exchange.origin is not None
        side = self._sides[exchange.origin.upstream]
        return exchange.host or side.authority if side.host is None else side.host[2]

    def in_session(self, given: bytes) -> McpSession | None:
        """The MCP session that a client means, if it is remembered."""
        return None if self.sessions is None else self.sessions.find(given)

    # --- the plain way --------------------------------------------------------------------------------

    @property
    def is_plain(self) -> bool:
        """
        Whether a message concerns none of the rules: then only L{plain_request} and L{plain_answer} change
        it.
        """
        return (
            not (self.requests.always or self.answers.always)
            and not self.path
            and len(self._sides) == 1
            and bool(self._host_line)
            and not self._has_paths
        )

    def plain_request(self, lines: list[bytes], host: Field) -> None:
        """
        As L{request_head}, for the lines of a plain request.

        @param lines: of the two empty ones at their end, the first becomes our Via.
        @param host: its Host.
        """
        lines[lines.index(host[3])] = self._host_line
        lines[-2] = self._via[3]

    def plain_answer(self, lines: list[bytes], noted: dict[bytes, Field]) -> None:
        """As L{response_head}, for a plain answer, whose Date is in C{noted} if it has one."""
        lines[-2] = self._via[3]
        if b"date" not in noted:
            lines.insert(-1, date_field(time.time())[3])

    # --- names and places --------------------------------------------------------------------------------

    def _target(self, target: bytes, side: Addressing) -> bytes:
        if target[:1] != b"/":
            return target  # OPTIONS *
        if target.startswith(b"/.well-known/"):
            path, question_mark, query = target.partition(b"?")
            found = split_well_known(path)
            if found is not None and self.matches(found[1] or b"/"):
                name, rest = found
                if self.config.strip_prefix:
                    rest = rest[len(self.path) :]
                return name + side.path + rest + question_mark + query
        if self.config.strip_prefix and self.path:
            target = target[len(self.path) :]
            if not side.path and target[:1] != b"/":
                target = b"/" + target
            if target[:1] in (b"", b"?"):
                return side.path + side.slash + target
        elif side.path and target[1:2] in (b"", b"?"):
            return side.path + side.slash + target[1:]
        return side.path + target

    def places_for(self, upstream: Upstream, host: bytes) -> Places | None:
        """
        The places for a name by which clients know the relay; made once for each, and such names are few and
        bounded.
        """
        key = (upstream, host)
        if key not in self._places:
            if len(self._places) >= 64:
                self._places.clear()
            self._places[key] = self._make_places(upstream, host)
        return self._places[key]

    def _make_places(self, upstream: Upstream, host: bytes) -> Places | None:
        url = upstream.config.url
        prefix = self.path if self.config.strip_prefix else b""
        there = Site.at(url.scheme, url.authority, url.path.encode())
        slash = bool(self._sides[upstream].slash)
        try:
            relay = Site.at("https" if self._secure else "http", host, prefix)
            if self.config.host == "upstream":
                return Places(upstream=there, relay=relay, slash=slash)
            # The upstream knows itself by the Host that it gets.
            named = host if self.config.host == "preserve" else self.config.host
            told = Site.at(url.scheme, named, there.prefix)
        except ValueError:
            return None  # an HTTP/1.0 client that named no host
        return Places(upstream=told, relay=relay, aliases=(there,), slash=slash)


def find_route(routes: Iterable[ProxyRoute], path: bytes) -> ProxyRoute | None:
    """
    The first route to which C{path}, without its query, leads. The routes are sorted, the longest prefix
    first.

    For the metadata of a resource or a server (L{split_well_known}), the path of that resource or server
    decides.
    """
    found = split_well_known(path) if path[:13] == b"/.well-known/" else None
    if found is not None:
        rest = found[1] or b"/"
        for route in routes:
            if route.path and route.matches(rest):
                return route
    for route in routes:
        if route.matches(path):
            return route
    return None
