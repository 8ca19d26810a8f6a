"""Whom each message concerns: the sessions that one program serves, their requests and their streams."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from lanrelay.mcp.known import TOLD_BY, McpServer
from lanrelay.mcp.streams import EventStream, Kept
from lanrelay.mcp.text import Key, Message, NotMcp, error, key_of, read, replaced

VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""The eras that have a handshake."""

_STREAMS_MAX: Final = 64  # that have ended and could be heard again
_ENDED: Final = -32000  # of JSON-RPC's for implementations; the SDKs' "connection closed"
_TOO_LONG: Final = -32603


class Session:
    """
    One client's.

    @ivar version: what was agreed on; empty before.
    @ivar general: the stream of what belongs to no request.
    @ivar streams: by name, the general one too.
    @ivar over: it has ended, and its id is unknown again.
    """

    def __init__(self) -> None:
        self.id = secrets.token_urlsafe(24)
        self.version = ""
        self.over = False
        self._kept = Kept()
        self._names = count(1)
        self.general = EventStream(self._kept, "g", stays=True)
        self.streams: OrderedDict[str, EventStream] = OrderedDict(g=self.general)

    def stream(self, *, takes_events: bool = True) -> EventStream:
        """A new one, for the answers to a POST."""
        stream = EventStream(self._kept, f"p{next(self._names)}", takes_events=takes_events)
        self.streams[stream.name] = stream
        ended = [each for each in self.streams.values() if each.ended and each.listener is None]
        for each in ended[: max(len(self.streams) - _STREAMS_MAX, 0)]:
            del self.streams[each.name]
        return stream

    def find(self, event_id: str) -> tuple[EventStream, int] | None:
        """The stream and the number of an event that the client has heard."""
        name, _, number = event_id.rpartition("-")
        stream = self.streams.get(name)
        return (stream, int(number)) if stream is not None and number.isdecimal() else None


@dataclass(slots=True)
class _Call:
    """A request on its way; C{key}, C{token}: as the client has them."""

    session: Session
    stream: EventStream
    message: Message

    @property
    def key(self) -> Any:
        return self.message.body["id"]


