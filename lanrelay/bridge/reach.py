"""How requests get to a target that may be slow, away, or back again: the same for every era."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from lanrelay.bridge.conversation import Conversation
from lanrelay.bridge.messages import Failure
from lanrelay.bridge.refusals import logged
from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import Message
from lanrelay.bridge.timers import Timer

if TYPE_CHECKING:
    from lanrelay.bridge.seams import Way

_PATIENCE = 2.0
"""Seconds that a list waits for a target that is slow, where an older list is known."""

_SOON, _LONGEST = 0.25, 15.0
"""Seconds between two attempts to reach the target."""

_SILENT = Failure(
    "http_timeout", "The target has not answered yet.", "It may be slow, or be starting.", False
)


class State(enum.Enum):
    IDLE = enum.auto()
    OPENING = enum.auto()
    CONFIRMING = enum.auto()
    OPEN = enum.auto()
    DOWN = enum.auto()


class Reach:
    """
    @ivar failure: why the target was not reached the last time; C{None} while it is.
    @ivar has_ended: the client has gone, and the server knows.
    """

    modern = False

    def __init__(self, conversation: Conversation) -> None:
        self._talk = conversation
        self.state = State.IDLE
        self.failure: Failure | None = None
        self.has_ended = False
        self._way: Way | None = None
        self._held: list[Request] = []
        self._retry: Timer | None = None
        self._pause = _SOON
        self._closing = False

    def _begin(self) -> None:
        """Reach the target for the first time, or anew."""
        raise NotImplementedError

    # --- requests ---

    def carry(self, request: Request) -> None:
        if self.state is State.OPEN and self.failure is None:
            self._send(request)
            return
        if self.failure is not None and self._talk.give_remembered(request):
            self._try_soon()
            return
        self._hold(request)
        self._try_soon()

    def _send(self, request: Request) -> None:
        assert self._way is not None
        if not request.inner:
            request.stop_waiting()
            if self._talk.has_remembered(request):
                patience = request.said + _PATIENCE - self._talk.now
                request.timer = self._talk.in_seconds(
                    max(patience, 0), lambda: void(self._talk.give_remembered(request))
                )
        self._way.carry(request)

    def _hold(self, request: Request) -> None:
        self._held.append(request)
        if request.timer is not None or request.inner:
            return
        hold = _PATIENCE if self._talk.has_remembered(request) else self._talk.settings.call_hold
        if request.deadline is None:
            request.deadline = hold + (self._talk.now if request.tries else request.said)
        if request.deadline <= self._talk.now:
            self._waited_enough(request)
        else:
            left = request.deadline - self._talk.now
            request.timer = self._talk.in_seconds(left, lambda: self._waited_enough(request))

    def _waited_enough(self, request: Request) -> None:
        if request.answered:
            return
        if request in self._held:
            self._held.remove(request)
        self._talk.fail(request, self.failure or _SILENT)

    def again(self, request: Request, failure: Failure | None) -> None:
        if request.answered and not request.inner:
            return
        self._hold(request)
        if failure is not None and self.state is State.OPEN:
            self.went_down(failure)

    def cancel(self, request: Request, message: Message) -> None:
        if request in self._held:
            self._held.remove(request)
        elif request.exchange is not None and self._way is not None:
            self._way.cancel(request, message)

    # --- how the target is reached ---

    def back(self) -> None:
        """The target answers."""
        was_away = self.failure is not None
        self.failure = None
        self._pause = _SOON
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self.state is State.OPEN:
            if was_away:
                self._talk.note("the target is back")
                self._talk.recall.session += 1  # the server may have been started anew, with other lists
            self._release()
            self._refresh()

    def _release(self) -> None:
        held, self._held = self._held, []
        for request in held:
            if not request.answered or request.inner:
                self._send(request)

    def went_down(self, failure: Failure) -> None:
        if self.failure is None or str(self.failure) != str(failure):
            self._talk.note(f"the target is away: {logged(failure)}", warning=True)
        self.failure = failure
        if self.state is not State.OPEN:
            self.state = State.DOWN
        for request in list(self._held):
            if self._talk.give_remembered(request):
                self._held.remove(request)
        if self._retry is None and not self._closing:
            self._retry = self._talk.in_seconds(self._pause, self._try)
            self._pause = min(self._pause * 2, _LONGEST)

    def _try_soon(self) -> None:
        """A request waits: cut short the pause, which may have grown long."""
        if self.state is State.IDLE:
            self._begin()
        elif self._retry is not None and self._retry.at > self._talk.now + _SOON:
            self._retry.cancel()
            self._pause = 2 * _SOON
            self._retry = self._talk.in_seconds(_SOON, self._try)

    def _try(self) -> None:
        self._retry = None
        if self._closing:
            return
        if self.state is State.OPEN and self._way is not None:
            self._way.probe()
        else:
            self._begin()

    # --- requests of the bridge's own ---

    def _refresh(self) -> None:
        """Ask anew for each list that the client has from an earlier session."""
        for request in self._talk.recall.of_old():
            if request.modern == self.modern:
                self._send(self._inner(request.message))

    def _inner(self, message: Message) -> Request:
        request = Request(Message(message.with_id(self._talk.own_id())), self._talk.now)
        request.inner = True
        return request

    # --- its end ---

    def close(self) -> None:
        """The client has gone; C{has_ended} is true when the server knows."""
        self._closing = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._way is None:
            self.has_ended = True
        else:
            self._way.close()

    def ended(self) -> None:
        self.has_ended = self._closing


def void(value: object) -> None:
    """Make a function that gives no value, as a timer wants it."""
