"""The relay as a Twisted service: builds everything, starts it, and lets it end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from lanrelay.admin.commands import Commands
from lanrelay.admin.counters import Counters
from lanrelay.admin.lookout import Lookout
from lanrelay.admin.pulse import Minutely
from lanrelay.admin.watched import Reload, Watched
from lanrelay.config import model
from lanrelay.config.kinds import kind_named
from lanrelay.config.risks import risks_of
from lanrelay.config.whereabouts import NamedFile, place_of
from lanrelay.errors import StartError
from lanrelay.listeners.opening import make_ready
from lanrelay.listeners.own_places import own_places
from lanrelay.listeners.service import Environment, ListenerService
from lanrelay.notify import Notifier
from lanrelay.observe.accesslog import AccessLog
from lanrelay.observe.ledger import Ledger
from lanrelay.process import OwnPorts, Signals, provide_descriptors
from lanrelay.reload.parts import Part, Past
from lanrelay.reload.wanted import CONTROL, logged, wanted_parts
from lanrelay.transport.bind import unused_sockets
from lanrelay.transport.client import Client
from lanrelay.transport.port import Gate
from lanrelay.upstream.dial import Dialer
from lanrelay.upstream.loops import Loops
from lanrelay.upstream.resolve import Resolver
from lanrelay.upstream.wakeup import Wakeup
from lanrelay.version import __version__

if TYPE_CHECKING:
    from lanrelay.listeners.logins import Logins
    from lanrelay.reload.change import Change
    from lanrelay.reload.watch import FileWatch


_DEFAULT_CONNECTIONS = model.Listener(name="", listen=()).max_connections

_LAST_WORDS = 0.5
"""Seconds for connections that were reset to say that they have ended; they need two turns of the reactor."""


class RelayService(Service):
    """
    One running relay. The order of life is C{open}, C{startService}, C{stopService}.

    C{open} is apart because it comes before the fork, where a person can still see the errors.
    C{privilegedStartService} is not used: C{python -m twisted} never calls it.

    @param begun: the C{time.monotonic()} from which "ready in" counts.
    @param files: those that the configuration names, and where.
    @param lines: where it has its listeners and their upstreams.
    @ivar config: the one in force.
    @ivar listeners: the enabled ones in the order of the configuration, then the admin page.
    @ivar draining: those that a reload has replaced or removed, while they have connections.
    @ivar watched: what the status page and others may look at; C{reloads} among it.
    @ivar observers: called with what happens, C{"reloading"}, C{"reloaded"} or C{"stopping"}.
    @ivar log_observer: the observer for the application that we become part of.
    @ivar prepare_log: takes the settings of the log in force and the new ones; makes the new ones ready, or
        raises C{OSError}. It returns a function that puts them in force.
    @ivar reopen_log: goes on in a new file of the same name, after somebody has moved C{log.file} away.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        config: model.Config,
        *,
        begun: float | None = None,
        files: Sequence[NamedFile] = (),
        lines: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        self.config = config
        self._files = files
        self.ledger = Ledger(reactor)
        self.listeners: list[ListenerService] = []
        self.draining: list[ListenerService] = []
        self._past: list[Past] = []
        self.observers: list[Callable[[str], None]] = []
        self.prepare_log: Callable[[model.Log, model.Log], Callable[[], None]] | None = None
        self.reopen_log: Callable[[], None] | None = None
        self.log_observer: ILogObserver | None = None
        self._reactor = reactor
        self._begun = time.monotonic() if begun is None else begun
        self._own_ports = OwnPorts()
        self._loops = Loops()
        self._logins: Logins | None = None
        self._room = Gate(sys.maxsize)
        self._resolver = Resolver(reactor)
        self.notifier = Notifier(reactor, os.environ, describe=self._in_brief)
        self._wakeup = Wakeup(reactor, self._woken, needed=self._is_astir)
        self._watch: FileWatch | None = None
        self._stopped: Deferred[None] | None = None
        self._ending_now = False
        self._hurry: IDelayedCall | None = None
        counters = Counters()
        self._access_log = AccessLog(logged(config))
        self.ledger.observers += [counters.note, self._access_log.note]
        self.watched = Watched(
            version=__version__,
            config=config,
            started=time.time(),
            reactor=reactor,
            ledger=self.ledger,
            counters=counters,
            listeners=self.listeners,
            draining=self.draining,
            lines=lines or {},
        )
        self._lookout = Lookout(self.watched)
        self._minutely = Minutely(reactor, self._lookout.turn, needed=self._is_astir)
        self._environment = Environment(
            reactor=reactor,
            dialer=Dialer(reactor, self._resolver, loops=self._loops),
            loops=self._loops,
            logins=self._all_logins,
            ledger=self.ledger,
            forbidden=self._own_ports.forbidden,
            room=self._room,
            status_page=self._status_page,
            stirred=self._stir,
        )
        self._commands = Commands(self.watched, self._environment, self._resolver, self.reload).by_name
        self._parts = [
            Part(wanted=one.wanted, listener=one.build(self._environment))
            for one in wanted_parts(config, self.watched, self._commands)
        ]
        self.listeners += self._shown()

    def _shown(self) -> list[ListenerService]:
        return [part.listener for part in self._parts if part.wanted.kind != CONTROL]

    def _all(self) -> list[ListenerService]:
        return [*(part.listener for part in self._parts), *(past.listener for past in self._past)]

    # --- before the fork ---

    def open(self) -> list[StartError]:
        """
        Load every file and bind every port.

        @return: everything that is wrong; then nothing is left open.
        """
        errors = make_ready(self._all(), self._files)
        if errors:
            self.close()
        self._forbid()
        return errors

    def close(self) -> None:
        """Undo L{open}; for a relay that is not going to start."""
        for listener in self._all():
            listener.unbind()

    def _all_logins(self) -> Logins:
        if self._logins is None:
            from lanrelay.listeners.logins import Logins  # few relays ask for passwords

            self._logins = Logins(self._reactor)
        return self._logins

    def _status_page(self, client: Client | None) -> str:
        from lanrelay.admin.address import address_for  # only where something fails

        return address_for(client, self.listeners)

    def _forbid(self) -> None:
        """Keep the forward proxies from what only the relay's user may reach, and all from themselves."""
        own = own_places(self.listeners)
        self._own_ports.ports = own.forbidden
        self._loops.listening(own.addresses, own.paths)

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
            self.log.info("lanrelay {version} with {path}", version=__version__, path=self.config.path)
            self._announce(self.listeners)
            self._provide_descriptors()
            for listener in self._all():
                listener.startService()
            self._lookout.follow()
            self.watched.timeline.note("started", f"lanrelay {self.watched.version} was started", time.time())
        except Exception:
            for listener in self._all():
                listener.stopService()
                listener.abort()
                listener.unbind()
            raise
        self._reactor.callWhenRunning(self._ready)

    def handle_signals(self) -> None:
        """Set handlers of our own as soon as the reactor, which sets its own, runs."""
        signals = Signals(
            self._reactor,
            stop=self._signalled,
            end_now=self._signalled_again,
            reload=self.reload,
        )
        self._reactor.callWhenRunning(signals.install)

    def watch_file(self) -> None:
        """Reload whenever the configuration file, or one that it includes, has changed."""
        from lanrelay.reload.watch import FileWatch  # few are asked to

        self._watch = FileWatch(self._reactor, self._watched_files, lambda: self.reload("--watch"))
        self._watch.seen()

    def _watched_files(self) -> list[Path]:
        return [self.config.path, *self.config.included]

    def stopService(self) -> Deferred[None]:
        """Stop listening at once; what is under way has its listener's C{timeouts.drain}."""
        super().stopService()
        self._wakeup.stop()
        self._minutely.stop()
        if self._watch is not None:
            self._watch.stop()
        if self._stopped is None:
            self._stopped = Deferred()
            self._tell("stopping")
            every = self._all()
            ends = [maybeDeferred(listener.stopService) for listener in every]
            for end in ends:
                end.addErrback(self._bug)
            # The control socket's client is gone as soon as it has its answer.
            waiting = sum(listener.open_connections for listener in (*self.listeners, *self.draining))
            if waiting:
                self.log.info("stopped listening; connections given time to end: {n}", n=waiting)
            longest = max((listener.config.timeouts.drain for listener in every), default=0.0)
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
        """Reset all. A transport tells of its end in the next turn, and then come the access lines."""
        for listener in self._all():
            listener.abort()
        if self._hurry is None and self._stopped is not None and not self._stopped.called:
            self._hurry = self._reactor.callLater(_LAST_WORDS, self._all_ended, None)

    def _all_ended(self, result: object) -> None:
        assert self._stopped is not None
        if not self._stopped.called:
            if self._hurry is not None and self._hurry.active():
                self._hurry.cancel()
            self._resolver.stop()
            self.notifier.close()
            self.log.info("stopped")
            self._stopped.callback(None)

    def _bug(self, failure: Failure) -> None:
        self.log.failure("bug while stopping", failure)

    # --- another configuration ---

    def reload(self, by: str) -> Reload:
        """
        Read the configuration file anew and put it in force, or leave everything as it is.

        @param by: who asked, for the log and the status page.
        """
        if self._stopped is not None or not self.running:
            refused = Reload(at=time.time(), by=by, errors=("the relay is stopping",))
            self.log.warn("{by}: no reload: the relay is stopping", by=by)
            return refused
        self.notifier.reloading(f"reloading ({by})")
        if self._watch is not None:
            self._watch.seen()
        self._tell("reloading")
        if self.reopen_log is not None:
            self.reopen_log()
        self.log.info("{by}: reading {path} anew", by=by, path=self.config.path)
        try:
            errors, changes = self._reload()
        except Exception:
            self.log.failure("bug while reloading")
            errors, changes = ["a fault in the relay itself; its log has more"], []
        outcome = Reload(at=time.time(), by=by, errors=tuple(errors), changes=tuple(changes))
        self.watched.reloaded(outcome)
        for complaint in outcome.errors:
            self.log.error("not reloaded: {complaint}", complaint=complaint)
        if outcome.ok:
            self.log.info("reloaded: {changes}", changes="; ".join(changes) or "nothing has changed")
        self._tell("reloaded")
        self.notifier.ready(self._in_brief())
        return outcome

    def _reload(self) -> tuple[list[str], list[str]]:
        """What is wrong, or what has changed."""
        from lanrelay.config.load import ConfigErrors, examine

        try:
            loaded = examine(self.config.path)
        except ConfigErrors as wrong:
            return [str(complaint) for complaint in wrong.complaints], []
        config = loaded.config
        from lanrelay.reload.change import Change  # a start does without

        change = Change(
            self._environment,
            self._parts,
            list(wanted_parts(config, self.watched, self._commands)),
            files=loaded.named_files,
        )
        errors = [str(error) for error in change.prepare()]
        if errors:
            return errors, []
        put_log: Callable[[], None] | None = None
        if self.prepare_log is not None and config.log != self.config.log:
            try:
                put_log = self.prepare_log(self.config.log, config.log)
            except OSError as error:
                change.discard()
                place = place_of("log.file", loaded.named_files)
                return [f"{place}: {error.filename} cannot be opened: {error.strerror}"], []
        changes = list(change.changes())
        if config.log != self.config.log:
            changes.append("log has changed")
        self.watched.lines = loaded.lines
        self._put_in_force(config, change)
        if put_log is not None:
            put_log()
        return [], changes

    def _put_in_force(self, config: model.Config, change: Change) -> None:
        change.commit()
        before = {id(listener) for listener in self.listeners}
        self.config = self.watched.config = config
        self._parts = change.parts
        self.listeners[:] = self._shown()
        for past in list(self._past):
            change.inherit(past)
        for past in change.past:
            self._past.append(past)
            if past.listener.kind != CONTROL:
                self.draining.append(past.listener)
            past.ended.addCallback(self._drained, past)
            past.ended.addErrback(self._bug)
        self._access_log.listeners = frozenset(
            logged(config)
            | {one.config.name for one in self.draining if one.config.access_log and one.kind != "admin"}
        )
        self._forbid()
        self._lookout.follow()
        self._stir()  # there may be upstreams to check
        self._provide_descriptors()
        self._announce([listener for listener in self.listeners if id(listener) not in before])

    def _drained(self, result: None, past: Past) -> None:
        self._past.remove(past)
        if past.listener in self.draining:
            self.draining.remove(past.listener)
            self._lookout.follow()
        self.log.debug("{name}: its last old connection has ended", name=past.listener.config.name)

    def _tell(self, what: str) -> None:
        for observer in list(self.observers):
            observer(what)

    # --- what the log says at start ---

    def _announce(self, new: list[ListenerService]) -> None:
        for listener in new:
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
        for part in self._parts:
            listener = part.listener
            yield from (f"{listener.config.name}: {note}" for note in listener.notes)
            if kind_named(listener.kind) is not None:  # an entry of the file
                yield from risks_of(listener.config)

    def _provide_descriptors(self) -> None:
        wanted = [listener.config.max_connections for listener in self.listeners if listener.relays]
        self._room.resize(provide_descriptors(wanted, usual=_DEFAULT_CONNECTIONS))

    def _is_astir(self) -> bool:
        """Whether anything goes on: a connection is open, or upstreams are checked."""
        return any(
            listener.open_connections or any(group.checks for group in listener.groups)
            for listener in self._all()
        )

    def _stir(self) -> None:
        """Something begins to go on. A client is being accepted, whom a bug here is not to cost."""
        try:
            self._wakeup.stir()
            self._minutely.stir()
        except Exception:
            self.log.failure("bug while the relay begins to work again")

    def _woken(self, seconds: float) -> None:
        """The machine slept so long; the network may be another one."""
        self._lookout.woken(seconds)
        self._resolver.renew()
        for listener in self._all():
            for group in listener.groups:
                group.woken()

    def _ready(self) -> None:
        if self._stopped is None:
            self._wakeup.start()
            self._minutely.start()
            if self._watch is not None:
                self._watch.start()
        self.log.info("ready in {ms} ms", ms=round((time.monotonic() - self._begun) * 1000))
        if self._stopped is None:
            self.notifier.ready(self._in_brief())

    def _in_brief(self) -> str:
        shown = (*self.listeners, *self.draining)
        connections = sum(listener.open_connections for listener in shown)
        brief = f"listeners: {len(self.listeners)}; open connections: {connections}"
        last = self.watched.reloads[-1] if self.watched.reloads else None
        if last is None or last.ok:
            return brief
        more = f" (and {len(last.errors) - 1} more)" if len(last.errors) > 1 else ""
        return f"{brief}; NOT RELOADED, the configuration from before is in force: {last.errors[0]}{more}"