class Carrier:
    """
    One program and the sessions that it serves: one, or all where C{shared} is set.

    Between several sessions ids and progress tokens are made unique; the program is greeted once, and the
    others are told what it answered.

    @param say: given a line for the program, with its end.
    @param note: given a sentence for the log.
    @ivar server: notes what the program says of itself; may be C{None}.
    """

    def __init__(self, say: Callable[[bytes], None], note: Callable[[str], None], *, shared: bool) -> None:
        self._say, self._note, self.shared = say, note, shared
        self.server: McpServer | None = None
        self.sessions: list[Session] = []
        self._calls: dict[Key, _Call] = {}
        self._tokens: dict[Key, _Call] = {}
        self._ids = count(1)
        self._hello: Message | None = None
        self._greeting = False  # it was greeted
        self._greeted = False  # and told so
        self._waiting: list[_Call] = []
        self._garbage = 0

    def add(self, session: Session) -> None:
        """One more is served."""
        self.sessions.append(session)

    def remove(self, session: Session) -> None:
        """The session is gone: its requests are cancelled, and nobody hears of it any more."""
        session.over = True
        if session in self.sessions:
            self.sessions.remove(session)
        for key, call in list(self._calls.items()):
            if call.session is session:
                self._forget(key)
                if self.shared and call.message.method != "initialize":
                    self._tell(
                        '{"jsonrpc":"2.0","method":"notifications/cancelled",'
                        f'"params":{{"requestId":{key[1]}}}}}'
                    )
                elif self.shared:
                    self._calls[key] = call  # the others wait for it, too
                call.stream.put(error(call.key, _ENDED, "the session was ended"), answer=True)
        for stream in session.streams.values():
            stream.end()

    def calls_of(self, session: Session) -> int:
        """How many of its requests have no answer yet."""
        return sum(stream.pending for stream in session.streams.values() if not stream.ended)

    # --- from the client --------------------------------------------------------------------------------

    def client_says(self, session: Session, messages: Sequence[Message], stream: EventStream | None) -> None:
        """
        @param stream: where the requests among them are answered.
        """
        for message in messages:
            if message.is_request:
                assert stream is not None
                stream.pending += 1
        for message in messages:
            if message.is_request:
                assert stream is not None
                self._ask(_Call(session, stream, message))
            elif message.method == "notifications/cancelled":
                self._cancel(session, message)
            elif message.method == "notifications/initialized" and self.shared:
                if not self._greeted:
                    self._greeted = True
                    self._tell(message.text)
            else:
                self._tell(message.text)

    def _ask(self, call: _Call) -> None:
        message = call.message
        if not self.shared:
            assert message.key is not None
            key, text = message.key, message.text
            if key in self._calls:
                call.stream.put(
                    error(call.key, -32600, "a request with this id is being answered"), answer=True
                )
                call.stream.answered()
                return
            if message.token is not None:
                self._tokens[message.token] = call
        else:
            if message.method == "initialize":
                if self._hello is not None:
                    self._welcome(call, self._hello)
                    return
                if self._greeting:
                    self._waiting.append(call)
                    return
                self._greeting = True
            number = next(self._ids)
            key, text = ("number", number), replaced(message.text, ["id"], number)
            if message.token is not None:
                text = replaced(text, ["params", "_meta", "progressToken"], number)
                self._tokens[key] = call
        self._calls[key] = call
        self._tell(text)

    def _cancel(self, session: Session, message: Message) -> None:
        wanted = key_of(message.params.get("requestId"))
        for key, call in list(self._calls.items()):
            if call.session is session and call.message.key == wanted:
                text = message.text
                self._tell(replaced(text, ["params", "requestId"], key[1]) if self.shared else text)
                self._forget(key)
                call.stream.answered()
                return
        if not self.shared:
            self._tell(message.text)

    def _forget(self, key: Key) -> None:
        call = self._calls.pop(key)
        token = key if self.shared else call.message.token
        if token is not None:
            self._tokens.pop(token, None)

    def _tell(self, text: str) -> None:
        self._say(text.encode("utf-8", "replace") + b"\n")

    # --- from the program -------------------------------------------------------------------------------

    def program_says(self, line: bytes) -> None:
        """One line, without its end."""
        if not line.strip():
            return
        try:
            messages, _ = read(line)
        except NotMcp as wrong:
            self._garbage += 1
            if self._garbage & (self._garbage - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                shown = line[:200].decode("utf-8", "replace")
                shown = "".join(each if each.isprintable() else "?" for each in shown)
                self._note(f"what the program says is {wrong} (so far {self._garbage} lines): {shown}")
            return
        for message in messages:
            if message.is_response:
                self._answer(message)
            else:
                self._news(message)

    def too_long(self, length: int, identity: str | int | None) -> None:
        """A line was thrown away."""
        self._note(f"a line of {length} bytes from the program is too long, and was thrown away")
        call = None if identity is None else self._calls.get(key_of(identity) or ("", ""))
        if call is not None:
            text = error(identity, _TOO_LONG, f"the program's answer of {length} bytes is too long")
            self._answer(read(text.encode())[0][0])

    def _answer(self, message: Message) -> None:
        call = None if message.key is None else self._calls.get(message.key)
        if call is None:
            return  # cancelled meanwhile
        assert message.key is not None
        self._forget(message.key)
        if call.message.method == "initialize":
            result = message.body.get("result")
            if self.shared:
                self._greeted_by(message, good=isinstance(result, dict))
        self._give(call, message)

    def _give(self, call: _Call, message: Message) -> None:
        result, method = message.body.get("result"), call.message.method
        if method in TOLD_BY and isinstance(result, dict):
            if method == "initialize":
                call.session.version = str(result.get("protocolVersion", ""))
            if self.server is not None:
                self.server.told(method, result, first="cursor" not in call.message.params)
        text = replaced(message.text, ["id"], call.key) if self.shared else message.text
        call.stream.put(text, answer=True)
        call.stream.answered()

    def _greeted_by(self, message: Message, *, good: bool) -> None:
        waiting, self._waiting = self._waiting, []
        if good:
            self._hello = message
            for call in waiting:
                self._give(call, message)
        else:
            self._greeting = False
            for call in waiting:
                self._ask(call)

    def _welcome(self, call: _Call, hello: Message) -> None:
        self._give(call, hello)

    def _news(self, message: Message) -> None:
        if message.method == "notifications/progress":
            token = key_of(message.params.get("progressToken"))
            call = None if token is None else self._tokens.get(token)
            if call is not None and call.stream.takes_events:
                text = message.text
                if self.shared and call.message.token is not None:
                    text = replaced(text, ["params", "progressToken"], call.message.token[1])
                call.stream.put(text)
                return
            if call is not None or self.shared:
                return
        if message.is_request:
            session = self._asked()
            if session is None:
                self._tell(error(message.body["id"], -32603, "no client is connected"))
            else:
                self._stream_for(session, message).put(message.text)
        else:
            for session in self.sessions:
                self._stream_for(session, message).put(message.text)

    def _asked(self) -> Session | None:
        """
        The session that a question of the program is for: one whose request is under way, the last one first.
        """
        for call in reversed(self._calls.values()):
            if call.stream.takes_events and not call.session.over:
                return call.session
        heard = [session for session in self.sessions if session.general.listener is not None]
        there = heard or self.sessions
        return there[-1] if there else None

    def _stream_for(self, session: Session, message: Message) -> EventStream:
        """
        The stream of one of its requests, because most of what a program says has to do with one; else
        C{general}.
        """
        if message.method.endswith("/list_changed") and session.general.listener is not None:
            return session.general
        for call in reversed(self._calls.values()):
            if call.session is session and call.stream.takes_events:
                return call.stream
        return session.general

    def ended(self, cause: str) -> None:
        """The program has ended: those who wait are told."""
        for call in [*self._calls.values(), *self._waiting]:
            stream = call.stream
            stream.cause = stream.cause or cause
            stream.put(error(call.key, _ENDED, cause), answer=True)
            stream.answered()
        self._calls.clear()
        self._tokens.clear()
        self._waiting.clear()
        sessions, self.sessions = self.sessions, []
        for session in sessions:
            session.over = True
            for stream in session.streams.values():
                stream.end(cause)
