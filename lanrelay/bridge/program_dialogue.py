"""A program that speaks MCP by lines, seen as a server of Streamable HTTP; without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from lanrelay.bridge.jsontext import NotJson, line_of
from lanrelay.bridge.messages import Ask, Event, Failure, Fields
from lanrelay.bridge.rpc import SUBSCRIPTION_KEY, Message, key_of, messages_of, notification_text

if TYPE_CHECKING:
    from lanrelay.bridge.seams import Sink

JSON: Fields = (("Content-Type", "application/json"),)
STREAM: Fields = (("Content-Type", "text/event-stream"),)

_SOON = 100
"""
Milliseconds after which the stream of a program that has ended is asked for again, which starts it anew.
"""

_KEPT, _KEPT_BYTES = 1000, 4 * 1024 * 1024
"""Messages, and their bytes, that are kept until the program's stream is asked for."""


class _Open:
    """A request that the program has not answered to the end."""

    __slots__ = ("greets", "id", "modern", "number", "streams", "token")

    def __init__(self, number: int, message: Message) -> None:
        self.number = number
        self.id = message.id or "null"
        self.greets = message.method == "initialize"
        self.modern = message.is_modern
        self.token = message.meta.get("progressToken")
        self.streams = False


class ProgramDialogue:
    """
    One run of a program is one session.

    @param write: takes a line for the program.
    @param later: calls a function in a moment, for the sink hears of an ask only after it was asked.
    @ivar greeted: C{initialize} has come: a second one needs another run.
    """

    def __init__(
        self,
        session: str,
        sink: Sink,
        write: Callable[[bytes], None],
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        self.session = session
        self.greeted = False
        self._sink = sink
        self._write = write
        self._later = later
        self._open: dict[Hashable, _Open] = {}
        self._keys: dict[int, Hashable] = {}
        self._stream: int | None = None
        self._promised: set[int] = set()
        self._kept: deque[str] = deque()
        self._kept_bytes = 0

    def ask(self, ask: Ask) -> None:
        """A POST or a GET."""
        if ask.method == "GET":
            self._promised.add(ask.number)
            self._later(lambda: self._listen(ask.number))
            return
        assert ask.body is not None
        message, *_ = messages_of(ask.body)  # the dialogue sends no batches
        if message.is_response or message.id is None:
            self._write(ask.body)
            self._promised.add(ask.number)
            self._later(lambda: self._took(ask.number))
            return
        older = self._open.get(message.key)
        if older is not None:
            self._keys.pop(older.number, None)
        self._open[message.key] = _Open(ask.number, message)
        self._keys[ask.number] = message.key
        if message.method == "initialize":
            self.greeted = True
        self._write(ask.body)

    def drop(self, number: int) -> None:
        """The dialogue wants no answer any more; in the newest era that is how a request is cancelled."""
        self._promised.discard(number)
        if number == self._stream:
            self._stream = None
        key = self._keys.pop(number, None)
        if key is not None and (request := self._open.pop(key)).modern:
            params = f'{{"requestId":{request.id}}}'
            self._write(line_of(notification_text("notifications/cancelled", params)))

    def said(self, line: bytes) -> None:
        """
        A line of the program.

        @raise NotJson: it is no message.
        """
        for message in messages_of(line):
            if message.is_response:
                self._answer(message)
            elif message.method is not None:
                self._tell(message)
            else:
                raise NotJson("neither a request nor an answer")

    def gone(self, failure: Failure) -> None:
        """The program has ended."""
        failed = (*self._keys, *self._promised)
        self._keys.clear()
        self._promised.clear()
        self._open.clear()
        stream, self._stream = self._stream, None
        for number in failed:
            self._sink.failed(number, failure)
        if stream is not None:
            self._sink.finished(stream)

    # --- what the program says ---

    def _answer(self, message: Message) -> None:
        request = self._open.pop(message.key, None)
        if request is None:
            return  # it was cancelled
        self._keys.pop(request.number, None)
        if request.greets and message.result is None:
            self.greeted = False
        data = line_of(message.text)
        if request.streams:
            self._sink.event(request.number, Event("message", data, None, None))
        else:
            fields = (*JSON, ("Mcp-Session-Id", self.session)) if self.greeted and request.greets else JSON
            self._sink.answered(request.number, 200, "OK", fields)
            self._sink.content(request.number, data)
        self._sink.finished(request.number)

    def _tell(self, message: Message) -> None:
        """Pass a request or a notification to the stream that it belongs to."""
        related = self._related(message)
        if related is not None and message.method == "notifications/cancelled":
            self._end(related)
        elif related is not None:
            self._stream_to(related, message)
        elif self._stream is not None:
            self._sink.event(self._stream, Event("message", line_of(message.text), None, None))
        else:
            self._keep(message.text)

    def _related(self, message: Message) -> _Open | None:
        """The request that a message belongs to: in the newest era, each belongs to one."""
        params = message.params
        if message.method == "notifications/cancelled":
            found = self._open.get(key_of(params.get("requestId")))
            return found if found is not None and found.modern else None
        if SUBSCRIPTION_KEY in message.meta:
            return self._open.get(key_of(message.meta[SUBSCRIPTION_KEY]))
        modern = [request for request in self._open.values() if request.modern]
        if "progressToken" in params:
            token = key_of(params["progressToken"])
            return next((one for one in modern if one.token is not None and key_of(one.token) == token), None)
        return modern[-1] if modern and self._stream is None else None

    def _stream_to(self, request: _Open, message: Message) -> None:
        if not request.streams:
            request.streams = True
            self._sink.answered(request.number, 200, "OK", STREAM)
        self._sink.event(request.number, Event("message", line_of(message.text), None, None))

    def _end(self, request: _Open) -> None:
        """Answer a subscription that the program itself has ended."""
        del self._open[self._keys.pop(request.number)]
        if not request.streams:
            self._sink.answered(request.number, 200, "OK", STREAM)
        self._sink.finished(request.number)

    def _keep(self, text: str) -> None:
        self._kept.append(text)
        self._kept_bytes += len(text)
        while len(self._kept) > _KEPT or self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft())

    # --- what the dialogue asks ---

    def _took(self, number: int) -> None:
        if number not in self._promised:
            return
        self._promised.remove(number)
        self._sink.answered(number, 202, "Accepted", ())
        self._sink.content(number, b"")
        self._sink.finished(number)

    def _listen(self, number: int) -> None:
        if number not in self._promised:
            return
        self._promised.remove(number)
        self._stream = number
        self._sink.answered(number, 200, "OK", STREAM)
        self._sink.event(number, Event("message", b"", None, _SOON))
        while self._kept and self._stream == number:
            text = self._kept.popleft()
            self._kept_bytes -= len(text)
            self._sink.event(number, Event("message", line_of(text), None, None))
