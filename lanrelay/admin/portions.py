"""Makes a long answer a little at a time, so that nobody else waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from twisted.internet.defer import Deferred

PORTION: Final = 16
"""
Pieces made in one turn of the reactor. Each takes some 20 us (an open session) to 200 (a listener, or an
upstream with its cells), so that others wait for 3 ms at most.
"""


def in_portions(reactor: Any, pieces: Iterator[str], size: int = PORTION) -> Deferred[str]:
    """
    Join C{pieces}; each turn of the reactor makes C{size} of them, and the first ones are made at once.

    @return: fires with the whole text, or fails with what making it raised; cancelling it ends the work.
    """
    made: list[str] = []
    timer: Any = None

    def stop(_: object) -> None:
        if timer is not None:
            timer.cancel()

    def go_on() -> None:
        nonlocal timer
        timer = None
        try:
            portion = list(islice(pieces, size))
        except Exception:
            whole.errback()
            return
        made.extend(portion)
        if len(portion) == size:
            timer = reactor.callLater(0, go_on)
        else:
            whole.callback("".join(made))

    whole: Deferred[str] = Deferred(stop)
    go_on()
    return whole
