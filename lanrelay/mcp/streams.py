"""
The messages for one client on one stream of events. They are kept for a while, so that it can hear them
again.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, Protocol

KEPT_MAX: Final = 4 * 1024 * 1024
"""Bytes of events that a session keeps; the newest one is kept however large it is."""


WAITING_MAX: Final = 16 * 1024 * 1024
"""Bytes; beyond them old events but answers are let go, even if a connected client has yet to read them."""

ANSWERS_MAX: Final = 64 * 1024 * 1024
"""Bytes; beyond them old answers are let go, too. Those of a batch are told all together."""


class Event(NamedTuple):
    """One message; C{answer}: it is the response to a request of this stream's."""

    number: int
    text: bytes
    answer: bool


class Listener(Protocol):
    """A connection on which a stream is heard."""

    def news(self) -> None:
        """There is something to be heard, or the stream has ended."""

    def replaced(self) -> None:
        """Another one hears the stream now, or nobody any more."""


class EventStream:
    """
    A row of messages with numbers.

    @ivar name: unique in its session.
    @ivar takes_events: its listener can be told more than answers.
    @ivar pending: how many of its requests have no answer yet.
    @ivar ended: nothing more comes.
    @ivar cause: why the program ended, where that is why.
    @ivar lost: an answer was let go before anybody heard it.
    @ivar told: the number of the newest event that was sent to anybody.
    @ivar stays: it goes on when nothing is pending.
    """

    def __init__(self, kept: Kept, name: str, *, takes_events: bool = True, stays: bool = False) -> None:
        self.name, self.takes_events, self.stays = name, takes_events, stays
        self.told = 0
        self.events: deque[Event] = deque()
        self.pending = 0
        self.ended = self.lost = False
        self.cause = ""
        self.listener: Listener | None = None
        self._kept = kept
        self._last = 0

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._last

    def put(self, text: str, *, answer: bool = False) -> None:
        """One more message."""
        self._last += 1
        event = Event(self._last, text.encode("utf-8", "replace"), answer)
        self.events.append(event)
        self._kept.add(self, event)
        if self.listener is not None:
            self.listener.news()

    def answered(self) -> None:
        """One of its requests needs no answer any more; with the last one the stream ends."""
        self.pending -= 1
        if self.pending <= 0 and not self.stays:
            self.end()

    def end(self, cause: str = "") -> None:
        """Nothing more comes."""
        if not self.ended:
            self.ended, self.cause = True, cause or self.cause
            if self.listener is not None:
                self.listener.news()

    def hear(self, listener: Listener) -> None:
        """This one hears the stream from now on; the one before is sent away."""
        before, self.listener = self.listener, listener
        if before is not None:
            before.replaced()

    def left(self, listener: Listener) -> None:
        """It hears no more."""
        if self.listener is listener:
            self.listener = None

    def after(self, number: int) -> Event | None:
        """The first event behind C{number} that is kept."""
        events = self.events
        if not events or events[-1].number <= number:
            return None
        first = max(number + 1 - events[0].number, 0)
        return events[first]


class Kept:
    """The events of one session, the oldest of which are let go."""

    def __init__(self, most: int = KEPT_MAX) -> None:
        self._most = most
        self._size = 0
        self._order: deque[tuple[EventStream, int, int]] = deque()

    def add(self, stream: EventStream, event: Event) -> None:
        """Keep it."""
        self._order.append((stream, event.number, len(event.text)))
        self._size += len(event.text)
        while self._size > self._most and len(self._order) > 1:
            old, number, size = self._order[0]
            unheard = old.listener is not None and number > old.told
            kept = old.events[0] if old.events and old.events[0].number == number else None
            answer = kept is not None and kept.answer
            if unheard and self._size - len(event.text) <= (ANSWERS_MAX if answer else WAITING_MAX):
                break
            self._order.popleft()
            self._size -= size
            if kept is not None:
                old.lost = old.lost or (unheard and answer)
                old.events.popleft()
