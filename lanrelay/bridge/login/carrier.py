"""Between dialogue and carrier: asks get the token, and wait for it where the server wants one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lanrelay.bridge.carrier import Carrier
from lanrelay.bridge.login.messages import Challenge, Client, LoginAnswer, NoLogin
from lanrelay.bridge.login.tokens import Keeper, Tokens
from lanrelay.bridge.loop import Loop, Start, Steps, Task, now
from lanrelay.bridge.messages import Ask, Event, Failure, Fields, Note

if TYPE_CHECKING:
    from lanrelay.bridge.seams import CarrierSink

FETCH_WITHIN = 20.0
"""Seconds for one request of OAuth."""

LOOK = 0.25
"""Seconds between two looks at whether another copy's login has ended."""

ENOUGH = 2.0
"""Seconds to wait until another copy has refreshed a token that is still good."""

SETTLED = 30.0
"""A login that has failed before the person was asked is not tried again for so many seconds."""

_TRIES = 3
"""How often an ask is made: without a token, with an old one, with a new one."""


class LoginCarrier:
    """
    A carrier as L{Carrier} is, for a target that may want a login.

    When the person has to be asked, a waiting ask fails, so that its client reads why; later asks wait.

    @param carried: makes the carrier that tells this sink.
    @param url: gives the target's URL.
    @param elsewhere: makes a carrier to another URL, for one request.
    """

    def __init__(
        self,
        loop: Loop,
        sink: CarrierSink,
        *,
        url: Callable[[], str],
        client: Client,
        keeper: Keeper,
        carried: Callable[[Loop, CarrierSink], Carrier],
        elsewhere: Callable[[Loop, str, CarrierSink], Carrier],
        note: Callable[[Note], None],
    ) -> None:
        self._loop = loop
        self._sink = sink
        self._url = url
        self._client = client
        self._keeper = keeper
        self._elsewhere = elsewhere
        self._note = note
        self._carrier = carried(loop, self)
        self._asked: dict[int, tuple[Ask, str | None]] = {}
        self._tries: dict[int, int] = {}
        self._refused: dict[int, Challenge] = {}
        self._waiting: dict[int, Ask] = {}
        self._tokens: Tokens | None = None
        self._loaded = False
        self._task: Task | None = None
        self._why: Failure | None = None
        self._until = 0.0
        self._person_was_asked = False
        self._fresh: str | None = None
        self._wider: set[str] = set()

    # --- what the dialogue wants ---

    @property
    def backlog(self) -> int:
        return self._carrier.backlog

    def hold(self, held: bool) -> None:
        self._carrier.hold(held)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._keeper.unlock()
        self._carrier.close()

    def ask(self, ask: Ask) -> None:
        if not self._loaded:
            self._loaded = True
            self._tokens = self._keeper.load()
        if self._task is not None:
            self._waiting[ask.number] = ask
        elif self._tokens is not None and self._tokens.is_old and self._tokens.refresh is not None:
            self._waiting[ask.number] = ask
            self._obtain(None, self._tokens.access)
        else:
            self._send(ask)

    def drop(self, number: int) -> None:
        self._forget(number)
        self._waiting.pop(number, None)
        self._refused.pop(number, None)
        self._carrier.drop(number)

    def _send(self, ask: Ask) -> None:
        token = None if self._tokens is None else self._tokens.access
        self._asked[ask.number] = (ask, token)
        if token is not None:
            ask = ask._replace(fields=(*ask.fields, ("Authorization", f"Bearer {token}")))
        self._carrier.ask(ask)

    # --- what the carrier tells ---

    def answered(self, number: int, status: int, reason: str, fields: Fields) -> None:
        if status in (401, 403) and self._wants_login(number, status, fields):
            return
        _, token = self._asked.get(number, (None, None))
        if token is not None and token == self._fresh:
            self._fresh = None
        self._forget(number)
        self._sink.answered(number, status, reason, fields)

    def _wants_login(self, number: int, status: int, fields: Fields) -> bool:
        from lanrelay.bridge.login.metadata import challenge

        asked = self._asked.get(number)
        if asked is None or asked[0].method == "DELETE":
            return False
        found = challenge(fields)
        if status == 401 or (found is not None and found.error == "insufficient_scope"):
            self._refused[number] = found or Challenge()
            return True
        return False

    def event(self, number: int, event: Event) -> None:
        if number not in self._refused:
            self._sink.event(number, event)

    def content(self, number: int, data: bytes) -> None:
        if number not in self._refused:
            self._sink.content(number, data)

    def finished(self, number: int) -> None:
        found = self._refused.pop(number, None)
        if found is None or number not in self._asked:
            self._sink.finished(number)
        else:
            self._challenged(number, found)

    def failed(self, number: int, failure: Failure) -> None:
        self._refused.pop(number, None)
        self._forget(number)
        self._sink.failed(number, failure)

    def moved(self) -> None:
        self._sink.moved()

    def _forget(self, number: int) -> None:
        self._asked.pop(number, None)
        self._tries.pop(number, None)

    # --- the login ---

    def _challenged(self, number: int, found: Challenge) -> None:
        ask, token = self._asked.pop(number)
        self._tries[number] = tries = self._tries.get(number, 0) + 1
        if tries >= _TRIES or (token is not None and token == self._fresh):
            said = "The server does not take the token that its own login has given."
            self._fail([number], NoLogin(said))
            return
        self._waiting[number] = ask
        if self._task is None:
            self._obtain(found, token)

    def _obtain(self, found: Challenge | None, token: str | None) -> None:
        # Later, for the sink hears of an ask only after it was asked.
        self._task = Task(self._loop, _soon(self._steps(found, token)), self._obtained)

    def _steps(self, found: Challenge | None, token: str | None) -> Steps[Tokens | None]:
        """
        @param found: what the server said; C{None}: the token is to be refreshed before its end.
        @param token: the one that was refused, or that ends soon.
        """
        try:
            other = yield from self._others(found, token)
            return other if other is not None else (yield from self._new(found, token))
        except OSError as error:
            raise NoLogin(f"The login cannot be kept: {error.strerror}.") from None
        finally:
            self._keeper.unlock()

    def _others(self, found: Challenge | None, token: str | None) -> Steps[Tokens | None]:
        """Wait for the lock; gives the tokens that another copy has got meanwhile."""
        keeper, began, waited = self._keeper, time.time(), False
        while not keeper.locked():
            other = keeper.load()
            if other is not None and other.access != token:
                return other
            if found is None and time.time() > began + ENOUGH:
                return self._tokens
            if waited and found is not None:
                self._tell("The server wants a login, and another copy of this program sees to it.")
            waited = True
            yield _pause(LOOK)
        other = keeper.load()
        if other is not None and other.access != token:
            return other
        if waited and keeper.was_refused(began):
            raise NoLogin("The server wants a login, which came to nothing in another copy of this program.")
        return None

    def _new(self, found: Challenge | None, token: str | None) -> Steps[Tokens | None]:
        """New tokens, by a refresh or by a login. Only with the lock."""
        from lanrelay.bridge.login import metadata
        from lanrelay.bridge.login.flow import Flow

        keeper = self._keeper
        kept = keeper.load()
        flow = Flow(self._loop, self._url(), self._client, self._fetch, self._note, self._person)
        wider = found is not None and found.error == "insufficient_scope"
        if kept is not None and kept.refresh is not None and not wider:
            try:
                new = yield from flow.refresh(kept)
            except NoLogin:
                if found is None:
                    return kept  # it is good for a little while
                raise
            if new is not None:
                self._keep(new)
                return new
        if found is None:
            return kept
        if self._why is not None and (self._person_was_asked or now() < self._until):
            raise NoLogin(self._why.said, self._why.remedy)
        if wider:
            scope = found.scope or ""
            if scope in self._wider:
                raise NoLogin(f"The login does not allow what is asked for: {metadata.printable(scope)}.")
            self._wider.add(scope)
        try:
            new = yield from flow.login(_widened(found, kept), kept)
        except NoLogin:
            if self._person_was_asked:
                keeper.note_refusal()
            raise
        self._keep(new)
        self._person_was_asked = False
        self._fresh = new.access
        return new

    def _keep(self, new: Tokens) -> None:
        """Keep the tokens; they are used all the same if they cannot be kept."""
        try:
            self._keeper.keep(new)
        except OSError as error:
            self._note(Note(f"The login cannot be kept: {error.strerror}.", warning=True))

    def _obtained(self, tokens: Tokens | None, error: Exception | None) -> None:
        self._task = None
        if error is not None:
            if not isinstance(error, NoLogin):
                error = NoLogin(f"The login failed by a fault of this program: {type(error).__name__}.")
            self._fail(list(self._waiting), error)
            return
        self._tokens = tokens
        self._why = None
        waiting, self._waiting = self._waiting, {}
        for ask in waiting.values():
            self._send(ask)

    def _person(self, said: str) -> None:
        self._person_was_asked = True
        self._tell(said)

    def _tell(self, said: str) -> None:
        """Tell those who wait that it may take long."""
        if self._why is None or self._why.said != said:
            self._fail(list(self._waiting), NoLogin(said, "Log in there, then try again."))

    def _fail(self, numbers: list[int], error: NoLogin) -> None:
        self._why = failure = Failure("login_wanted", str(error), error.remedy, False)
        self._until = now() + SETTLED
        for number in numbers:
            self._waiting.pop(number, None)
            self._forget(number)
            self._sink.failed(number, failure)

    # --- requests of the login's own ---

    def _fetch(
        self, method: str, url: str, fields: Fields, body: bytes | None
    ) -> Steps[LoginAnswer | Failure]:
        answer: LoginAnswer | Failure = yield _fetched(self._elsewhere, method, url, fields, body)
        return answer


