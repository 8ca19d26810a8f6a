"""The forward proxy for HTTP_PROXY and HTTPS_PROXY: C{CONNECT} tunnels and C{http://} requests."""

from __future__ import annotations

from typing import ClassVar, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lanrelay.config import model
from lanrelay.errors import (
    AddressDenied,
    DialError,
    NameDenied,
    RelayError,
    RemoteProtocolError,
    RequestDenied,
    StartError,
)
from lanrelay.listeners.answers import failed
from lanrelay.listeners.base import Client, Environment, ListenerService, explained
from lanrelay.listeners.exchange import Exchange
from lanrelay.listeners.http import HttpConnection, RequestSink
from lanrelay.observe.session import Session, Side
from lanrelay.policy.credentials import Credentials
from lanrelay.policy.rules import DestinationRules, Permit
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.upstream.dial import Dialed, Target
from lanrelay.upstream.origin import OriginConnection
from lanrelay.wire.events import RequestHead, ResponseHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.intermediary import request_to_forward, response_to_forward
from lanrelay.wire.target import Target as RequestTarget
from lanrelay.wire.target import parse_target

CHALLENGE: Final = b'Basic realm="lanrelay"'


class ConnectProxyService(ListenerService):
    """C{type: connect-proxy}; the application of its HTTP connections."""

    kind: ClassVar[str] = "connect-proxy"

    def __init__(self, environment: Environment, config: model.ConnectProxy) -> None:
        super().__init__(environment, config)
        self._proxy = config
        self._rules = DestinationRules(config.allow, config.deny)
        self._credentials = None if config.auth is None else Credentials(config.auth)
        self._way = _OwnWay(self)

    def leads_to(self) -> str:
        return "whatever its rules permit"

    def load(self) -> None:
        super().load()
        if self._credentials is not None:
            try:
                self._credentials.load()
            except StartError as error:
                raise self.start_error(error) from error

    def connected(self, stream: Stream, client: Client) -> HttpConnection:
        connection = HttpConnection(
            self.environment.reactor, self.config.timeouts, self, self.gone, client=client
        )
        hand_over(stream, connection)
        return connection

    # --- Application ------------------------------------------------------------------------------------

    def request_received(self, connection: HttpConnection, head: RequestHead) -> RequestSink:
        target = parse_target(head.method, head.target)
        session = self._open_session(connection, head, target)
        denied = self._denied(head, target)
        if denied is not None:
            self.refuse(connection, head, session, denied, by="relay")
            return _ANSWERED
        if head.method == b"CONNECT":
            return _Tunnel(self, connection, head, session, dial_target(target)).start()
        return Exchange(connection, head, session, self._way).start()

    def request_refused(self, connection: HttpConnection, error: RemoteProtocolError) -> None:
        assert connection.client is not None
        session = self.open_session(connection.client, "head")
        session.status = error.http_status
        session.failed(error, by="downstream")
        self.environment.ledger.close(session)

    def refuse(
        self, connection: HttpConnection, head: RequestHead, session: Session, error: RelayError, *, by: Side
    ) -> None:
        """Answer that it failed, and close the session; a failed CONNECT ends the connection, too."""
        answer = failed(error, head)
        headers = answer.headers
        if answer.status == 407:
            headers = headers.added(b"Proxy-Authenticate", CHALLENGE)
        session.status = answer.status
        session.sent = len(answer.body)
        session.failed(error, by=by, detail=answer.explanation)
        self.environment.ledger.close(session)
        connection.answer(answer.status, headers, answer.body)

    # --- what a request may -----------------------------------------------------------------------------

    async def dial(self, target: Target, session: Session) -> Dialed:
        """
        Connect to where a client wants to go: the name is judged, then each address as it is dialed.

        @raise DialError: no connection, or no permission; a denial is noted in the session as ours.
        @raise CancelledError: the client has gone.
        """
        session.tries = 1
        timeouts = self.config.timeouts
        try:
            reason = self._rules.judge_name(target.host, target.port)
            if reason is not None:
                raise NameDenied(reason, target=str(target))
            dialed = await self.environment.dialer.dial(
                target,
                connect_timeout=timeouts.connect,
                handshake_timeout=timeouts.handshake,
                permit=self._permit(target),
                fixed=self._proxy.resolve,
            )
        except AddressDenied as error:
            session.phase = "policy"
            session.failed(error, by="relay", detail=explained(error))
            raise
        session.address = dialed.address
        session.dialed = self.environment.reactor.seconds() - session.opened
        return dialed

    def _permit(self, target: Target) -> Permit:
        """The rules, and before them what no rule can permit: the relay's own pages and proxies."""
        judge, forbidden = self._rules.permit_for(target.host, target.port), self.environment.forbidden

        def permit(address: model.IPAddress) -> str | None:
            return forbidden(address, target.port) or judge(address)

        return permit

    def _denied(self, head: RequestHead, target: RequestTarget) -> RequestDenied | None:
        """Why a request is not even looked at."""
        if target.form in ("origin", "asterisk"):
            # A page in a browser can send such requests to any port; it is told nothing but this.
            where = self.bound[0].name if self.bound else "127.0.0.1:PORT"
            return RequestDenied(
                "this is a forward proxy, not a web server",
                http_status=400,
                remedy=f"Set HTTP_PROXY and HTTPS_PROXY to http://{where} in the environment of a program.",
            )
        if self._credentials is not None:
            given = head.headers.get(b"proxy-authorization")
            if self._credentials.check_basic(given) is None:
                return RequestDenied(
                    "the credentials are wrong" if given else "this proxy asks for a name and a password",
                    http_status=407,
                    remedy="Use a name and a password from auth of this listener: http://NAME:PASSWORD@HOST:PORT.",
                )
        if target.scheme == "https":
            return RequestDenied(
                "a proxy cannot be asked for an https:// URL",
                http_status=400,
                remedy="Ask for a tunnel with CONNECT, as HTTPS_PROXY makes clients do.",
            )
        return None

    def _open_session(self, connection: HttpConnection, head: RequestHead, target: RequestTarget) -> Session:
        assert connection.client is not None
        session = self.open_session(connection.client, "policy")
        session.method = head.method.decode("ascii")
        session.path = target.path.partition(b"?")[0].decode("latin-1")
        if target.authority is not None:
            where = str(target.authority)
            session.target = f"{target.scheme}://{where}" if target.scheme else where
        return session


