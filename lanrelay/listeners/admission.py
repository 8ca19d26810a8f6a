"""Decides who gets in to a listener: first a PROXY header, then the rules for clients, then TLS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lanrelay.config import model
from lanrelay.errors import RelayError, RequestDenied
from lanrelay.observe.session import Phase, Side
from lanrelay.policy.rules import ClientRules
from lanrelay.transport.client import Client, accepted_from, spoken_for
from lanrelay.transport.stream import Stream
from lanrelay.upstream.explain import explain

if TYPE_CHECKING:
    from lanrelay.listeners.service import Environment
    from lanrelay.transport.tls import ServerContext


class Admission:
    """
    Owns each stream from its accept until its client is admitted.

    It notes a refused client in the ledger itself, because there is no connection yet that could.

    @param kind: of the listener, for the ledger.
    @param admit: takes over a stream; if it raises, the stream is still ours.
    @param turned_away: a client has gone or was refused, and its place is free.
    @param settled: called when a client is no longer on its way in, whatever became of it.
    """

    log = Logger()

    def __init__(
        self,
        environment: Environment,
        config: model.Listener,
        kind: str,
        *,
        admit: Callable[[Stream, Client], None],
        turned_away: Callable[[], None],
        settled: Callable[[], None],
    ) -> None:
        self._environment = environment
        self._name, self._kind = config.name, kind
        self._timeouts = config.timeouts
        self._admit, self._turned_away, self._settled = admit, turned_away, settled
        self._clients = ClientRules(config.clients)
        self._speakers = ClientRules(config.accept_proxy) if config.accept_proxy else None
        self._tls: ServerContext | None = None
        if config.tls is not None:
            from lanrelay.transport.tls import ServerContext  # few listeners have TLS

            self._tls = ServerContext(config.tls)
        self._preparing: set[Deferred[None]] = set()  # PROXY header, TLS

    def __len__(self) -> int:
        """How many are on their way in."""
        return len(self._preparing)

    def load(self) -> None:
        """
        Read the certificate.

        @raise StartError: it is missing or wrong.
        """
        if self._tls is not None:
            self._tls.load()

    def stale(self) -> bool:
        """Whether files that decide who may come in have changed."""
        return self._tls is not None and self._tls.other_clients()

    def cancel(self) -> None:
        """Turn away the clients that are still on their way in."""
        for preparing in list(self._preparing):
            preparing.cancel()

    def accepted(self, stream: Stream, peer: Any, local: Any) -> None:
        """
        Take over a stream that is parked and paused.

        @param peer: the name of its socket, and C{local} that of ours.
        """
        client = accepted_from(peer, local, secure=self._tls is not None)
        hops = self._environment.loops.arrived(peer, local, stream)
        if hops:
            client.hops = hops
        speaks_for_others = self._speakers is not None and self._speakers.permits(client.address)
        if not speaks_for_others and not self._permitted(client):
            stream.abortConnection()
            self._turned_away()
        elif not speaks_for_others and self._tls is None:
            self._admit(stream, client)
        else:
            preparing: Deferred[None] = Deferred.fromCoroutine(
                self._prepare(stream, client, speaks_for_others)
            )
            self._preparing.add(preparing)
            preparing.addErrback(self._not_prepared, client)
            preparing.addBoth(self._prepared, preparing)

    def _permitted(self, client: Client) -> bool:
        if self._clients.permits(client.address):
            return True
        denied = RequestDenied(f"the client {client.name} is not in this listener's clients")
        self._refused(client, "accept", denied, by="relay")
        return False

    async def _prepare(self, stream: Stream, client: Client, speaks_for_others: bool) -> None:
        """
        Do what comes before the listener's own protocol: read a PROXY header, then make TLS.

        A peer in C{accept_proxy} speaks for others. So C{clients} judges the client that it announces, and
        the log names that client. The peer itself has to be in C{clients} only if it connects on its own
        behalf (LOCAL). HAProxy's C{expect-proxy} and nginx with C{set_real_ip_from} do the same.
        """
        reactor, timeouts = self._environment.reactor, self._timeouts
        if speaks_for_others:
            from lanrelay.transport.proxy_greeting import read_proxy_header  # few listeners want one

            stream, endpoints = await read_proxy_header(reactor, stream, timeout=timeouts.head)
            if endpoints is not None:
                client = spoken_for(client, endpoints)
            if not self._permitted(client):
                stream.abortConnection()
                self._turned_away()
                return
        if self._tls is not None:
            from lanrelay.transport.tls import secure_server  # loaded with the context

            try:
                stream = await secure_server(reactor, stream, self._tls, timeout=timeouts.handshake)
            except RelayError as error:
                self._refused(client, "tls", error, by="downstream")
                self._turned_away()
                return
        try:
            self._admit(stream, client)
        except Exception:
            stream.abortConnection()  # as the port does with a stream that it has just accepted
            raise

    def _not_prepared(self, failure: Failure, client: Client) -> None:
        self._turned_away()
        error = failure.value
        if isinstance(error, RelayError):
            self._refused(client, "head", error, by="downstream", detail=explained(error))
        elif not failure.check(CancelledError):
            self.log.failure("bug while preparing a connection from {client}", failure, client=client.name)

    def _prepared(self, result: None, preparing: Deferred[None]) -> None:
        self._preparing.discard(preparing)
        self._settled()

    def _refused(
        self, client: Client, phase: Phase, error: RelayError, *, by: Side, detail: str = ""
    ) -> None:
        ledger = self._environment.ledger
        session = ledger.open(self._name, self._kind, client.name, phase=phase)
        session.failed(error, by=by, detail=detail)
        ledger.close(session)


def explained(error: RelayError) -> str:
    """The sentences of L{explain} in one line, for a session's C{detail}."""
    explanation = explain(error)
    return f"{explanation.what} {explanation.remedy}".strip()
