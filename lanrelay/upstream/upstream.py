"""One configured upstream: how it is dialed, and whether it is up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from twisted.logger import Logger

from lanrelay.config import model
from lanrelay.errors import AddressDenied, CheckFailed, DialError, LocalLimit
from lanrelay.observe.rings import Trail
from lanrelay.transport.abilities import abilities_of
from lanrelay.upstream.dial import Dialed, Dialer, Permit, Target

if TYPE_CHECKING:
    from lanrelay.trust.certificate import CertificateInfo
    from lanrelay.trust.trust import ClientTls
    from lanrelay.upstream.loops import Journey
    from lanrelay.upstream.parent import Parent
    from lanrelay.upstream.scheme import Schemes
    from lanrelay.wire.proxy_header import Endpoints

LAST_TRY = 1.0
"""
Seconds for name and TCP of an upstream that is known to be down. Health finds out when it is back; until then
no client should wait for what does not answer at all.
"""

SLOW = 1.0
"""Seconds of a dial or a check above which it was slow: on a LAN they take milliseconds."""

HISTORY = 20
"""Changes of state that are kept for the status page."""

State = Literal["up", "down", "not known yet", "not checked"]
"""What is known of an upstream, in the words that people are told."""


TOLD_MAX = 16
"""How many findings are remembered before the log may say one again; a client may choose its Host."""


class Transition(NamedTuple):
    """
    A change of state.

    @ivar at: the reactor's seconds.
    @ivar error: why it went down.
    """

    at: float
    up: bool
    error: DialError | None = None


class Upstream:
    """
    One upstream of a listener or a route.

    @ivar url: as it is configured. A piece of its path may be a secret, so it is for comparing alone.
    @ivar shown_url: the same without such pieces.
    @ivar name: what everybody is told: C{shown_url}, with a number where another of its group has the same.
    @ivar target: what is dialed: C{address} if that is set, else the URL's host and port.
    @ivar tls: its trust, or C{None} without TLS.
    @ivar parent: the proxy through which it is reached, if any.
    @ivar health: how it is checked, if it is.
    @ivar up: whether it is taken to be there. Only health checks make it C{False}: without them it stays up.
    @ivar judged: a health check has had its word; before that C{up} is a mere assumption.
    @ivar changed: when C{up} became what it is, in the reactor's seconds.
    @ivar open: connections in use; counted by who uses them, read by least-connections.
    @ivar last_error: of the latest dial or check that failed; C{None} once one has succeeded.
    @ivar answered: it has answered a request; set by who asked.
    @ivar noticed: what its answers tell of how it is asked, where that is wrong.
    @ivar failing: when the first of the failures came that C{last_error} is the latest of, in the reactor's
        seconds; C{noticing} the same of C{noticed}.
    @ivar history: the latest changes of state, the oldest first.
    @ivar trail: what it was in the last minutes and hours.
    @ivar observers: called after each outcome of a dial or a check.
    @ivar touched: called when what is known of it has changed.
    @ivar told: called after each change of state, with what it went down by.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        dialer: Dialer,
        config: model.Upstream,
        timeouts: model.Timeouts,
        health: model.Health | None = None,
    ) -> None:
        self._reactor = reactor
        self._dialer = dialer
        self._timeouts = timeouts
        self.health = health
        self._streak = 0  # checks and dials that contradict C{up}, in a row
        self.config = config
        url = config.url
        self.url = self.shown_url = str(url)
        if url.path:
            from lanrelay.edit.masking import url as masked  # many have no path

            self.shown_url = masked(self.url)
        self.name = self.shown_url
        self._label = str(Target(url.host, url.port, url.unix_path))
        if config.address is not None:
            self.target = Target(config.address.host, config.address.port)
        else:
            self.target = Target(url.host, url.port, url.unix_path)
        self.tls: ClientTls | None = None
        if url.tls:
            # Only where there is TLS: it knows of OpenSSL.
            from lanrelay.trust.trust import ClientTls

            self.tls = ClientTls(config.trust, config.server_name)
        self.parent: Parent | None = None
        if config.via is not None:
            from lanrelay.upstream.parent import Parent

            self.parent = Parent(config.via)
        self.up = True
        self.changed = reactor.seconds()
        self.judged = False
        self.open = 0
        self.last_error: DialError | None = None
        self.failing = self.noticing = self.changed
        self.noticed: DialError | None = None
        self.answered = False
        self._told: set[str] = set()  # of what was noticed
        self._schemes: Schemes | None = None  # what was found out of it
        self.history: deque[Transition] = deque(maxlen=HISTORY)
        self.trail = Trail()
        self._holds = 0.0 if health is None else health.interval + health.timeout
        self.told: Callable[[Upstream, DialError | None], None] | None = None
        self.touched: Callable[[], None] | None = None
        self.observers: list[Callable[[], None]] = []
        self._shown: Any = None  # the certificate of the latest connection, as OpenSSL has it
        self._certificate: tuple[Any, CertificateInfo | None] = (None, None)  # what was made of which

    def is_made_of(
        self, config: model.Upstream, timeouts: model.Timeouts, health: model.Health | None
    ) -> bool:
        """Whether another one of these records would be no different."""
        return (self.config, self._timeouts, self.health) == (config, timeouts, health)

    @property
    def insecure(self) -> bool:
        """C{verify: false}: whoever answers is believed."""
        return self.tls is not None and not self.config.trust.verify

    @property
    def shown(self) -> Any:
        """The certificate that it showed last, as OpenSSL has it; C{None} for none."""
        return self._shown

    @property
    def certificate(self) -> CertificateInfo | None:
        """What it showed when it was connected to last; C{None} for nothing, or nothing that parses."""
        shown, (known, info) = self._shown, self._certificate
        if shown is None:
            return None
        if shown is known:
            return info
        from lanrelay.trust.certificate import Certificate  # there was TLS, so it is loaded

        info = Certificate(shown).info()
        self._certificate = (shown, info)
        return info

    def load(self) -> None:
        """
        Read the user's certificates and keys.

        @raise StartError: one cannot be used.
        """
        if self.tls is not None:
            self.tls.load()

    @property
    def greets(self) -> bool:
        """
        Whether it is told of the client in a PROXY header, so that a connection is for one client alone.
        """
        return self.config.send_proxy is not None

    def dial_at_once(self) -> Dialed | None:
        """As L{dial}, where that takes no waiting, see L{Dialer.dial_at_once}; C{None}: ask L{dial}."""
        if self.tls is not None or self.parent is not None or self.config.send_proxy is not None:
            return None
        dialed = self._dialer.dial_at_once(self.target)
        if dialed is not None and not isinstance(self.last_error, CheckFailed):
            self.succeeded()
        return dialed

    def given_up(self, patience: float) -> bool:
        """Health has known it as down for C{patience} seconds."""
        return not self.up and self._reactor.seconds() - self.changed >= patience

    async def dial(
        self,
        permit: Permit | None = None,
        *,
        client: Endpoints | None = None,
        journey: Journey | None = None,
        alpn: tuple[str, ...] = (),
        brief: bool = False,
    ) -> Dialed:
        """
        Connect to it; the outcome counts as that of a health check.

        @param client: for whom, where C{send_proxy} says so; C{None} for nobody with an IP address.
        @param journey: see L{Dialer.dial}.
        @param alpn: protocols to offer in TLS instead of all that are configured.
        @param brief: within L{LAST_TRY}, if it answers at all.
        @raise DialError: as L{Dialer.dial}; C{target} is the URL's host and port, also when C{address} is
            dialed.
        @raise CancelledError: the caller cancelled; nothing is counted.
        """
        begun = self._reactor.seconds()
        try:
            dialed = await self.connect(permit, client=client, journey=journey, alpn=alpn, brief=brief)
        except DialError as error:
            self.failed(error)
            raise
        if not isinstance(self.last_error, CheckFailed):  # a connection alone does not disprove that
            self.succeeded(seconds=self._reactor.seconds() - begun)
        return dialed

    async def connect(
        self,
        permit: Permit | None = None,
        *,
        timeout: float | None = None,
        client: Endpoints | None = None,
        journey: Journey | None = None,
        alpn: tuple[str, ...] = (),
        brief: bool = False,
    ) -> Dialed:
        """
        As L{dial}, but nothing is counted: a health check judges more than the connection.

        @param timeout: seconds for each of connect and handshake, instead of the configured ones.
        """
        preface = b""
        if self.config.send_proxy is not None:
            from lanrelay.wire.proxy_header import build  # few upstreams want one

            preface = build(self.config.send_proxy, client)
        connect = self._timeouts.connect if timeout is None else timeout
        try:
            dialed = await self._dialer.dial(
                self.target,
                connect_timeout=min(connect, LAST_TRY) if brief else connect,
                handshake_timeout=self._timeouts.handshake if timeout is None else timeout,
                tls=self.tls,
                permit=permit,
                parent=self.parent,
                preface=preface,
                journey=journey,
                alpn=alpn,
            )
        except DialError as error:
            if error.target == str(self.target):  # else it is the parent that could not be reached
                error.target = self._label
            raise
        if self.tls is not None:
            # Parsed when somebody asks: that costs more than all else here.
            self._shown = abilities_of(dialed.stream).shown
        return dialed

    async def speaks_tls(self) -> bool:
        """
        Whether a port that is asked without TLS speaks it; one connection finds out, and is remembered.

        @raise CancelledError: the caller cancelled.
        """
        from lanrelay.upstream.scheme import Schemes  # rarely asked
        from lanrelay.wire.tls_question import WITHIN

        if self._schemes is None:
            self._schemes = Schemes(self._reactor)
        return await self._schemes.speaks_tls(self.name, partial(self.connect, timeout=WITHIN))

    def notice(self, fault: DialError, address: str = "") -> None:
        """An answer has told of a fault in how it is asked; the log says each once."""
        from lanrelay.upstream.explain import explain

        fault.target, fault.address = self._label, address
        if self.noticed is None:
            self.noticing = self._reactor.seconds()
        self.noticed = fault
        if self.touched is not None:
            self.touched()
        explanation = str(explain(fault))
        if explanation not in self._told:
            if len(self._told) >= TOLD_MAX:
                self._told.clear()
            self._told.add(explanation)
            self.log.warn("{upstream}: {explanation}", upstream=self.name, explanation=explanation)

    @property
    def state(self) -> State:
        """As C{up}, for people: it also says where nobody knows."""
        if not self.up:
            return "down"
        if self.health is None:
            return "not checked"
        return "up" if self.judged else "not known yet"

    def judge(self, error: DialError | None, *, seconds: float = 0.0) -> None:
        """
        A health check was made. The first one counts at once, because there is nothing that it could
        contradict.

        @param error: C{None} if it was good.
        @param seconds: that it took.
        """
        first = not self.judged
        # Our own limits say nothing about the upstream.
        self.judged = self.judged or not isinstance(error, (AddressDenied, LocalLimit))
        if error is None:
            self.succeeded(at_once=first, seconds=seconds)
        else:
            self.failed(error, at_once=first)

    def succeeded(self, *, at_once: bool = False, seconds: float = 0.0) -> None:
        """
        A dial or a check was good.

        @param at_once: it is up by this one success.
        @param seconds: that it took.
        """
        if (at_once or self.last_error is not None or seconds > SLOW) and self.touched is not None:
            self.touched()
        self.last_error = None
        if seconds <= SLOW:
            self.trail.note("up", time.time(), holds=self._holds)
        else:
            why = f"It took {seconds:.1f} s to answer."
            self.trail.note("slow", time.time(), why, holds=self._holds)
        self._streak = 0 if self.up else self._streak + 1
        if not self.up and (at_once or self.health is None or self._streak >= self.health.rise):
            self._change(True, None)
        self._tell()

    def failed(self, error: DialError, *, at_once: bool = False) -> None:
        """
        A dial or a check failed. A failure that is not the upstream's doing (a rule, our limits) changes
        nothing.

        @param at_once: it is down by this one failure.
        """
        if isinstance(error, (AddressDenied, LocalLimit)):
            return
        if self.last_error is None:
            self.failing = self._reactor.seconds()
        self.last_error = error
        if self.touched is not None:
            self.touched()
        self._note_failure(error)
        self._streak = self._streak + 1 if self.up else 0
        if self.up and self.health is not None and (at_once or self._streak >= self.health.fall):
            self._change(False, error)
        self._tell()

    def _note_failure(self, error: DialError) -> None:
        now = time.time()
        why = None
        if not self.trail.is_down(now):  # the first sentence of a cell stays
            from lanrelay.upstream.explain import explain

            why = explain(error).what
        self.trail.note("down", now, why, holds=self._holds)

    @property
    def doubtful(self) -> bool:
        """Whether it is down, or up although the latest try failed; then it is checked more often."""
        return not self.up or self._streak > 0

    def _tell(self) -> None:
        for observer in self.observers:
            observer()

    def _change(self, up: bool, error: DialError | None) -> None:
        self.up, self.changed = up, self._reactor.seconds()
        self._streak = 0
        self.history.append(Transition(at=self._reactor.seconds(), up=up, error=error))
        if error is not None:
            from lanrelay.upstream.explain import explain

            explanation = explain(error)
            self.log.warn(
                "{upstream} is down: {what} {remedy}",
                upstream=self.name,
                what=explanation.what,
                remedy=explanation.remedy,
            )
        else:
            self.log.info("{upstream} is up again", upstream=self.name)
        if self.told is not None:
            self.told(self, error)
