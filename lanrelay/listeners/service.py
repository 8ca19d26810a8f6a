"""What every kind of listener shares: its life, its ports, its open connections, and what a reload does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from lanrelay.addresses import is_loopback, parse_ip, unmapped
from lanrelay.config import model
from lanrelay.config.kinds import kind_of
from lanrelay.errors import Fault, StartError
from lanrelay.listeners.admission import Admission
from lanrelay.mcp.known import McpServer, McpServers
from lanrelay.observe.ledger import Ledger
from lanrelay.observe.session import Phase, Session
from lanrelay.transport.client import Client
from lanrelay.transport.port import BoundSocket, FamilyMissing, Gate, Port, bind, bind_all
from lanrelay.transport.pump import PumpLimits
from lanrelay.transport.stream import Parked, Stream
from lanrelay.upstream.dial import Dialer
from lanrelay.upstream.loops import Journey, Loops

if TYPE_CHECKING:
    from lanrelay.listeners.logins import Logins
    from lanrelay.listeners.route import ProxyRoute
    from lanrelay.upstream.balance import UpstreamGroup
    from lanrelay.upstream.inheritance import Inheritance


def _no_page(client: Client | None) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """
    The surroundings of a listener; owned by the service that builds the listeners.

    @ivar forbidden: says for an address and a port why no proxy may dial them (the relay's own admin page and
        forward proxies), or C{None}.
    @ivar loops: knows which connections come from the relay itself.
    @ivar logins: checks the passwords of all listeners; C{None}: each listener has its own.
    @ivar inheritance: the upstreams of the listeners that this one will replace; C{None} at a start.
    @ivar room: the gate for all connections that the process has descriptors for; C{None} if they are not
        counted.
    @ivar servers: what is known of the MCP servers behind the listeners.
    @ivar status_page: gives the URL at which a client may see the status page, empty for none.
    @ivar stirred: called before a listener that has no connection gets one.
    """

    reactor: Any
    dialer: Dialer
    ledger: Ledger
    forbidden: Callable[[model.IPAddress, int], str | None]
    loops: Loops = field(default_factory=Loops)
    logins: Callable[[], Logins] | None = None
    inheritance: Inheritance | None = None
    room: Gate | None = None
    servers: McpServers = field(default_factory=McpServers)
    status_page: Callable[[Client | None], str] = _no_page
    stirred: Callable[[], object] | None = None


class Given(NamedTuple):
    """
    The sockets with which a listener that replaces others is to listen.

    @ivar sockets: those of the others, each with the entry of C{listen} that it serves; the others own them
        until L{ListenerService.follow}.
    @ivar missing: entries, or one address of an entry, that are still to be opened, with the entry.
    """

    sockets: Sequence[tuple[BoundSocket, model.ListenAddress]]
    missing: Sequence[tuple[model.ListenAddress, model.ListenAddress]]


class Connection(Protocol):
    """A client's connection as its listener sees it; it calls L{ListenerService.gone} once at its end."""

    def drain(self) -> None:
        """Close at once if nothing is under way, else when that has ended."""

    def abort(self) -> None:
        """End now, and reset whatever is open."""

    def retire(self) -> None:
        """
        There are newer settings. A connection that serves request after request ends with its next answer,
        but loses no request that is on its way; any other ends by itself.
        """


