"""What the parts of the dialogue share: the open requests, what is to be said, and the time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, NamedTuple

from lanrelay.bridge.exchange import Exchange, Heard, Over
from lanrelay.bridge.jsontext import line_of
from lanrelay.bridge.messages import Action, Ask, Drop, Failure, Fields, Note, Say
from lanrelay.bridge.recall import Recall
from lanrelay.bridge.request import LISTS, Batch, Request
from lanrelay.bridge.rpc import (
    NO_TARGET,
    Message,
    error_text,
    failed_call,
    notification_text,
    quoted,
    result_text,
)
from lanrelay.bridge.timers import Timer, Timers

if TYPE_CHECKING:
    from lanrelay.bridge.alive import Alive
    from lanrelay.bridge.filters import Filters
    from lanrelay.bridge.seams import Remembered

_LINGERING = 5.0
"""Seconds that an exchange may stay open whose answer has come."""

_MOVES = 5
"""Redirects that are followed in all."""

MAY_HAVE_RUN = "The tool may have run; it is not called again by itself."


class Settings(NamedTuple):
    """
    @ivar transport: C{auto}, C{http} or C{sse}.
    @ivar hold: seconds that C{initialize} waits for a target that is away.
    @ivar call_hold: seconds that anything else waits for it.
    @ivar path: of the target, to which an C{endpoint} of HTTP+SSE may be relative.
    @ivar origin: of the target, as C{https://nas.lan:8443}; redirects are followed within it.
    """

    transport: str = "auto"
    ignore_tools: tuple[str, ...] = ()
    only_tools: tuple[str, ...] = ()
    hold: float = 20.0
    call_hold: float = 5.0
    remembered: Remembered | None = None
    path: str = "/"
    origin: str = ""


class Conversation:
    """
    @ivar requests: those of the client that have no answer yet, by their keys.
    @ivar on_list_changed: is called when a list differs from what the client has; says whether it has told
        the client.
    """

    def __init__(self, settings: Settings, now: float) -> None:
        self.settings = settings
        self.now = now
        self.timers = Timers()
        self.recall = Recall(settings.remembered)
        self.filters: Filters | None = None
        if settings.ignore_tools or settings.only_tools:
            from lanrelay.bridge.filters import Filters

            self.filters = Filters(settings.ignore_tools, settings.only_tools)
        self.requests: dict[Hashable, Request] = {}
        self.exchanges: dict[int, Exchange] = {}
        self.waiting_bytes = 0
        self.on_list_changed: Callable[[Request, str], bool] = lambda request, method: False
        self._alive: Alive | None = None
        self._out: list[Action] = []
        self._number = 0
        self._path: str | None = None
        self._paths: list[str | None] = [None]
        self._own = 0

    def taken(self) -> list[Action]:
        out, self._out = self._out, []
        return out

    def own_id(self) -> str:
        """An id, as JSON, for a request of the bridge's own."""
        self._own += 1
        return f'"lanrelay-{self._own}"'

    def in_seconds(self, seconds: float, due: Callable[[], None]) -> Timer:
        return self.timers.at(self.now + seconds, due)

    # --- to the server ---

    def ask(
        self,
        method: str,
        fields: Fields,
        body: str | None,
        heard: Heard,
        over: Over,
        *,
        path: str | None = None,
        replayable: bool = False,
        within: float | None = None,
    ) -> Exchange:
        """
        @param within: seconds until the answer begins; requests of the client have no such limit.
        """
        self._number += 1
        data = None if body is None else line_of(body)
        asked = Ask(self._number, method, self._path if path is None else path, fields, data, replayable)
        exchange = Exchange(asked, heard, over)
        self.exchanges[exchange.number] = exchange
        self._out.append(asked)
        if within is not None:
            self.in_seconds(within, lambda: self._too_slow(exchange, within))
        return exchange

    def _too_slow(self, exchange: Exchange, within: float) -> None:
        if exchange.number in self.exchanges and exchange.status == 0:
            self.drop(exchange)
            said = f"The server did not answer within {within:g} seconds."
            exchange.failure = Failure("http_timeout", said, "It may be slow, or hang.", True)
            exchange.over(exchange)

    def moved(self, exchange: Exchange) -> bool:
        """
        Whether the answer is a redirect that is followed. The request is sent anew, as the server ran
        nothing.
        """
        location = exchange.field("location")
        if location is None or exchange.asked.path not in self._paths:
            return False
        from lanrelay.bridge.redirects import STATUSES, path_of

        path = path_of(location, self.settings.origin, exchange.asked.path or self.settings.path)
        if exchange.status not in STATUSES or path is None:
            return False
        if path != self._path:
            if len(self._paths) > _MOVES:
                return False
            self._path = path
            self._paths.append(path)
            self.note("the target's path is another, as it says by a redirect")
        elif exchange.asked.path == path:
            return False  # it leads to itself
        self._number += 1
        exchange.begin_again(exchange.asked._replace(number=self._number, path=path))
        self.exchanges[exchange.number] = exchange
        self._out.append(exchange.asked)
        return True

    def drop(self, exchange: Exchange | None) -> None:
        if exchange is not None and self.exchanges.pop(exchange.number, None) is not None:
            self._out.append(Drop(exchange.number))

    def let_linger(self, exchange: Exchange | None) -> None:
        """The answer has come. A server that does not end the stream then may not keep the connection."""
        if exchange is not None and exchange.number in self.exchanges:
            self.in_seconds(_LINGERING, lambda: self.drop(exchange))

    # --- to the client ---

    def say(self, text: str) -> None:
        self._out.append(Say(line_of(text)))

    def note(self, text: str, *, warning: bool = False) -> None:
        self._out.append(Note(text, warning))

    def pass_on(self, message: Message) -> None:
        """Pass on what the server says by itself."""
        if self._alive is not None and message.method == "notifications/progress":
            self._alive.heard(message.params)
        self.say(message.text)

    def keep_alive(self, request: Request, token: object) -> None:
        """Tell the client from time to time that a call is still under way."""
        if self._alive is None:
            from lanrelay.bridge.alive import Alive

            self._alive = Alive(self.in_seconds, self.say)
        self._alive.watch(request, token)

    def open(self, request: Request) -> None:
        self.requests[request.key] = request
        self.waiting_bytes += len(request.message.text)

    def _close(self, request: Request) -> None:
        request.stop_waiting()
        request.answered = True
        if self.requests.get(request.key) is request:
            del self.requests[request.key]
            self.waiting_bytes -= len(request.message.text)

    def answer(self, request: Request, message: Message) -> None:
        """The server's answer, of whatever id, becomes the client's."""
        if request.is_list and message.result is not None:
            message = self._list_came(request, message)
        if not request.answered:
            self._end(request, message.with_id(request.id))

    def _end(self, request: Request, text: str) -> None:
        if request.answered:
            return
        self._close(request)
        if not request.inner:
            self._give(request.batch, text)

    def give_result(self, request: Request, result: str) -> None:
        """Give the client an answer of our own."""
        self._end(request, result_text(request.id, result))

    def refuse(self, request: Request, code: int, sentence: str, data: str | None = None) -> None:
        self._end(request, error_text(request.id, code, sentence, data))

    def fail(self, request: Request, failure: Failure, *, may_have_run: bool = False) -> None:
        """The server will not answer: say so."""
        if request.answered or request.inner:
            self._close(request)
            return
        if request.is_call:
            sentence = f"{failure} {MAY_HAVE_RUN}" if may_have_run else str(failure)
            self.give_result(request, failed_call(sentence, modern=request.modern))
        elif not self.give_remembered(request):
            data = quoted({"cause": failure.cause, "by": "lanrelay"})
            self.refuse(request, NO_TARGET, str(failure), data)

    def forget(self, request: Request) -> None:
        """The client wants no answer any more."""
        if request.answered:
            return
        self._close(request)
        if request.batch is not None:
            self._give(request.batch, None)

    def give_remembered(self, request: Request) -> bool:
        """Answer a list, or a ping, from memory; gives whether that was possible."""
        if request.answered or request.inner:
            return False
        if request.method == "ping":
            self.give_result(request, "{}")
            return True
        result = self.recall.listed(request) if request.is_list else None
        if result is None:
            return False
        self.recall.gave(request, result, from_memory=True)
        self.note(f"{request.method} is answered from memory")
        self.give_result(request, self._shown(request, result))
        return True

    def has_remembered(self, request: Request) -> bool:
        return request.method == "ping" or (request.is_list and self.recall.listed(request) is not None)

    def _give(self, batch: Batch | None, text: str | None) -> None:
        if batch is None:
            if text is not None:
                self.say(text)
            return
        if text is not None:
            batch.answers.append(text)
        batch.open -= 1
        if batch.open == 0 and batch.answers:
            self.say(f"[{','.join(batch.answers)}]")

    def give_in_batch(self, batch: Batch | None, text: str) -> None:
        """Answer a member of a batch that is no valid request."""
        self._give(batch, text)

    # --- lists ---

    def _list_came(self, request: Request, message: Message) -> Message:
        result = message.raw("result") or "{}"
        differs = self.recall.learn_list(request, result)
        if not request.answered and not request.inner:
            self.recall.gave(request, result)
        elif differs:
            self.recall.gave(request, result)  # so that the change is told once
            changed = LISTS[request.method][1]
            if not self.on_list_changed(request, changed):
                self.say(notification_text(changed))
        shown = self._shown(request, result)
        return message if shown is result else message.with_result(shown)

    def _shown(self, request: Request, result: str) -> str:
        if self.filters is None or request.method != "tools/list":
            return result
        return self.filters.sifted(result)

    def lets(self, tool: object) -> bool:
        """Whether the client may call it."""
        return self.filters is None or self.filters.let(tool)
