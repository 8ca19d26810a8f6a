"""
The straight way through a reverse proxy, for requests and answers that are just what most are.

A small exchange costs the relay's own code 14 us here and 31 us by L{lanrelay.listeners.exchange} (in memory,
without system calls), because nothing is made that only an unusual exchange needs. Nothing is judged
otherwise: a request that is not plain, or that any guard would look at, does not begin here, and a request
that is under way becomes a L{RoutedExchange} as soon as anything happens but a plain answer, as if it had
been one from the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from twisted.python.failure import Failure

from lanrelay.config import model
from lanrelay.errors import RelayError
from lanrelay.listeners.client_stream import OPEN
from lanrelay.listeners.http import HttpConnection
from lanrelay.listeners.route import NAMING, NOTED, ProxyRoute
from lanrelay.listeners.routed_exchange import RoutedExchange
from lanrelay.observe.session import Session
from lanrelay.upstream.origin import OriginConnection
from lanrelay.wire.events import RequestHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.intermediary import FORWARDED_NAMES
from lanrelay.wire.plain import PlainFields, read_plain_answer, read_plain_request

_REQUESTS: Final = PlainFields(
    noted=NOTED,
    # What a guard, a rewriting or an exchange would look at.
    unusual=NAMING
    | FORWARDED_NAMES
    | {b"origin", b"sec-fetch-site", b"via", b"max-forwards", b"mcp-session-id"},
)
_ANSWERS: Final = PlainFields(noted={b"date"}, unusual=NAMING | {b"via"}, dropped={b"keep-alive"})


class StraightConnection(HttpConnection):
    """
    A client connection whose requests go straight where they can.

    @ivar straight: the request that is under way so.
    @ivar let_in: the last Host that the guard let in on this connection; it would again.
    """

    __slots__ = ("_way", "let_in", "straight")

    def __init__(self, way: StraightWay, *arguments: Any, **keys: Any) -> None:
        super().__init__(*arguments, **keys)
        self.straight: StraightExchange | None = None
        self.let_in = b""
        self._way = way

    def dataReceived(self, data: bytes) -> None:
        if self.straight is not None:
            self.straight.general()  # more came before the answer
        elif (
            self._state == OPEN
            and self.head is None
            and not (self._sending or self._full or self._draining or self._retired or self._dispatching)
            and self._wire.untouched
            and self._way.begin(self, data)
        ):
            return
        super().dataReceived(data)

    @property
    def leaving(self) -> bool:
        """The next answer is to be the last one, and has to say so."""
        return self._draining or self._retired

    def begun(self, exchange: StraightExchange) -> None:
        """A request is under way; C{exchange} hears what becomes of the client."""
        self._sink = self.straight = exchange
        self._sending = True
        self._head_sent = False
        self._waiting = ""
        self._deadline.clear()

    def done(self, answer: bytes, request: bytes) -> None:
        """Send the whole answer to C{request}."""
        self._sink = self.straight = None
        self._sending = False
        self._stream.write(answer)
        if self._full:
            # The wire keeps what comes until the client reads again; its end, too, is heard meanwhile.
            self.read_again(request)
            self._wire.answered()
            self._settle()
        elif self._state == OPEN:
            self._wait("keepalive", self._timeouts.keepalive)  # nothing came behind the request

    def read_again(self, request: bytes) -> RequestHead:
        """Let the wire read a request that it has not seen yet."""
        self.head = cast(RequestHead, self._wire.receive(request)[0])
        return self.head

    def go_on(self, exchange: RoutedExchange) -> None:
        """What is under way is C{exchange}'s from here on."""
        if self._sink is self.straight:  # else the client has gone, and that is being told
            self._sink = exchange
        self.straight = None


