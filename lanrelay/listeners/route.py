"""How requests travel on one route of a reverse proxy: which path, which fields, which origin connections."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lanrelay.config import model
from lanrelay.listeners.base import Environment
from lanrelay.listeners.event_stream import EventStream
from lanrelay.listeners.exchange import Exchange
from lanrelay.listeners.noticing import Noticing, Overheard
from lanrelay.listeners.origins import Origins
from lanrelay.listeners.routed_exchange import FORM, RoutedExchange
from lanrelay.listeners.side import Side
from lanrelay.policy.browser import with_cors
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.upstream.noticed import STATUSES
from lanrelay.upstream.origin import OriginConnection
from lanrelay.upstream.upstream import Upstream
from lanrelay.wire.events import HTTP_1_0, HTTP_1_1, RequestHead, ResponseHead
from lanrelay.wire.headers import FORWARDED_NAMES, HOP_BY_HOP, Field, Headers, logs_in_connection, make_field
from lanrelay.wire.intermediary import (
    apply_rules,
    date_field,
    forwarded_fields,
    request_to_forward,
    response_to_forward,
    via,
    with_date,
)
from lanrelay.wire.oauth import (
    DOCUMENT_MAX,
    Rewrite,
    authorize_target,
    document_kind,
    document_to_relay,
    response_to_relay,
    split_well_known,
    url_path,
    url_to_upstream,
    with_parameter,
)
from lanrelay.wire.rewrite import Places, Site, rewrite_request, rewrite_response

if TYPE_CHECKING:
    from lanrelay.listeners.recovery import McpSessions

# Fields of a request that do not go on as they came.
_TOUCHED: Final = FORWARDED_NAMES | {b"host", b"origin"}
_CHANGED: Final = (_TOUCHED - {b"host"}) | HOP_BY_HOP | {b"via", b"max-forwards"}
# Fields whose values may name the other side; without them nothing is worked out.
NAMING: Final = frozenset(
    {
        b"location",
        b"content-location",
        b"set-cookie",
        b"strict-transport-security",
        b"alt-svc",
        b"referer",
        b"destination",
        b"www-authenticate",
    }
)
# What L{ProxyRoute.plain_request} looks at.
NOTED: Final = frozenset({b"host", b"accept", b"accept-encoding", b"authorization", b"content-type"})
_IDENTITY: Final = make_field(b"Accept-Encoding", b"identity")
_NO_RULES: Final = model.HeaderRules()


class ProxyRoute:
    """
    A L{Way<lanrelay.listeners.exchange.Way>}: one entry of C{routes}.

    @ivar path: the prefix, without its trailing slash; empty for all.
    @ivar recovers: MCP sessions are initialised anew where they were forgotten.
    @ivar sessions: those that are remembered; C{None} as long as none has begun.
    @ivar noticing: what answers tell of how the upstreams are asked.
    @ivar rewrites_oauth: what belongs to a login is made to name the relay.
    @param name: by which Via knows this listener.
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
        self._closed = False
        self.recovers = listener.session_recovery
        self.sessions: McpSessions | None = None
        if self.recovers and inheritance is not None:
            self.sessions = inheritance.sessions(self.group)
            if self.sessions is not None:
                self.sessions.share()
        self.noticing = Noticing(self.group.members, preserved=config.host == "preserve")
        self.rewrites_oauth = "oauth" in listener.rewrite
        self._siblings = siblings
        self._listener = listener
        self._secure = listener.tls is not None
        # What becomes of the Origin of a page that is not foreign. Servers compare it with Host.
        self._page = listener.origin
        if self._page == "auto":
            self._page = "keep" if config.host == "preserve" else "upstream"
        self._plain_requests = listener.forwarded == "none"
        self._via = make_field(b"Via", via((1, 1), name))
        self._via_old = make_field(b"Via", via(HTTP_1_0, name))
        self._sides = {upstream: Side(upstream, config) for upstream in self.group.members}
        host = self._sides[self.group.members[0]].host
        self._host_line = b"" if host is None else host[3]
        self._places: dict[tuple[Upstream, bytes], Places | None] = {}
        self._has_paths = any(side.path for side in self._sides.values())

    def session_began(self, client_id: bytes, initialize: bytes) -> None:
        """The upstream may have begun an MCP session."""
        if self.sessions is None:
            from lanrelay.listeners.recovery import McpSessions  # many upstreams have none

            self.sessions = McpSessions(self.reactor)
            self.sessions.share()
        self.sessions.began(client_id, initialize)

    def matches(self, path: bytes) -> bool:
        """Whether C{path}, without its query, lies under the prefix, judged at segment borders."""
        prefix = self.path
        return not prefix or (path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/"))

    def close(self) -> None:
        """Close what is idle, and begin nothing anew."""
        self.origins.close()
        if self.sessions is not None and not self._closed:
            self.sessions.close()
        self._closed = True

    # --- Way ---------------------------------------------------------------------------------------------

    def take(self, exchange: Exchange) -> OriginConnection | None:
        return exchange.connection.take_kept(self) or self.origins.take()

    def place_of(self, exchange: Exchange) -> Hashable:
        return self

    def has_other(self, origin: OriginConnection) -> bool:
        return self.origins.has_other(origin.upstream)

    async def connect(self, exchange: Exchange) -> OriginConnection:
        return await self.origins.connect(exchange)

    def request_head(self, exchange: Exchange, origin: OriginConnection) -> RequestHead:
        assert isinstance(exchange, RoutedExchange)
        head, listener = exchange.head, self._listener
        index = head.headers.index
        side = self._sides[origin.upstream]
        host_field = side.host or make_field(b"Host", exchange.host or side.authority)
        via_field = self._via if head.version == HTTP_1_1 else self._via_old
        if self._plain_requests and _CHANGED.isdisjoint(index) and head.headers.unique and b"host" in index:
            changed = index.copy()  # nearly always: all but these two goes on as it came
            changed[b"host"] = host_field
            changed[b"via"] = via_field
            headers = Headers.of_index(changed)
        else:
            fields: list[Field] = [host_field]
            for field in request_to_forward(head).fields:
                name = field[0]
                if name not in _TOUCHED:
                    fields.append(field)
                elif name == b"origin" and exchange.page is None and self._page != "strip":
                    fields.append(field if self._page == "keep" else side.origin)
            if listener.forwarded != "none":
                client = exchange.connection.client
                fields += forwarded_fields(
                    listener.forwarded,
                    client=None if client is None else client.address,
                    secure=self._secure,
                    host=exchange.host,
                )
            fields.append(via_field)
            headers = Headers.of(fields)
        if not NAMING.isdisjoint(index) and "location" in listener.rewrite:
            places = self._places_for(origin.upstream, exchange.host)
            if places is not None:
                headers = rewrite_request(headers, places, listener.rewrite)
        if b"accept-encoding" in index and (
            self._may_be_event_stream(head.method, index)
            or (b"/.well-known/" in exchange.target and self._asks_for_document(exchange))
        ):
            headers = headers.replaced_by(_IDENTITY)
        if self.config.request_headers != _NO_RULES:
            headers = apply_rules(headers, self.config.request_headers)
        if exchange.mcp is not None:
            headers = exchange.in_session(exchange.mcp, headers)
        target = self._target(exchange.target, side)
        if exchange.at_root:
            exchange.asked = target
        if self.rewrites_oauth and b"resource=" in target:
            target = authorize_target(target, partial(self._resource_to_upstream, exchange.host))
        return RequestHead(method=head.method, target=target, headers=headers)

    def response_head(self, exchange: Exchange, head: ResponseHead) -> ResponseHead:
        assert isinstance(exchange, RoutedExchange)
        index = head.headers.index
        headers = response_to_forward(head)
        via_field = self._via if head.version == HTTP_1_1 else self._via_old
        if exchange.origin is not None:
            exchange.origin.upstream.answered = True
        if self.noticing.found and 200 <= head.status < 400 and exchange.origin is not None:
            self.noticing.disproved(exchange.origin.upstream, self._host_for(exchange))
        if not NAMING.isdisjoint(index) and exchange.origin is not None:
            places = self._places_for(exchange.origin.upstream, exchange.host)
            if places is not None:
                if exchange.at_root and self._leads_back(exchange, head, places):
                    exchange.respelled = True
                if self.rewrites_oauth:
                    headers = response_to_relay(headers, places)
                headers = rewrite_response(headers, places, self._listener.rewrite)
        if exchange.mcp is not None:
            headers = exchange.mcp.for_client(headers)
        if exchange.page is not None:
            headers = with_cors(headers, exchange.page)
        if head.status < 200:  # a Date in it would mean nothing
            headers = headers.appended([via_field])
        elif headers.unique and b"via" not in index:
            changed = headers.index if headers is not head.headers else index.copy()
            changed[b"via"] = via_field
            if b"date" not in index:
                changed[b"date"] = date_field(time.time())
            headers = Headers.of_index(changed)
        else:
            headers = with_date(headers.appended([via_field]), time.time())
        rules = self.config.response_headers
        if rules != _NO_RULES:
            if head.status < 200 and head.status != 101:  # the final head will have what is set and added
                rules = model.HeaderRules(remove=rules.remove)
            headers = apply_rules(headers, rules)
        return ResponseHead(status=head.status, reason=head.reason, headers=headers)

    def is_root(self, target: bytes) -> bool:
        """Whether an upstream is asked for the path of its URL alone, which has two spellings."""
        if not self._has_paths or (self.path and not self.config.strip_prefix):
            return False
        return target.partition(b"?")[0] == (self.path or b"/")

    @property
    def is_settled(self) -> bool:
        """Every upstream has shown which spelling of its root is the right one."""
        return all(side.settled for side in self._sides.values())

    def _leads_back(self, exchange: RoutedExchange, head: ResponseHead, places: Places) -> bool:
        """Whether a redirect leads to what the client asked for, if it is asked for in another spelling."""
        assert exchange.origin is not None
        side = self._sides[exchange.origin.upstream]
        before = side.slash
        own = places.relay.scheme.encode("ascii") + b"://" + places.relay.authority + exchange.target
        again = side.respelled(exchange, head, exchange.asked, places, own)
        if side.slash != before:
            self._places.clear()
        return again

    def body_filter(self, exchange: Exchange, head: ResponseHead) -> EventStream | Overheard | None:
        """
        For an event stream of unknown length that nobody has encoded, and for what may tell of a fault; all
        else passes as it is.
        """
        assert isinstance(exchange, RoutedExchange)
        if head.status in STATUSES and exchange.origin is not None:
            return self.noticing.overhear(head.status, exchange.origin, self._host_for(exchange))
        headers = head.headers
        kind = headers.get(b"content-type")
        if kind is None or kind.partition(b";")[0].strip().lower() != b"text/event-stream":
            return None
        if exchange.head.method == b"HEAD" or head.status in (204, 304) or b"content-length" in headers:
            return None
        if any(coding != b"identity" for coding in headers.tokens(b"content-encoding")):
            return None
        rewrite = None
        request = exchange.head
        if self._may_be_event_stream(request.method, request.headers.index) and exchange.origin is not None:
            places = self._places_for(exchange.origin.upstream, exchange.host)
            rewrite = None if places is None else places.to_relay
        silence = self._listener.sse_keepalive
        if silence is None and rewrite is None:
            return None
        return EventStream(self.reactor, silence, exchange.send_down, rewrite)

    def _host_for(self, exchange: RoutedExchange) -> bytes:
        """The Host that its upstream was sent."""
        assert exchange.origin is not None
        side = self._sides[exchange.origin.upstream]
        return exchange.host or side.authority if side.host is None else side.host[2]

    # --- the straight way --------------------------------------------------------------------------------

    @property
    def is_straight(self) -> bool:
        """What L{plain_request} and L{plain_answer} do is all that is done here to a plain message."""
        return (
            self._plain_requests
            and not self.path
            and self.config.request_headers == self.config.response_headers == _NO_RULES
            and len(self._sides) == 1
            and bool(self._host_line)
            and not self._has_paths
        )

    def plain_request(self, method: str, target: str, lines: list[bytes], noted: dict[bytes, Field]) -> bool:
        """
        As L{request_head}, for the lines of a plain request, which are changed; C{False}: there is more to be
        done to it.

        @param lines: of the two that end them one becomes ours.
        @param noted: of its fields those of L{NOTED}, Host among them.
        """
        kind = noted[b"content-type"][2] if self.rewrites_oauth and b"content-type" in noted else b""
        if not self.plain_target(target) or kind.lower().startswith(FORM):
            return False
        if b"authorization" in noted and logs_in_connection(noted[b"authorization"][2]):
            return False
        lines[lines.index(noted[b"host"][3])] = self._host_line
        if (
            method == "GET"
            and b"accept-encoding" in noted
            and b"accept" in noted
            and self._may_be_event_stream(b"GET", noted)
        ):
            lines[lines.index(noted[b"accept-encoding"][3])] = _IDENTITY[3]
        lines[-2] = self._via[3]
        return True

    def plain_target(self, target: str) -> bool:
        """The part of L{plain_request} that is about the target, which goes on as it is."""
        return not ("/.well-known/" in target or (self.rewrites_oauth and "resource=" in target))

    def plain_answer(self, lines: list[bytes], noted: dict[bytes, Field]) -> None:
        """As L{response_head}, for a plain answer; Date has to be noted."""
        lines[-2] = self._via[3]
        if b"date" not in noted:
            lines.insert(-1, date_field(time.time())[3])

    # --- OAuth -------------------------------------------------------------------------------------------

    def form_to_upstream(self, content: bytes, host: bytes) -> bytes:
        """A form whose C{resource} (RFC 8707 section 2) names what the upstream calls itself."""
        return with_parameter(content, b"resource", partial(self._resource_to_upstream, host))

    def document_rewriter(self, exchange: RoutedExchange, head: ResponseHead) -> Rewrite | None:
        """For the content that follows C{head}, if it is a metadata document that can be read."""
        if head.status != 200 or not self._asks_for_document(exchange) or exchange.origin is None:
            return None
        headers = head.headers
        kind, length = headers.get(b"content-type"), headers.get(b"content-length")
        if kind is None or kind.partition(b";")[0].strip().lower() != b"application/json":
            return None
        if b"content-encoding" in headers or (length is not None and int(length) > DOCUMENT_MAX):
            return None
        places = self._places_for(exchange.origin.upstream, exchange.host)
        if places is None:
            return None
        name = document_kind(exchange.target.partition(b"?")[0])
        return partial(document_to_relay, kind=name, places=places)

    def _asks_for_document(self, exchange: RoutedExchange) -> bool:
        return (
            self.rewrites_oauth
            and exchange.head.method in (b"GET", b"HEAD")
            and bool(document_kind(exchange.target.partition(b"?")[0]))
        )

    def _resource_to_upstream(self, host: bytes, url: bytes) -> bytes:
        """A resource may lie on another route than the server that is asked for a token for it."""
        route = find_route(self._siblings, url_path(url))
        if route is None:
            return url
        members = route.group.members
        upstream = next((each for each in members if each.up), members[0])
        places = route._places_for(upstream, host)
        return url if places is None else url_to_upstream(url, places)

    # ---------------------------------------------------------------------------------------------------

    def _may_be_event_stream(self, method: bytes, index: dict[bytes, Field]) -> bool:
        """Whether the answer may be an MCP event stream with an endpoint, which an encoding would hide."""
        if method != b"GET" or "endpoint" not in self._listener.rewrite:
            return False
        accept = index.get(b"accept")
        return accept is not None and accept[2].lower().find(b"text/event-stream") >= 0

    def _target(self, target: bytes, side: Side) -> bytes:
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

    def _places_for(self, upstream: Upstream, host: bytes) -> Places | None:
        """Made once for each name by which clients know the relay; those are few, and bounded."""
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
            # It knows itself by the Host that it is sent.
            named = host if self.config.host == "preserve" else self.config.host
            told = Site.at(url.scheme, named, there.prefix)
        except ValueError:
            return None  # an HTTP/1.0 client that named no host
        return Places(upstream=told, relay=relay, aliases=(there,), slash=slash)


def find_route(routes: Iterable[ProxyRoute], path: bytes) -> ProxyRoute | None:
    """
    The first route to which C{path}, without its query, leads; they are sorted, the longest prefix first.

    Where metadata of a resource or a server are kept (L{split_well_known}), the path of that decides.
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
