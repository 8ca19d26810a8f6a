"""Notices in passing what is wrong with how the upstreams of a route are asked."""

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
    The L{BodyFilter<lanrelay.http.route.BodyFilter>} of an answer that may tell; all of it passes as
    it came.

    @param tell: is told the beginning of the content when the answer is whole.
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
    What the answers of a route tell.

    @param preserved: the upstreams are sent the client's own Host.
    @ivar found: something is wrong, and no answer has shown the contrary since.
    """

    def __init__(self, upstreams: Iterable[Upstream], *, preserved: bool) -> None:
        self._upstreams = tuple(upstreams)
        self._preserved = preserved
        self.found = False
        for upstream in self._upstreams:
            upstream.noticed = None  # by a route before this one, which may have asked otherwise

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
        """It has told of a fault."""
        self.found = True
        upstream.notice(fault, address)

    def disproved(self, upstream: Upstream, host: bytes) -> None:
        """A good answer came; of a Host that was refused it says something only if it was asked by that."""
        fault = upstream.noticed
        if not isinstance(fault, HostRefused) or fault.host == _shown(host):
            upstream.noticed = None
            self.found = any(each.noticed is not None for each in self._upstreams)

    # --- plain HTTP to a port with TLS ---

    def doubts_scheme(self, origin: OriginConnection, error: RelayError) -> bool:
        """
        Whether this may be what plain HTTP gets from a port with TLS (OpenSSL, uvicorn, Node): the end, and
        never a byte before it.
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
        @raise TlsOnPlain: it was what was doubted.
        @raise RelayError: it was not, and is C{error}.
        """
        upstream: Upstream = origin.upstream
        if not await upstream.speaks_tls():
            raise error
        fault = TlsOnPlain("it ended the connection without an answer")
        self.notice(upstream, fault, origin.address)
        raise fault


def _shown(host: bytes) -> str:
    return host[:HOST_MAX].decode("latin-1")
