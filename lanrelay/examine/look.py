"""An examination under way: its subject, and the checks so far."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore, FirstError, gatherResults

from lanrelay.errors import RelayError
from lanrelay.examine import causes
from lanrelay.examine.checks import SAID_MAX, Cause, Check, State, TargetLayer, Viewpoint
from lanrelay.examine.opener import Means
from lanrelay.examine.subject import Subject
from lanrelay.upstream.explain import printable

T = TypeVar("T")


class Look:
    """
    @ivar timeout: seconds for each check.
    @ivar place: from where the target is examined.
    @ivar page_at: the path at which a web page was found, if there is one.
    """

    def __init__(self, means: Means, subject: Subject, timeout: float, place: Viewpoint) -> None:
        self.means = means
        self.subject = subject
        self.upstream = subject.upstream
        self.timeout = timeout
        self.place: Viewpoint = place
        self.checks: list[Check] = []
        self.page_at = ""

    def now(self) -> float:
        return float(self.means.reactor.seconds())

    def note(
        self,
        layer: TargetLayer,
        state: State,
        said: str,
        since: float,
        *,
        cause: Cause | None = None,
        remedy: str | None = None,
        **facts: Any,
    ) -> Check:
        """Add a check."""
        check = Check(
            layer=layer,
            state=state,
            said=printable(said)[:SAID_MAX],
            cause=cause,
            seconds=self.now() - since,
            remedy=None if remedy is None else printable(remedy),
            facts=facts,
        )
        self.checks.append(check)
        return check

    def failed(self, layer: TargetLayer, error: RelayError, since: float, **facts: Any) -> Check:
        """The check of a layer that failed; it is not added yet."""
        return causes.failure(
            layer,
            error,
            self.subject,
            seconds=self.now() - since,
            platform=self.means.platform,
            facts=facts,
        )

    def skip(self, because: str, *layers: TargetLayer) -> None:
        """Note as skipped C{layers}, and all layers from the proxy on, unless they have a check."""
        rest: list[TargetLayer] = [*layers]
        if self.upstream.via is not None:
            rest.append("proxy")
        if self.upstream.url.tls:
            rest.append("tls")
        if self.subject.is_http:
            rest += ["http", "mcp"]
        seen = {check.layer for check in self.checks}
        self.checks += [
            Check(layer=layer, state="skipped", said=f"Not looked at, for {because}.")
            for layer in rest
            if layer not in seen
        ]


_AT_ONCE = 32  # examinations; each takes a few sockets


async def side_by_side(tasks: Sequence[Callable[[], Coroutine[Deferred[Any], Any, T]]]) -> list[T]:
    """The results of all, in their order; some dozens run at a time."""
    places = DeferredSemaphore(_AT_ONCE)
    running: list[Deferred[T]] = [places.run(task) for task in tasks]
    try:
        return await gatherResults(running)
    except BaseException as error:
        for one in running:
            one.addErrback(lambda _: None)
            one.cancel()
        if isinstance(error, FirstError):
            error.subFailure.raiseException()
        raise
