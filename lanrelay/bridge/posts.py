"""Sends requests of 2026-07-28, each with the fields that it needs; some have to be found out first."""

from __future__ import annotations

from collections.abc import Callable

from lanrelay.bridge.conversation import Conversation
from lanrelay.bridge.exchange import Exchange
from lanrelay.bridge.mirrored import Parameters, fields_of, parameters_of
from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    HEADER_MISMATCH,
    VERSION_KEY,
    Message,
    quoted,
)
from lanrelay.bridge.way import PROBE

_PAGES = 50
"""Pages of a list of tools that are read at most."""

_AGAIN = 30.0
"""Seconds after which the list is asked for again, for a tool that was not in it."""

_TOOLS = 20_000
"""Tools whose fields are remembered at most."""


class Posts:
    def __init__(self, conversation: Conversation) -> None:
        self._talk = conversation
        self._tools: dict[str, Parameters] = {}
        self._listed_at: float | None = None
        self._listing: Exchange | None = None
        self._waiting: list[Callable[[], None]] = []

    def post(
        self,
        request: Request,
        heard: Callable[[Exchange, Message], None],
        over: Callable[[Exchange], None],
    ) -> None:
        """Send C{request.carried}; the exchange becomes that of the request."""
        request.tries += 1
        message = request.carried

        def send() -> None:
            if request.answered and not request.inner:
                return
            parameters = self._tools.get(_name(message), ()) if request.is_call else ()
            request.exchange = self._talk.ask(
                "POST",
                fields_of(message, parameters),
                message.text,
                heard,
                lambda exchange: self._over(request, exchange, heard, over),
                replayable=request.is_harmless,
            )

        if request.is_call and _name(message) not in self._tools and self._may_list():
            self._waiting.append(send)
            self._list(message, None, _PAGES)
        else:
            send()

    def _over(
        self,
        request: Request,
        exchange: Exchange,
        heard: Callable[[Exchange, Message], None],
        over: Callable[[Exchange], None],
    ) -> None:
        refusal = exchange.refusal()
        mismatch = refusal is not None and refusal.error_code == HEADER_MISMATCH
        if mismatch and request.is_call and request.tries < 2 and not request.answered:
            self._tools.pop(_name(request.carried), None)
            self._listed_at = None
            self.post(request, heard, over)
        else:
            over(exchange)

    def learn(self, result: str) -> str:
        """
        Learn from a list of tools which fields they need; gives the list without tools that have no valid
        schema.
        """
        message = Message(f'{{"result":{result}}}')
        tools = (message.result or {}).get("tools")
        wrong: set[str] = set()
        for tool in tools if isinstance(tools, list) else ():
            name = tool.get("name") if isinstance(tool, dict) else None
            if not isinstance(name, str):
                continue
            parameters = parameters_of(tool)
            if parameters is None:
                wrong.add(name)
            elif len(self._tools) < _TOOLS:
                self._tools[name] = parameters
        if not wrong:
            return result
        self._talk.note(f"tools with a wrong x-mcp-header are left out: {len(wrong)}", warning=True)
        from lanrelay.bridge.filters import without_tools

        return without_tools(result, lambda tool: parameters_of(tool) is None)

    def learnt(self, message: Message) -> Message:
        """Learn from an answer to C{tools/list}; gives it as the client may have it."""
        result = message.raw("result") if message.result is not None else None
        if result is None:
            return message
        left = self.learn(result)
        return message if left is result else message.with_result(left)

    # --- the list that the client has not asked for ---

    def _may_list(self) -> bool:
        return self._listed_at is None or self._talk.now > self._listed_at + _AGAIN

    def _list(self, call: Message, cursor: str | None, pages: int) -> None:
        if self._listing is not None:
            return
        keys = (VERSION_KEY, CLIENT_KEY, CAPABILITIES_KEY)
        meta = {key: call.meta[key] for key in keys if key in call.meta}
        more = "" if cursor is None else f',"cursor":{cursor}'
        params = f'{{"_meta":{quoted(meta)}{more}}}'
        id = self._talk.own_id()
        message = Message(f'{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{params}}}')
        answers: list[Message] = []

        def heard(exchange: Exchange, message: Message) -> None:
            if message.result is not None and not answers:
                answers.append(message)

        def over(exchange: Exchange) -> None:
            self._listing = None
            self._listed_at = self._talk.now
            if answers:
                self.learn(answers[0].raw("result") or "{}")
                result = answers[0].result or {}
                if result.get("nextCursor") is not None and pages > 1:
                    self._list(call, quoted(result["nextCursor"]), pages - 1)
                    return
            waiting, self._waiting = self._waiting, []
            for send in waiting:
                send()

        fields = fields_of(message)
        self._listing = self._talk.ask(
            "POST", fields, message.text, heard, over, replayable=True, within=PROBE
        )


def _name(message: Message) -> str:
    return str(message.params.get("name", ""))
