"""One HTTP request of the dialogue, and what came of it."""

from __future__ import annotations

from collections.abc import Callable

from lanrelay.bridge.jsontext import NotJson
from lanrelay.bridge.messages import Ask, Event, Failure, Fields
from lanrelay.bridge.rpc import Message, messages_of

Heard = Callable[["Exchange", Message], None]
Over = Callable[["Exchange"], None]


class Exchange:
    """
    @ivar heard: is called with each message of the answer, of a stream while it comes.
    @ivar over: is called once, after the last message; not after a L{lanrelay.bridge.messages.Drop}.
    @ivar begun: is called with the head of the answer.
    @ivar named: is called with the name and the data of an event that is no message.
    @ivar status: of the answer, 0 while there is none.
    @ivar body: of an answer that is no stream.
    @ivar last_id: of the last event that had an id.
    @ivar retry: seconds to wait before the stream is asked for again, where the server said so.
    @ivar answer: the response, if the one who asked keeps it here.
    @ivar settled: the real answer has come; what follows does not count.
    """

    __slots__ = (
        "answer",
        "asked",
        "begun",
        "body",
        "broken",
        "events",
        "failure",
        "fields",
        "heard",
        "last_id",
        "named",
        "number",
        "over",
        "reason",
        "retry",
        "settled",
        "status",
        "streams",
    )

    def __init__(self, asked: Ask, heard: Heard, over: Over) -> None:
        self.begin_again(asked)
        self.heard = heard
        self.over = over
        self.begun: Over | None = None
        self.named: Callable[[Exchange, str, bytes], None] | None = None
        self.failure: Failure | None = None
        self.last_id: str | None = None
        self.retry: float | None = None
        self.events = 0
        self.settled = False
        self.broken = ""
        self.answer: Message | None = None

    def begin_again(self, asked: Ask) -> None:
        """Forget what has come: it was a redirect and not the answer."""
        self.asked = asked
        self.number = asked.number
        self.status = 0
        self.reason = ""
        self.fields: Fields = ()
        self.streams = False
        self.body = b""

    def field(self, name: str) -> str | None:
        """The value of a field of the answer; C{name} is in lower case."""
        for each, value in self.fields:
            if each.lower() == name:
                return value
        return None

    @property
    def is_good(self) -> bool:
        return self.failure is None and 200 <= self.status < 300

    @property
    def is_stream(self) -> bool:
        """Whether a stream of events has begun, however it ended."""
        return self.streams and 200 <= self.status < 300

    @property
    def content_type(self) -> str:
        return (self.field("content-type") or "").partition(";")[0].strip().lower()

    def head(self, status: int, reason: str, fields: Fields) -> None:
        self.status, self.reason, self.fields = status, reason, fields
        self.streams = self.content_type == "text/event-stream"
        if self.begun is not None:
            self.begun(self)

    def event(self, event: Event) -> None:
        if event.id is not None:
            self.last_id = event.id
        if event.retry is not None:
            self.retry = min(event.retry / 1000, 300)
        self.events += 1
        if event.kind not in ("", "message"):
            if self.named is not None:
                self.named(self, event.kind, event.data)
            return
        if event.data.strip():
            self._read(event.data)

    def finished(self) -> None:
        if self.is_good and not self.streams and self.body.strip():
            self._read(self.body)
        self.over(self)

    def refusal(self) -> Message | None:
        """The JSON-RPC error that is the answer, whatever its status."""
        if self.answer is not None:
            return self.answer
        if self.failure is not None or self.streams:
            return None
        try:
            message, *_ = messages_of(self.body)
        except (NotJson, ValueError):
            return None
        return message if message.is_response else None

    def _read(self, data: bytes) -> None:
        try:
            messages = messages_of(data)
        except NotJson as error:
            self.broken = str(error)
            return
        for message in messages:
            self.heard(self, message)
