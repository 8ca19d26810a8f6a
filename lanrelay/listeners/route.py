"""How requests travel on one route of a reverse proxy: which path, which fields, which origin connections."""

from __future__ import annotations

import time
from typing import Any, Final

from lanrelay.config import model
from lanrelay.listeners.base import Environment
from lanrelay.listeners.event_stream import EventStream
from lanrelay.listeners.exchange import Exchange
from lanrelay.listeners.http import HttpConnection
from lanrelay.listeners.origins import Origins
from lanrelay.observe.session import Session
from lanrelay.policy.browser import with_cors
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.upstream.origin import OriginConnection
from lanrelay.upstream.upstream import Upstream
from lanrelay.wire.events import HTTP_1_0, RequestHead, ResponseHead
from lanrelay.wire.headers import Field, Headers, make_field
from lanrelay.wire.intermediary import (
    FORWARDED_NAMES,
    apply_rules,
    forwarded_fields,
    request_to_forward,
    response_to_forward,
    via,
    with_date,
)
from lanrelay.wire.rewrite import Places, Site, rewrite_request, rewrite_response

# Fields of a request that do not go on as they came.
_TOUCHED: Final = FORWARDED_NAMES | {b"host", b"origin"}
# Fields whose values may name the other side; without them nothing is worked out.
_NAMING: Final = frozenset(
    {
        b"location",
        b"content-location",
        b"set-cookie",
        b"strict-transport-security",
        b"alt-svc",
        b"referer",
        b"destination",
    }
)
_IDENTITY: Final = make_field(b"Accept-Encoding", b"identity")
_NO_RULES: Final = model.HeaderRules()


class RoutedExchange(Exchange):
    """
    An exchange of a reverse proxy.

    @ivar target: what the client asked for in origin-form, whatever form it sent.
    @ivar host: the Host that the client named the relay by; empty if none.
    @ivar page: the Origin of a page that may read the answer although it is not the relay's own.
    """

    __slots__ = ("host", "page", "target")

    def __init__(
        self,
        connection: HttpConnection,
        head: RequestHead,
        session: Session,
        way: ProxyRoute,
        *,
        target: bytes,
        host: bytes,
        page: bytes | None,
    ) -> None:
        super().__init__(connection, head, session, way)
        self.target = target
        self.host = host
        self.page = page

    def answer_headers(self, headers: Headers) -> Headers:
        return headers if self.page is None else with_cors(headers, self.page)


