"""Whether a request may be sent anew after its connection failed, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lanrelay.http.exchange import Exchange
    from lanrelay.http.origin import OriginConnection
    from lanrelay.upstream.upstream import Upstream

# RFC 9110 section 9.2.2, for requests without content. CONNECT and TRACE never come here to be repeated.
REPEATABLE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
REPEATS: Final = 3  # for a request of which nothing was sent


class Repetition:
    """
    What is known of one request that is sent anew.

    @ivar count: how often it was.
    @ivar avoided: the upstream that this request may have crashed.
    @ivar spared: C{avoided} is not asked even if there is no other: what failed was a connection of its own.
    """

    __slots__ = ("_after_sent", "avoided", "count", "spared")

    def __init__(self) -> None:
        self.count = 0
        self.avoided: Upstream | None = None
        self.spared = False
        self._after_sent = False  # whether it was repeated after it had been sent

    def may_follow(self, exchange: Exchange, origin: OriginConnection) -> bool:
        """
        Whether to send the request anew, now that C{origin} has failed: only if it was not acted on, or may
        be acted on twice.

        In the second case it is repeated once, for it may be what crashes its origin: to another upstream if
        there is one, else only if its connection was a kept one, which may close for other reasons (RFC 9110
        section 9.2.2).
        """
        if origin.answered or self.count >= REPEATS:
            return False
        if not origin.sent:
            return True
        if (
            self._after_sent
            or not exchange.bodyless
            or exchange.upgrade
            or exchange.head.method not in REPEATABLE
        ):
            return False
        self.spared = not origin.reused
        self._after_sent = origin.reused or exchange.route.has_other(origin)
        self.avoided = origin.upstream
        return self._after_sent
