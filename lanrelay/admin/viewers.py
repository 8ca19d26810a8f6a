"""C{/events}: tells the open status pages once a second what has changed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from lanrelay.errors import RelayError
from lanrelay.http.client import HttpConnection
from lanrelay.wire.events import ResponseHead
from lanrelay.wire.headers import Headers

if TYPE_CHECKING:
    from lanrelay.admin.news import News

LIMIT: Final = 16
"""How many of the page's 64 connections may be streams; the others are for single requests."""

INTERVAL: Final = 1.0
HEARTBEAT: Final = 15
"""
Intervals without news after which a comment tells the page, and proxies on the way, that the stream lives.
"""

PATIENCE: Final = 60
"""Intervals for which a viewer may be behind before it has to make room for others."""

Parts = Mapping[str, str]


class Viewers:
    """
    The open streams. While there are any, one look at the relay serves them all.

    @param look: gives the page's title and its parts.
    @param news: says whether a look would find anything, and what else is told.
    """

    def __init__(self, reactor: Any, look: Callable[[], tuple[str, Parts]], news: News) -> None:
        self._reactor = reactor
        self._look = look
        self._news = news
        self._seen: tuple[str, Parts] = ("", {})
        self._open: set[Viewer] = set()
        self._timer: Any = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """There is no room for another one."""
        return len(self._open) >= LIMIT

    def add(self, connection: HttpConnection, headers: Headers, requests: str = "") -> Viewer:
        """
        Answer a request by a stream; gives the sink of that request.

        @param requests: the name of a listener whose requests are told, too.
        """
        viewer = Viewer(connection, self._open.discard, self._news.reader(requests))
        self._open.add(viewer)
        connection.send_head(ResponseHead(status=200, reason=b"OK", headers=headers))
        connection.send_body(b"retry: 1000\n\n")  # milliseconds until the browser connects again
        self._seen = self._look()
        viewer.show(*self._seen)
        if self._timer is None:
            self._timer = self._reactor.callLater(INTERVAL, self._tick)
        return viewer

    def close(self) -> None:
        """End all streams."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        opened, self._open = self._open, set()
        for viewer in opened:
            viewer.end()

    def _tick(self) -> None:
        self._timer = None
        if not self._open:
            return
        self._timer = self._reactor.callLater(INTERVAL, self._tick)
        if self._news.is_there():
            self._seen = self._look()
        for viewer in list(self._open):
            viewer.show(*self._seen)


class Viewer:
    """
    One stream; the sink of its request.

    It keeps the parts that it was sent last, which viewers share. Never is more than one piece of news on its
    way: a browser that does not read is told what has changed when it reads again.
    """

    def __init__(
        self,
        connection: HttpConnection,
        gone: Callable[[Viewer], None],
        news: Callable[[], Iterable[tuple[str, str]]],
    ) -> None:
        self._connection = connection
        self._gone = gone
        self._news = news
        self._title = ""
        self._parts: Parts = {}
        self._paused = False
        self._behind = 0
        self._quiet = 0

    def show(self, title: str, parts: Parts) -> None:
        """Send the parts that have changed."""
        if self._paused:
            self._behind += 1
            if self._behind >= PATIENCE:
                self._connection.abort()  # ends in client_gone
            return
        text = ""
        known = self._parts
        news = {name: text for name, text in parts.items() if known.get(name) != text}
        if news or title != self._title:
            self._title, self._parts = title, parts
            data = json.dumps({"now": round(time.time(), 3), "title": title, "parts": news})
            text = f"data: {data}\n\n"
        text += "".join(f"event: {kind}\ndata: {data}\n\n" for kind, data in self._news())
        if text:
            self._send(text)
        else:
            self._quiet += 1
            if self._quiet >= HEARTBEAT:
                self._send(f'data: {{"now": {time.time():.3f}}}\n\n')

    def end(self) -> None:
        """The relay stops, or the page moves."""
        self._connection.end()
        self._connection.drain()  # the browser keeps no connection to what is gone

    def _send(self, text: str) -> None:
        self._quiet = 0
        self._connection.send_body(text.encode())

    # --- RequestSink ---

    def body_received(self, data: bytes) -> None: ...

    def body_ended(self, trailers: Headers) -> None: ...

    def client_gone(self, error: RelayError | None) -> None:
        self._gone(self)

    def pause_sending(self) -> None:
        self._paused = True

    def resume_sending(self) -> None:
        self._paused = False
        self._behind = 0