class ProxyRoute:
    """
    A L{Way<lanrelay.listeners.exchange.Way>}: one entry of C{routes}.

    @ivar path: the prefix, without its trailing slash; empty for all.
    @param name: by which Via knows this listener.
    """

    def __init__(
        self, environment: Environment, listener: model.ReverseProxy, config: model.Route, name: str
    ) -> None:
        self.reactor: Any = environment.reactor
        self.ledger = environment.ledger
        self.timeouts = listener.timeouts
        self.max_body = listener.max_body
        self.config = config
        self.path = config.path.rstrip("/").encode()
        self.group = UpstreamGroup(self.reactor, environment.dialer, config.upstreams, listener.timeouts)
        self.origins = Origins(self.reactor, self.group, listener.pool, listener.timeouts)
        self.target = self.group.members[0].name
        self._listener = listener
        self._secure = listener.tls is not None
        self._via = make_field(b"Via", via((1, 1), name))
        self._via_old = make_field(b"Via", via(HTTP_1_0, name))
        self._sides = {upstream: _Side(upstream, config) for upstream in self.group.members}
        self._places: dict[tuple[Upstream, bytes], Places | None] = {}

    def matches(self, path: bytes) -> bool:
        """Whether C{path}, without its query, lies under the prefix, judged at segment borders."""
        prefix = self.path
        return not prefix or (path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/"))

    # --- Way ---------------------------------------------------------------------------------------------

    def take(self, exchange: Exchange) -> OriginConnection | None:
        return self.origins.take(exchange)

    async def connect(self, exchange: Exchange) -> OriginConnection:
        return await self.origins.connect(exchange)

    def request_head(self, exchange: Exchange, origin: OriginConnection) -> RequestHead:
        assert isinstance(exchange, RoutedExchange)
        head, listener = exchange.head, self._listener
        side = self._sides[origin.upstream]
        came = request_to_forward(head)
        fields: list[Field] = [side.host or make_field(b"Host", exchange.host or side.authority)]
        for field in came.fields:
            name = field[0]
            if name not in _TOUCHED:
                fields.append(field)
            elif name == b"origin" and listener.origin != "strip":
                fields.append(field if listener.origin == "keep" else side.origin)
        if listener.forwarded != "none":
            client = exchange.connection.client
            fields += forwarded_fields(
                listener.forwarded,
                client=None if client is None else client.address,
                secure=self._secure,
                host=exchange.host,
            )
        fields.append(self._via_old if head.version == HTTP_1_0 else self._via)
        headers = Headers.of(fields)
        index = headers.index
        if not _NAMING.isdisjoint(index) and "location" in listener.rewrite:
            places = self._places_for(origin.upstream, exchange.host)
            if places is not None:
                headers = rewrite_request(headers, places, listener.rewrite)
        if b"accept-encoding" in index and self._may_be_rewritten(head):
            headers = headers.without({b"accept-encoding"}).appended([_IDENTITY])
        if self.config.request_headers != _NO_RULES:
            headers = apply_rules(headers, self.config.request_headers)
        return RequestHead(method=head.method, target=self._target(exchange.target, side), headers=headers)

    def response_head(self, exchange: Exchange, head: ResponseHead) -> ResponseHead:
        assert isinstance(exchange, RoutedExchange)
        headers = response_to_forward(head)
        via_field = self._via_old if head.version == HTTP_1_0 else self._via
        if head.status < 200:
            return ResponseHead(status=head.status, reason=head.reason, headers=headers.appended([via_field]))
        if not _NAMING.isdisjoint(headers.index) and exchange.origin is not None:
            places = self._places_for(exchange.origin.upstream, exchange.host)
            if places is not None:
                headers = rewrite_response(headers, places, self._listener.rewrite)
        if exchange.page is not None:
            headers = with_cors(headers, exchange.page)
        headers = with_date(headers.appended([via_field]), time.time())
        if self.config.response_headers != _NO_RULES:
            headers = apply_rules(headers, self.config.response_headers)
        return ResponseHead(status=head.status, reason=head.reason, headers=headers)

    def body_filter(self, exchange: Exchange, head: ResponseHead) -> EventStream | None:
        """Only for an event stream of unknown length that nobody has encoded; all else passes as it is."""
        assert isinstance(exchange, RoutedExchange)
        headers = head.headers
        kind = headers.get(b"content-type")
        if kind is None or kind.partition(b";")[0].strip().lower() != b"text/event-stream":
            return None
        if exchange.head.method == b"HEAD" or head.status in (204, 304) or b"content-length" in headers:
            return None
        if any(coding != b"identity" for coding in headers.tokens(b"content-encoding")):
            return None
        rewrite = None
        if self._may_be_rewritten(exchange.head) and exchange.origin is not None:
            places = self._places_for(exchange.origin.upstream, exchange.host)
            rewrite = None if places is None else places.to_relay
        silence = self._listener.sse_keepalive
        if silence is None and rewrite is None:
            return None
        return EventStream(self.reactor, silence, exchange.send_down, rewrite)

    # ---------------------------------------------------------------------------------------------------

    def _may_be_rewritten(self, head: RequestHead) -> bool:
        """Whether the answer may be an MCP event stream with an endpoint, which an encoding would hide."""
        return (
            "endpoint" in self._listener.rewrite
            and head.method == b"GET"
            and b"text/event-stream" in (head.headers.get(b"accept") or b"").lower()
        )

    def _target(self, target: bytes, side: _Side) -> bytes:
        if target[:1] != b"/":
            return target  # OPTIONS *
        if self.config.strip_prefix and self.path:
            target = target[len(self.path) :]
            if target[:1] != b"/" and not (side.path and target[:1] in (b"", b"?")):
                target = b"/" + target
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
        try:
            relay = Site.at("https" if self._secure else "http", host, prefix)
            aliases: tuple[Site, ...] = ()
            if self.config.host not in ("upstream", "preserve"):
                aliases = (Site.at(url.scheme, self.config.host),)
        except ValueError:
            return None  # an HTTP/1.0 client that named no host
        there = Site.at(url.scheme, url.authority, url.path.encode())
        return Places(upstream=there, relay=relay, aliases=aliases)


class _Side:
    """
    What one upstream is sent, worked out once.

    @ivar host: the Host field, C{None} where the client's own is preserved.
    """

    __slots__ = ("authority", "host", "origin", "path")

    def __init__(self, upstream: Upstream, config: model.Route) -> None:
        url = upstream.config.url
        self.authority = url.authority.encode()
        self.path = url.path.encode()
        self.origin = make_field(b"Origin", url.scheme.encode() + b"://" + self.authority)
        self.host: Field | None = None
        if config.host == "upstream":
            self.host = make_field(b"Host", self.authority)
        elif config.host != "preserve":
            self.host = make_field(b"Host", config.host.encode())
