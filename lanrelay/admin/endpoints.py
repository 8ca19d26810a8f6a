"""The admin listener: C{/healthz}, C{/readyz} and C{/status.json}."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import ClassVar

from lanrelay.admin.status import Watched, status, unready
from lanrelay.config import model
from lanrelay.errors import RelayError, RemoteProtocolError, RequestDenied, StartError
from lanrelay.listeners.answers import failed
from lanrelay.listeners.base import Client, Environment, ListenerService
from lanrelay.listeners.http import HttpConnection
from lanrelay.policy.browser import check_browser
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.wire.events import RequestHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.intermediary import with_date
from lanrelay.wire.target import parse_target

Answer = tuple[int, dict[str, object]]

_HEADERS = Headers(
    [
        (b"Content-Type", b"application/json"),
        (b"Cache-Control", b"no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
    ]
)


class AdminService(ListenerService):
    """
    Serves the status endpoints as a listener of its own; an L{Application} for its connections.

    The guard against DNS rebinding and web pages is that of a reverse proxy.
    """

    kind: ClassVar[str] = "admin"

    def __init__(self, environment: Environment, config: model.Admin, watched: Watched) -> None:
        # 64 is more than any browser and monitor together keep open. What is under way at a stop ends at
        # once: an answer is made and sent in one go.
        listener = model.Listener(
            name="admin",
            listen=config.listen,
            clients=config.clients,
            max_connections=64,
            timeouts=model.Timeouts(drain=1.0),
        )
        super().__init__(environment, listener)
        self._guard = model.BrowserGuard(hosts=config.hosts)
        self._watched = watched
        self._pages: Mapping[str, Callable[[], Answer]] = {
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/status.json": self._status,
        }

    def leads_to(self) -> str:
        return ", ".join(self._pages)

    def start_error(self, error: StartError) -> StartError:
        """It is no entry of C{listeners}, so the place is said in the text."""
        return StartError(f"admin.listen: {error.detail}", remedy=error.remedy)

    def connected(self, stream: Stream, client: Client) -> HttpConnection:
        connection = HttpConnection(
            self.environment.reactor, self.config.timeouts, self, self.gone, client=client
        )
        hand_over(stream, connection)
        return connection

    # --- Application ---

    def request_received(self, connection: HttpConnection, head: RequestHead) -> Unheard:
        try:
            local = connection.client.local if connection.client else None
            check_browser(head, self._guard, local, place="admin")
        except RequestDenied as error:
            self.log.debug("admin: {reason}", reason=str(error))
            if error.http_status == 403:  # there is no admin.origins to name
                error.remedy = "Web pages may not look at this; open it by its own address."
            refusal = failed(error, head)
            connection.answer(refusal.status, refusal.headers, refusal.body)
        else:
            code, content = self._answer(head)
            headers = with_date(_HEADERS, time.time())
            if code == 405:
                headers = headers.added(b"Allow", b"GET, HEAD")
            connection.answer(code, headers, json.dumps(content, indent=2).encode() + b"\n")
        return Unheard()

    def request_refused(self, connection: HttpConnection, error: RemoteProtocolError) -> None:
        self.log.debug("admin: no request: {reason}", reason=str(error))

    def _answer(self, head: RequestHead) -> Answer:
        path = parse_target(head.method, head.target).path.partition(b"?")[0].decode("latin-1")
        page = self._pages.get(path)
        if page is None:
            return 404, {"error": "there is nothing here", "paths": list(self._pages)}
        if head.method not in (b"GET", b"HEAD"):
            return 405, {"error": "only GET and HEAD are answered here"}
        return page()

    # --- pages ---

    def _health(self) -> Answer:
        """The process is alive: it answers."""
        return 200, {"status": "ok", "version": self._watched.version}

    def _readiness(self) -> Answer:
        """Every listener listens, and has an upstream that is not known to be down."""
        reasons = unready(self._watched)
        if reasons:
            return 503, {"status": "not ready", "reasons": reasons}
        return 200, {"status": "ready"}

    def _status(self) -> Answer:
        return 200, status(self._watched)


class Unheard:
    """The sink of a request that is answered already: nothing more comes."""

    def body_received(self, data: bytes) -> None: ...

    def body_ended(self, trailers: Headers) -> None: ...

    def client_gone(self, error: RelayError | None) -> None: ...

    def pause_sending(self) -> None: ...

    def resume_sending(self) -> None: ...
