"""Asking an upstream in the background whether it is there."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from lanrelay.config import model
from lanrelay.errors import CheckFailed, DialError, HostRefused, PeerClosed
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.upstream.upstream import Upstream

FIRST = 0.5
"""Seconds at most from the start to the first check: the listeners come first."""

SOON = 0.2
"""Seconds at most to a check that is wanted at once; they should not all go out in the same moment."""

JITTER = 0.2
"""An interval may be shorter by this part of it, so that checks do not march in step."""

LONGEST_HEAD = 16384
"""Bytes that interim answers may take before the status that counts."""


class HealthCheck:
    """
    Checks one upstream from L{start} to L{stop}, and tells it the outcome.

    A check is a connection (with TLS where the upstream has it), or a GET of C{path} whose answer's status
    decides; each step has C{timeout} seconds. The next check comes C{interval} after the end of the last, or
    C{down_interval} while the upstream is down or one failure short of it; dials that fail in between make
    it come sooner. The log says once that it went down and once that it is back: the upstream sees to that.

    @param rng: a number from 0 to 1.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        upstream: Upstream,
        config: model.Health,
        *,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._reactor = reactor
        self._upstream = upstream
        self._config = config
        self._rng = rng
        self._timer: Any = None
        self._running: Deferred[None] | None = None
        self._users = 0

    def start(self) -> None:
        """Begin; the first check comes a moment later. A second start shares the checks that run already."""
        self._users += 1
        if self._timer is None and self._running is None:
            self._upstream.observers.append(self._hurry)
            self._timer = self._reactor.callLater(FIRST * self._rng(), self._begin)

    def stop(self) -> None:
        """
        Stop for one of those that started it; the last one ends the checks. A check under way is given up and
        counts for nothing.
        """
        self._users = max(self._users - 1, 0)
        if self._users:
            return
        if self._hurry in self._upstream.observers:
            self._upstream.observers.remove(self._hurry)
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def check_soon(self) -> None:
        """
        Check at once, because what is known is old. A check under way, which began before, is given up.

        Nothing happens if no checks were started.
        """
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
        elif self._timer is None:
            return
        else:
            self._timer.cancel()
        self._timer = self._reactor.callLater(SOON * self._rng(), self._begin)

    def _begin(self) -> None:
        self._timer = None
        running = self._running = Deferred.fromCoroutine(self._check())
        running.addBoth(self._done, running)

    def _done(self, result: Failure | None, running: Deferred[None]) -> None:
        if isinstance(result, Failure) and not isinstance(result.value, CancelledError):
            self.log.failure("bug in the health check of {upstream}", result, upstream=self._upstream.name)
        if self._running is not None:  # else it was stopped
            self._running = None
            self._timer = self._reactor.callLater(self._pause(), self._begin)

    def _pause(self) -> float:
        seconds = self._config.interval
        if self._upstream.doubtful:
            seconds = min(seconds, self._config.down_interval)
        return seconds * (1 - JITTER * self._rng())

    def _hurry(self) -> None:
        """A dial has failed, and the next check is far."""
        if self._timer is not None and self._upstream.doubtful:
            pause = self._pause()
            if self._timer.getTime() - self._reactor.seconds() > pause:
                self._timer.reset(pause)

    async def _check(self) -> None:
        upstream, timeout = self._upstream, self._config.timeout
        begun = self._reactor.seconds()
        try:
            dialed = await upstream.connect(timeout=timeout)
            if self._config.path is None:
                dialed.stream.loseConnection()
            else:
                try:
                    await self._get(dialed.stream, self._config.path, timeout)
                except DialError as error:
                    error.target, error.address = str(upstream.target), dialed.address
                    raise
        except DialError as error:
            upstream.judge(error)
        else:
            upstream.judge(None, seconds=self._reactor.seconds() - begun)

    async def _get(self, stream: Stream, path: str, timeout: float) -> None:
        asking = _StatusLine()
        host = self._config.host or self._upstream.config.url.authority

        def expired(result: int | Failure, _: float) -> int | Failure:
            if isinstance(result, Failure) and isinstance(result.value, CancelledError):
                raise CheckFailed(f"no answer to GET {path} within {timeout:g} s")
            return result

        answer = asking.status.addTimeout(timeout, self._reactor, expired)
        try:
            hand_over(stream, asking)
            stream.write(request(path, host))
            stream.resumeProducing()
            status = await answer
        finally:
            stream.abortConnection()  # nobody wants the rest of the answer
        if not any(first <= status <= last for first, last in self._config.status):
            if status == 421:
                said = f"GET {path} was answered with status 421"
                raise HostRefused(said, host=host, preserved=bool(self._config.host))
            raise CheckFailed(f"GET {path} was answered with status {status}")


def request(path: str, authority: str) -> bytes:
    """The bytes of a check."""
    target = "".join(chr(byte) if 0x21 <= byte < 0x7F else f"%{byte:02X}" for byte in path.encode())
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: {authority}",
        "User-Agent: lanrelay",
        "Accept: */*",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")


class _StatusLine(Protocol):
    """Reads the status of an answer and nothing after it."""

    def __init__(self) -> None:
        self.status: Deferred[int] = Deferred()
        self._buffer = b""

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        try:
            status = status_of(self._buffer)
        except CheckFailed as error:
            self._tell(error)
            return
        if status is not None:
            self._tell(status)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._tell(PeerClosed("it ended the connection without an answer to the health check"))

    def _tell(self, outcome: int | DialError) -> None:
        if self.status.called:
            return
        if isinstance(outcome, int):
            self.status.callback(outcome)
        else:
            self.status.errback(outcome)


_STATUS = re.compile(rb"HTTP/1\.\d (\d{3})(?: [^\r\n]*)?\r?\n")


def status_of(received: bytes) -> int | None:
    """
    The status of the first answer that is not interim, C{None} if it has not come yet.

    @raise CheckFailed: this is no HTTP/1.x, or it goes on for too long.
    """
    rest = received
    while True:
        if b"\n" not in rest:
            if not (rest[:7] == b"HTTP/1."[: len(rest)] and len(rest) < 1024):
                raise CheckFailed("the answer to the health check is not HTTP/1.x")
            return None
        line = _STATUS.match(rest)
        if line is None:
            raise CheckFailed("the answer to the health check is not HTTP/1.x")
        status = int(line[1])
        if status >= 200:
            return status
        end = re.search(rb"\r?\n\r?\n", rest)
        if len(received) > LONGEST_HEAD:
            raise CheckFailed("the answer to the health check does not come to its status")
        if end is None:
            return None
        rest = rest[end.end() :]
