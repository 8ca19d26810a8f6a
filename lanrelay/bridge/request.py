"""A request of the client that waits for its answer."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from lanrelay.bridge.rpc import Message

if TYPE_CHECKING:
    from lanrelay.bridge.exchange import Exchange
    from lanrelay.bridge.timers import Timer

LISTS = {
    "tools/list": ("tools", "notifications/tools/list_changed"),
    "prompts/list": ("prompts", "notifications/prompts/list_changed"),
    "resources/list": ("resources", "notifications/resources/list_changed"),
    "resources/templates/list": ("resourceTemplates", "notifications/resources/list_changed"),
}
"""
The lists that can be remembered: which member is the list, and which notification says that it has changed.
"""

HARMLESS = frozenset(
    (
        *LISTS,
        "completion/complete",
        "initialize",
        "logging/setLevel",
        "ping",
        "prompts/get",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "server/discover",
        "tasks/get",
        "tasks/list",
        "tasks/result",
    )
)
"""Methods that may be called twice."""


class Batch:
    """
    Several messages of one line (2025-03-26): the answers go into one line as well.

    @ivar open: how many have no answer yet.
    """

    __slots__ = ("answers", "open")

    def __init__(self, open: int) -> None:
        self.open = open
        self.answers: list[str] = []


class Request:
    """
    @ivar id: as the client wrote it.
    @ivar said: when the client sent it.
    @ivar deadline: until when it waits for a target that is away.
    @ivar timer: ends its waiting.
    @ivar tries: how often it was sent.
    @ivar answered: the client has an answer; what comes later is only looked at.
    @ivar exchange: the HTTP request that carries it.
    @ivar inner: it is the bridge's own; the client does not know it.
    """

    __slots__ = (
        "answered",
        "batch",
        "carried",
        "deadline",
        "exchange",
        "id",
        "inner",
        "key",
        "message",
        "method",
        "modern",
        "resumed",
        "rounds",
        "said",
        "timer",
        "tries",
    )

    def __init__(self, message: Message, said: float, batch: Batch | None = None) -> None:
        self.message = message
        self.id = message.id or "null"
        self.key: Hashable = message.key
        self.method = message.method or ""
        self.modern = message.is_modern
        self.said = said
        self.batch = batch
        self.deadline: float | None = None
        self.timer: Timer | None = None
        self.tries = 0
        self.resumed = 0
        self.rounds = 0
        self.answered = False
        self.inner = False
        self.exchange: Exchange | None = None
        self.carried: Message = message

    @property
    def is_list(self) -> bool:
        return self.method in LISTS

    @property
    def is_harmless(self) -> bool:
        return self.method in HARMLESS

    @property
    def is_call(self) -> bool:
        return self.method == "tools/call"

    def stop_waiting(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