class StraightWay:
    """
    What all straight exchanges of a listener have in common.

    @param known_hosts: values of Host that the guard has let in, with our addresses for which it has.
    """

    def __init__(
        self,
        listener: model.ReverseProxy,
        kind: str,
        route: ProxyRoute,
        known_hosts: Mapping[bytes, tuple[model.IPAddress | None, ...]],
    ) -> None:
        self.route = route
        self.ledger = route.ledger
        self.reactor = route.reactor
        self._listener, self._kind = listener.name, kind
        self._known_hosts = known_hosts
        self._max_body = listener.max_body

    def begin(self, connection: StraightConnection, data: bytes) -> bool:
        """Take a request; C{False}: it is none for us, and nothing was done."""
        request = read_plain_request(data, _REQUESTS)
        if request is None:
            return False
        method, target, lines, noted, at = request
        client, host = connection.client, noted.get(b"host")
        if (
            host is None
            or client is None
            or (host[2] != connection.let_in and client.local not in self._known_hosts.get(host[2], ()))
            or (self._max_body is not None and len(data) - at > self._max_body)
            or not self.route.plain_request(method, target, lines, noted)
        ):
            return False
        origin = self.route.origins.take()
        if origin is None:
            return False
        session = self.ledger.open(self._listener, self._kind, client.name, phase="response")
        session.method = method.decode("ascii")
        session.path = target.partition(b"?")[0].decode("latin-1")
        session.target, session.address = self.route.target, origin.address
        session.received = len(data) - at
        connection.let_in = host[2]
        exchange = StraightExchange(self, connection, data, at, origin, session)
        connection.begun(exchange)
        try:
            lines += (b"", data[at:])
            origin.ask(b"\r\n".join(lines), exchange)
        except Exception:
            exchange.general().failed_by(Failure())
        return True


class StraightExchange:
    """
    One request that is under way: the sink of its client's connection, and the asker of the origin's.

    @ivar request: as it came, with its content from C{content} on.
    """

    __slots__ = ("_became", "_connection", "_content", "_origin", "_request", "_session", "_way")

    def __init__(
        self,
        way: StraightWay,
        connection: StraightConnection,
        request: bytes,
        content: int,
        origin: OriginConnection,
        session: Session,
    ) -> None:
        self._way = way
        self._connection = connection
        self._request = request
        self._content = content
        self._origin = origin
        self._session = session
        self._became: RoutedExchange | None = None

    def answered(self, data: bytes) -> bool:
        answer = read_plain_answer(data, _ANSWERS)
        connection, way, session = self._connection, self._way, self._session
        if answer is None or connection.leaving:
            self.general()
            return False
        session.status, lines, noted, at = answer
        way.route.plain_answer(lines, noted)
        now = session.last_active = way.reactor.seconds()
        session.first_byte = now - session.opened
        session.sent = len(data) - at
        session.phase = "done"
        session.ended_by = "upstream"
        self._origin.free()
        way.ledger.close(session)
        lines += (b"", data[at:])
        connection.done(b"\r\n".join(lines), self._request)
        return True

    def general(self) -> RoutedExchange:
        """From here on it is a L{RoutedExchange}, always the same."""
        if self._became is not None:
            return self._became
        connection, origin, route = self._connection, self._origin, self._way.route
        head = connection.read_again(self._request)
        exchange = self._became = RoutedExchange(
            connection,
            head,
            self._session,
            route,
            target=head.target,
            host=head.headers.get(b"host") or b"",
            page=None,
        )
        exchange.has_asked(origin)
        connection.go_on(exchange)
        try:
            asked = route.request_head(exchange, origin)
        except Exception:
            origin.abort()
            exchange.failed_by(Failure())
        else:
            origin.go_on(asked, self._request[self._content :], exchange)
        return exchange

    # RequestSink: whatever happens to the client is nothing for the straight way.

    def body_received(self, data: bytes) -> None:
        raise AssertionError("all of the request had come")

    def body_ended(self, trailers: Headers) -> None:
        raise AssertionError("all of the request had come")

    def client_gone(self, error: RelayError | None) -> None:
        self.general().client_gone(error)

    def pause_sending(self) -> None:
        self.general().pause_sending()

    def resume_sending(self) -> None:
        self.general().resume_sending()
