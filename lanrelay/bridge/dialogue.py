"""
The dialogue of `lanrelay stdio`, without I/O: what the client and the server say goes in, what is to be done
comes out. Time is a parameter, in seconds that only grow.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from lanrelay.bridge.conversation import Conversation, Settings
from lanrelay.bridge.jsontext import NotJson, begins, elements, members_of
from lanrelay.bridge.messages import Action, Done, Event, Failure, Fields, Wake
from lanrelay.bridge.reach import Reach
from lanrelay.bridge.request import Batch, Request
from lanrelay.bridge.rpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    UNKNOWN_METHOD,
    Message,
    error_text,
    key_of,
)
from lanrelay.bridge.upstream import Upstream

if TYPE_CHECKING:
    from lanrelay.bridge.stateless import Stateless

__all__ = ["Dialogue", "Settings"]

_MOST_REQUESTS = 8192
"""Requests in flight; a thousand calls at once are normal."""

_MOST_BYTES = 128 * 1024 * 1024
"""Bytes of the requests in flight: two of the longest lines."""

_LAST_ANSWERS, _LAST = 1.5, 1.9
"""
Seconds after the end of input: until the first answers are given, until the second the session is ended.
"""

_ID = rb'"id"\s*:\s*("(?:[^"\\]|\\.){0,200}"|-?\d{1,40}(?![\d.eE]))'


class Dialogue:
    """
    @ivar full: no more lines should be read for now.
    """

    def __init__(self, *, settings: Settings, now: float) -> None:
        self._talk = Conversation(settings, now)
        self._upstream = Upstream(self._talk)
        self._newer: Stateless | None = None
        self._wake: float | None = None
        self._ending = False
        self._closing = False
        self._done = False

    @property
    def full(self) -> bool:
        return len(self._talk.requests) >= _MOST_REQUESTS or self._talk.waiting_bytes >= _MOST_BYTES

    # --- what happens ---

    def begin(self, now: float) -> list[Action]:
        return self._after(now, lambda: None)

    def said(self, line: bytes, now: float) -> list[Action]:
        """One line of the client, without its end."""
        return self._after(now, lambda: self._line(line))

    def too_long(self, beginning: bytes, now: float) -> list[Action]:
        """
        A line that was too long to be taken.

        @param beginning: enough of it to find its id.
        """
        return self._after(now, lambda: self._too_long(beginning))

    def ended(self, now: float) -> list[Action]:
        """The client has ended."""
        return self._after(now, self._ended)

    def answered(self, number: int, status: int, reason: str, fields: Fields, now: float) -> list[Action]:
        def act() -> None:
            exchange = self._talk.exchanges.get(number)
            if exchange is not None:
                exchange.head(status, reason, fields)

        return self._after(now, act)

    def event(self, number: int, event: Event, now: float) -> list[Action]:
        def act() -> None:
            exchange = self._talk.exchanges.get(number)
            if exchange is not None:
                exchange.event(event)

        return self._after(now, act)

    def content(self, number: int, data: bytes, now: float) -> list[Action]:
        def act() -> None:
            exchange = self._talk.exchanges.get(number)
            if exchange is not None:
                exchange.body = data

        return self._after(now, act)

    def finished(self, number: int, now: float) -> list[Action]:
        def act() -> None:
            exchange = self._talk.exchanges.pop(number, None)
            if exchange is not None and not (300 <= exchange.status < 400 and self._talk.moved(exchange)):
                exchange.finished()

        return self._after(now, act)

    def failed(self, number: int, failure: Failure, now: float) -> list[Action]:
        def act() -> None:
            exchange = self._talk.exchanges.pop(number, None)
            if exchange is not None:
                exchange.failure = failure
                exchange.over(exchange)

        return self._after(now, act)

    def woken(self, now: float) -> list[Action]:
        return self._after(now, lambda: None)

    def _after(self, now: float, act: Callable[[], None]) -> list[Action]:
        if self._done:
            return []
        talk = self._talk
        talk.now = now
        act()
        talk.timers.run(now)
        if self._ending:
            self._see_end()
        return self._what_to_do()

    def _what_to_do(self) -> list[Action]:
        actions = self._talk.taken()
        if self._done:
            actions.append(Done())
        elif (wake := self._talk.timers.next()) != self._wake:
            self._wake = wake
            actions.append(Wake(wake))
        return actions

    # --- the client's lines ---

    def _line(self, line: bytes) -> None:
        try:
            text = line.decode("utf-8-sig")
            start = begins(text)
            if start == len(text):
                return
            if text[start] == "[":
                self._batch(text, start)
                return
            members, end = members_of(text, start)
            if begins(text, end) != len(text):
                raise NotJson("more follows")
            message = Message(text[start:end], None if start else members)
        except (NotJson, UnicodeDecodeError):
            self._talk.say(error_text(None, PARSE_ERROR, "The line is no message of JSON-RPC."))
            return
        self._message(message, None)

    def _batch(self, text: str, start: int) -> None:
        found, end = elements(text, start)
        if begins(text, end) != len(text):
            raise NotJson("more follows")
        messages = [Message(text[first:last]) for value, first, last in found if isinstance(value, dict)]
        strange = len(found) - len(messages)
        if not found:
            self._talk.say(error_text(None, INVALID_REQUEST, "The batch is empty."))
            return
        wanted = sum(not message.is_response and "id" in message.members for message in messages)
        batch = Batch(strange + wanted)
        for _ in range(strange):
            self._talk.give_in_batch(batch, error_text(None, INVALID_REQUEST, "That is no message."))
        for message in messages:
            self._message(message, batch)

    def _message(self, message: Message, batch: Batch | None) -> None:
        if message.is_response:
            self._upstream.reply(message)
        elif "id" not in message.members:
            self._notification(message)
        elif message.id is None or message.method is None or not isinstance(message.value("id"), str):
            sentence = "It is no request: its id or its method is missing."
            self._talk.give_in_batch(batch, error_text(message.id, INVALID_REQUEST, sentence))
        else:
            self._request(Request(message, self._talk.now, batch))

    def _notification(self, message: Message) -> None:
        if message.method == "notifications/initialized":
            self._upstream.confirm(message)
        elif message.method == "notifications/cancelled":
            self._cancelled(message)
        elif message.method is not None and message.is_modern:
            self._stateless.notify(message)
        elif message.method is not None:
            self._upstream.notify(message)

    @property
    def _stateless(self) -> Stateless:
        """The part for 2026-07-28, made at its first request, so that a start is quick."""
        if self._newer is None:
            from lanrelay.bridge.stateless import Stateless

            self._newer = Stateless(self._talk)
        return self._newer

    def _reach(self, request: Request) -> Reach:
        """The era is a property of each request: both may come on one connection."""
        return self._stateless if request.modern else self._upstream

    def _cancelled(self, message: Message) -> None:
        request = self._talk.requests.get(key_of(message.params.get("requestId")))
        if request is not None:
            self._talk.forget(request)
            self._reach(request).cancel(request, message)

    def _request(self, request: Request) -> None:
        older = self._talk.requests.get(request.key)
        if older is not None:  # for the SDKs, a repeated id gives up the older request
            self._talk.forget(older)
            self._talk.drop(older.exchange)
        self._talk.open(request)
        if request.method == "initialize":
            self._upstream.greet(request)
        elif request.method == "server/discover" and not request.modern:
            self._talk.refuse(request, UNKNOWN_METHOD, "It says no version of the protocol.")
        elif request.is_call and not self._talk.lets(request.message.params.get("name")):
            self._talk.refuse(request, INVALID_PARAMS, f"Unknown tool: {request.message.params.get('name')}")
        else:
            self._reach(request).carry(request)
            if request.is_call and not request.answered and "progressToken" in request.message.meta:
                self._talk.keep_alive(request, request.message.meta["progressToken"])

    def _too_long(self, beginning: bytes) -> None:
        found = re.search(_ID, beginning)
        id = found[1].decode("utf-8", "replace") if found else None
        self._talk.say(error_text(id, INVALID_REQUEST, "The message is longer than 64 MB."))

    # --- the end ---

    def _ended(self) -> None:
        if not self._ending:
            self._ending = True
            for request in list(self._talk.requests.values()):
                if request.method == "subscriptions/listen":
                    self._talk.forget(request)
                    self._talk.drop(request.exchange)
            self._talk.in_seconds(_LAST_ANSWERS, self._last_answers)
            self._talk.in_seconds(_LAST, self._give_up)

    def _last_answers(self) -> None:
        gone = Failure("timeout", "The client has gone before the answer came.", "", True)
        for request in list(self._talk.requests.values()):
            self._talk.fail(
                request, self._upstream.failure or gone, may_have_run=request.exchange is not None
            )

    def _give_up(self) -> None:
        self._done = True

    def _see_end(self) -> None:
        if not self._closing and not self._talk.requests:
            self._closing = True
            self._upstream.close()
            if self._newer is not None:
                self._newer.close()
        if self._closing and self._upstream.has_ended and (self._newer is None or self._newer.has_ended):
            self._done = True
