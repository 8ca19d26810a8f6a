"""How requests to one upstream of a route are addressed, and how the root of its URL is spelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import urljoin

from lanrelay.config import model
from lanrelay.http.exchange import Exchange
from lanrelay.passage.places import Places, Site
from lanrelay.upstream.upstream import Upstream
from lanrelay.wire.events import RequestHead, ResponseHead
from lanrelay.wire.headers import Field, make_field

# Redirects that ask for the same request again (RFC 9110 section 15.4); for methods other than GET and HEAD
# only two do.
_SAME_REQUEST: Final = frozenset({307, 308})
_REDIRECTS: Final = _SAME_REQUEST | {301, 302, 303}


class Addressing:
    """
    The address that requests to one upstream have, worked out once.

    @ivar host: the Host field, C{None} where the client's own is preserved.
    @ivar origin: the Origin field of a page of its own.
    @ivar path: the path of the upstream's URL, without a final slash; empty for none.
    @ivar slash: the end of the target when nothing follows C{path}: a slash, or nothing. First it is as in
        the URL, then as a redirect of the upstream has it.
    @ivar settled: an answer that is no redirect has shown that C{slash} is right.
    """

    __slots__ = ("authority", "host", "origin", "path", "settled", "slash")

    def __init__(self, upstream: Upstream, config: model.Route) -> None:
        url = upstream.config.url
        self.authority = url.authority.encode()
        self.path = url.path.encode()
        self.slash = b"/" if url.slash else b""
        self.settled = False
        self.host: Field | None = None
        if config.host == "upstream":
            self.host = make_field(b"Host", self.authority)
        elif config.host != "preserve":
            self.host = make_field(b"Host", config.host.encode())
        named = self.authority if self.host is None else self.host[2]
        self.origin = make_field(b"Origin", url.scheme.encode() + b"://" + named)

    def respelled(self, method: bytes, head: ResponseHead, asked: bytes, places: Places, own: bytes) -> bool:
        """
        Whether the answer to a request for the root redirects to the root's other spelling. For the client
        that is the very URL that it asked for. From now on that spelling is used.

        @param method: of the request.
        @param asked: the target as the upstream got it.
        @param own: the URL as the client asked for it.
        @return: whether the same request should be made again. A client that gets a cookie has to do that
            itself.
        """
        if head.status not in _REDIRECTS:
            self.settled = self.settled or head.status < 400
            return False
        if head.status not in _SAME_REQUEST and method not in (b"GET", b"HEAD"):
            return False  # it leads to the result of the request
        locations = head.headers.all(b"location")
        if len(locations) != 1:
            return False
        there = _absolute(locations[0], places.upstream, asked)
        path, question_mark, query = asked.partition(b"?")
        slash = b"" if path.endswith(b"/") else b"/"
        if places.to_relay(there) != own or not there.endswith(self.path + slash + question_mark + query):
            return False
        self.slash = slash
        return b"set-cookie" not in head.headers


class Respelling:
    """
    The L{Doubt<lanrelay.http.route.Doubt>} of a request for the root, whose answer may lead to its other
    spelling.

    @param leads_back: whether an answer to a request for this target does so; then the other spelling is
        used.
    """

    __slots__ = ("_asked", "_exchange", "_leads_back", "copies")

    def __init__(
        self,
        exchange: Exchange,
        leads_back: Callable[[Exchange, ResponseHead, bytes], bool],
        *,
        copies: int,
    ) -> None:
        self.copies = copies
        self._exchange = exchange
        self._leads_back: Callable[[Exchange, ResponseHead, bytes], bool] | None = leads_back
        self._asked = b""

    def asking(self, head: RequestHead) -> None:
        self._asked = head.target

    def holds(self, head: ResponseHead) -> bool:
        return self._leads_back is not None and self._leads_back(self._exchange, head, self._asked)

    def passes(self, head: ResponseHead, content: bytes | None) -> None: ...

    def again(self, exchange: Exchange) -> bool:
        self._leads_back = None  # only once
        return True


def _absolute(location: bytes, upstream: Site, asked: bytes) -> bytes:
    """The URL that a Location means in the answer to a request for C{asked}, without its fragment."""
    base = upstream.scheme.encode("ascii") + b"://" + upstream.authority + asked
    try:
        return (
            urljoin(base.decode("latin-1"), location.decode("latin-1")).encode("latin-1").partition(b"#")[0]
        )
    except ValueError:  # not a URL
        return location
