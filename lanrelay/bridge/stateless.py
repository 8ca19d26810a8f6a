"""A client and a server of 2026-07-28: messages pass, and get the fields that HTTP wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lanrelay.bridge.conversation import Conversation
from lanrelay.bridge.exchange import Exchange
from lanrelay.bridge.jsontext import with_member
from lanrelay.bridge.mirrored import fields_of
from lanrelay.bridge.posts import Posts
from lanrelay.bridge.reach import Reach, State
from lanrelay.bridge.refusals import failure_of, is_away, may_be_repeated
from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import (
    MODERN_ERRORS,
    SUBSCRIPTION_KEY,
    UNKNOWN_METHOD,
    Message,
    notification_text,
    quoted,
)
from lanrelay.bridge.way import ACKNOWLEDGED, PROBE

if TYPE_CHECKING:
    from lanrelay.bridge.seams import Owner

_DISCOVER = 3.0
"""Seconds that C{server/discover} may take; a client that hears nothing waits up to a minute."""

_LISTEN_SHORTEST, _LISTEN_LONGEST = 1.0, 30.0
"""Seconds between two attempts to listen again."""

_NOT_MODERN = "The server speaks an older version of the protocol. Begin with initialize."
_UNKNOWN = "The server cannot be asked which versions it speaks. Begin with initialize."

LISTEN = "subscriptions/listen"

_WISHES = {
    "notifications/tools/list_changed": "toolsListChanged",
    "notifications/prompts/list_changed": "promptsListChanged",
    "notifications/resources/list_changed": "resourcesListChanged",
}


class Stateless(Reach):
    """
    Requests without a session. The target counts as reached when it answers one.
    """

    modern = True

    def __init__(self, conversation: Conversation) -> None:
        super().__init__(conversation)
        self._own = Modern(conversation, self)
        self._way = self._own
        self._is_older = False
        """The server has said so, perhaps unknown to the client, which has not asked."""
        self.state = State.OPEN
        conversation.on_list_changed = self._list_changed

    def _begin(self) -> None:
        self.back()

    def carry(self, request: Request) -> None:
        if request.method == "server/discover":
            self._discover(request)
        elif request.method == LISTEN:
            self._own.carry(request)
        elif self._is_older:
            self._talk.refuse(request, UNKNOWN_METHOD, _NOT_MODERN)
        else:
            self._own.last = request.message
            super().carry(request)

    # --- server/discover ---

    def _discover(self, request: Request) -> None:
        """
        Never waits for a target that is away, and never says C{-32022} by guess: that would pin the client to
        an era that the server may not have.
        """
        recall = self._talk.recall
        known = recall.server("discover")
        if known:
            self._talk.note("server/discover is answered from memory")
            self._talk.give_result(request, known)
        elif recall.server("modern") == "false":
            self._talk.refuse(
                request, UNKNOWN_METHOD, _NOT_MODERN
            )  # the server is asked all the same, for the next time
        else:
            request.timer = self._talk.in_seconds(_DISCOVER, lambda: self._unknown(request))
        self._own.last = request.message

        def heard(exchange: Exchange, message: Message) -> None:
            if message.is_response and not exchange.settled:
                exchange.settled = True
                self._discovered(request, message, exchange.status)

        def over(exchange: Exchange) -> None:
            if exchange.settled:
                return
            refusal = exchange.refusal()
            if refusal is not None and not is_away(exchange):
                self._discovered(request, refusal, exchange.status)
            elif is_away(exchange):
                self.went_down(failure_of(exchange))
                self._unknown(request)
            else:
                self._learn_older(_tells_era(exchange.status))
                self._talk.refuse(request, UNKNOWN_METHOD, _NOT_MODERN)

        request.exchange = self._talk.ask(
            "POST", fields_of(request.message), request.message.text, heard, over, replayable=True
        )

    def _discovered(self, request: Request, message: Message, status: int) -> None:
        recall = self._talk.recall
        if message.result is not None:
            recall.learn_server("discover", message.raw("result") or "{}")
            recall.learn_server("modern", "true")
            self._is_older = False
            self._talk.answer(request, message)
            self.back()
        elif message.error_code in MODERN_ERRORS:
            self._talk.answer(request, message)
        else:
            if _tells_era(status):
                recall.learn_server("discover", "")
                self._learn_older(True)
            self._talk.refuse(request, UNKNOWN_METHOD, _NOT_MODERN)

    def _learn_older(self, certain: bool) -> None:
        self._is_older = certain
        self._talk.recall.learn_server("modern", "false" if certain else "")

    def _unknown(self, request: Request) -> None:
        self._talk.refuse(request, UNKNOWN_METHOD, _UNKNOWN)

    # --- the rest ---

    def _list_changed(self, request: Request, method: str) -> bool:
        if not request.modern:
            return False
        for listener in list(self._talk.requests.values()):
            if listener.method == LISTEN and _wishes(listener, method):
                meta = with_member("{}", 0, SUBSCRIPTION_KEY, listener.id)
                self._talk.say(notification_text(method, f'{{"_meta":{meta}}}'))
        return True

    def opened(self, answer: Message) -> None:
        """Never called: there is no session."""

    def not_this_way(self, exchange: Exchange) -> None:
        """Never called: there is no other way."""

    def confirmed(self) -> None:
        """There is no handshake."""

    def lost(self) -> None:
        """Never called: there is no session."""

    def heard(self, message: Message) -> None:
        self._talk.pass_on(message)

    def notify(self, message: Message) -> None:
        self._own.notify(message)


class Modern:
    """The way: one POST for each request; closing its answer cancels the request."""

    name = "stateless"

    def __init__(self, conversation: Conversation, owner: Owner) -> None:
        self._talk = conversation
        self._owner = owner
        self._posts = Posts(conversation)
        self._probing: Exchange | None = None
        self.last: Message | None = None
        """The client's last request; our probes are made like it."""

    def begin(self, hello: Message) -> None:
        """There is no handshake."""

    def confirm(self, message: Message) -> None:
        """There is no handshake."""

    # --- requests ---

    def carry(self, request: Request) -> None:
        if request.method == LISTEN:
            self._listen(request, _LISTEN_SHORTEST, again=False)
            return
        self._posts.post(
            request,
            lambda exchange, message: self._heard(request, exchange, message),
            lambda exchange: self._over(request, exchange),
        )

    def _heard(self, request: Request, exchange: Exchange, message: Message) -> None:
        if not message.is_response:
            if not request.answered and message.id is None:
                self._talk.pass_on(message)
        elif not exchange.settled:
            exchange.settled = True
            self._answer(request, message)

    def _answer(self, request: Request, message: Message) -> None:
        if request.method == "tools/list":
            message = self._posts.learnt(message)
        self._talk.answer(request, message)

    def _over(self, request: Request, exchange: Exchange) -> None:
        if exchange.settled or (request.answered and not request.inner):
            return
        refusal = exchange.refusal()
        if refusal is not None and not is_away(exchange):
            self._answer(request, refusal)
            return
        failure = failure_of(exchange)
        if may_be_repeated(request, exchange):
            self._owner.again(request, failure)
        else:
            self._talk.fail(request, failure, may_have_run=exchange.failure is not None or exchange.is_good)
            if is_away(exchange):
                self._owner.went_down(failure)

    def cancel(self, request: Request, message: Message) -> None:
        """Close the answer, which cancels the request."""
        self._talk.drop(request.exchange)

    def notify(self, message: Message) -> None:
        """
        Pass it on: the core protocol has no notifications but the cancelling; an extension may have some.
        """
        self._talk.ask("POST", fields_of(message), message.text, _nothing, _over, within=ACKNOWLEDGED)

    def reply(self, message: Message) -> None:
        """A server of this era asks nothing."""

    # --- subscriptions ---

    def _listen(self, request: Request, pause: float, *, again: bool) -> None:
        """
        @param again: the client has its acknowledgement; the stream broke, and is opened anew without a word.
        """
        if request.answered:
            return
        acknowledged = [again]

        def heard(exchange: Exchange, message: Message) -> None:
            if message.is_response:
                exchange.settled = True
                self._talk.answer(request, message)
            elif message.method == "notifications/subscriptions/acknowledged" and acknowledged[0]:
                self._owner.back()
            elif not request.answered:
                acknowledged[0] = True
                self._talk.pass_on(message)

        def over(exchange: Exchange) -> None:
            if exchange.settled or request.answered:
                return
            refusal = exchange.refusal()
            if refusal is not None and not is_away(exchange):
                self._talk.answer(request, refusal)
                return
            if not is_away(exchange) and not exchange.is_stream:
                self._talk.fail(request, failure_of(exchange))
                return
            if exchange.failure is not None and not exchange.failure.ran:
                self._owner.went_down(exchange.failure)
            self._talk.recall.session += 1  # what changed meanwhile was not announced
            wait = _LISTEN_SHORTEST if exchange.is_stream else pause
            longer = min(wait * 2, _LISTEN_LONGEST)
            self._talk.in_seconds(wait, lambda: self._listen(request, longer, again=acknowledged[0]))

        request.exchange = self._talk.ask(
            "POST", fields_of(request.message), request.message.text, heard, over, replayable=True
        )

    # --- whether it is there, and its end ---

    def probe(self) -> None:
        if self._probing is not None:
            return
        if self.last is None:
            self._owner.back()
            return
        meta = {name: value for name, value in self.last.meta.items() if name != "progressToken"}
        text = (
            f'{{"jsonrpc":"2.0","id":{self._talk.own_id()},"method":"server/discover",'
            f'"params":{{"_meta":{quoted(meta)}}}}}'
        )

        def over(exchange: Exchange) -> None:
            self._probing = None
            if is_away(exchange):
                self._owner.went_down(failure_of(exchange))
            else:
                self._owner.back()

        self._probing = self._talk.ask(
            "POST", fields_of(Message(text)), text, _nothing, over, replayable=True, within=PROBE
        )

    def abandon(self) -> None:
        self._talk.drop(self._probing)
        self._probing = None

    def close(self) -> None:
        self.abandon()
        self._owner.ended()


def _tells_era(status: int) -> bool:
    """Whether a refusal shows an older server, and not one that fails or wants a login."""
    return status in (200, 400, 404, 405, 406, 415)


def _wishes(listener: Request, method: str) -> bool:
    wishes = listener.message.params.get("notifications")
    return isinstance(wishes, dict) and wishes.get(_WISHES[method]) is True


def _nothing(exchange: Exchange, message: Message) -> None:
    """Take no notice of a message."""


def _over(exchange: Exchange) -> None:
    """Take no notice of the end."""
