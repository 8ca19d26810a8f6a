"""The session that the client believes in: begun, kept, begun anew, whatever becomes of the target."""

from __future__ import annotations

import enum
from collections.abc import Hashable

from lanrelay.bridge.conversation import Conversation
from lanrelay.bridge.exchange import Exchange
from lanrelay.bridge.jsontext import with_member
from lanrelay.bridge.messages import Failure
from lanrelay.bridge.refusals import failure_of
from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import (
    LATEST_LEGACY,
    LEGACY_VERSIONS,
    Message,
    key_of,
    notification_text,
    quoted,
)
from lanrelay.bridge.streamable import Streamable
from lanrelay.bridge.timers import Timer
from lanrelay.bridge.way import Way

_PATIENCE = 2.0
"""Seconds that a list waits for a target that is slow, where an older list is known."""

_SOON, _LONGEST = 0.25, 15.0
"""Seconds between two attempts to reach the target."""

_REPLAYED = 1000
"""How many settings of the client are set anew in a new session."""

_ASKED = 1000
"""How many requests of the server may wait for the client."""

_SILENT = Failure(
    "http_timeout", "The target has not answered yet.", "It may be slow, or be starting.", False
)


class State(enum.Enum):
    IDLE = enum.auto()
    OPENING = enum.auto()
    CONFIRMING = enum.auto()
    OPEN = enum.auto()
    DOWN = enum.auto()