class _Answered:
    """The sink of a request that was answered at once: it hears nothing more."""

    def body_received(self, data: bytes) -> None: ...
    def body_ended(self, trailers: Headers) -> None: ...
    def client_gone(self, error: RelayError | None) -> None: ...
    def pause_sending(self) -> None: ...
    def resume_sending(self) -> None: ...


_ANSWERED: Final = _Answered()


class _Tunnel:
    """
    The sink of a CONNECT while its target is dialed; then the pump has both streams.

    What the client sends meanwhile waits in the wire, which bounds it; a client that leaves cancels the dial.
    """

    log = Logger()

    def __init__(
        self,
        service: ConnectProxyService,
        connection: HttpConnection,
        head: RequestHead,
        session: Session,
        target: Target,
    ) -> None:
        self._service = service
        self._connection = connection
        self._head = head
        self._session = session
        self._target = target
        self._dialing: Deferred[None] | None = None

    def start(self) -> _Tunnel:
        """Begin to dial; returns itself."""
        self._session.phase = "dial"
        self._dialing = Deferred.fromCoroutine(self._dial())
        self._dialing.addErrback(self._not_connected)
        return self

    def client_gone(self, error: RelayError | None) -> None:
        self._session.ended_by = "relay" if self._connection.aborted else "downstream"
        if self._dialing is not None:
            self._dialing.cancel()  # ends in _not_connected

    def body_received(self, data: bytes) -> None: ...  # the wire lets no CONNECT have content
    def body_ended(self, trailers: Headers) -> None: ...
    def pause_sending(self) -> None: ...
    def resume_sending(self) -> None: ...

    async def _dial(self) -> None:
        connection, session = self._connection, self._session
        dialed = await self._service.dial(self._target, session)
        session.status = 200
        connection.cork()
        connection.send_head(ResponseHead(status=200, reason=b"Connection established"))
        pump = connection.join(dialed.stream, session=session, limits=self._service.pump_limits())
        pump.done.addCallback(lambda _: self._service.environment.ledger.close(session))

    def _not_connected(self, failure: Failure) -> None:
        service, error = self._service, failure.value
        if failure.check(CancelledError):
            service.environment.ledger.close(self._session)
        elif isinstance(error, DialError):
            service.refuse(self._connection, self._head, self._session, error, by="upstream")
        else:
            self.log.failure("bug in a tunnel of {listener}", failure, listener=self._session.listener)
            fault = RelayError("a fault in the relay itself; its log has more")
            service.refuse(self._connection, self._head, self._session, fault, by="relay")


class _OwnWay:
    """
    How C{http://} requests travel: each on a connection of its own to where its target says.

    One client connection may ask for another host with each request; there is no pool.
    """

    max_body: int | None = None

    def __init__(self, service: ConnectProxyService) -> None:
        self.reactor = service.environment.reactor
        self.ledger = service.environment.ledger
        self.timeouts = service.config.timeouts
        self._service = service

    def take(self, exchange: Exchange) -> OriginConnection | None:
        return None

    async def connect(self, exchange: Exchange) -> OriginConnection:
        head = exchange.head
        dialed = await self._service.dial(
            dial_target(parse_target(head.method, head.target)), exchange.session
        )
        origin = OriginConnection(self.reactor, self.timeouts, address=dialed.address)
        hand_over(dialed.stream, origin)
        return origin

    def request_head(self, exchange: Exchange, origin: OriginConnection) -> RequestHead:
        """As it came, but in origin-form, with the Host of the target (RFC 9112 section 3.2.2)."""
        head = exchange.head
        target = parse_target(head.method, head.target)
        headers = request_to_forward(head).replaced(b"Host", str(target.authority).encode("ascii"))
        return RequestHead(method=head.method, target=target.path, headers=headers)

    def response_head(self, exchange: Exchange, head: ResponseHead) -> ResponseHead:
        """As it came; the wire frames it anew."""
        return ResponseHead(status=head.status, reason=head.reason, headers=response_to_forward(head))

    def answer_headers(self, exchange: Exchange, headers: Headers) -> Headers:
        return headers

    def body_filter(self, exchange: Exchange, head: ResponseHead) -> None:
        return None


def dial_target(target: RequestTarget) -> Target:
    """Where a target in absolute or authority form leads to."""
    assert target.authority is not None
    return Target(target.authority.host, target.port)