class _Collected:
    """The sink of one request."""

    def __init__(self, done: Callable[[Any], None]) -> None:
        self._done = done
        self._status = 0
        self._body = b""

    def answered(self, number: int, status: int, reason: str, fields: Fields) -> None:
        self._status = status

    def event(self, number: int, event: Event) -> None: ...

    def content(self, number: int, data: bytes) -> None:
        self._body = data

    def finished(self, number: int) -> None:
        self._done(LoginAnswer(self._status, self._body))

    def failed(self, number: int, failure: Failure) -> None:
        self._done(failure)

    def moved(self) -> None: ...


def _fetched(
    elsewhere: Callable[[Loop, str, CarrierSink], Carrier],
    method: str,
    url: str,
    fields: Fields,
    body: bytes | None,
) -> Start:
    def start(loop: Loop, resume: Callable[[Any], None]) -> Callable[[], None]:
        def done(value: Any) -> None:
            give_up()
            resume(value)

        def late() -> None:
            done(Failure("http_timeout", "Its login page did not answer in time.", "", True))

        def give_up() -> None:
            timer.cancel()
            carrier.close()

        timer = loop.at(now() + FETCH_WITHIN, late)
        carrier = elsewhere(loop, url, _Collected(done))
        carrier.ask(Ask(1, method, None, fields, body, False))
        return give_up

    return start


def _pause(seconds: float) -> Start:
    def start(loop: Loop, resume: Callable[[Any], None]) -> Callable[[], None]:
        return loop.at(now() + seconds, lambda: resume(None)).cancel

    return start


def _soon(steps: Steps[Tokens | None]) -> Steps[Tokens | None]:
    yield _pause(0)
    return (yield from steps)


def _widened(found: Challenge, kept: Tokens | None) -> Challenge:
    """The scopes to ask for: what was allowed before stays allowed."""
    if found.scope is None or kept is None:
        return found
    words = [*str(kept.value.get("scope") or "").split(), *found.scope.split()]
    return found._replace(scope=" ".join(dict.fromkeys(words)))
