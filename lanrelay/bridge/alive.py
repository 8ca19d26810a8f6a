"""Tells a client that a call is still under way when the server says nothing about it for long."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import isfinite
from typing import TYPE_CHECKING, Any

from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import key_of, notification_text, quoted

if TYPE_CHECKING:
    from lanrelay.bridge.timers import Timer

EVERY = 25.0
"""
Seconds of silence. The SDKs give a request up after 60; each progress has them count anew if their host wants
that; Claude Code ends a call of which it has heard nothing for 30 minutes.
"""

LONGEST = 6 * 3600.0
"""Seconds after which a call is left to the client's own patience: perhaps the server hangs."""

_STEP = 1e-6
"""
What each progress of ours adds: progress must grow, and the server's next is larger than any sum of these.
"""


class Alive:
    def __init__(
        self, in_seconds: Callable[[float, Callable[[], None]], Timer], say: Callable[[str], None]
    ) -> None:
        self._in_seconds = in_seconds
        self._say = say
        self._calls: dict[Hashable, _Call] = {}

    def watch(self, request: Request, token: Any) -> None:
        """
        Watch a call until it is answered. The client has given a token, so it wants to hear of progress.
        """
        key = key_of(token)
        call = self._calls[key] = _Call(request, quoted(token))
        self._in_seconds(EVERY, lambda: self._look(key, call, 1))

    def heard(self, params: dict[str, Any]) -> None:
        """Progress of the server's own."""
        call = self._calls.get(key_of(params.get("progressToken")))
        if call is not None:
            call.is_silent = False
            call.told = params

    def _look(self, key: Hashable, call: _Call, count: int) -> None:
        if call.request.answered or count * EVERY > LONGEST:
            if self._calls.get(key) is call:
                del self._calls[key]
            return
        if call.is_silent and call.request.tries:  # it was sent
            self._say(notification_text("notifications/progress", call.progress(count)))
        call.is_silent = True
        self._in_seconds(EVERY, lambda: self._look(key, call, count + 1))


class _Call:
    """
    @ivar is_silent: the server has said nothing since the last look.
    @ivar told: the parameters of its last progress.
    """

    __slots__ = ("is_silent", "request", "token", "told")

    def __init__(self, request: Request, token: str) -> None:
        self.request = request
        self.token = token
        self.is_silent = True
        self.told: dict[str, Any] = {}

    def progress(self, count: int) -> str:
        try:
            before = float(self.told.get("progress", 0))
        except (TypeError, ValueError):
            before = 0.0
        if not isfinite(before):  # 1e999, which JSON can say and we cannot
            before = 0.0
        told = f'{{"progressToken":{self.token},"progress":{before + count * _STEP:.6f}'
        for name in ("total", "message"):  # a client that shows a bar goes on showing it
            if name in self.told:
                told += f',"{name}":{quoted(self.told[name])}'
        return told + "}"
