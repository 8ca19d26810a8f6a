"""The relay as a Twisted service: builds everything, starts it, and lets it end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from lanrelay.admin.counters import Counters
from lanrelay.admin.status import Watched, groups
from lanrelay.config import model
from lanrelay.errors import StartError
from lanrelay.listeners import kinds
from lanrelay.listeners.base import Environment, ListenerService
from lanrelay.notify import Notifier
from lanrelay.observe.accesslog import AccessLog
from lanrelay.observe.ledger import Ledger
from lanrelay.process import OwnPorts, Signals, raise_descriptor_limit
from lanrelay.transport.bind import unused_sockets
from lanrelay.upstream.dial import Dialer
from lanrelay.upstream.resolve import Resolver
from lanrelay.upstream.wakeup import Wakeup

VERSION = "0.1.0"

_SPARE_DESCRIPTORS = 256
"""For what is no connection: log, reactor, listening sockets, health checks, idle pooled connections."""


class RelayService(Service):
    """
    One running relay. The order of life is C{open}, C{startService}, C{stopService}.

    C{open} is apart because it comes before the fork, where errors can still be shown to whoever started us.
    C{privilegedStartService} is not used: C{python -m twisted} never calls it.

    @param begun: the C{time.monotonic()} from which "ready in" counts.
    @ivar listeners: the enabled ones in the order of the configuration, then the admin page.
    @ivar log_observer: what the application that we become part of should log with.
    """

    log = Logger()

    def __init__(self, reactor: Any, config: model.Config, *, begun: float | None = None) -> None:
        self.config = config
        self.ledger = Ledger(reactor)
        self.listeners: list[ListenerService] = []
        self.log_observer: ILogObserver | None = None
        self._reactor = reactor
        self._begun = time.monotonic() if begun is None else begun
        self._own_ports = OwnPorts()
        self._resolver = Resolver(reactor)
        self.notifier = Notifier(reactor, os.environ, describe=self._in_brief)
        self._wakeup = Wakeup(reactor, self._woken)
        self._stopped: Deferred[None] | None = None
        self._ending_now = False
        self._build()

    def _build(self) -> None:
        config = self.config
        environment = Environment(
            reactor=self._reactor,
            dialer=Dialer(self._reactor, self._resolver),
            ledger=self.ledger,
            forbidden=self._own_ports.forbidden,
        )
        self.listeners += [kinds.build(environment, one) for one in config.listeners if one.enabled]
        counters = Counters()
        logged = {one.name for one in config.listeners if one.access_log}
        if config.admin is not None:
            from lanrelay.admin.endpoints import AdminService  # HTTP is not needed by a mere port forward

            watched = Watched(
                version=VERSION,
                config=config,
                started=time.time(),
                reactor=self._reactor,
                ledger=self.ledger,
                counters=counters,
                listeners=self.listeners,
            )
            self.listeners.append(AdminService(environment, config.admin, watched))
            if config.log.access:
                logged.add("admin")
        self.ledger.observers += [counters, AccessLog(logged)]

    # --- before the fork ---

    def open(self) -> list[StartError]:
        """
        Load every file and bind every port.

        @return: everything that is wrong; then nothing is left open.
        """
        errors = []
        for listener in self.listeners:
            for step in (listener.load, listener.bind):
                try:
                    step()
                except StartError as error:
                    errors.append(error)
        if errors:
            self.close()
        for listener in self.listeners:
            if isinstance(listener.config, model.ForwardProxy):
                self._forbid(listener, f"the relay's own forward proxy {listener.config.name}")
            elif listener.kind == "admin":
                self._forbid(listener, "the relay's own admin page")
        return errors

    def close(self) -> None:
        """Undo L{open}; for a relay that is not going to start."""
        for listener in self.listeners:
            listener.unbind()

    def _forbid(self, listener: ListenerService, what: str) -> None:
        for bound in listener.bound:
            name = bound.socket.getsockname()
            if isinstance(name, tuple):  # no unix socket
                self._own_ports.ports[name[1]] = what

    # --- life ---

    def setServiceParent(self, parent: Any) -> None:
        # makeService does not see the application, and twistd asks it for an observer right after this.
        if self.log_observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.log_observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """
        Begin to accept.

        @raise Exception: it cannot be; everything is closed again. With any C{Exception} twistd exits with
            status 1; a C{SystemExit} after the fork would leave the parent waiting for ever.
        """
        super().startService()
        try:
            self._announce()
            self._provide_descriptors()
            for listener in self.listeners:
                listener.startService()
        except Exception:
            for listener in self.listeners:
                listener.stopService()
                listener.abort()
                listener.unbind()
            raise
        self._reactor.callWhenRunning(self._ready)

    def handle_signals(self) -> None:
        """Set handlers of our own as soon as the reactor, which sets its own, runs."""
        signals = Signals(self._reactor, stop=self._signalled, end_now=self._signalled_again)
        self._reactor.callWhenRunning(signals.install)

    def stopService(self) -> Deferred[None]:
        """Stop listening at once; what is under way has its listener's C{timeouts.drain}."""
        super().stopService()
        self._wakeup.stop()
        if self._stopped is None:
            self._stopped = Deferred()
            ends = [maybeDeferred(listener.stopService) for listener in self.listeners]
            for end in ends:
                end.addErrback(self._bug)
            waiting = sum(listener.open_connections for listener in self.listeners)
            if waiting:
                self.log.info("stopped listening; connections given time to end: {n}", n=waiting)
            longest = max((listener.config.timeouts.drain for listener in self.listeners), default=0.0)
            self.notifier.stopping(f"stopping; {waiting} connections have time to end", longest + 5)
            DeferredList(ends).addCallback(self._all_ended)
            if self._ending_now:
                self._end()
        return self._stopped

    def _signalled(self, signal: str) -> None:
        if self._stopped is None:
            self.log.info("{signal}: stopping", signal=signal)
            self._reactor.stop()
        else:
            self._signalled_again(signal)

    def _signalled_again(self, signal: str) -> None:
        self.log.info("{signal} again: ending now", signal=signal)
        self.end_now()

    def end_now(self) -> None:
        """Do not wait any longer, now or when L{stopService} is called."""
        self._ending_now = True
        if self._stopped is not None:
            self._end()

    def _end(self) -> None:
        for listener in self.listeners:
            listener.abort()
        self._all_ended(None)

    def _all_ended(self, result: object) -> None:
        assert self._stopped is not None
        if not self._stopped.called:
            self._resolver.stop()
            self.notifier.close()
            self.log.info("stopped")
            self._stopped.callback(None)

    def _bug(self, failure: Failure) -> None:
        self.log.failure("bug while stopping", failure)

    # --- what the log says at start ---

    def _announce(self) -> None:
        self.log.info("lanrelay {version} with {path}", version=VERSION, path=self.config.path)
        for listener in self.listeners:
            self.log.info(
                "{name} ({kind}) listens on {addresses} and leads to {leads_to}",
                name=listener.config.name,
                kind=listener.kind,
                addresses=", ".join(bound.name for bound in listener.bound),
                leads_to=listener.leads_to(),
            )
        for one in self.config.listeners:
            if not one.enabled:
                self.log.info("{name} is not enabled", name=one.name)
        for sentence in self.warnings():
            self.log.warn("{sentence}", sentence=sentence)

    def warnings(self) -> Iterator[str]:
        """What the reader of the log should know about this configuration, as sentences."""
        yield from self.config.warnings
        yield from unused_sockets()
        for listener in self.listeners:
            yield from (f"{listener.config.name}: {note}" for note in listener.notes)
            for group in groups(listener):
                for upstream in group.members:
                    if upstream.insecure:
                        yield (
                            f"{listener.config.name}: the certificate of {upstream.name} is NOT verified "
                            "(tls.verify: false): anybody on the way can read and change what is sent"
                        )

    def _provide_descriptors(self) -> None:
        # Each connection of a client has one of its own and one to the upstream.
        needed = _SPARE_DESCRIPTORS + sum(2 * listener.config.max_connections for listener in self.listeners)
        granted = raise_descriptor_limit(needed)
        if granted < needed:
            self.log.warn(
                "the system grants {granted} open files, but max_connections of all listeners need {needed}: "
                "raise the limit (ulimit -n, LimitNOFILE= of systemd) or lower max_connections",
                granted=granted,
                needed=needed,
            )

    def _woken(self, seconds: float) -> None:
        """The machine slept so long; the network may be another one."""
        self._resolver.renew()
        for listener in self.listeners:
            for group in groups(listener):
                group.woken()

    def _ready(self) -> None:
        if self._stopped is None:
            self._wakeup.start()
        self.log.info("ready in {ms} ms", ms=round((time.monotonic() - self._begun) * 1000))
        if self._stopped is None:
            self.notifier.ready(self._in_brief())

    def _in_brief(self) -> str:
        connections = sum(listener.open_connections for listener in self.listeners)
        return f"listeners: {len(self.listeners)}; open connections: {connections}"