class Upstream:
    """
    @ivar failure: why the target was not reached the last time; C{None} while it is.
    @ivar has_ended: the client has gone, and the server knows.
    """

    def __init__(self, conversation: Conversation) -> None:
        self._talk = conversation
        self.state = State.IDLE
        self.failure: Failure | None = None
        self.has_ended = False
        self._way: Way | None = None
        self._left: list[Way] = []
        self._hello: Message | None = None
        self._greeting: Request | None = None
        self._confirmation: Message | None = None
        self._refusal: Exchange | None = None
        self._held: list[Request] = []
        self._asked: dict[Hashable, str] = {}
        self._settings: dict[tuple[str, str], Message] = {}
        self._sessions = 0
        self._retry: Timer | None = None
        self._pause = _SOON
        self._closing = False

    # --- the client's handshake ---

    def greet(self, request: Request) -> None:
        """The client's C{initialize}."""
        if self._way is not None:
            self._way.close()
        self._hello, self._greeting = request.message, request
        self._confirmation = None
        self._settings.clear()
        recall = self._talk.recall
        recall.greet(request.message)
        recall.given.clear()
        known = recall.server("initialize")
        if known is not None:
            self._talk.note("initialize is answered from memory")
            self._talk.give_result(request, self._as_asked(known))
        else:
            hold = self._talk.settings.hold
            request.timer = self._talk.in_seconds(hold, lambda: self._waited_enough(request))
        self._begin()

    def confirm(self, message: Message) -> None:
        self._confirmation = message
        if self.state is State.OPEN and self._way is not None:
            self.state = State.CONFIRMING
            self._way.confirm(message)

    # --- its requests ---

    def carry(self, request: Request) -> None:
        self._learn_setting(request)
        if self.state is State.OPEN and self.failure is None:
            self._send(request)
            return
        if self.failure is not None and self._talk.give_remembered(request):
            self._try_soon()
            return
        self._hold(request)
        self._try_soon()

    def _send(self, request: Request) -> None:
        assert self._way is not None
        if not request.inner:
            request.stop_waiting()
            if self._talk.has_remembered(request):
                patience = request.said + _PATIENCE - self._talk.now
                request.timer = self._talk.in_seconds(
                    max(patience, 0), lambda: void(self._talk.give_remembered(request))
                )
        self._way.carry(request)

    def _hold(self, request: Request) -> None:
        self._held.append(request)
        if request.timer is not None or request.inner:
            return
        hold = _PATIENCE if self._talk.has_remembered(request) else self._talk.settings.call_hold
        left = request.said + hold - self._talk.now
        if left <= 0:
            self._waited_enough(request)
        else:
            request.timer = self._talk.in_seconds(left, lambda: self._waited_enough(request))

    def _waited_enough(self, request: Request) -> None:
        if request.answered:
            return
        if request in self._held:
            self._held.remove(request)
        self._talk.fail(request, self.failure or _SILENT)

    def again(self, request: Request, failure: Failure | None) -> None:
        if request.answered and not request.inner:
            return
        if failure is not None:
            self.failure = failure
        self._hold(request)

    def notify(self, message: Message) -> None:
        if self.state is State.OPEN and self._way is not None:
            self._way.notify(message)

    def reply(self, message: Message) -> None:
        """An answer to a session that is gone would be an answer to something else."""
        if self._asked.pop(message.key, None) is not None and self._way is not None:
            self._way.reply(message)

    def cancel(self, request: Request, message: Message) -> None:
        if request in self._held:
            self._held.remove(request)
        elif request.exchange is not None and self._way is not None:
            self._way.cancel(request, message)

    # --- how the target is reached ---

    def _begin(self) -> None:
        if self._hello is None:
            self._way, self.state = Streamable(self._talk, self), State.OPEN
            self._release()
            return
        self.state = State.OPENING
        self._refusal = None
        self._left = self._ways()
        self._next_way()

    def _ways(self) -> list[Way]:
        return [Streamable(self._talk, self)]

    def _next_way(self) -> None:
        assert self._hello is not None
        self._way = self._left.pop(0)
        self._way.begin(self._hello)

    def not_this_way(self, exchange: Exchange) -> None:
        if self._way is not None:
            self._way.abandon()
        if self._refusal is None:
            self._refusal = exchange
        if self._left:
            self._next_way()
            return
        self._way = None
        failure = failure_of(self._refusal)
        refusal = self._refusal.refusal()
        greeting = self._greeting
        if greeting is not None and not greeting.answered and refusal is not None:
            self._talk.answer(greeting, refusal)
        self.went_down(failure)
        if greeting is not None and not greeting.answered:
            self._talk.fail(greeting, failure)

    def opened(self, answer: Message) -> None:
        assert self._way is not None
        result = answer.raw("result") or "{}"
        self._talk.recall.learn_server("initialize", result)
        self._talk.recall.learn_server("era", self._way.name)
        self._sessions += 1
        self._talk.recall.session = self._sessions
        greeting = self._greeting
        if greeting is not None and not greeting.answered:
            self._talk.answer(greeting, answer.with_result(self._as_asked(result)))
        if self._confirmation is not None:
            self.state = State.CONFIRMING
            self._way.confirm(self._confirmation)
        else:
            self.state = State.OPEN
            self.back()

    def _as_asked(self, result: str) -> str:
        """The result of C{initialize} with the version that the client knows, whatever the server speaks."""
        assert self._hello is not None
        asked = self._hello.params.get("protocolVersion")
        version = asked if asked in LEGACY_VERSIONS else None
        message = Message(f'{{"result":{result}}}')
        given = (message.result or {}).get("protocolVersion")
        if version is None:
            version = given if given in LEGACY_VERSIONS else LATEST_LEGACY
        return result if version == given else with_member(result, 0, "protocolVersion", quoted(version))

    def confirmed(self) -> None:
        self.state = State.OPEN
        self._replay_settings()
        self.back()

    def back(self) -> None:
        """The target answers."""
        was_away = self.failure is not None
        self.failure = None
        self._pause = _SOON
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self.state is State.OPEN:
            if was_away:
                self._talk.note("the target is back")
            self._release()
            self._refresh()

    def _release(self) -> None:
        held, self._held = self._held, []
        for request in held:
            if not request.answered or request.inner:
                self._send(request)

    def went_down(self, failure: Failure) -> None:
        if self.failure is None or str(self.failure) != str(failure):
            self._talk.note(f"the target is away: {failure}", warning=True)
        self.failure = failure
        if self.state is not State.OPEN:
            self.state = State.DOWN
        for request in list(self._held):
            if self._talk.has_remembered(request) and self._talk.give_remembered(request):
                self._held.remove(request)
        if self._retry is None and not self._closing:
            self._retry = self._talk.in_seconds(self._pause, self._try)
            self._pause = min(self._pause * 2, _LONGEST)

    def _try_soon(self) -> None:
        """A request waits: the pause that has grown meanwhile is cut short."""
        if self.state is State.IDLE:
            self._begin()
        elif self._retry is not None and self._retry.at > self._talk.now + _SOON:
            self._retry.cancel()
            self._pause = 2 * _SOON
            self._retry = self._talk.in_seconds(_SOON, self._try)

    def _try(self) -> None:
        self._retry = None
        if self._closing:
            return
        if self.state is State.OPEN and self._way is not None:
            self._way.probe()
        else:
            self._begin()

    def lost(self) -> None:
        """The server has forgotten the session: a new one is begun, of which the client knows nothing."""
        if self.state is State.OPENING or self._closing:
            return
        self._talk.note("the server has forgotten the session; a new one is begun")
        if self._way is not None:
            self._way.abandon()
        for id in self._asked.values():
            params = quoted({"reason": "the server has begun anew"})
            self._talk.say(
                notification_text("notifications/cancelled", with_member(params, 0, "requestId", id))
            )
        self._asked.clear()
        self._begin()

    # --- what the server says ---

    def heard(self, message: Message) -> None:
        if message.is_response:
            request = self._talk.requests.get(message.key)
            if request is not None:
                self._talk.answer(request, message)
            return
        if message.id is not None and message.method is not None:
            if len(self._asked) >= _ASKED:
                return
            self._asked[message.key] = message.id
        elif message.method == "notifications/cancelled":
            self._asked.pop(key_of(message.params.get("requestId")), None)
        self._talk.say(message.text)

    # --- what a new session has to know ---

    def _learn_setting(self, request: Request) -> None:
        method, uri = request.method, str(request.message.params.get("uri", ""))
        if method == "logging/setLevel":
            self._settings[method, ""] = request.message
        elif method == "resources/subscribe" and len(self._settings) < _REPLAYED:
            self._settings[method, uri] = request.message
        elif method == "resources/unsubscribe":
            self._settings.pop(("resources/subscribe", uri), None)

    def _replay_settings(self) -> None:
        if self._sessions > 1:
            for message in self._settings.values():
                self._send(self._inner(message))

    def _refresh(self) -> None:
        """Ask for each list that the client has of old."""
        for request in self._talk.recall.of_old():
            if not request.modern:
                self._send(self._inner(request.message))

    def _inner(self, message: Message) -> Request:
        request = Request(Message(message.with_id(self._talk.own_id())), self._talk.now)
        request.inner = True
        return request

    # --- its end ---

    def close(self) -> None:
        """The client has gone; C{has_ended} is true when the server knows."""
        self._closing = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._way is None:
            self.has_ended = True
        else:
            self._way.close()

    def ended(self) -> None:
        self.has_ended = self._closing


def void(value: object) -> None:
    """For a timer, which wants no value."""
