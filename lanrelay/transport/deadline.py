"""A time limit that moves often and runs out seldom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Deadline:
    """
    One moment at which something is called, unless it is moved or cleared before.

    Moving it later, and clearing it, touches no timer of the reactor: what is left is worked out when that
    fires. So a connection may move it with each message.

    @param expired: called when the moment has come; it is cleared then.
    """

    __slots__ = ("_at", "_expired", "_fires", "_reactor", "_timer")

    def __init__(self, reactor: Any, expired: Callable[[], None]) -> None:
        self._reactor = reactor
        self._expired = expired
        self._at: float | None = None
        self._timer: Any = None
        self._fires = 0.0

    def set(self, timeout: float | None) -> None:
        """In so many seconds from now; C{None}: never."""
        if timeout is None:
            self._at = None
            return
        self._at = at = self._reactor.seconds() + timeout
        if self._timer is None:
            self._timer = self._reactor.callLater(timeout, self._fired)
            self._fires = at
        elif self._fires > at:
            self._timer.reset(timeout)
            self._fires = at

    def clear(self) -> None:
        """It does not come."""
        self._at = None

    def stop(self) -> None:
        """
        It does not come, ever, and leaves no timer behind; for the end of its owner, which it lets go: each
        knows the other, and would wait for the collector of cycles.
        """
        self._at = None
        self._expired = _nobody
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _fired(self) -> None:
        self._timer = None
        if self._at is None:
            return
        left = self._at - self._reactor.seconds()
        if left > 0:
            self._timer = self._reactor.callLater(left, self._fired)
            self._fires = self._at
        else:
            self._at = None
            self._expired()


def _nobody() -> None:
    """Whose owner has gone."""
