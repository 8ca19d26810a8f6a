"""Puts on the timeline what happens to listeners and upstreams, and follows which of them there are."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lanrelay.admin.leads import Lead, leads
from lanrelay.admin.watched import Watched
from lanrelay.errors import DialError
from lanrelay.observe.session import Session
from lanrelay.upstream.explain import explain

if TYPE_CHECKING:
    from lanrelay.upstream.upstream import Upstream

_RULES: Final = frozenset({"http_request_denied", "destination_ip_prohibited"})
"""The error types of sessions that a rule of the relay has refused."""


class Lookout:
    """
    Listeners and upstreams tell what happens to them; only certificates are looked at, once a minute.

    @param now: wall-clock seconds since the epoch.
    """

    def __init__(self, watched: Watched, now: Callable[[], float] = time.time) -> None:
        self._watched = watched
        self._now = now
        self._shown: dict[tuple[str, ...], tuple[Any, bytes]] = {}
        self._own: dict[str, Any] = {}
        watched.counters.failed.append(self.failed)

    def follow(self) -> None:
        """The listeners are others now, or have other upstreams."""
        watched = self._watched
        shown = (*watched.listeners, *watched.draining)
        watched.pulses.follow(dict.fromkeys(listener.config.name for listener in shown))
        if shown:
            servers = (server for listener in shown for server in listener.mcp_servers)
            shown[0].environment.servers.keep(servers)
        watched.follows = True
        if watched.pieces is not None:
            watched.pieces.forget()
        for lead in leads(watched.listeners):
            lead.upstream.touched = partial(watched.ledger.touched.add, lead.listener)
            lead.upstream.told = partial(self._turned, lead.listener)

    def turn(self) -> None:
        """A minute has passed."""
        self._watched.pulses.turn()
        self._look_at_certificates()

    def woken(self, seconds: float) -> None:
        """The machine slept so long."""
        self._watched.pulses.turn()
        said = f"{seconds:.0f} s have passed unseen, as when the machine sleeps"
        self._watched.timeline.note("woke", said, self._now())

    def failed(self, session: Session) -> None:
        """A session has ended with an error."""
        if session.error in _RULES:
            self._watched.timeline.note(
                "refused", session.detail, self._now(), listener=session.listener, word=session.error
            )

    def _turned(self, listener: str, upstream: Upstream, error: DialError | None) -> None:
        name = upstream.name
        if error is None:
            kind, said = "up", f"{name} is up again"
        else:
            kind, said = "down", f"{name} is down: {explain(error).what}"
        self._watched.timeline.note(kind, said, self._now(), listener=listener, upstream=name)  # type: ignore[arg-type]

    # --- certificates ---

    def _look_at_certificates(self) -> None:
        watched = self._watched
        shown: dict[tuple[str, ...], tuple[Any, bytes]] = {}
        for lead in leads(watched.listeners):
            key = tuple(lead.labels.values())
            found = lead.upstream.shown
            if found is None:
                continue
            before = self._shown.get(key)
            if before is not None and before[0] is found:
                shown[key] = before
                continue
            digest = found.digest("sha256")
            shown[key] = (found, digest)
            if before is not None and before[1] != digest:
                self._another(lead.listener, lead)
        self._shown = shown
        own: dict[str, Any] = {}
        for listener in watched.listeners:
            name = listener.config.name
            info = own[name] = watched.own_certificates.of(listener)
            if info is not None and self._own.get(name) not in (None, info):
                said = f"{name} shows another certificate: {info.subject}, until {info.not_after:%Y-%m-%d}"
                watched.timeline.note("certificate", said, self._now(), listener=name)
        self._own = own

    def _another(self, listener: str, lead: Lead) -> None:
        name, info = lead.upstream.name, lead.upstream.certificate
        which = "" if info is None else f": {info.subject}, until {info.not_after:%Y-%m-%d}"
        said = f"{name} shows another certificate{which}"
        self._watched.timeline.note("certificate", said, self._now(), listener=listener, upstream=name)