class ListenerService(Service):
    """
    One listener. The order of life is C{load}, C{bind}, C{startService}, C{stopService}.

    A subclass says in L{connected} what becomes of a connection. On a reload a new listener replaces one that
    has changed. It opens what is C{missing}; then, in one turn of the reactor, come C{give_away} of the old
    one, C{follow} and C{startService} of the new one, and C{retire} or C{stopService} of the old one.

    @ivar kind: the word for it in the log, on the status page and in metrics. It is in the table of kinds,
        unless no entry of C{listeners} makes this service.
    @cvar relays: its connections take two descriptors each, and wait when none are left.
    @cvar eager: what a client has sent already is read when it is accepted. It is off where a request may
        stop the listener itself, and for a mere forward, which saves 4 % of its CPU: it accepts all that
        wait, then reads from all.
    @ivar pump_limits: how long a tunnel of this listener may be silent, and take to close.
    @ivar bound: the sockets that listen; empty before C{bind}.
    @ivar notes: what C{bind} skipped, as sentences for the log.
    @ivar given: set before C{bind} where this listener replaces others.
    @ivar draining: it was replaced or removed, and only lets its connections end.
    @ivar admission: lets clients in.
    @ivar routes: those of a reverse proxy, one for each of L{groups}.
    """

    kind: str = ""
    relays: ClassVar[bool] = True
    eager: ClassVar[bool] = False
    log = Logger()
    routes: Sequence[ProxyRoute] = ()

    def __init__(self, environment: Environment, config: model.Listener) -> None:
        self.environment = environment
        self.config = config
        self.kind = self.kind or kind_of(config).word
        timeouts = config.timeouts
        self.pump_limits = PumpLimits(
            idle=timeouts.tunnel, half_closed=timeouts.half_closed, close=timeouts.close
        )
        self.bound: list[BoundSocket] = []
        self.notes: list[str] = []
        self.given: Given | None = None
        self.draining = False
        self.admission = Admission(
            environment,
            config,
            self.kind,
            admit=self._admitted,
            turned_away=self._turned_away,
            settled=self._check_drained,
        )
        room = environment.room if self.relays else None
        self._gate = Gate(config.max_connections, room, stirred=environment.stirred)
        self._ports: list[Port] = []
        self._connections: set[Connection] = set()
        self._gone_early: Connection | None = None
        self._retired: Deferred[None] | None = None
        self._drained: Deferred[None] | None = None
        self._deadline: Any = None

    @property
    def groups(self) -> Sequence[UpstreamGroup]:
        """The upstreams to which it leads; a forward proxy has none, for it leads where its clients ask."""
        return ()

    @property
    def mcp_servers(self) -> Sequence[McpServer]:
        """What is known of the MCP servers behind it."""
        return ()

    @property
    def mcp_sessions(self) -> int:
        """How many of the MCP sessions that are remembered have not ended."""
        return 0

    # --- what a subclass adds -------------------------------------------------------------------

    def connected(self, stream: Stream, client: Client) -> Connection:
        """
        Take over a stream that is parked and paused, whose client passed the rules and any TLS handshake.

        The connection owes one call of L{gone}.
        """
        raise NotImplementedError

    def leads_to(self) -> str:
        """Where it leads, as text for people."""
        raise NotImplementedError

    # --- life -------------------------------------------------------------------------------------

    def load(self) -> None:
        """
        Read the files that the listener needs.

        @raise StartError: one of them is missing or wrong.
        """
        try:
            self.admission.load()
        except StartError as error:
            raise self.start_error(error) from error

    def bind(self) -> None:
        """
        Open the listening sockets; from now on clients wait in the kernel's queue.

        @raise StartError: one of them cannot be opened; then none is.
        """
        try:
            if self.given is None:
                mode = self.config.listen_mode
                self.bound += bind_all(self.config.listen, mode=mode, notes=self.notes)
            else:
                self.bound += [bound for bound, _ in self.given.sockets]
                self._open_missing(self.given.missing)
            for bound in self.bound:
                self._judge(bound)
        except StartError as error:
            self.unbind()
            raise self.start_error(error) from error

    def _open_missing(self, missing: Sequence[tuple[model.ListenAddress, model.ListenAddress]]) -> None:
        """As L{bind_all}, for the addresses whose sockets this one does not take over."""
        lacking: FamilyMissing | None = None
        for address, listed in missing:
            try:
                self.open(address, listed)
            except FamilyMissing as error:
                lacking = error
                self.notes.append(f"{address} is skipped: {error.detail}")
        if lacking is not None and not self.bound:
            raise lacking

    def _judge(self, bound: BoundSocket) -> None:
        """
        Check that a listener that is open to the network says to whom. Only now is it known what a service
        manager has opened.

        @raise StartError: other machines can reach it, and the configuration does not say which may.
        """
        if not isinstance(bound.address, (model.SystemdSocket, model.LaunchdSocket)):
            return
        where = bound.socket.getsockname()
        address = parse_ip(where[0].partition("%")[0]) if isinstance(where, tuple) else None
        if address is None or is_loopback(unmapped(address)):
            return
        for key, remedy in self._unstated():
            raise StartError(
                f"{bound.address} is {bound.name}, which is not loopback, and `{key}` is not set",
                remedy=remedy,
            )

    def _unstated(self) -> Iterator[tuple[str, str]]:
        """The missing keys that an address open to others needs, with what to do."""
        if isinstance(self.config.clients, model.UnstatedClients):
            yield "clients", "say who may connect, such as `clients: private`"

    def open(self, address: model.ListenAddress, listed: model.ListenAddress) -> None:
        """
        Open one more socket, for an entry of C{listen}.

        @raise StartError: it cannot be opened.
        """
        try:
            opened = bind(address, mode=self.config.listen_mode, notes=self.notes)
        except FamilyMissing:
            if address == listed:
                raise
            return  # the other loopback is open
        for bound in opened:
            bound.address = listed
        self.bound += opened

    def unbind(self) -> None:
        """Close sockets that no port has taken yet, but not those of another listener."""
        others = [bound for bound, _ in self.given.sockets] if self.given is not None else []
        for bound in self.bound:
            if not _is_in(bound, others):
                bound.close()
        self.bound.clear()

    def start_error(self, error: StartError) -> StartError:
        """The same error with this listener's name."""
        return StartError(error.detail, listener=error.listener or self.config.name, remedy=error.remedy)

    def startService(self) -> None:
        super().startService()
        for bound in self.bound:
            self._listen(bound)

    def _listen(self, bound: BoundSocket) -> None:
        port = Port(self.environment.reactor, bound, self._gate, self.admission.accepted, eager=self.eager)
        self._ports.append(port)
        port.start()

    def stopService(self) -> Deferred[None]:
        """Stop listening at once, close idle connections, and give the others C{timeouts.drain}."""
        super().stopService()
        self.stop_listening()
        if self._drained is None:
            self._drained = Deferred()
            self._deadline = self.environment.reactor.callLater(self.config.timeouts.drain, self.abort)
            self.admission.cancel()
            for connection in list(self._connections):
                connection.drain()
            self._check_drained()
        return self._drained

    def stale(self) -> bool:
        """Whether files that L{load} has read, and that decide who may do what, have changed."""
        return self.admission.stale()

    def give_away(self, sockets: Collection[BoundSocket]) -> None:
        """Let go of listening sockets, which stay open for their next owner."""
        for port in self._ports[:]:
            if _is_in(port.bound, sockets):
                port.release()
                self._ports.remove(port)
        self.bound = [bound for bound in self.bound if not _is_in(bound, sockets)]

    def surrender(self, bound: BoundSocket) -> None:
        """Close one listening socket, after what waits in its queue has been accepted."""
        for port in self._ports[:]:
            if port.bound is bound:
                port.empty_queue()
                port.stop()
                self._ports.remove(port)
        self.bound = [one for one in self.bound if one is not bound]

    def reopen(self, address: model.ListenAddress, listed: model.ListenAddress) -> None:
        """
        Undo L{surrender}.

        @raise StartError: it cannot be opened any more.
        """
        before = list(self.bound)
        self.open(address, listed)
        for bound in self.bound:
            if not _is_in(bound, before):
                self._listen(bound)

    def follow(self, predecessor: ListenerService | None) -> None:
        """
        Take over what was given; to be called after L{give_away} and before C{startService}.

        @param predecessor: the listener whose open connections count for C{max_connections}, together with
            this one's.
        """
        given, self.given = self.given, None
        if given is not None:
            for bound, listed in given.sockets:
                bound.serve(listed, mode=self.config.listen_mode)
        if predecessor is not None:
            self._gate = predecessor._gate
            self._gate.resize(self.config.max_connections)

    def retire(self) -> Deferred[None]:
        """
        Accept no more, and live on for the open connections, which keep their settings.

        @return: fires when the last one has ended.
        """
        self.stop_listening()
        self.draining = True
        if self._retired is None:
            self._retired = Deferred()
            for connection in list(self._connections):
                connection.retire()
            self._check_drained()
        return self._retired

    def stop_listening(self) -> None:
        """Close the listening sockets; open connections stay."""
        for port in self._ports:
            port.stop()
        self._ports.clear()

    def abort(self) -> None:
        """End every connection now."""
        self.admission.cancel()
        for connection in list(self._connections):
            connection.abort()

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections) + len(self.admission)

    # --- connections ------------------------------------------------------------------------------

    def gone(self, connection: Connection) -> None:
        """A connection's stream is gone; called by the connection, once."""
        if connection in self._connections:
            self._connections.remove(connection)
            self.environment.ledger.touched.add(self.config.name)
        else:
            self._gone_early = connection
        self._gate.leave()
        self._check_drained()

    def open_session(self, client: Client, phase: Phase = "accept") -> Session:
        """Begin a session's record, which the caller closes at the ledger."""
        return self.environment.ledger.open(self.config.name, self.kind, client.name, phase=phase)

    def journey(self, client: Client | None) -> Journey:
        """The journey of a dial on behalf of C{client}."""
        return Journey(self.config.name, () if client is None else client.hops)

    def bug(self, session: Session) -> None:
        """End C{session}, which no connection owned yet, because of an exception that is no L{RelayError}."""
        if not session.closed:
            session.failed(Fault(), by="relay")
            self.environment.ledger.close(session)

    def _admitted(self, stream: Stream, client: Client) -> None:
        try:
            connection = self.connected(stream, client)
        except Exception:
            # The caller closes the stream and gives its place back; a connection that has half taken it must
            # not do so again.
            stream.protocol = Parked()
            raise
        if self._gone_early is connection:  # lost while it was handed over
            self._gone_early = None
        else:
            self._connections.add(connection)
            self.environment.ledger.touched.add(self.config.name)
            if self._retired is not None:
                connection.retire()

    def _turned_away(self) -> None:
        self._gate.leave()

    def _check_drained(self) -> None:
        if self._connections or len(self.admission):
            return
        if self._drained is not None and not self._drained.called:
            if self._deadline is not None and self._deadline.active():
                self._deadline.cancel()
            self._drained.callback(None)
        if self._retired is not None and not self._retired.called:
            self._retired.callback(None)
            self.stopService()


def _is_in(bound: BoundSocket, sockets: Collection[BoundSocket]) -> bool:
    return any(bound is one for one in sockets)  # they would compare by value
