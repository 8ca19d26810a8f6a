"""
A session over HTTP+SSE, 2024-11-05: one stream for all that the server says, and a POST for each message.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING

from lanrelay.bridge.conversation import Conversation
from lanrelay.bridge.exchange import Exchange, Over
from lanrelay.bridge.messages import Failure
from lanrelay.bridge.redirects import joined
from lanrelay.bridge.refusals import failure_of, is_away, may_be_repeated
from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import Message
from lanrelay.bridge.timers import Timer
from lanrelay.bridge.way import ACCEPT_STREAM, ACKNOWLEDGED, HANDSHAKE, JSON, POST_FIELDS, PROBE

if TYPE_CHECKING:
    from lanrelay.bridge.seams import Owner

_ENDPOINT = 5.0
"""Seconds until the first event, which says where to post."""

_ABSOLUTE = re.compile(r"https?://[^/?#]*", re.IGNORECASE).match

_ENDED = Failure("reset", "The server ended its stream before the result came.", "", True)


class Sse:
    name = "sse"

    def __init__(self, conversation: Conversation, owner: Owner) -> None:
        self._talk = conversation
        self._owner = owner
        self._stream: Exchange | None = None
        self._endpoint = ""
        self._hello: Message | None = None
        self._timer: Timer | None = None
        self._sent: dict[Hashable, Request] = {}
        self._opening: Exchange | None = None
        self._gone = False

    # --- its beginning ---

    def begin(self, hello: Message) -> None:
        self._hello = hello
        self._stream = stream = self._talk.ask(
            "GET", (ACCEPT_STREAM,), None, self._heard, self._stream_over, replayable=True
        )
        stream.named = self._named
        stream.begun = self._stream_begun

    def _stream_begun(self, exchange: Exchange) -> None:
        if exchange.is_stream:
            self._timer = self._talk.in_seconds(_ENDPOINT, lambda: self._no_endpoint(exchange))

    def _no_endpoint(self, exchange: Exchange) -> None:
        if self._stream is exchange:
            self._talk.drop(exchange)
            self._stream = None
            self._owner.not_this_way(exchange)

    def _named(self, exchange: Exchange, name: str, data: bytes) -> None:
        if name != "endpoint" or self._endpoint or self._hello is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._endpoint = _path(data.decode("utf-8", "replace").strip(), self._talk.settings.path)
        self._opening = self._post(self._hello.text, self._first_over)
        self._timer = self._talk.in_seconds(HANDSHAKE, lambda: self._not_greeted(exchange))

    def _not_greeted(self, exchange: Exchange) -> None:
        if self._stream is exchange and self._hello is not None:
            self._fall(
                Failure("http_timeout", "The server has taken initialize, and does not answer.", "", True)
            )

    def _first_over(self, exchange: Exchange) -> None:
        if self._gone or (exchange.is_good and not _has_taken_nothing(exchange)):
            return
        if is_away(exchange):
            self._fall(failure_of(exchange))
        else:
            self._owner.not_this_way(exchange)

    def _heard(self, exchange: Exchange, message: Message) -> None:
        if self._hello is not None and message.is_response and message.key == self._hello.key:
            self._hello = None
            if self._timer is not None:
                self._timer.cancel()
            self._talk.let_linger(self._opening)
            if message.result is not None:
                self._owner.opened(message)
                return
            exchange.answer = message
            self._talk.drop(exchange)
            self._stream = None
            self._owner.not_this_way(exchange)
            return
        if message.is_response:
            request = self._sent.pop(message.key, None)
            if request is not None:
                self._talk.let_linger(request.exchange)
        self._owner.heard(message)

    def confirm(self, message: Message) -> None:
        def over(exchange: Exchange) -> None:
            if self._gone:
                return
            if exchange.is_good:
                self._owner.confirmed()
            elif is_away(exchange):
                self._fall(failure_of(exchange))
            else:
                self._owner.lost()

        self._post(message.text, over, within=PROBE)

    # --- requests ---

    def carry(self, request: Request) -> None:
        request.tries += 1
        self._sent[request.key] = request
        text = request.carried.text
        request.exchange = self._post(text, lambda exchange: self._posted(request, exchange), request)

    def _posted(self, request: Request, exchange: Exchange) -> None:
        if request.answered or (exchange.is_good and not _has_taken_nothing(exchange)):
            return  # the answer comes on the stream
        self._sent.pop(request.key, None)
        failure = failure_of(exchange)
        if exchange.status in (400, 404) and exchange.refusal() is None and request.tries < 2:
            self._owner.again(request, None)
            if not self._gone:
                self._owner.lost()
        elif may_be_repeated(request, exchange):
            self._owner.again(request, failure)
        elif (refusal := exchange.refusal()) is not None and not is_away(exchange):
            self._talk.answer(request, refusal)
        else:
            self._talk.fail(request, failure, may_have_run=exchange.failure is not None)

    def notify(self, message: Message) -> None:
        self._post(message.text, _nothing, within=ACKNOWLEDGED)

    def reply(self, message: Message) -> None:
        self._post(message.text, _nothing, within=ACKNOWLEDGED)

    def cancel(self, request: Request, message: Message) -> None:
        self._sent.pop(request.key, None)
        self._post(message.text, _nothing, within=ACKNOWLEDGED)

    # --- its end ---

    def _stream_over(self, exchange: Exchange) -> None:
        if self._stream is not exchange:
            return
        self._stream = None
        if self._timer is not None:
            self._timer.cancel()
        if not self._endpoint:
            if is_away(exchange):
                self._owner.went_down(failure_of(exchange))
            else:
                self._owner.not_this_way(exchange)
            return
        self._fall(exchange.failure or _ENDED)

    def _fall(self, failure: Failure) -> None:
        """The stream is gone, and with it the session."""
        was_open = self._hello is None
        self._let_go(failure)
        if was_open:
            self._owner.lost()
        else:
            self._owner.went_down(failure)

    def probe(self) -> None:
        """Nothing to do: the stream shows whether the target is back."""
        if self._stream is not None:
            self._owner.back()

    def abandon(self) -> None:
        self._let_go(_ENDED)

    def _let_go(self, failure: Failure) -> None:
        """Nothing that was sent will be answered any more."""
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
        self._talk.drop(self._stream)
        self._stream = None
        sent, self._sent = self._sent, {}
        for request in sent.values():
            if request.answered and not request.inner:
                continue
            if request.is_harmless and request.tries < 2:
                self._owner.again(request, None)
            else:
                self._talk.fail(request, failure, may_have_run=True)

    def close(self) -> None:
        self.abandon()
        self._owner.ended()

    def _post(
        self, text: str, over: Over, request: Request | None = None, *, within: float | None = None
    ) -> Exchange:
        """
        @param within: seconds until it is acknowledged; no limit for a request, which may be answered in the
            post.
        """

        def heard(exchange: Exchange, message: Message) -> None:
            """Take a message from the post's own answer, where some servers put it."""
            self._heard(exchange, message)

        return self._talk.ask(
            "POST",
            POST_FIELDS,
            text,
            heard,
            over,
            path=self._endpoint,
            replayable=request is None or request.is_harmless,
            within=within,
        )


def _path(said: str, base: str) -> str:
    """
    The path of the endpoint. Of a whole URL only the path counts: only the target's origin is ever asked, and
    servers behind a proxy do not know their own.
    """
    match = _ABSOLUTE(said)
    if match:
        said = said[match.end() :] or "/"
        return said if said.startswith("/") else "/" + said
    if said.startswith("//"):
        return "/" + said[2:].partition("/")[2]
    return joined(said, base)


def _has_taken_nothing(exchange: Exchange) -> bool:
    """Whether the answer is a web page or broken JSON, which shows that the server has taken nothing."""
    return exchange.content_type == "text/html" or bool(exchange.broken and exchange.content_type == JSON[1])


def _nothing(exchange: Exchange) -> None:
    """Nothing to do, whatever came of it."""
