"""Keeps the origin connections that serve one client connection alone, as they may be logged in."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from lanrelay.http.origin import OriginConnection

PLACES_MAX: Final = 8
"""Kept for each client connection; on one, a browser may ask a forward proxy for many hosts."""


class KeptOrigins:
    """
    One origin connection for each place that a client connection has asked; all end with that.

    NTLM and Negotiate log in a connection, and not a request, so another client on it would be the same user
    (RFC 4559 section 6).
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[Hashable, OriginConnection] = {}

    def put(self, place: Hashable, origin: OriginConnection) -> None:
        """Keep C{origin} for this client's next request to C{place}."""
        known = self._kept.pop(place, None)
        if known is not None:
            known.close()
        elif len(self._kept) >= PLACES_MAX:
            self._kept.pop(next(iter(self._kept))).close()
        self._kept[place] = origin

    def take(self, place: Hashable) -> OriginConnection | None:
        """The connection that leads to C{place}, if it is still good; the caller owns it."""
        origin = self._kept.pop(place, None)
        if origin is None or origin.ready:
            return origin
        origin.abort()
        return None

    def close(self) -> None:
        """The client has gone."""
        kept, self._kept = self._kept, {}
        for origin in kept.values():
            origin.close()
