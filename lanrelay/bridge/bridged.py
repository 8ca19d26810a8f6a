"""A client that begins with C{initialize}, and a server of 2026-07-28 that knows no sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lanrelay.bridge.conversation import Conversation
from lanrelay.bridge.exchange import Exchange
from lanrelay.bridge.jsontext import members_of, with_member, without_member
from lanrelay.bridge.mirrored import fields_of
from lanrelay.bridge.posts import Posts
from lanrelay.bridge.questions import Questions
from lanrelay.bridge.refusals import failure_of, is_away, may_be_repeated
from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    LATEST_LEGACY,
    LEGACY_VERSIONS,
    LOG_LEVEL_KEY,
    MODERN,
    SERVER_KEY,
    SUBSCRIPTION_KEY,
    VERSION_KEY,
    Message,
    quoted,
    result_text,
)
from lanrelay.bridge.way import HANDSHAKE, PROBE

if TYPE_CHECKING:
    from lanrelay.bridge.seams import Owner

_SHORTEST, _LONGEST = 1.0, 30.0
"""Seconds between two attempts to listen."""

_SUBSCRIPTIONS = 1000


class Bridged:
    name = "modern"

    def __init__(self, conversation: Conversation, owner: Owner) -> None:
        self._talk = conversation
        self._owner = owner
        self._posts = Posts(conversation)
        self._questions = Questions(conversation, owner.heard, self._send)
        self._version = MODERN
        self._hello: Message | None = None
        self._capabilities: dict[str, Any] = {}
        self._level: str | None = None
        self._uris: dict[str, None] = {}
        self._asking: Exchange | None = None
        self._stream: Exchange | None = None
        self._pause = _SHORTEST
        self._gone = False

    # --- the handshake that the server does not know ---

    def begin(self, hello: Message) -> None:
        self._hello = hello
        self._discover(first=True)

    def _discover(self, *, first: bool) -> None:
        answers: list[Message] = []

        def heard(exchange: Exchange, message: Message) -> None:
            if message.is_response and not answers:
                answers.append(message)
                exchange.settled = True

        def over(exchange: Exchange) -> None:
            self._asking = None
            if answers and answers[0].result is not None and self._choose(answers[0].result):
                if first:
                    self._talk.recall.learn_server("discover", answers[0].raw("result") or "{}")
                    self._talk.recall.learn_server("modern", "true")
                    self._owner.opened(self._as_handshake(answers[0]))
                else:
                    self._owner.back()
            elif is_away(exchange):
                self._owner.went_down(failure_of(exchange))
            elif first:
                self._owner.not_this_way(exchange)
            else:
                self._owner.back()

        message = self._stamped(
            Message(f'{{"jsonrpc":"2.0","id":{self._talk.own_id()},"method":"server/discover"}}')
        )
        self._asking = self._talk.ask(
            "POST",
            fields_of(message),
            message.text,
            heard,
            over,
            replayable=True,
            within=HANDSHAKE if first else PROBE,
        )

    def _choose(self, result: dict[str, Any]) -> bool:
        """Whether there is a version of this era, or a later one, that the server knows."""
        versions = result.get("supportedVersions")
        if not isinstance(versions, list):
            return False
        modern = [each for each in versions if isinstance(each, str) and each >= MODERN]
        if not modern:
            return False
        self._version = MODERN if MODERN in modern else min(modern)
        self._capabilities = result["capabilities"] if isinstance(result.get("capabilities"), dict) else {}
        return True

    def _as_handshake(self, answer: Message) -> Message:
        """The answer that C{initialize} would have got."""
        text = answer.text
        members, _ = members_of(text, answer.members["result"].start)
        meta = members["_meta"].value if "_meta" in members else None
        server = meta.get(SERVER_KEY) if isinstance(meta, dict) else None
        asked = self._hello.params.get("protocolVersion") if self._hello is not None else None
        version = asked if asked in LEGACY_VERSIONS else LATEST_LEGACY
        parts = [f'"protocolVersion":{quoted(version)}']
        member = members.get("capabilities")
        parts.append(f'"capabilities":{"{}" if member is None else text[member.start : member.end]}')
        shown = server if isinstance(server, dict) else {"name": "unknown", "version": "0"}
        parts.append(f'"serverInfo":{quoted(shown)}')
        member = members.get("instructions")
        if member is not None:
            parts.append(f'"instructions":{text[member.start : member.end]}')
        return Message(result_text("0", f"{{{','.join(parts)}}}"))

    def confirm(self, message: Message) -> None:
        self._owner.confirmed()
        self._listen()

    # --- requests ---

    def carry(self, request: Request) -> None:
        params = request.message.params
        if request.method == "ping":
            self._talk.give_result(request, "{}")
        elif request.method == "logging/setLevel":
            level = params.get("level")
            self._level = level if isinstance(level, str) else None
            self._talk.give_result(request, "{}")
        elif request.method in ("resources/subscribe", "resources/unsubscribe"):
            self._subscribe(str(params.get("uri", "")), request.method == "resources/subscribe")
            self._talk.give_result(request, "{}")
        else:
            request.carried = self._stamped(request.message)
            self._send(request)

    def _stamped(self, message: Message) -> Message:
        """The message with what a server of this era wants to know with each request."""
        text = message.text
        if "params" not in message.members:
            at = message.members["method"].end
            text = f'{text[:at]},"params":{{}}{text[at:]}'
        params = Message(text).members["params"]
        if not isinstance(params.value, dict):
            return message
        inner = text[params.start : params.end]
        members, _ = members_of(inner)
        known = members.get("_meta")
        has_meta = known is not None and isinstance(known.value, dict)
        meta = inner[known.start : known.end] if known is not None and has_meta else "{}"
        hello = self._hello
        client = self._raw_of_hello("clientInfo")
        if self._level is not None:
            meta = with_member(meta, 0, LOG_LEVEL_KEY, quoted(self._level))
        meta = with_member(meta, 0, CAPABILITIES_KEY, self._raw_of_hello("capabilities") or "{}")
        if client is not None and hello is not None:
            meta = with_member(meta, 0, CLIENT_KEY, client)
        meta = with_member(meta, 0, VERSION_KEY, quoted(self._version))
        inner = with_member(inner, 0, "_meta", meta)
        return Message(text[: params.start] + inner + text[params.end :])

    def _raw_of_hello(self, name: str) -> str | None:
        if self._hello is None or not self._hello.params:
            return None
        members, _ = members_of(self._hello.text, self._hello.members["params"].start)
        member = members.get(name)
        return None if member is None else self._hello.text[member.start : member.end]

    def _send(self, request: Request) -> None:
        self._posts.post(
            request,
            lambda exchange, message: self._heard(request, exchange, message),
            lambda exchange: self._over(request, exchange),
        )

    def _heard(self, request: Request, exchange: Exchange, message: Message) -> None:
        if not message.is_response:
            if not request.answered and message.id is None:
                self._owner.heard(message)
        elif not exchange.settled:
            exchange.settled = True
            self._answer(request, message)

    def _answer(self, request: Request, message: Message) -> None:
        result = message.result
        if result is None:
            self._talk.answer(request, message)
            return
        if result.get("resultType") == "input_required":
            hello = self._hello.params if self._hello is not None else {}
            declared = hello.get("capabilities")
            self._questions.wanted(request, message, declared if isinstance(declared, dict) else {})
            return
        message = message.with_result(without_member(message.raw("result") or "{}", 0, "resultType"))
        if request.method == "tools/list":
            message = self._posts.learnt(message)
        self._talk.answer(request, message)

    def _over(self, request: Request, exchange: Exchange) -> None:
        if exchange.settled or (request.answered and not request.inner):
            return
        refusal = exchange.refusal()
        if refusal is not None and not is_away(exchange):
            self._talk.answer(request, refusal)
            return
        failure = failure_of(exchange)
        if may_be_repeated(request, exchange):
            self._owner.again(request, failure)
            return
        self._talk.fail(request, failure, may_have_run=exchange.failure is not None or exchange.is_good)
        if is_away(exchange) and not self._gone:
            self._owner.went_down(failure)

    def cancel(self, request: Request, message: Message) -> None:
        self._talk.drop(request.exchange)
        self._questions.cancelled(request)

    def reply(self, message: Message) -> None:
        self._questions.answered(message)

    def notify(self, message: Message) -> None:
        """Nothing is sent: in this era clients have no notifications."""

    # --- what the server says by itself ---

    def _subscribe(self, uri: str, wanted: bool) -> None:
        if wanted and len(self._uris) < _SUBSCRIPTIONS:
            self._uris[uri] = None
        elif not wanted:
            self._uris.pop(uri, None)
        self._talk.drop(self._stream)
        self._stream = None
        self._listen()

    def _wishes(self) -> dict[str, Any]:
        wishes: dict[str, Any] = {}
        for name in ("tools", "prompts", "resources"):
            capability = self._capabilities.get(name)
            if isinstance(capability, dict) and capability.get("listChanged") is True:
                wishes[f"{name}ListChanged"] = True
        if self._uris:
            wishes["resourceSubscriptions"] = list(self._uris)
        return wishes

    def _listen(self) -> None:
        wishes = self._wishes()
        if self._gone or self._stream is not None or not wishes:
            return
        message = self._stamped(
            Message(
                f'{{"jsonrpc":"2.0","id":{self._talk.own_id()},"method":"subscriptions/listen",'
                f'"params":{{"notifications":{quoted(wishes)}}}}}'
            )
        )
        self._stream = exchange = self._talk.ask(
            "POST", fields_of(message), message.text, self._told, self._stream_over, replayable=True
        )
        exchange.begun = self._stream_begun

    def _stream_begun(self, exchange: Exchange) -> None:
        if exchange.is_stream:
            self._pause = _SHORTEST
            self._owner.back()

    def _told(self, exchange: Exchange, message: Message) -> None:
        if message.is_response:
            exchange.settled = message.result is None
        elif message.id is None and message.method != "notifications/subscriptions/acknowledged":
            self._owner.heard(_without_subscription(message))

    def _stream_over(self, exchange: Exchange) -> None:
        if self._stream is not exchange:
            return
        self._stream = None
        if exchange.settled or (exchange.refusal() is not None and not is_away(exchange)):
            return  # the server has no subscriptions
        if exchange.failure is not None and not exchange.failure.ran:
            self._owner.went_down(exchange.failure)
        if exchange.is_stream:
            self._talk.recall.session += 1  # what changed meanwhile was not announced
        self._talk.in_seconds(self._pause, self._listen)
        self._pause = min(self._pause * 2, _LONGEST)

    # --- whether it is there, and its end ---

    def probe(self) -> None:
        if self._asking is None:
            self._discover(first=False)

    def abandon(self) -> None:
        self._gone = True
        for exchange in (self._asking, self._stream):
            self._talk.drop(exchange)
        self._asking = self._stream = None

    def close(self) -> None:
        self.abandon()
        self._owner.ended()


def _without_subscription(message: Message) -> Message:
    """A notification as the older eras know it."""
    if SUBSCRIPTION_KEY not in message.meta:
        return message
    params = message.raw("params") or "{}"
    members, _ = members_of(params)
    member = members["_meta"]
    meta = without_member(params[member.start : member.end], 0, SUBSCRIPTION_KEY)
    if meta.strip("{} \t\r\n"):
        params = with_member(params, 0, "_meta", meta)
    else:
        params = without_member(params, 0, "_meta")
    return Message(with_member(message.text, 0, "params", params))
