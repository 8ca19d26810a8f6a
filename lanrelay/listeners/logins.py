"""
Checks names and passwords of clients without keeping others waiting: costly ones in a thread, one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address
from threading import Thread
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from lanrelay.addresses import IPAddress
from lanrelay.errors import RequestDenied
from lanrelay.policy.credentials import Attempt, Credentials

QUEUE: Final = 8
"""
How many checks may wait for the one under way. That takes two seconds at most, as one may cost so much
(bcrypt 12).
"""

REFUSED_FOR: Final = 10.0
"""Seconds for which a wrong password is remembered, for a client sends the same one with each request."""

_REMEMBERED: Final = 1024  # wrong passwords, and as many addresses

FREE: Final = 3
"""Wrong guesses of an address without a pause, since people mistype."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds, doubled with each guess
_CALM: Final = 60.0  # seconds without a guess after which an address's guesses are forgotten
_WAITING: Final = 4  # checks of an address that has to wait; more are turned away


class Logins:
    """
    The checks of all listeners of one process.

    @param start: runs its argument in a new thread.
    """

    def __init__(self, reactor: Any, *, start: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._reactor = reactor
        self._start = start or _start_daemon
        self._jobs: dict[bytes, _Job] = {}  # first the one under way
        self._refused: dict[bytes, float] = {}  # until when
        self._guessers: dict[object, _Guesser] = {}

    def check(
        self, credentials: Credentials, username: str, password: str, address: IPAddress | None
    ) -> bool | Deferred[bool]:
        """
        Whether these are right: at once if that is known or cheap to find out, else by a Deferred, which may
        be cancelled.

        An address that has guessed wrong several times waits before its next check; a user who was let in
        before does not.

        @param address: of the client; C{None} for a unix socket's.
        @raise RequestDenied: (by the Deferred) too many wait already.
        """
        attempt = credentials.attempt(username, password)
        known = self._known(credentials, attempt)
        if known is not None:
            return known
        guesser = self._guesser(address)
        if not attempt.costly and guesser.pause(self._reactor.seconds()) <= 0:
            return self._noted(credentials, attempt, guesser, attempt.run())
        return Deferred.fromCoroutine(self._later(credentials, attempt, guesser))

    def _known(self, credentials: Credentials, attempt: Attempt) -> bool | None:
        if credentials.remembers(attempt):
            return True
        until = self._refused.get(attempt.digest)
        return False if until is not None and until > self._reactor.seconds() else None

    async def _later(self, credentials: Credentials, attempt: Attempt, guesser: _Guesser) -> bool:
        pause = guesser.reserve(self._reactor.seconds())
        if pause > 0:
            guesser.waiting += 1
            try:
                await deferLater(self._reactor, pause)
            finally:
                guesser.waiting -= 1
            known = self._known(credentials, attempt)
            if known is not None:
                return known
        good = await self._in_thread(attempt) if attempt.costly else attempt.run()
        return self._noted(credentials, attempt, guesser, good)

    def _noted(self, credentials: Credentials, attempt: Attempt, guesser: _Guesser, good: bool) -> bool:
        if good:
            credentials.remember(attempt)
        elif self._refused.get(attempt.digest, 0.0) <= self._reactor.seconds():
            # Else it is the same guess, which several connections made at a time.
            now = self._reactor.seconds()
            guesser.guessed(now)
            self._refused.pop(attempt.digest, None)
            _make_room(self._refused)
            self._refused[attempt.digest] = now + REFUSED_FOR
        return good

    def _guesser(self, address: IPAddress | None) -> _Guesser:
        # With IPv6 a host has a whole /64 to itself.
        key: object = int(address) >> 64 if isinstance(address, IPv6Address) else address
        guesser = self._guessers.pop(key, None) or _Guesser()
        _make_room(self._guessers)
        self._guessers[key] = guesser
        return guesser

    # --- the thread ---

    def _in_thread(self, attempt: Attempt) -> Deferred[bool]:
        job = self._jobs.get(attempt.digest)
        if job is None:
            if len(self._jobs) > QUEUE:
                raise _busy()
            job = self._jobs[attempt.digest] = _Job(attempt)
        waiter: Deferred[bool] = Deferred(lambda waiter: self._leave(job, waiter))
        job.waiters.append(waiter)
        if len(self._jobs) == 1 and not job.begun:
            self._begin(job)
        return waiter

    def _leave(self, job: _Job, waiter: Deferred[bool]) -> None:
        job.waiters.remove(waiter)
        if not job.waiters and not job.begun:
            del self._jobs[job.attempt.digest]

    def _begin(self, job: _Job) -> None:
        job.begun = True

        def run() -> None:
            try:
                good: bool | Exception = job.attempt.run()
            except Exception as error:
                good = error  # a bug: it is raised for those who wait
            try:
                self._reactor.callFromThread(self._done, job, good)
            except OSError:
                pass  # the reactor has closed its waker: the process is ending

        try:
            self._start(run)
        except RuntimeError:  # "can't start new thread"
            self._done(job, _busy())

    def _done(self, job: _Job, good: bool | Exception) -> None:
        del self._jobs[job.attempt.digest]
        following = next(iter(self._jobs.values()), None)
        if following is not None:
            self._begin(following)
        waiters, job.waiters = job.waiters, []
        for waiter in waiters:
            if isinstance(good, Exception):
                waiter.errback(good)
            else:
                waiter.callback(good)


class _Job:
    """A password that is checked, or waits for that, and all clients that gave it."""

    __slots__ = ("attempt", "begun", "waiters")

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.begun = False
        self.waiters: list[Deferred[bool]] = []


class _Guesser:
    """
    An address, and how long it has to wait.

    @ivar waiting: how many of its clients wait.
    """

    __slots__ = ("_guesses", "_last", "_next", "waiting")

    def __init__(self) -> None:
        self._guesses = 0
        self._last = 0.0
        self._next = 0.0
        self.waiting = 0

    def pause(self, now: float) -> float:
        """Seconds until its next password is checked."""
        return 0.0 if self._guesses <= FREE or now - self._last > _CALM else self._next - now

    def reserve(self, now: float) -> float:
        """
        As L{pause}, and have the next one wait for longer.

        @raise RequestDenied: too many wait.
        """
        pause = self.pause(now)
        if pause > 0:
            if self.waiting >= _WAITING:
                raise _busy()
            # A client that leaves does not give its turn back; but no new one waits longer than the last in
            # the queue.
            self._next = min(self._next + self._length, now + _WAITING * self._length)
        return pause

    @property
    def _length(self) -> float:
        return min(_FIRST_PAUSE * 2.0 ** min(self._guesses - FREE - 1, 10), _LONGEST_PAUSE)

    def guessed(self, now: float) -> None:
        """The guess was wrong."""
        self._guesses = 1 if now - self._last > _CALM else self._guesses + 1
        self._last = now
        if self._guesses > FREE:
            self._next = max(self._next, now + self._length)


def _busy() -> RequestDenied:
    return RequestDenied(
        "too many passwords are being checked", http_status=503, remedy="Try again in some seconds."
    )


def _make_room(remembered: dict[Any, Any]) -> None:
    while len(remembered) >= _REMEMBERED:
        del remembered[next(iter(remembered))]


def _start_daemon(run: Callable[[], None]) -> None:
    Thread(target=run, name="password", daemon=True).start()
