"""The admin listener: the status page and what programs ask of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple
from urllib.parse import parse_qs

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from lanrelay.admin.news import News
from lanrelay.admin.portions import PORTION, in_portions
from lanrelay.admin.viewers import Parts, Viewers
from lanrelay.admin.watched import Watched
from lanrelay.config import model
from lanrelay.errors import RelayError, RemoteProtocolError, RequestDenied, StartError
from lanrelay.http.answers import Answer, failed
from lanrelay.http.client import HttpConnection
from lanrelay.http.sink import UNHEARD, RequestSink, Unheard
from lanrelay.listeners.service import Connection, Environment, ListenerService
from lanrelay.observe.session import brief
from lanrelay.passage.browser import check_browser
from lanrelay.passage.intermediary import with_date
from lanrelay.transport.client import Client
from lanrelay.transport.stream import Stream, hand_over, unread_of
from lanrelay.wire.events import RequestHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.target import parse_target

if TYPE_CHECKING:
    from lanrelay.admin.page import Renderer

# The fields of all answers: nothing that is told here is for other pages, or for any cache.
_COMMON = Headers(
    [
        (b"Cache-Control", b"no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Cross-Origin-Resource-Policy", b"same-origin"),
        (b"Referrer-Policy", b"no-referrer"),
    ]
)

PLACES: Final = 64
"""More than any browser and monitor together keep open."""

_SPARE: Final = 16
"""Places of these for clients that come while others are being closed."""

_GRACE: Final = 0.25
"""
Seconds for which a new client may be silent, however many others come, and in which one that has to go may
take its answer.
"""

_PAGE_PORTION: Final = 8
"""Listeners that are drawn in one turn of the reactor; each takes some 0.3 ms."""

FEW: Final = 4
"""Listeners that a look draws anew only because a minute has passed."""

_MOMENT: Final = 0.05  # seconds until another look for a client that can make room

_KEEPALIVE: Final = 5.0
"""Seconds. The open page keeps a stream of events instead; a monitor that asks every 15 s connects anew."""


class Page(NamedTuple):
    """
    A whole answer.

    @ivar body: whole, or the pieces of a text, to be made a little at a time.
    @ivar more: further fields.
    @ivar portion: how many pieces are made at a time.
    """

    status: int
    content_type: bytes
    body: bytes | Iterator[str]
    more: tuple[tuple[bytes, bytes], ...] = ()
    portion: int = PORTION


class _Seat(NamedTuple):
    """
    One of the places for clients, and when its client may have to leave it.

    @ivar unread: tells whether the client has sent something that the relay has not read yet.
    @ivar until: when its grace is over.
    """

    unread: Callable[[], object]
    until: float

    def is_free(self, now: float, *, reads: bool) -> bool:
        """
        Whether the seat can be given to another client, if its own is idle.

        @param reads: the client reads its answers; one that does not keeps no seat by asking more.
        """
        return now >= self.until and not (reads and self.unread())


class AdminService(ListenerService):
    """
    Serves the status endpoints as a listener of its own; an L{Application} for its connections.

    The guard against DNS rebinding and web pages is that of a reverse proxy.
    """

    kind = "admin"
    relays: ClassVar[bool] = False
    eager: ClassVar[bool] = True  # a request keeps its place before later clients

    def __init__(self, environment: Environment, config: model.Admin, watched: Watched) -> None:
        # A stop waits 1 s at most: an answer is made and sent in one go.
        listener = model.Listener(
            name="admin",
            listen=config.listen,
            clients=config.clients,
            max_connections=PLACES,
            timeouts=model.Timeouts(keepalive=_KEEPALIVE, drain=1.0),
        )
        super().__init__(environment, listener)
        self._here: dict[HttpConnection, _Seat] = {}  # first the one whose last request is longest ago
        self._look_again: Any = None
        self._guard = model.BrowserGuard(hosts=config.hosts)
        self._watched = watched
        self._viewers = Viewers(environment.reactor, self._look, News(watched))
        self._renderer: Renderer | None = None
        self._pages: Mapping[str, Callable[[bytes], Page]] = {
            "/": self._page,
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/status.json": self._status,
            "/requests.json": self._requests,
            "/metrics": self._metrics,
        }

    def leads_to(self) -> str:
        return ", ".join(self._pages)

    def stopService(self) -> Deferred[None]:
        again, self._look_again = self._look_again, None
        if again is not None:
            again.cancel()
        self._viewers.close()  # the streams would not end by themselves
        return super().stopService()

    def retire(self) -> Deferred[None]:
        self._viewers.close()  # the browsers connect again, to the new page
        return super().retire()

    def start_error(self, error: StartError) -> StartError:
        """The admin listener is no entry of C{listeners}, so the error's text says the place."""
        return StartError(f"admin.listen: {error.detail}", remedy=error.remedy)

    def connected(self, stream: Stream, client: Client) -> HttpConnection:
        connection = HttpConnection(
            self.environment.reactor, self.config.timeouts, self, self.gone, client=client
        )
        until = self.environment.reactor.seconds() + _GRACE
        self._here[connection] = _Seat(unread_of(stream), until)
        hand_over(stream, connection)
        if self._look_again is None:
            self._make_room()
        return connection

    def gone(self, connection: Connection) -> None:
        self._here.pop(connection, None)  # type: ignore[call-overload]
        super().gone(connection)

    def _make_room(self) -> None:
        """
        Clients that ask nothing leave the last places to others: the one that is idle for longest goes first.
        """
        self._look_again = None
        while len(self._here) > PLACES - _SPARE:
            now = self.environment.reactor.seconds()
            idle = next(
                (
                    one
                    for one, place in self._here.items()
                    if one.idle and place.is_free(now, reads=one.reads)
                ),
                None,
            )
            if idle is None:  # all are about to ask, or have asked and are not read yet
                if self.running:
                    self._look_again = self.environment.reactor.callLater(_MOMENT, self._make_room)
                return
            del self._here[idle]
            idle.close_within(_GRACE)

    # --- Application ---

    def request_received(self, connection: HttpConnection, head: RequestHead) -> RequestSink:
        if connection in self._here:  # else the connection is being closed
            self._here[connection] = self._here.pop(connection)._replace(until=0.0)
        try:
            local = connection.client.local if connection.client else None
            check_browser(head, self._guard, local, place="admin")
        except RequestDenied as error:
            self.log.debug("admin: {reason}", reason=brief(str(error)))
            if error.http_status == 403:  # there is no admin.origins to name
                error.remedy = "Web pages may not look at this; open it by its own address."
            refusal = failed(error, head)
            self._refuse(connection)
            connection.answer(refusal.status, refusal.headers, refusal.body, refusal.reason)
            return UNHEARD
        place, _, query = parse_target(head.method, head.target).path.partition(b"?")
        path = place.decode("latin-1")
        if path == "/events" and head.method == b"GET" and not self._viewers.full:
            headers = with_date(_COMMON.added(b"Content-Type", b"text/event-stream"), time.time())
            wanted = parse_qs(query.decode("latin-1")).get("requests", [""])[0]
            return self._viewers.add(connection, headers, wanted)
        answer = self._answer(head.method, path, query)
        if answer.status in (404, 405):
            self._refuse(connection)
        if isinstance(answer.body, bytes):
            self._send(connection, answer, answer.body)
            return UNHEARD
        made = in_portions(self.environment.reactor, answer.body, answer.portion)
        return _Portioned(self, connection, answer, made)

    def _send(self, connection: HttpConnection, answer: Page, body: bytes) -> None:
        headers = _COMMON.added(b"Content-Type", answer.content_type)
        for name, value in answer.more:
            headers = headers.added(name, value)
        connection.answer(answer.status, with_date(headers, time.time()), body)

    def request_refused(self, connection: HttpConnection, error: RemoteProtocolError, answer: Answer) -> None:
        self.log.debug("admin: no request: {reason}", reason=str(error))
        self._first_to_go(connection)

    def _refuse(self, connection: HttpConnection) -> None:
        """The client asked for what is not here: the connection ends after the answer."""
        connection.say_close()
        self._first_to_go(connection)

    def _first_to_go(self, connection: HttpConnection) -> None:
        if connection in self._here:
            self._here = {connection: self._here.pop(connection), **self._here}

    def _answer(self, method: bytes, path: str, query: bytes) -> Page:
        if path != "/events" and path not in self._pages:
            return _json(404, {"error": "there is nothing here", "paths": [*self._pages, "/events"]})
        if method not in (b"GET", b"HEAD"):
            return _json(405, {"error": "only GET and HEAD are answered here"}, (b"Allow", b"GET, HEAD"))
        if path == "/events":
            if method == b"HEAD":
                return Page(200, b"text/event-stream", b"")
            return _json(503, {"error": "too many look at this already"}, (b"Retry-After", b"10"))
        return self._pages[path](query)

    # --- pages ---

    def _page(self, query: bytes) -> Page:
        """For people."""
        from lanrelay.admin.page import policy  # late: nobody may ever look

        fields = ((b"Content-Security-Policy", policy()),)
        return Page(200, b"text/html; charset=utf-8", self._page_in_pieces(), fields, portion=_PAGE_PORTION)

    def _page_in_pieces(self) -> Iterator[str]:
        """The page is the last piece; before it, what it shows of each listener is made and kept."""
        from lanrelay.admin.page import SESSIONS
        from lanrelay.admin.status import pieces, status

        watched, kept, drawing = self._watched, pieces(self._watched), self._drawing()
        kept.begin()
        for listener in [*watched.listeners, *watched.draining]:
            kept.listener(listener)
            yield ""
        yield from drawing.ahead(status(watched, sessions=0))
        yield from [""] * _PAGE_PORTION  # what follows has a turn of its own
        yield drawing.page(status(watched, sessions=SESSIONS))[0].decode()

    def _look(self) -> tuple[str, Parts]:
        """What an open page should show now."""
        from lanrelay.admin.page import SESSIONS
        from lanrelay.admin.status import status

        document = status(self._watched, sessions=SESSIONS, few=FEW)
        return self._drawing().look(document, moving=False)

    def _drawing(self) -> Renderer:
        """The renderer of the page, which keeps what it has drawn."""
        if self._renderer is None:
            from lanrelay.admin.page import Renderer  # late: nobody may ever look

            self._renderer = Renderer()
        return self._renderer

    def _health(self, query: bytes) -> Page:
        """That it answers shows that the process is alive."""
        return _json(200, {"status": "ok", "version": self._watched.version})

    def _readiness(self, query: bytes) -> Page:
        """Every listener listens, and has an upstream that is not known to be down."""
        from lanrelay.admin.status import not_checked, unready

        reasons = unready(self._watched)
        if reasons:
            return _json(503, {"status": "not ready", "reasons": reasons})
        unknown = not_checked(self._watched)
        return _json(200, {"status": "ready", **({"not_checked": unknown} if unknown else {})})

    def _status(self, query: bytes) -> Page:
        from lanrelay.admin.status import status_text

        return Page(200, b"application/json", status_text(self._watched))

    def _requests(self, query: bytes) -> Page:
        """The last requests of each listener, or of the one that C{query} names."""
        from lanrelay.admin.glance import names, requests_text

        known = names(self._watched)
        wanted = parse_qs(query.decode("latin-1")).get("listener", known)
        unknown = [name for name in wanted if name not in known]
        if unknown:
            return _json(404, {"error": "there is no such listener", "listeners": known})
        text = requests_text(self._watched, dict.fromkeys(wanted))
        return Page(200, b"application/json", text, portion=64)

    def _metrics(self, query: bytes) -> Page:
        from lanrelay.admin.exposition import figures_in_pieces  # late: few have a Prometheus
        from lanrelay.observe.metrics import CONTENT_TYPE

        return Page(200, CONTENT_TYPE, figures_in_pieces(self._watched), portion=1)


class _Portioned(Unheard):
    """The sink of a request whose answer is made in portions."""

    def __init__(
        self, service: AdminService, connection: HttpConnection, answer: Page, made: Deferred[str]
    ) -> None:
        self._service, self._connection, self._answer = service, connection, answer
        self._made = made
        made.addCallbacks(self._whole, self._failed)

    def _whole(self, text: str) -> None:
        self._service._send(self._connection, self._answer, text.encode("utf-8", "replace"))

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._service.log.failure("bug while a page was made", failure)
            self._service._send(self._connection, _json(500, {}), b"{}\n")

    def client_gone(self, error: RelayError | None) -> None:
        self._made.cancel()


def _json(status: int, content: dict[str, object], *more: tuple[bytes, bytes]) -> Page:
    return Page(status, b"application/json", json.dumps(content, indent=2).encode() + b"\n", more)
