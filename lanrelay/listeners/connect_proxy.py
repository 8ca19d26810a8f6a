"""The forward proxy for HTTP_PROXY and HTTPS_PROXY: C{CONNECT} tunnels and C{http://} requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lanrelay.config import model
from lanrelay.errors import DialError, Fault, LoopDetected, RelayError, RemoteProtocolError, RequestDenied
from lanrelay.http.answers import Answer, failed, from_here
from lanrelay.http.client import HttpConnection
from lanrelay.http.exchange import Exchange
from lanrelay.http.sink import UNHEARD, RequestSink
from lanrelay.listeners import proxy_pac
from lanrelay.listeners.forward_proxy import ForwardProxyService
from lanrelay.listeners.plain_tunnel import PlainTunnels
from lanrelay.listeners.service import Connection, Environment
from lanrelay.listeners.target_route import TargetRoute, dial_target
from lanrelay.observe.session import TARGET, Session, Side, brief
from lanrelay.passage.browser import check_browser
from lanrelay.passage.intermediary import (
    passed,
    pseudonym,
    with_date,
)
from lanrelay.transport.client import Client
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.upstream.dial import Dialed, Target
from lanrelay.wire.authority import format_authority, parse_authority
from lanrelay.wire.events import RequestHead, ResponseHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.target import RequestTarget, parse_target

CHALLENGE: Final = b'Basic realm="lanrelay"'
_GUARD: Final = model.BrowserGuard()
_ESTABLISHED: Final = ResponseHead(status=200, reason=b"Connection established")


class ConnectProxyService(ForwardProxyService):
    """C{type: connect-proxy}; the application of its HTTP connections."""

    def __init__(self, environment: Environment, config: model.ConnectProxy) -> None:
        super().__init__(environment, config)
        self._via = pseudonym(config.name)
        self._route = TargetRoute(self, self._via)
        # Where clients need credentials, no head is plain.
        self._plain = PlainTunnels(self, _ESTABLISHED) if self.credentials is None else None

    def connected(self, stream: Stream, client: Client) -> Connection:
        if self._plain is not None:
            return self._plain.begin(stream, client)
        return self.general(stream, client)

    def general(self, stream: Stream, client: Client) -> HttpConnection:
        """As L{connected}, for clients that may send anything."""
        connection = HttpConnection(
            self.environment.reactor, self.config.timeouts, self, self.gone, client=client
        )
        hand_over(stream, connection)
        return connection

    # --- Application ------------------------------------------------------------------------------------

    def request_received(self, connection: HttpConnection, head: RequestHead) -> RequestSink:
        target = parse_target(head.method, head.target)
        session = self._open_session(connection, head, target)
        try:
            denied = self._denied(connection, head, target)
            login = True if denied is not None else self._logged_in(connection, head, target)
            if not isinstance(login, bool):
                return _Login(self, connection, head, session, login).start()
        except RequestDenied as error:
            connection.say_close()
            self.refuse(connection, head, session, error, by="relay")
            return UNHEARD
        except Exception:
            self.bug(session)
            raise  # the caller logs it, and closes the connection
        if denied is not None:
            self.refuse(connection, head, session, denied, by="relay")
            return UNHEARD
        return self.judged(connection, head, session, good=login)

    def judged(
        self, connection: HttpConnection, head: RequestHead, session: Session, *, good: bool
    ) -> RequestSink:
        """Go on with a request, whose credentials are right or wrong."""
        target = parse_target(head.method, head.target)
        if not good:
            given = b"proxy-authorization" in head.headers
            if given:
                connection.say_close()  # a client that guesses has to connect again for each guess
            denied = RequestDenied(
                "the credentials are wrong" if given else "this proxy asks for a name and a password",
                http_status=407,
                remedy="Use a name and a password from auth of this listener: http://NAME:PASSWORD@HOST:PORT.",
            )
            self.refuse(connection, head, session, denied, by="relay")
            return UNHEARD
        if target.scheme == "https":
            denied = RequestDenied(
                "a proxy cannot be asked for an https:// URL",
                http_status=400,
                remedy="Ask for a tunnel with CONNECT, as HTTPS_PROXY makes clients do.",
            )
            self.refuse(connection, head, session, denied, by="relay")
            return UNHEARD
        if passed(head.headers, self._via):
            looped = LoopDetected("the request has already passed this listener")
            self.refuse(connection, head, session, looped, by="relay")
            return UNHEARD
        if target.form == "origin":
            self._serve_pac(connection, head, session)
            return UNHEARD
        own = from_here(head)
        if own is not None:
            session.status = own.status
            session.done(by="relay")
            session.sent = len(own.body)
            self.environment.ledger.close(session)
            connection.answer(own.status, own.headers, own.body)
            return UNHEARD
        if head.method == b"CONNECT":
            return _Tunnel(self, connection, head, session, dial_target(target)).start()
        return Exchange(connection, head, session, self._route).start()

    def request_refused(self, connection: HttpConnection, error: RemoteProtocolError, answer: Answer) -> None:
        assert connection.client is not None
        session = self.open_session(connection.client, "head")
        session.status, session.sent = answer.status, len(answer.body)
        session.failed(error, by="downstream", detail=answer.explanation)
        self.environment.ledger.close(session)

    def refuse(
        self, connection: HttpConnection, head: RequestHead, session: Session, error: RelayError, *, by: Side
    ) -> None:
        """Answer that it failed, and close the session; a failed CONNECT ends the connection, too."""
        answer = failed(
            error,
            head,
            upstream=session.target,
            listener=self.config.name,
            status_page=partial(self.environment.status_page, connection.client),
        )
        headers = answer.headers
        if answer.status == 407:
            headers = headers.added(b"Proxy-Authenticate", CHALLENGE)
        session.status = answer.status
        session.sent = len(answer.body)
        session.failed(error, by=by, detail=answer.explanation)
        self.environment.ledger.close(session)
        connection.answer(answer.status, headers, answer.body, answer.reason)

    def _denied(
        self, connection: HttpConnection, head: RequestHead, target: RequestTarget
    ) -> RequestDenied | None:
        """Why a request is refused before its target is looked at."""
        if target.form in ("origin", "asterisk"):
            return self._no_page(connection, head, target)
        return None

    def _logged_in(
        self, connection: HttpConnection, head: RequestHead, target: RequestTarget
    ) -> bool | Deferred[bool]:
        """Whether the client may use the proxy."""
        if self.credentials is None or target.form in ("origin", "asterisk"):
            return True
        from lanrelay.policy.credentials import basic  # few proxies ask for credentials

        given = basic(head.headers.get(b"proxy-authorization"))
        if given is None:
            return False
        assert connection.client is not None
        return self.check(*given, connection.client)

    def _no_page(
        self, connection: HttpConnection, head: RequestHead, target: RequestTarget
    ) -> RequestDenied | None:
        """
        Why a request for the relay itself is refused; C{None} for the only page that it has.

        A page in a browser can send such requests to any port, under a name of its own for our address. It
        gets no answer from which it could learn anything.
        """
        assert connection.client is not None
        where = self.bound[0].name if self.bound else "127.0.0.1:PORT"
        try:
            check_browser(
                head,
                _GUARD,
                connection.client.local,
                place=f"listeners.{self.config.name}",
                secure=self.config.tls is not None,
            )
        except RequestDenied as error:
            error.remedy = f"Ask for http://{where}/proxy.pac, by the address of the relay and by no name."
            return error
        if target.path.partition(b"?")[0] == proxy_pac.PATH and head.method in (b"GET", b"HEAD"):
            return None
        return RequestDenied(
            "this is a forward proxy, not a web server",
            http_status=400,
            remedy=f"Set HTTP_PROXY and HTTPS_PROXY to http://{where} in the environment of a program.",
        )

    def _serve_pac(self, connection: HttpConnection, head: RequestHead, session: Session) -> None:
        """C{GET /proxy.pac}; the guard has seen to it that the Host is an address, or localhost."""
        client = connection.client
        assert client is not None
        host = head.headers.get(b"host")
        if host is not None:
            authority = str(parse_authority(host, 443 if self.config.tls is not None else 80))
        else:
            authority = format_authority(str(client.local or "localhost"), client.local_port)
        body = proxy_pac.script(
            authority,
            secure=self.config.tls is not None,
            allow=self._proxy.allow,
            fixed=self._proxy.resolve,
        )
        headers = Headers(
            [
                (b"Content-Type", proxy_pac.CONTENT_TYPE),
                (b"Cache-Control", b"no-cache"),
                (b"X-Content-Type-Options", b"nosniff"),
            ]
        )
        session.status = 200
        session.done(by="relay")
        session.sent = 0 if head.method == b"HEAD" else len(body)
        self.environment.ledger.close(session)
        connection.answer(200, with_date(headers, time.time()), body)

    def _open_session(self, connection: HttpConnection, head: RequestHead, target: RequestTarget) -> Session:
        assert connection.client is not None
        session = self.open_session(connection.client, "policy")
        session.method = head.method.decode("ascii")
        session.path = brief(target.path.partition(b"?")[0].decode("latin-1"))
        if target.authority is not None:
            where = str(target.authority)
            session.target = brief(f"{target.scheme}://{where}" if target.scheme else where, TARGET)
        return session


class _Login:
    """
    The sink of a request whose credentials are being checked; then it goes on, or is refused.

    The content that came with it waits here, the rest waits in the wire.
    """

    log = Logger()

    def __init__(
        self,
        service: ConnectProxyService,
        connection: HttpConnection,
        head: RequestHead,
        session: Session,
        checking: Deferred[bool],
    ) -> None:
        self._service = service
        self._connection = connection
        self._head = head
        self._session = session
        self._checking = checking
        self._content: list[bytes] = []
        self._held = False
        self._whole = False

    def start(self) -> _Login:
        """Wait for the check; returns itself."""
        self._held = any(name in self._head.headers for name in (b"content-length", b"transfer-encoding"))
        if self._held:  # else it is still read, so that a client that leaves is noticed
            self._connection.pause_reading()
        self._checking.addCallbacks(self._checked, self._not_checked)
        return self

    def client_gone(self, error: RelayError | None) -> None:
        self._session.left(by="relay" if self._connection.aborted else "downstream")
        self._checking.cancel()  # ends in _not_checked

    def body_received(self, data: bytes) -> None:
        self._content.append(data)

    def body_ended(self, trailers: Headers) -> None:
        self._whole = True

    def pause_sending(self) -> None: ...
    def resume_sending(self) -> None: ...

    def _checked(self, good: bool) -> None:
        self._go_on(lambda: self._service.judged(self._connection, self._head, self._session, good=good))

    def _not_checked(self, failure: Failure) -> None:
        service, error = self._service, failure.value
        if failure.check(CancelledError):
            service.environment.ledger.close(self._session)
            return
        if not isinstance(error, RelayError):
            self.log.failure("bug in a login of {listener}", failure, listener=self._session.listener)
            error = Fault()
        refused = error

        def refuse() -> RequestSink:
            self._connection.say_close()
            service.refuse(self._connection, self._head, self._session, refused, by="relay")
            return UNHEARD

        self._go_on(refuse)

    def _go_on(self, begin: Callable[[], RequestSink]) -> None:
        self._connection.hand_on(begin, self._content, whole=self._whole)
        if self._held:
            self._connection.resume_reading()


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
        try:
            dialed = self._service.dial_at_once(self._target, self._session)
            if dialed is not None:
                self._connected(dialed)
        except Exception:
            self._not_connected(Failure())
        else:
            if dialed is None:
                self._dialing = Deferred.fromCoroutine(self._dial())
                self._dialing.addErrback(self._not_connected)
        return self

    def client_gone(self, error: RelayError | None) -> None:
        self._session.left(by="relay" if self._connection.aborted else "downstream")
        if self._dialing is not None:
            self._dialing.cancel()  # ends in _not_connected

    def body_received(self, data: bytes) -> None: ...  # the wire refuses a CONNECT with content
    def body_ended(self, trailers: Headers) -> None: ...
    def pause_sending(self) -> None: ...
    def resume_sending(self) -> None: ...

    async def _dial(self) -> None:
        self._connected(await self._service.dial(self._target, self._session, self._connection.client))

    def _connected(self, dialed: Dialed) -> None:
        connection, session = self._connection, self._session
        session.status = 200
        connection.cork()
        connection.send_head(_ESTABLISHED)
        connection.join(dialed.stream, session=session, limits=self._service.pump_limits, ended=self._pumped)

    def _pumped(self) -> None:
        self._service.environment.ledger.close(self._session)

    def _not_connected(self, failure: Failure) -> None:
        service, error = self._service, failure.value
        if failure.check(CancelledError):
            service.environment.ledger.close(self._session)
        elif isinstance(error, DialError):
            service.refuse(self._connection, self._head, self._session, error, by="upstream")
        else:
            self.log.failure("bug in a tunnel of {listener}", failure, listener=self._session.listener)
            fault = Fault()
            service.refuse(self._connection, self._head, self._session, fault, by="relay")
