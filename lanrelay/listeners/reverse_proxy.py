"""The reverse proxy: guards, routes, and an exchange for each request that passes them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from twisted.internet.defer import Deferred

from lanrelay.config import model
from lanrelay.errors import RelayError, RemoteProtocolError, RequestDenied, StartError
from lanrelay.http.answers import METHODS, Answer, failed, from_here
from lanrelay.http.client import HttpConnection
from lanrelay.http.exchange import Exchange
from lanrelay.http.plain import PlainExchange
from lanrelay.http.plain_way import PlainWay
from lanrelay.http.sink import UNHEARD, RequestSink
from lanrelay.listeners.route import ProxyRoute, find_route
from lanrelay.listeners.service import Environment, ListenerService
from lanrelay.mcp.known import McpServer
from lanrelay.observe.session import BRIEF, Session, Side, brief
from lanrelay.passage.browser import guard_rule, page_rule, with_cors
from lanrelay.passage.intermediary import HOPS, LAST_HOP, loop_rule, pseudonym
from lanrelay.passage.rule import Asked, Reply, Rules, judged
from lanrelay.transport.client import Client
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.wire.events import RequestHead
from lanrelay.wire.target import comparable, has_dot_segments, parse_target

# Names by which clients know one relay. There are a handful, but a client may invent any number of
# *.localhost.
_KNOWN_HOSTS_MAX: Final = 64

# Where the upstream does not hear of a page that is not the relay's own.
_STRIPPING: Final = frozenset({"auto", "strip"})


class NoRoute(RequestDenied):
    """No route leads to this path."""

    proxy_status = "destination_not_found"


class ReverseProxyService(ListenerService):
    """
    C{type: reverse-proxy}; the application of its HTTP connections.

    @ivar guards: the rules that decide who gets in; a request that none of them refuses goes to its route.
    """

    def __init__(self, environment: Environment, config: model.ReverseProxy) -> None:
        super().__init__(environment, config)
        self._proxy = config
        self._place = f"listeners.{config.name}"
        self._via = pseudonym(config.name)
        self._known_hosts: dict[bytes, tuple[model.IPAddress | None, ...]] = {}  # by our own address
        routes: list[ProxyRoute] = []
        for route in config.routes:
            routes.append(ProxyRoute(environment, config, route, self._via, routes))
        self.routes = routes
        # Where a path decides what is reached, or with which fields, it must mean the same to all.
        self._has_prefixes = any(
            route.path or any(member.config.url.path for member in route.group.members)
            for route in self.routes
        )
        secure = config.tls is not None
        guards = [guard_rule(config.guard, place=self._place, secure=secure), loop_rule(self._via)]
        if config.origin in _STRIPPING:
            guards.append(page_rule(config.guard, secure=secure))
        self.guards = Rules(*guards, HOPS)
        self._plain: PlainWay | None = None
        if len(self.routes) == 1 and self.routes[0].is_plain and not self.guards.always:
            self._plain = PlainWay(config.name, self.kind, self.guards, self.routes[0], self._known_hosts)

    @property
    def groups(self) -> Sequence[UpstreamGroup]:
        return [route.group for route in self.routes]

    @property
    def mcp_servers(self) -> Sequence[McpServer]:
        return [route.server for route in self.routes]

    @property
    def mcp_sessions(self) -> int:
        return sum(len(route.sessions) for route in self.routes if route.sessions is not None)

    def leads_to(self) -> str:
        return "; ".join(
            (f"{route.config.path} to " if route.path else "")
            + ", ".join(upstream.name for upstream in route.group.members)
            for route in self.routes
        )

    def load(self) -> None:
        super().load()
        try:
            for route in self.routes:
                route.group.load()
        except StartError as error:
            raise self.start_error(error) from error

    def startService(self) -> None:
        super().startService()
        for route in self.routes:
            route.group.start()

    def stopService(self) -> Deferred[None]:
        for route in self.routes:
            route.group.stop()
            route.close()
        return super().stopService()

    def connected(self, stream: Stream, client: Client) -> HttpConnection:
        reactor, timeouts = self.environment.reactor, self.config.timeouts
        connection = HttpConnection(reactor, timeouts, self, self.gone, client=client)
        hand_over(stream, connection if self._plain is None else PlainExchange(self._plain, connection))
        return connection

    # --- Application -------------------------------------------------------------------------------------

    def request_received(self, connection: HttpConnection, head: RequestHead) -> RequestSink:
        client = connection.client
        assert client is not None
        session = self.open_session(client, "policy")
        session.method = head.method.decode("ascii")
        host_field = head.headers.index.get(b"host")
        target, host = head.target, b"" if host_field is None else host_field[2]
        asked: Asked | None = None  # for the guards, if any guard is concerned
        try:
            if target[:1] != b"/":
                target, host = _as_origin_form(head, host)
            path = target.partition(b"?")[0]
            shown = path.decode("latin-1")
            session.path = shown if len(shown) <= BRIEF else brief(shown)
            new_host = (
                host_field is None
                or head.target[:1] != b"/"
                or client.local not in self._known_hosts.get(host_field[2], ())
            )
            guards = self.guards.concerned(head.headers, head.method, head.target, new_host=new_host)
            if guards:
                asked = Asked(
                    method=head.method, target=head.target, version=head.version, local=client.local
                )
                reply: Reply | Answer | None = judged(guards, head.headers, asked)
                if new_host:
                    self._let_in(head, client.local)
                if reply is LAST_HOP:
                    reply = from_here(head)
                if reply is not None:
                    session.sent = len(reply.body)
                    self._answered(session, reply.status)
                    connection.answer(reply.status, reply.headers, reply.body)
                    return UNHEARD
            if self._has_prefixes and has_dot_segments(path):
                raise RemoteProtocolError("its path has dot segments, which could lead out of its route")
            plain = comparable(path)
            route = self._route(plain)
            if plain != path and not route.matches(path):
                target = plain + target[len(path) :]  # the prefix was spelled otherwise
        except RelayError as error:
            self._refuse(connection, head, session, error, asked)
            return UNHEARD
        except Exception:
            self.bug(session)
            raise  # the caller logs it, and closes the connection
        session.target = route.target
        if asked is not None:
            asked.target, asked.host, asked.client = target, host, client.address
        return Exchange(connection, head, session, route, target=target, host=host, asked=asked).start()

    def request_refused(self, connection: HttpConnection, error: RemoteProtocolError, answer: Answer) -> None:
        assert connection.client is not None
        session = self.open_session(connection.client, "head")
        session.sent = len(answer.body)
        self._answered(session, answer.status, error, by="downstream", detail=answer.explanation)

    # ----------------------------------------------------------------------------------------------------

    def _let_in(self, head: RequestHead, local: model.IPAddress | None) -> None:
        """The request's Host passed the guard."""
        host = head.headers.get(b"host")
        if host is None or head.target[:1] != b"/":
            return  # the target, and not Host, was judged
        if len(self._known_hosts) >= _KNOWN_HOSTS_MAX:
            self._known_hosts.clear()
        locals_ = self._known_hosts.get(host, ())
        if local not in locals_:
            self._known_hosts[host] = (*locals_[-7:], local)

    def _route(self, path: bytes) -> ProxyRoute:
        route = find_route(self.routes, path)
        if route is not None:
            return route
        # A 404 would tell an MCP client that its session is gone; for metadata it means that there are none.
        raise NoRoute(
            "no route of this listener leads to this path",
            http_status=404 if path.startswith(b"/.well-known/") else 502,
            words="No route for this path",
            remedy=f"Add one to {self._place}.routes, or ask for a path that begins as one of them.",
        )

    def _refuse(
        self,
        connection: HttpConnection,
        head: RequestHead,
        session: Session,
        error: RelayError,
        asked: Asked | None,
    ) -> None:
        answer = failed(
            error,
            head,
            listener=self.config.name,
            status_page=partial(self.environment.status_page, connection.client),
        )
        headers = answer.headers
        if answer.status == 405:
            headers = headers.added(b"Allow", METHODS)
        if asked is not None and asked.page is not None:
            headers = with_cors(headers, asked.page)
        session.sent = len(answer.body)
        by: Side = "downstream" if isinstance(error, RemoteProtocolError) else "relay"
        self._answered(session, answer.status, error, by=by, detail=answer.explanation)
        connection.answer(answer.status, headers, answer.body, answer.reason)

    def _answered(
        self,
        session: Session,
        status: int,
        error: RelayError | None = None,
        *,
        by: Side = "relay",
        detail: str = "",
    ) -> None:
        """A request ends here; its answer is about to be sent."""
        session.status = status
        if error is None:
            session.done(by=by)
        else:
            session.failed(error, by=by, detail=detail)
        self.environment.ledger.close(session)


def _as_origin_form(head: RequestHead, host: bytes) -> tuple[bytes, bytes]:
    """
    Path and Host of a request whose target has another form; the host in an absolute target wins over Host.

    @raise RemoteProtocolError: 405 for a CONNECT.
    """
    target = parse_target(head.method, head.target)
    if target.form == "authority":
        raise RemoteProtocolError("a reverse proxy makes no tunnels", 405)
    if target.authority is not None:
        host = str(target.authority).encode("ascii")
    return target.path, host
