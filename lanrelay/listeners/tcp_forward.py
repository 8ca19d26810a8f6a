"""A TCP port forward: each connection is joined to a connection of its own to an upstream."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from lanrelay.config import model
from lanrelay.errors import DialError, StartError
from lanrelay.listeners.admission import explained
from lanrelay.listeners.service import Environment, ListenerService
from lanrelay.transport.abilities import abilities_of
from lanrelay.transport.client import Client
from lanrelay.transport.pump import Pump, join
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.upstream.dial import Dialed
from lanrelay.upstream.retry import try_each
from lanrelay.upstream.upstream import Upstream


class TcpForwardService(ListenerService):
    """C{type: tcp-forward}."""

    def __init__(self, environment: Environment, config: model.TcpForward) -> None:
        super().__init__(environment, config)
        self.group = UpstreamGroup(
            environment.reactor,
            environment.dialer,
            config.upstreams,
            config.timeouts,
            inheritance=environment.inheritance,
        )
        self._names = ", ".join(upstream.name for upstream in self.group.members)

    @property
    def groups(self) -> Sequence[UpstreamGroup]:
        return [self.group]

    def leads_to(self) -> str:
        return self._names

    def load(self) -> None:
        super().load()
        try:
            self.group.load()
        except StartError as error:
            raise self.start_error(error) from error

    def startService(self) -> None:
        super().startService()
        self.group.start()

    def stopService(self) -> Deferred[None]:
        self.group.stop()
        return super().stopService()

    def connected(self, stream: Stream, client: Client) -> ForwardedConnection:
        connection = ForwardedConnection(self, stream, client)
        connection.start()
        return connection


class ForwardedConnection(Protocol):
    """
    A client whose upstream is being dialed, then the owner of the pump that joins them.

    Its stream stays paused until there is somewhere to put the bytes. If the client ends its side meanwhile,
    that is noticed only afterwards: the client may still wait for the answer.
    """

    def __init__(self, service: TcpForwardService, stream: Stream, client: Client) -> None:
        self._service = service
        self._stream = stream
        self._client = client
        self._session = service.open_session(client, "dial")
        self._session.target = service.leads_to()
        self._dialing: Deferred[None] | None = None
        self._upstream: Upstream | None = None
        self._pump: Pump | None = None
        self._lost = False

    def start(self) -> None:
        """Begin to dial; called once, with the stream still parked."""
        try:
            self._dial_at_once()
        except Exception:
            self._not_connected(Failure())
        else:
            if self._pump is None:
                self._dialing = Deferred.fromCoroutine(self._dial())
                self._dialing.addErrback(self._not_connected)
        if self._pump is not None:
            self._dialing = None  # it is over; kept, it would cost each idle pair half a kilobyte
        else:
            hand_over(self._stream, self)

    def _dial_at_once(self) -> None:
        members = self._service.group.members
        if len(members) == 1:  # with several, only the one that counts the turns knows the next
            dialed = members[0].dial_at_once()
            if dialed is not None:
                self._session.tries += 1
                self._connected(members[0], dialed)

    async def _dial(self) -> None:
        dialed = await try_each(self._service.environment.reactor, self._service.group, self._attempt)
        self._dialing = None
        assert self._upstream is not None
        self._connected(self._upstream, dialed)

    def _connected(self, upstream: Upstream, dialed: Dialed) -> None:
        service, session = self._service, self._session
        reactor = service.environment.reactor
        self._upstream = upstream
        session.target, session.address = upstream.name, dialed.address
        session.dialed = reactor.seconds() - session.opened
        upstream.open += 1
        self._pump = join(
            reactor,
            self._stream,
            dialed.stream,
            session=session,
            limits=service.pump_limits,
            ended=self._pumped,
        )

    async def _attempt(self, upstream: Upstream) -> Dialed:
        self._session.tries += 1
        self._upstream = upstream
        agreed = abilities_of(self._stream).application_protocol  # by TLS with the client
        return await upstream.dial(
            client=self._client.endpoints if upstream.greets else None,
            journey=self._service.journey(self._client),
            alpn=(agreed,) if agreed in upstream.config.trust.alpn else (),
            brief=upstream.given_up(self._service.group.config.retry.duration),
        )

    def _not_connected(self, failure: Failure) -> None:
        self._dialing = None
        error = failure.value
        if isinstance(error, DialError):
            self._session.failed(error, by="upstream", detail=explained(error))
        elif failure.check(CancelledError):
            self._session.left(by="downstream")
        else:
            self._service.log.failure(
                "bug while dialing for {listener}", failure, listener=self._service.config.name
            )
        if self._lost:
            self._ended()
        else:
            self._stream.abortConnection()

    def _pumped(self) -> None:
        assert self._upstream is not None
        self._upstream.open -= 1
        self._ended()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Only before the pump has taken the stream.
        self._lost = True
        if self._dialing is not None:
            self._dialing.cancel()  # ends in _not_connected
        else:
            self._ended()

    def _ended(self) -> None:
        self._service.environment.ledger.close(self._session)
        self._service.gone(self)

    # --- Connection ----------------------------------------------------------------------------------

    def drain(self) -> None:
        if self._pump is None:
            self.abort()  # nothing has been sent yet

    def retire(self) -> None:
        """It ends by itself."""

    def abort(self) -> None:
        self._session.left(by="relay")
        if self._pump is not None:
            self._pump.abort()
        else:
            self._stream.abortConnection()
