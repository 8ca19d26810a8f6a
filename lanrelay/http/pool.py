"""The idle connections to one upstream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from lanrelay.config import model
from lanrelay.http.origin import OriginConnection


class Counted(Shape):
    """The part of an L{Upstream<lanrelay.upstream.upstream.Upstream>} that counts connections in use."""

    open: int


class Pool:
    """
    Keeps connections that can serve another request, and counts those in use.

    The connection used last is taken first, so that the others grow old and close.

    @ivar config: how many are kept, and for how long.
    @ivar upstream: where they lead.
    @param clock: seconds, those that the machine sleeps included; the reactor's if there is none.
    """

    def __init__(
        self,
        reactor: Any,
        config: model.Pool,
        upstream: Counted,
        *,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._reactor = reactor
        self._now: Callable[[], float] = clock or reactor.seconds
        self.config = config
        self.upstream = upstream
        self._idle: deque[tuple[OriginConnection, float]] = deque()  # the oldest first, with when it came
        self._in_use: set[OriginConnection] = set()
        self._timer: Any = None
        self._users = 0
        self._closed = False

    def __len__(self) -> int:
        """How many are idle."""
        return len(self._idle)

    def take(self) -> OriginConnection | None:
        """Take an idle connection, which counts as in use from now on."""
        if not self._idle:
            return None
        now = self._now()
        if now - self._idle[-1][1] >= self.config.idle:
            # This process was held up, or the machine slept: the others are even older.
            self._close_idle()
            return None
        # If it is not quiet, the reactor is about to end it. To leave out this look for a connection that
        # answered less than a millisecond ago would save 5 % of a small exchange's CPU. But with an upstream
        # that closes after each answer without a word, one POST in five on 16 connections was then lost.
        connection = self._idle[-1][0]
        if connection.quiet:
            self._idle.pop()
        else:
            for entry in reversed(self._idle):
                connection = entry[0]
                if connection.quiet:
                    self._idle.remove(entry)
                    break
            else:
                return None
        self._in_use.add(connection)
        self.upstream.open += 1
        return connection

    def adopt(self, connection: OriginConnection) -> None:
        """Count a connection as in use; its C{home} is this pool."""
        self._in_use.add(connection)
        self.upstream.open += 1

    def put(self, connection: OriginConnection) -> bool:
        """Keep a connection, which is idle from now on; C{False} if it is not kept."""
        if self._closed or self.config.size == 0:
            return False
        self._in_use.discard(connection)
        self.upstream.open -= 1
        self._idle.append((connection, self._now()))
        if len(self._idle) > self.config.size:
            self._idle[0][0].close()  # ends in `ended`
        if self._timer is None:
            self._timer = self._reactor.callLater(self.config.idle, self._expire)
        return True

    def ended(self, connection: OriginConnection) -> None:
        """A connection, idle or in use, is of no more use."""
        if connection in self._in_use:
            self._in_use.discard(connection)
            self.upstream.open -= 1
            return
        for entry in self._idle:
            if entry[0] is connection:
                self._idle.remove(entry)
                break

    def share(self) -> None:
        """Another group uses the pool, and owes a L{close}."""
        self._users += 1

    def close(self) -> None:
        """
        A group does not use the pool any more. After the last one, close connections that are idle, and those
        in use when they come back.
        """
        self._users -= 1
        if self._users > 0:
            return
        self._closed = True
        self._close_idle()

    def drop_idle(self) -> None:
        """
        Close idle connections, and those that wait for one client: the network has changed, or the upstream
        is gone.
        """
        self._close_idle()
        for connection in [each for each in self._in_use if each.kept]:
            connection.close()

    def _close_idle(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        for connection, _ in list(self._idle):
            connection.close()

    def _expire(self) -> None:
        self._timer = None
        now = self._now()
        while self._idle and now - self._idle[0][1] >= self.config.idle:
            self._idle[0][0].close()
        if self._idle:
            left = self._idle[0][1] + self.config.idle - now
            self._timer = self._reactor.callLater(max(left, 0.0), self._expire)
