"""Tries a connection again that could not be made, on the other upstreams and after a pause."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from twisted.internet.task import deferLater

from lanrelay.errors import AllDown, DialError
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.upstream.race import most_telling
from lanrelay.upstream.upstream import Upstream

T = TypeVar("T")

LONGEST_PAUSE = 2.0
"""Seconds: health's C{down_interval}. A person who waits does not notice a shorter one."""


async def try_each(
    reactor: Any,
    group: UpstreamGroup,
    attempt: Callable[[Upstream], Awaitable[T]],
    *,
    avoid: Upstream | None = None,
    spare: bool = False,
    counted: Callable[[], None] = lambda: None,
    rng: Callable[[], float] = random.random,
) -> T:
    """
    The result of the first C{attempt} that is not a L{DialError}.

    One pass tries the group's candidates in turn. Passes follow each other after pauses that begin at
    C{retry.backoff}, double, and vary by half either way, so that clients do not march in step; the last pass
    begins when C{retry.for} ends. If health knows when the upstream went down, C{retry.for} counts from
    there. Later there is one pass, so that a client that asks again and again does not wait each time. An
    upstream that failed with a C{permanent} error is not tried again.

    @param attempt: makes the connection, and leaves nothing behind when it fails or is cancelled.
    @param avoid: is tried last.
    @param spare: or not at all.
    @param counted: called before each attempt.
    @param rng: a number from 0 to 1.
    @raise AllDown: all of several upstreams are marked down; at once.
    @raise DialError: the most telling of the last failures of each upstream.
    @raise CancelledError: the caller cancelled; the attempt or the pause under way was cancelled too.
    """
    retry = group.config.retry
    pause = retry.backoff
    failures: dict[Upstream, DialError] = {}
    candidates = _candidates(group, avoid, spare)
    if not candidates:
        raise _all_down(group)
    deadline = retry.duration + min(
        reactor.seconds(), max(reactor.seconds() if each.up else each.changed for each in candidates)
    )
    while True:
        for upstream in candidates:
            known = failures.get(upstream)
            if known is not None and known.permanent:
                continue
            counted()
            try:
                return await attempt(upstream)
            except DialError as error:
                failures[upstream] = error
        left = deadline - reactor.seconds()
        if left <= 0 or all(error.permanent for error in failures.values()):
            raise most_telling(list(failures.values()))
        await deferLater(reactor, min(pause * (0.5 + rng()), left))
        pause = min(pause * 2, LONGEST_PAUSE)
        candidates = _candidates(group, avoid, spare)  # may be none for a while: wait, checks go on


def _candidates(group: UpstreamGroup, avoid: Upstream | None, spare: bool) -> list[Upstream]:
    candidates = group.candidates()
    if avoid in candidates:
        candidates.remove(avoid)
        if not spare:
            candidates.append(avoid)
    return candidates


def _all_down(group: UpstreamGroup) -> AllDown:
    error = AllDown(f"all {len(group.members)} upstreams are down", target=group.members[0].name)
    error.others = tuple(member.last_error for member in group.members if member.last_error is not None)
    return error
