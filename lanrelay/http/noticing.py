"""Notices by passing answers what is wrong with the way in which a route asks its upstreams."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from lanrelay.errors import DialError, HostRefused, RelayError, TlsOnPlain, Unanswered
from lanrelay.http.origin import OriginConnection
from lanrelay.http.route import BodyFilter
from lanrelay.upstream.noticed import CONTENT_MAX, fault_in
from lanrelay.upstream.upstream import Upstream

HOST_MAX: Final = 255
"""Bytes of a Host that are shown."""


class Overheard(BodyFilter):
    """
    The L{BodyFilter<lanrelay.http.route.BodyFilter>} of an answer that may tell of a fault; all of it passes
    as it came.

    @param tell: gets the beginning of the content when the answer is whole.
    """

    __slots__ = ("_content", "_tell")

    def __init__(self, tell: Callable[[bytes], None]) -> None:
        self._tell = tell
        self._content = b""

    def feed(self, data: bytes) -> bytes:
        if len(self._content) < CONTENT_MAX:
            self._content += data[: CONTENT_MAX - len(self._content)]
        return data

    def finish(self) -> bytes:
        self._tell(self._content)
        return b""


class Noticing:
    """
    What the answers of a route tell about the way in which it asks.

    @param preserved: whether the upstreams get the client's own Host.
    @ivar found: whether something is wrong, and no answer has shown the contrary since.
    """

    def __init__(self, upstreams: Iterable[Upstream], *, preserved: bool) -> None:
        self._upstreams = tuple(upstreams)
        self._preserved = preserved
        self.found = False
        for upstream in self._upstreams:
            upstream.noticed = None  # noticed by an earlier route, which may have asked otherwise

    def overhear(self, status: int, origin: OriginConnection, host: bytes) -> Overheard:
        """@param host: the Host that was sent."""
        upstream, address = origin.upstream, origin.address
        tls, said = upstream.tls is not None, _shown(host)

        def tell(content: bytes) -> None:
            fault = fault_in(status, content, host=said, preserved=self._preserved, tls=tls)
            if fault is not None:
                self.notice(upstream, fault, address)

        return Overheard(tell)

    def notice(self, upstream: Upstream, fault: DialError, address: str) -> None:
        """An answer has told of a fault."""
        self.found = True
        upstream.notice(fault, address)

    def disproved(self, upstream: Upstream, host: bytes) -> None:
        """A good answer came; it disproves the refusal of a Host only if the request had that Host."""
        fault = upstream.noticed
        if not isinstance(fault, HostRefused) or fault.host == _shown(host):
            upstream.noticed = None
            self.found = any(each.noticed is not None for each in self._upstreams)

    # --- plain HTTP to a port with TLS ---

    def doubts_scheme(self, origin: OriginConnection, error: RelayError) -> bool:
        """
        Whether the port may speak TLS: for plain HTTP such a port (OpenSSL, uvicorn, Node) ends the
        connection without a byte.
        """
        upstream = origin.upstream
        return (
            isinstance(error, Unanswered)
            and not upstream.answered
            and upstream.tls is None
            and upstream.config.url.unix_path is None
        )

    async def find_scheme(self, origin: OriginConnection, error: RelayError) -> None:
        """
        @raise TlsOnPlain: the port speaks TLS.
        @raise RelayError: C{error}, as it does not.
        """
        upstream: Upstream = origin.upstream
        if not await upstream.speaks_tls():
            raise error
        fault = TlsOnPlain("it ended the connection without an answer")
        self.notice(upstream, fault, origin.address)
        raise fault


def _shown(host: bytes) -> str:
    return host[:HOST_MAX].decode("latin-1")
