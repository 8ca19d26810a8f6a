"""How C{http://} requests travel through the forward proxy."""

from __future__ import annotations

import time
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lanrelay.addresses import parse_ip
from lanrelay.errors import RelayError, TlsOnPlain, Unanswered
from lanrelay.http.exchange import Exchange
from lanrelay.http.origin import OriginConnection
from lanrelay.http.route import Route
from lanrelay.passage.intermediary import request_to_forward, response_to_forward, via_fields, with_date
from lanrelay.transport.stream import hand_over
from lanrelay.upstream.dial import Target
from lanrelay.upstream.parent import Parent, refused_by_status
from lanrelay.wire.authority import format_authority
from lanrelay.wire.events import RequestHead, ResponseHead
from lanrelay.wire.headers import logs_in_connection, make_field
from lanrelay.wire.target import RequestTarget, parse_target

if TYPE_CHECKING:
    from lanrelay.listeners.connect_proxy import ConnectProxyService
    from lanrelay.upstream.scheme import Schemes

ANSWERED_MAX: Final = 256
"""Addresses that are remembered as answering plain HTTP."""

_LOGS_IN: Final = make_field(b"Proxy-Support", b"Session-Based-Authentication")  # RFC 4559 section 6


class TargetRoute(Route):
    """
    How C{http://} requests travel: each on a connection of its own to where its target says.

    A client may ask for another host with each request, so there is no pool. Only if an origin logs in
    connections does its client keep the same one. A parent that speaks HTTP gets the same request, since many
    refuse a CONNECT to port 80. But it is asked for a tunnel if the connection may change its protocol, and
    if C{resolve} has an address that the parent would not use.

    @param name: the listener's name in Via.
    """

    max_body: int | None = None

    def __init__(self, service: ConnectProxyService, name: str) -> None:
        self.reactor = service.environment.reactor
        self.ledger = service.environment.ledger
        self.status_page = service.environment.status_page
        self.timeouts = service.config.timeouts
        self._service = service
        self._via = via_fields(name)
        self._answered: set[str] = set()  # addresses that have answered plain HTTP
        self._schemes: Schemes | None = None  # of places that were asked without TLS and did not answer

    def take(self, exchange: Exchange) -> OriginConnection | None:
        connection = exchange.connection
        return None if connection.kept is None else connection.take_kept(self.place_of(exchange))

    def place_of(self, exchange: Exchange) -> tuple[Target, Parent | None]:
        """The target, and the parent that gets the same request for it."""
        head, service = exchange.head, self._service
        target = dial_target(parse_target(head.method, head.target))
        parent = service.parent_for(target)
        if parent is not None and (not parent.http or exchange.upgrade or service.is_fixed(target.host)):
            parent = None
        return target, parent

    def has_other(self, origin: OriginConnection) -> bool:
        return False

    async def connect(self, exchange: Exchange) -> OriginConnection:
        target, parent = self.place_of(exchange)
        client = exchange.connection.client
        dialed = await self._service.dial(target, exchange.session, client, tunnel=parent is None)
        origin = OriginConnection(self.reactor, self.timeouts, address=dialed.address, upstream=parent)
        hand_over(dialed.stream, origin)
        return origin

    def find_out(
        self, exchange: Exchange, origin: OriginConnection, error: RelayError
    ) -> Coroutine[Any, Any, None] | None:
        if isinstance(error, TlsOnPlain):
            error.target = str(dial_target(parse_target(exchange.head.method, exchange.head.target)))
        if not isinstance(error, Unanswered) or origin.upstream is not None:
            return None
        return self._find_scheme(exchange, origin, error)

    async def _find_scheme(self, exchange: Exchange, origin: OriginConnection, error: RelayError) -> None:
        """
        Find out, by one connection, whether a port speaks TLS that has ended plain HTTP without a byte.

        @raise TlsOnPlain: it does.
        @raise RelayError: C{error}, if it does not, or that is not known.
        """
        from lanrelay.upstream.scheme import Schemes  # rarely needed
        from lanrelay.wire.tls_question import WITHIN

        service, (target, _) = self._service, self.place_of(exchange)
        host, _, port = origin.address.rpartition(":")
        if origin.address in self._answered or not port.isdigit() or service.parent_for(target) is not None:
            raise error
        if self._schemes is None:
            self._schemes = Schemes(self.reactor)
        address, client = Target(host.strip("[]"), int(port)), exchange.connection.client
        connect = partial(service.reach_again, target, address, client, timeout=WITHIN)
        if not await self._schemes.speaks_tls(origin.address, connect):
            raise error
        fault = TlsOnPlain("it ended the connection without an answer")
        fault.target, fault.address = str(target), origin.address
        raise fault

    def request_head(self, exchange: Exchange, origin: OriginConnection) -> RequestHead:
        """
        The head as it came, with the Host of the target (RFC 9112 section 3.2.2): for its origin in
        origin-form, for a parent in absolute-form (section 3.2.4: without a path if C{OPTIONS} has none).
        """
        head, parent = exchange.head, origin.upstream
        target = parse_target(head.method, head.target)
        authority = str(target.authority).encode("ascii")
        headers, via = request_to_forward(head), [self._via[head.version]]
        if parent is None:
            headers = headers.replaced(b"Host", authority).appended(via)
            return RequestHead(method=head.method, target=target.path, headers=headers)
        literal = parse_ip(target.authority.host) if target.authority is not None else None
        if literal is not None:  # as it was judged, whatever its spelling
            authority = format_authority(str(literal), target.port).encode("ascii")
        headers = headers.replaced(b"Host", authority).appended(via)
        if parent.authorization is not None:
            headers = headers.added(b"Proxy-Authorization", parent.authorization)
        path = b"" if target.path == b"*" else target.path
        return RequestHead(method=head.method, target=b"http://" + authority + path, headers=headers)

    def response_head(self, exchange: Exchange, head: ResponseHead) -> ResponseHead:
        """The head as it came, with Via, and with a Date if it had none; the wire frames it anew."""
        if exchange.origin is not None and exchange.origin.address not in self._answered:
            if len(self._answered) >= ANSWERED_MAX:
                self._answered.clear()
            self._answered.add(exchange.origin.address)
        headers = response_to_forward(head).appended([self._via[head.version]])
        if head.status == 401 and any(map(logs_in_connection, head.headers.all(b"www-authenticate"))):
            parent = None if exchange.origin is None else exchange.origin.upstream
            if parent is None:  # a parent says so itself, if it can
                headers = headers.replaced_by(_LOGS_IN)
        if head.status >= 200:
            headers = with_date(headers, time.time())
        return ResponseHead(status=head.status, reason=head.reason, headers=headers)

    def fault_of(self, exchange: Exchange, head: ResponseHead) -> RelayError | None:
        parent = None if exchange.origin is None else exchange.origin.upstream
        if parent is None:
            return None
        # The client must not take this for a wish for its own credentials, nor be asked for the parent's.
        error = refused_by_status(head.status, head.reason)
        error.parent, error.target = parent.name, exchange.session.target
        return error


def dial_target(target: RequestTarget) -> Target:
    """Where a target in absolute or authority form leads."""
    assert target.authority is not None
    return Target(target.authority.host, target.port)
