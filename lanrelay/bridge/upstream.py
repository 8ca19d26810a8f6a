"""The session as the client knows it: begun, kept, and begun anew, whatever becomes of the target."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from lanrelay.bridge.conversation import Conversation
from lanrelay.bridge.exchange import Exchange
from lanrelay.bridge.jsontext import with_member
from lanrelay.bridge.messages import Failure
from lanrelay.bridge.reach import Reach, State
from lanrelay.bridge.refusals import failure_of
from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import (
    LATEST_LEGACY,
    LEGACY_VERSIONS,
    VERSION_UNKNOWN,
    Message,
    key_of,
    notification_text,
    quoted,
)
from lanrelay.bridge.streamable import Streamable

if TYPE_CHECKING:
    from lanrelay.bridge.seams import Way

_REPLAYED = 1000
"""How many settings of the client are set anew in a new session."""

_LOSSES, _OFTEN = 3, 1.0
"""A server that forgets so many sessions, each within so many seconds, is not asked for a while."""

_FORGETFUL = Failure("mcp_error", "The server forgets each session at once.", "Its own log says why.", False)

_NOTES = 100
"""How many notifications of the client may wait for the handshake."""

_ASKED = 1000
"""How many requests of the server may wait for the client."""


class Upstream(Reach):
    """
    Finds the way to speak with a server for a client that begins with C{initialize}.
    """

    def __init__(self, conversation: Conversation) -> None:
        super().__init__(conversation)
        self._left: list[str] = []
        self._hello: Message | None = None
        self._greeting: Request | None = None
        self._confirmation: Message | None = None
        self._refusal: Exchange | None = None
        self._asked: dict[Hashable, str] = {}
        self._settings: dict[tuple[str, str], Message] = {}
        self._notes: list[Message] = []
        self._sessions = 0
        self._era: str | None = None
        self._lost_at = float("-inf")
        self._losses = 0

    # --- the client's handshake ---

    def greet(self, request: Request) -> None:
        """The client's C{initialize}."""
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
            request.timer = self._talk.in_seconds(hold, lambda: self._not_greeted(request))
        self._begin()

    def _not_greeted(self, request: Request) -> None:
        """The client has its error, and may say C{initialize} again; until then nothing is tried."""
        self._waited_enough(request)
        if self._way is not None:
            self._way.close()
        self._give_up_session()

    def _give_up_session(self) -> None:
        self._way, self._hello, self._greeting, self.state = None, None, None, State.IDLE
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def confirm(self, message: Message) -> None:
        self._confirmation = message
        if self.state is State.OPEN and self._way is not None:
            self.state = State.CONFIRMING
            self._way.confirm(message)

    # --- its requests ---

    def carry(self, request: Request) -> None:
        self._learn_setting(request)
        super().carry(request)

    def notify(self, message: Message) -> None:
        if self.state is State.OPEN and self._way is not None:
            self._way.notify(message)
        elif self.state in (State.OPENING, State.CONFIRMING) and len(self._notes) < _NOTES:
            self._notes.append(message)

    def reply(self, message: Message) -> None:
        """Pass on an answer, unless its session is gone: in a new one its id may mean something else."""
        if self._asked.pop(message.key, None) is not None and self._way is not None:
            self._way.reply(message)

    # --- how the target is reached ---

    def _begin(self) -> None:
        if self._way is not None:
            self._way.close()
        if self._hello is None:
            self._way, self.state = Streamable(self._talk, self), State.OPEN
            self._release()
            return
        self.state = State.OPENING
        self._refusal = None
        self._left = self._ways()
        self._next_way()

    def _ways(self) -> list[str]:
        """The ways that are possible, the most likely first."""
        transport = self._talk.settings.transport
        if transport == "sse":
            return ["sse"]
        ways = ["http", "modern"] if transport == "http" else ["http", "modern", "sse"]
        era = self._era or self._talk.recall.server("era")
        return sorted(ways, key=lambda name: quoted(name) != era)

    def _made(self, name: str) -> Way:
        """Make a way. Mostly one is needed, so the others are not even imported."""
        if name == "modern":
            from lanrelay.bridge.bridged import Bridged

            return Bridged(self._talk, self)
        if name == "sse":
            from lanrelay.bridge.sse import Sse

            return Sse(self._talk, self)
        return Streamable(self._talk, self)

    def _next_way(self) -> None:
        assert self._hello is not None
        self._way = self._made(self._left.pop(0))
        self._way.begin(self._hello)

    def not_this_way(self, exchange: Exchange) -> None:
        if self._way is not None:
            self._way.abandon()
        if self._refusal is None:
            self._refusal = exchange
        if exchange.answer is not None:  # a server that answers a POST is none of HTTP+SSE
            self._left = [name for name in self._left if name != "sse"]
        if self._left and not _is_final(exchange):
            self._next_way()
            return
        self._way = None
        failure = failure_of(self._refusal)
        refusal = self._refusal.refusal()
        greeting = self._greeting
        self.went_down(failure)
        held, self._held = self._held, []
        for request in held:  # the target is there, and says no: waiting would not help
            self._talk.fail(request, failure)
        if greeting is None or greeting.answered:
            return
        if refusal is not None and refusal.error_code != VERSION_UNKNOWN:
            self._talk.answer(greeting, refusal)
        else:
            self._talk.fail(greeting, failure)
        self._give_up_session()

    def opened(self, answer: Message) -> None:
        assert self._way is not None
        result = answer.raw("result") or "{}"
        self._talk.recall.learn_server("initialize", result)
        self._era = quoted(self._way.name)
        self._talk.recall.learn_server("era", self._era)
        self._sessions += 1
        self._talk.recall.session += 1
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
        notes, self._notes = self._notes, []
        for message in notes:
            self.notify(message)
        self._replay_settings()
        self.back()

    def lost(self) -> None:
        """The server has forgotten the session: a new one is begun without the client's knowing."""
        if self.state is State.OPENING or self._closing:
            return
        self._talk.note("the server has forgotten the session; a new one is begun")
        if self._way is not None:
            self._way.abandon()
            self._way = None
        for id in self._asked.values():
            params = quoted({"reason": "the server has begun anew"})
            self._talk.say(
                notification_text("notifications/cancelled", with_member(params, 0, "requestId", id))
            )
        self._asked.clear()
        self._notes.clear()
        self._losses = self._losses + 1 if self._talk.now < self._lost_at + _OFTEN else 1
        self._lost_at = self._talk.now
        if self._losses > _LOSSES:
            self.state = State.DOWN
            self.went_down(_FORGETFUL)
        else:
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
        self._talk.pass_on(message)

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


def _is_final(exchange: Exchange) -> bool:
    """Whether no other way of speaking would get a better answer, as when a login is wanted."""
    status = exchange.status
    if 200 <= status < 300:
        return not exchange.settled and exchange.content_type == "text/html"
    return (not 400 <= status < 500 and status != 501) or status in (401, 403, 407, 429)
