"""A session over Streamable HTTP, 2025-03-26 to 2025-11-25."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lanrelay.bridge.conversation import Conversation
from lanrelay.bridge.exchange import Exchange, Over
from lanrelay.bridge.messages import Failure, Fields
from lanrelay.bridge.refusals import failure_of, is_away, may_be_repeated
from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import LATEST_LEGACY, UNKNOWN_METHOD, Message
from lanrelay.bridge.way import ACCEPT_STREAM, ACKNOWLEDGED, HANDSHAKE, POST_FIELDS, PROBE

if TYPE_CHECKING:
    from lanrelay.bridge.seams import Owner

_RESUMPTIONS = 5
"""How often a stream that brings nothing new is asked for again."""

_SILENCE, _LONGEST_SILENCE = 5.0, 60.0
"""Seconds after which a resumed stream that has brought nothing is asked for again."""

_MUTE = 60.0
"""Seconds after which the stream of the server's own messages, resumed and silent, is asked for anew."""

_SHORTEST, _LONGEST = 1.0, 30.0
"""Seconds between two attempts at the stream of the server's own messages."""


_FORGOTTEN = Failure("reset", "The server has forgotten the session in which it was asked.", "", True)


class Streamable:
    """
    @ivar version: what the server has chosen.
    """

    name = "http"

    def __init__(self, conversation: Conversation, owner: Owner) -> None:
        self._talk = conversation
        self._owner = owner
        self.session: str | None = None
        self.version = ""
        self._opening: Exchange | None = None
        self._confirming: Exchange | None = None
        self._probing: Exchange | None = None
        self._closing: Exchange | None = None
        self._stream: Exchange | None = None
        self._stream_id: str | None = None
        self._stream_was_there = False
        self._pause = _SHORTEST
        self._gone = False

    # --- its beginning ---

    def begin(self, hello: Message) -> None:
        def heard(exchange: Exchange, message: Message) -> None:
            if message.is_response:
                if exchange.answer is None:
                    exchange.answer = message
                    exchange.settled = True
                    over(exchange)
            else:
                self._owner.heard(message)

        def over(exchange: Exchange) -> None:
            if self._opening is not exchange:
                return
            self._opening = None
            answer = exchange.answer
            if answer is not None and answer.result is not None:
                self.session = exchange.field("mcp-session-id")
            if self._gone:
                self._farewell()
            elif answer is not None and answer.result is not None:
                version = answer.result.get("protocolVersion")
                self.version = version if isinstance(version, str) else LATEST_LEGACY
                self._talk.let_linger(exchange)
                self._owner.opened(answer)
            elif answer is not None or not is_away(exchange):
                self._owner.not_this_way(exchange)
            else:
                self._owner.went_down(failure_of(exchange))

        self._opening = self._talk.ask(
            "POST", POST_FIELDS, hello.text, heard, over, replayable=True, within=HANDSHAKE
        )

    def confirm(self, message: Message) -> None:
        def over(exchange: Exchange) -> None:
            self._confirming = None
            if self._gone:
                return
            if self._is_forgotten(exchange):
                self._owner.lost()
            elif is_away(exchange):
                self._owner.went_down(failure_of(exchange))
            else:
                # The stream comes first: a server may ask back on it about any request, else that is lost.
                self._listen()
                self._owner.confirmed()

        self._confirming = self._post(message.text, over, within=PROBE)

    # --- requests ---

    def carry(self, request: Request) -> None:
        request.tries += 1
        request.exchange = self._talk.ask(
            "POST",
            self._fields(),
            request.carried.text,
            lambda exchange, message: self._heard(request, exchange, message),
            lambda exchange: self._over(request, exchange),
            replayable=request.is_harmless,
        )

    def _heard(self, request: Request, exchange: Exchange, message: Message) -> None:
        if not message.is_response:
            self._owner.heard(message)
        elif message.id is None or message.key == request.key:
            exchange.settled = True
            self._talk.let_linger(exchange)
            self._talk.answer(request, message)
        else:
            self._owner.heard(message)

    def _over(self, request: Request, exchange: Exchange) -> None:
        if exchange.settled or (request.answered and not request.inner):
            return
        if self._is_forgotten(exchange):
            if request.tries < 2:
                self._owner.again(request, None)
            else:
                self._talk.fail(request, failure_of(exchange))
            if not self._gone:
                self._owner.lost()
            return
        refusal = exchange.refusal()
        if refusal is not None and not is_away(exchange):
            self._talk.answer(request, refusal)
        elif exchange.is_stream or request.resumed:
            self._stream_broke(request, exchange)
        else:
            self._no_answer(request, exchange)

    def _no_answer(self, request: Request, exchange: Exchange) -> None:
        failure = failure_of(exchange)
        if may_be_repeated(request, exchange):
            self._owner.again(request, failure)
        else:
            self._talk.fail(request, failure, may_have_run=exchange.failure is not None or exchange.is_good)
        if is_away(exchange) and not self._gone:
            self._owner.went_down(failure)

    # --- streams that break ---

    def _stream_broke(self, request: Request, exchange: Exchange) -> None:
        if exchange.events:
            request.resumed = 0
        last_id = exchange.last_id
        supported = exchange.status not in (400, 405) and not self._gone
        if last_id is None or not supported or request.resumed >= _RESUMPTIONS:
            if request.is_harmless and request.tries < 2:
                self._owner.again(request, failure_of(exchange))
            else:
                self._talk.fail(request, _broken(exchange), may_have_run=True)
            return
        request.resumed += 1
        # Not at once: when a server notices the end of the old stream late, it ends the new one, too.
        pause = exchange.retry if exchange.retry is not None else float(request.resumed)
        self._talk.in_seconds(pause, lambda: self._resume(request, last_id, exchange.retry))

    def _resume(self, request: Request, last_id: str, retry: float | None, silence: float = _SILENCE) -> None:
        if request.answered:
            return
        if self._gone:
            self._talk.fail(request, _FORGOTTEN, may_have_run=True)
            return
        request.exchange = exchange = self._talk.ask(
            "GET",
            (ACCEPT_STREAM, *self._session_fields(), ("Last-Event-ID", last_id)),
            None,
            lambda exchange, message: self._heard(request, exchange, message),
            lambda exchange: self._over(request, exchange),
            replayable=True,
        )
        exchange.last_id, exchange.retry = last_id, retry
        self._talk.in_seconds(silence, lambda: self._look_again(request, exchange, 0, silence))

    def _look_again(self, request: Request, exchange: Exchange, events: int, silence: float) -> None:
        """
        The TypeScript SDK gives what it has kept when a stream is resumed, but may write no more to it
        afterwards: a resumed stream that brings nothing is asked for again, with a pause that grows.
        """
        if exchange.number not in self._talk.exchanges or request.answered:
            return
        if exchange.events == events and exchange.last_id is not None:
            self._talk.drop(exchange)
            self._resume(request, exchange.last_id, exchange.retry, min(2 * silence, _LONGEST_SILENCE))
        else:
            seen = exchange.events
            self._talk.in_seconds(_SILENCE, lambda: self._look_again(request, exchange, seen, _SILENCE))

    # --- the rest of what the client says ---

    def notify(self, message: Message) -> None:
        self._post(message.text, self._said)

    def reply(self, message: Message) -> None:
        self._post(message.text, self._said)

    def _said(self, exchange: Exchange) -> None:
        if self._gone:
            return
        if self._is_forgotten(exchange):
            self._owner.lost()
        elif is_away(exchange):
            self._owner.went_down(failure_of(exchange))

    def cancel(self, request: Request, message: Message) -> None:
        """
        Cancel a request. In these eras the end of its stream does not do it, so the notification goes out
        first.
        """
        carried = request.exchange

        def over(exchange: Exchange) -> None:
            self._talk.drop(carried)
            self._said(exchange)

        self._post(message.text, over)

    # --- what the server says by itself ---

    def _listen(self) -> None:
        if self._gone or self._stream is not None:
            return
        resumed = () if self._stream_id is None else (("Last-Event-ID", self._stream_id),)
        self._stream = exchange = self._talk.ask(
            "GET",
            (ACCEPT_STREAM, *self._session_fields(), *resumed),
            None,
            lambda _, message: self._owner.heard(message),
            self._stream_over,
            replayable=True,
        )
        exchange.last_id = self._stream_id
        exchange.begun = self._stream_begun

    def _stream_begun(self, exchange: Exchange) -> None:
        if exchange.is_stream:
            self._stream_was_there = True
            self._pause = _SHORTEST
            if self._stream_id is not None:
                self._talk.in_seconds(_MUTE, lambda: self._look_whether_mute(exchange))
            self._owner.back()

    def _look_whether_mute(self, exchange: Exchange) -> None:
        """
        Find out whether a resumed stream is mute: some servers give what they have kept, and never write
        again.
        """
        if self._stream is exchange and not exchange.events:
            self._talk.drop(exchange)
            self._stream = self._stream_id = None
            self._listen()

    def _stream_over(self, exchange: Exchange) -> None:
        if self._stream is not exchange:
            return
        self._stream = None
        self._stream_id = exchange.last_id
        if exchange.status == 404 and self._stream_was_there and self.session is not None:
            self._owner.lost()
            return
        if (
            exchange.failure is None
            and exchange.status in (400, 404, 405, 501)
            and not self._stream_was_there
        ):
            return  # the server has no such stream
        if exchange.status in (400, 405) and self._stream_id is not None:
            self._stream_id = None  # the server cannot resume after that event
        pause = self._pause if exchange.retry is None else max(exchange.retry, 0.1)
        if not exchange.is_stream:
            self._pause = min(self._pause * 2, _LONGEST)
        if exchange.failure is not None and not exchange.failure.ran:
            self._owner.went_down(exchange.failure)
        self._talk.in_seconds(pause, self._listen)

    # --- whether it is there, and its end ---

    def probe(self) -> None:
        if self._probing is not None:
            return

        def over(exchange: Exchange) -> None:
            self._probing = None
            if self._gone:
                return
            if self._is_forgotten(exchange):
                self._owner.lost()
            elif is_away(exchange):
                self._owner.went_down(failure_of(exchange))
            else:
                self._owner.back()

        self._probing = self._post(
            f'{{"jsonrpc":"2.0","id":{self._talk.own_id()},"method":"ping"}}', over, within=PROBE
        )

    def abandon(self) -> None:
        self._talk.drop(self._opening)
        self._opening = None
        self._let_go()

    def _let_go(self) -> None:
        self._gone = True
        for exchange in (self._stream, self._confirming, self._probing):
            self._talk.drop(exchange)
        self._stream = self._confirming = self._probing = None

    def close(self) -> None:
        """End the session; one that is just being made is waited for, as nobody else would end it."""
        self._let_go()
        if self._opening is None:
            self._farewell()

    def _farewell(self) -> None:
        fields = self._session_fields()
        session, self.session = self.session, None
        if session is None:
            self._owner.ended()
        else:
            self._talk.ask("DELETE", fields, None, _nothing, lambda _: self._owner.ended(), replayable=True)

    # --- helpers ---

    def _post(self, text: str, over: Over, *, within: float = ACKNOWLEDGED) -> Exchange:
        def heard(exchange: Exchange, message: Message) -> None:
            if not message.is_response:
                self._owner.heard(message)

        return self._talk.ask(
            "POST", self._fields(), text, heard, over, replayable=within == PROBE, within=within
        )

    def _fields(self) -> Fields:
        return (*POST_FIELDS, *self._session_fields())

    def _session_fields(self) -> Fields:
        fields: list[tuple[str, str]] = []
        if self.session is not None:
            fields.append(("Mcp-Session-Id", self.session))
        if self.version:
            fields.append(("MCP-Protocol-Version", self.version))
        return tuple(fields)

    def _is_forgotten(self, exchange: Exchange) -> bool:
        """Whether the server refused a request unread because it does not know the session."""
        if self.session is None or exchange.failure is not None:
            return False
        refusal = exchange.refusal()
        if exchange.status == 404:
            return refusal is None or refusal.error_code != UNKNOWN_METHOD
        if exchange.status != 400:
            return False
        return refusal is not None and "session" in refusal.error_text.lower()


def _broken(exchange: Exchange) -> Failure:
    if exchange.failure is not None:
        return exchange.failure
    if not exchange.is_good:
        return failure_of(exchange)
    return Failure("reset", "The server ended its answer before the result came.", "", True)


def _nothing(exchange: Exchange, message: Message) -> None:
    """Take no notice of a message."""
