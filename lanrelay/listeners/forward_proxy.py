"""The common part of the forward proxies: who may use them, where they lead, and how they get there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from lanrelay.addresses import host_name, is_loopback, parse_ip
from lanrelay.config import model
from lanrelay.errors import AddressDenied, NameDenied, StartError
from lanrelay.listeners.admission import explained
from lanrelay.listeners.service import Environment, ListenerService
from lanrelay.observe.session import Session
from lanrelay.policy.rules import DestinationRules, Destinations, Permit
from lanrelay.transport.client import Client
from lanrelay.upstream.dial import Dialed, Nearby, Target, known_addresses
from lanrelay.upstream.look_ups import LookUps
from lanrelay.upstream.parent import Parent
from lanrelay.upstream.resolve import LOCALHOST

if TYPE_CHECKING:
    from lanrelay.policy.credentials import Credentials


class ForwardProxyService(ListenerService):
    """
    A listener whose clients say where they want to go.

    @ivar credentials: C{None} where every client may use it.
    @ivar parent: the proxy to go through, if any.
    """

    eager: ClassVar[bool] = True

    def __init__(self, environment: Environment, config: model.ForwardProxy) -> None:
        super().__init__(environment, config)
        self._proxy = config
        self._rules = DestinationRules(config.allow, config.deny, resolve=config.resolve)
        self._bypass = Destinations(config.parent_bypass)
        self._look_ups = LookUps()
        self.credentials: Credentials | None = None
        if config.auth is not None:
            from lanrelay.listeners.logins import Logins  # few proxies ask for credentials
            from lanrelay.policy.credentials import Credentials

            self.credentials = Credentials(config.auth)
            self._logins = Logins(environment.reactor) if environment.logins is None else environment.logins()
        self.parent = None if config.parent is None else Parent(config.parent)

    def leads_to(self) -> str:
        through = "" if self.parent is None else f" through {self.parent.name}"
        return f"whatever its rules permit{through}"

    def check(self, username: str, password: str, client: Client) -> bool | Deferred[bool]:
        """
        Whether the client may use the proxy: at once, or by a Deferred that has not fired, as
        L{Logins.check}.

        @raise RequestDenied: too many wait for that already.
        """
        if self.credentials is None:
            return True
        checking = self._logins.check(self.credentials, username, password, client.address)
        if isinstance(checking, bool) or not checking.called:
            return checking
        found: list[bool | Failure] = []
        checking.addBoth(found.append)
        if isinstance(found[0], Failure):
            found[0].raiseException()
        return found[0] is True

    def load(self) -> None:
        super().load()
        if self.credentials is not None:
            try:
                self.credentials.load()
            except StartError as error:
                raise self.start_error(error) from error

    def stale(self) -> bool:
        return super().stale() or (self.credentials is not None and self.credentials.changed())

    def _unstated(self) -> Iterator[tuple[str, str]]:
        yield from super()._unstated()
        if self._proxy.auth is None:
            yield "auth", "name users and passwords in `auth`"

    def bind(self) -> None:
        super().bind()
        parent = self.parent
        if parent is not None and any(self._is_here(parent, name) for name in self._bound_names()):
            self.unbind()
            raise self.start_error(
                StartError("its parent is this listener itself", remedy="name another proxy in `parent`")
            )

    def dial_at_once(self, target: Target, session: Session) -> Dialed | None:
        """As L{dial}, if that needs no waiting (see L{Dialer.dial_at_once}); C{None}: ask L{dial}."""
        if self.parent is not None or self._rules.judge_name(target.host, target.port) is not None:
            return None
        dialed = self.environment.dialer.dial_at_once(
            target, permit=self._permit(target), fixed=self._proxy.resolve
        )
        if dialed is not None:
            session.tries = 1
            self._note(session, dialed)
        return dialed

    def find_at_once(self, target: Target) -> Nearby | None:
        """
        The part of L{dial_at_once} that is the same each time: where C{target} is, if all rules permit it.

        Each time the caller has to ask C{Environment.forbidden}, for what no rule can permit, and then
        L{Dialer.reach_at_once}.
        """
        host, port = target.host, target.port
        if self.parent is not None or self._rules.judge_name(host, port) is not None:
            return None
        place = self.environment.dialer.find_at_once(target, self._proxy.resolve)
        if place is None or self._rules.judge_address(host, port, place[0]) is not None:
            return None
        return place

    async def dial(
        self, target: Target, session: Session, client: Client | None, *, tunnel: bool = True
    ) -> Dialed:
        """
        Connect to where a client wants to go.

        Directly: the name is judged, then each address as it is dialed. Through the parent: literal addresses
        are judged in the same way, and names in C{resolve}, whose address the parent gets. The parent
        resolves any other name. So only the name can be judged here (L{DestinationRules.judge_unresolved}),
        and the parent's own rules say where it may lead. If the name were resolved here, too, another address
        might be judged than the one to which the parent connects, and a name that only the parent knows would
        fail.

        @param client: the client that wants to go there.
        @param tunnel: C{False}: if there is a parent, only connect to that.
        @raise DialError: no connection, or no permission; a denial is noted in the session as ours.
        @raise CancelledError: the client has gone.
        """
        session.tries = 1
        timeouts = self.config.timeouts
        parent = self.parent_for(target)
        try:
            reason = self._rules.judge_name(target.host, target.port)
            if reason is None and parent is not None and not self._known(target.host):
                reason = self._rules.judge_unresolved(target.host, target.port)
            if reason is not None:
                raise NameDenied(reason, target=str(target))
            dialed = await self.environment.dialer.dial(
                target,
                connect_timeout=timeouts.connect,
                handshake_timeout=timeouts.handshake,
                permit=self._permit(target),
                fixed=self._proxy.resolve,
                parent=parent,
                tunnel=tunnel,
                look_ups=self._look_ups,
                journey=self.journey(client),
            )
        except AddressDenied as error:
            session.phase = "policy"
            session.failed(error, by="relay", detail=explained(error))
            raise
        self._note(session, dialed)
        return dialed

    async def reach_again(
        self, target: Target, address: Target, client: Client | None, *, timeout: float
    ) -> Dialed:
        """
        Another connection for C{client} to an address at which C{target} was reached, by the same rules.

        @raise DialError: none can be made.
        """
        return await self.environment.dialer.dial(
            address,
            connect_timeout=timeout,
            handshake_timeout=timeout,
            permit=self._permit(target),
            journey=self.journey(client),
        )

    def _note(self, session: Session, dialed: Dialed) -> None:
        session.address = dialed.address
        session.dialed = self.environment.reactor.seconds() - session.opened

    def parent_for(self, target: Target) -> Parent | None:
        """
        The proxy to go through to C{target}, or C{None} to go there directly.

        Destinations in C{parent_bypass} are reached directly. A name is compared as a name, and an address
        only if the client or C{resolve} says one, because nothing is looked up to decide this. Loopback is
        reached directly, too: clients that say C{127.0.0.1} mean this machine, and not the parent's.
        """
        if self.parent is None:
            return None
        known = self._known(target.host)
        if known and all(is_loopback(address) for address in known):
            return None
        return None if self._bypass.hold(target.host, target.port, known) else self.parent

    def is_fixed(self, host: str) -> bool:
        """Whether C{host} is a name that has addresses in C{resolve}."""
        return parse_ip(host) is None and bool(known_addresses(host, self._proxy.resolve))

    def _known(self, host: str) -> tuple[model.IPAddress, ...]:
        """The addresses of a host that need no look-up."""
        known = known_addresses(host, self._proxy.resolve)
        name = host_name(host)
        if not known and name is not None and (name == "localhost" or name.endswith(".localhost")):
            return LOCALHOST  # as the resolver answers, RFC 6761 section 6.3
        return known

    def _permit(self, target: Target) -> Permit:
        """Ask the rules, and before them what no rule can permit: the relay's own pages and proxies."""
        judge, forbidden = self._rules.permit_for(target.host, target.port), self.environment.forbidden

        def permit(address: model.IPAddress) -> str | None:
            return forbidden(address, target.port) or judge(address)

        return permit

    def _bound_names(self) -> list[tuple[str, int]]:
        names = [bound.socket.getsockname() for bound in self.bound]
        return [(name[0], name[1]) for name in names if isinstance(name, tuple)]

    def _is_here(self, parent: Parent, bound: tuple[str, int]) -> bool:
        host, port = bound
        return parent.port == port and any(
            str(address) == host or (host in ("0.0.0.0", "::") and is_loopback(address))
            for address in self._known(parent.host)
        )
