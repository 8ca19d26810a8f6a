"""Puts the questions in answers of 2026-07-28 to an older client, as requests of the server."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from lanrelay.bridge.conversation import Conversation
from lanrelay.bridge.jsontext import members_of, with_member, without_member
from lanrelay.bridge.messages import Failure
from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import Message, notification_text, quoted
from lanrelay.bridge.timers import Timer

_ROUNDS = 10
_QUESTIONS = 8
"""Questions that a server may ask at once; mcp-remote allows as many."""

_LEG = 600.0
"""Seconds that a person has for the questions of one round."""

_MAY_ASK = ("tools/call", "prompts/get", "resources/read")

_CAPABILITIES = {
    "elicitation/create": "elicitation",
    "roots/list": "roots",
    "sampling/createMessage": "sampling",
}


class _Round:
    """
    @ivar open: by the key of a question's id: the id as JSON, and the name that its answer gets.
    """

    def __init__(self, request: Request, state: str | None) -> None:
        self.request = request
        self.state = state
        self.open: dict[Hashable, tuple[str, str]] = {}
        self.answers: list[str] = []
        self.timer: Timer | None = None


class Questions:
    """
    @param ask: puts a request to the client.
    @param retry: sends a request anew, with the answers in what it carries.
    """

    def __init__(
        self, conversation: Conversation, ask: Callable[[Message], None], retry: Callable[[Request], None]
    ) -> None:
        self._talk = conversation
        self._ask = ask
        self._retry = retry
        self._rounds: dict[Hashable, _Round] = {}

    def wanted(self, request: Request, answer: Message, capabilities: dict[str, Any]) -> None:
        """The server asks questions before it answers C{request}."""
        request.rounds += 1
        questions = (answer.result or {}).get("inputRequests")
        complaint = _complaint(request, questions, answer.result or {}, capabilities)
        if complaint:
            self._talk.fail(request, Failure("mcp_error", complaint, "", True))
            return
        result = answer.members["result"]
        members, _ = members_of(answer.text, result.start)
        state = members.get("requestState")
        turn = _Round(request, None if state is None else answer.text[state.start : state.end])
        if not questions:
            pause = 0.0 if request.rounds == 1 else 1.0
            turn.timer = self._talk.in_seconds(pause, lambda: self._go_on(turn))
            return
        turn.timer = self._talk.in_seconds(_LEG, lambda: self._too_late(turn))
        asked, _ = members_of(answer.text, members["inputRequests"].start)
        for name, member in asked.items():
            question = answer.text[member.start : member.end]
            id = self._talk.own_id()
            message = Message(with_member(with_member(question, 0, "id", id), 0, "jsonrpc", '"2.0"'))
            turn.open[message.key] = (id, name)
            self._rounds[message.key] = turn
            self._ask(message)

    def answered(self, message: Message) -> None:
        """The client's answer to a question."""
        turn = self._rounds.pop(message.key, None)
        if turn is None:
            return
        _, name = turn.open.pop(message.key)
        result = message.raw("result")
        if result is None:
            self._end(turn)
            said = f"The client did not answer what the server asks: {message.error_text or 'an error'}."
            self._talk.fail(turn.request, Failure("mcp_error", said, "", True))
            return
        turn.answers.append(f"{quoted(name)}:{result}")
        if not turn.open:
            self._go_on(turn)

    def cancelled(self, request: Request) -> None:
        """The client has cancelled the request: take its questions back."""
        for turn in {id(turn): turn for turn in self._rounds.values()}.values():
            if turn.request is request:
                self._end(turn)

    def _go_on(self, turn: _Round) -> None:
        if turn.timer is not None:
            turn.timer.cancel()
        request = turn.request
        if request.answered:
            return
        text = request.carried.with_id(self._talk.own_id())
        text = _with_params(text, "inputResponses", f"{{{','.join(turn.answers)}}}" if turn.answers else None)
        request.carried = Message(_with_params(text, "requestState", turn.state))
        request.tries = 0
        self._retry(request)

    def _too_late(self, turn: _Round) -> None:
        self._end(turn)
        said = "The server's questions were not answered within ten minutes."
        self._talk.fail(turn.request, Failure("timeout", said, "", True))

    def _end(self, turn: _Round) -> None:
        if turn.timer is not None:
            turn.timer.cancel()
        for key, (id, _) in turn.open.items():
            self._rounds.pop(key, None)
            params = with_member('{"reason":"no answer is wanted any more"}', 0, "requestId", id)
            self._talk.say(notification_text("notifications/cancelled", params))
        turn.open.clear()


def _with_params(text: str, name: str, value: str | None) -> str:
    """The text with this member of its params, or without one."""
    members, _ = members_of(text)
    params = members["params"]
    inner = text[params.start : params.end]
    changed = without_member(inner, 0, name) if value is None else with_member(inner, 0, name, value)
    return text[: params.start] + changed + text[params.end :]


def _complaint(request: Request, questions: Any, result: dict[str, Any], capabilities: dict[str, Any]) -> str:
    """Why these questions cannot be asked; empty where they can."""
    if request.method not in _MAY_ASK:
        return f"The server asks back where it may not, in answer to {request.method}."
    if request.rounds > _ROUNDS:
        return f"The server has asked back {_ROUNDS} times."
    if questions is None and "requestState" not in result:
        return "The server asks back, but asks nothing."
    if questions is not None and not isinstance(questions, dict):
        return "The server asks back, but its questions cannot be read."
    if questions and len(questions) > _QUESTIONS:
        return f"The server asks more than {_QUESTIONS} questions at once."
    for question in (questions or {}).values():
        method = question.get("method") if isinstance(question, dict) else None
        if method not in _CAPABILITIES:
            return "The server asks something that this client cannot answer."
        declared = capabilities.get(_CAPABILITIES[method])
        if not isinstance(declared, dict):
            return f"The server wants {method}, which this client has not declared."
        params = question.get("params")
        by_url = isinstance(params, dict) and params.get("mode") == "url"
        if method == "elicitation/create" and by_url and "url" not in declared:
            return "The server wants a page to be opened, which this client has not declared."
    return ""
