"""What a route changes in the content of a login by OAuth, whose documents and forms name the upstream."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from lanrelay.http.held import HeldRequest
from lanrelay.passage.oauth import (
    DOCUMENT_MAX,
    FORM_MAX,
    Rewrite,
    asks_for_document,
    authorize_target,
    document_kind,
    document_to_relay,
    is_form,
    url_path,
    url_to_upstream,
    with_parameter,
)

if TYPE_CHECKING:
    from lanrelay.http.exchange import Exchange
    from lanrelay.listeners.route import ProxyRoute
    from lanrelay.wire.events import ResponseHead


class OAuthContent:
    """
    The upstream's names become the relay's in metadata documents, and the relay's the upstream's in requests.

    The fields of both heads are the business of rules.

    @param find: finds the listener's route to which a path leads.
    """

    def __init__(self, route: ProxyRoute, find: Callable[[bytes], ProxyRoute | None]) -> None:
        self._route, self._find = route, find

    def target_to_upstream(self, target: bytes, host: bytes) -> bytes:
        """
        C{target} with the upstream's name of its C{resource}.

        @param host: by which the client named the relay.
        """
        return authorize_target(target, partial(self._resource_to_upstream, host))

    def held_request(self, exchange: Exchange) -> HeldRequest | None:
        """The form, with a C{resource} (RFC 8707 section 2) that names what the upstream calls itself."""
        headers = exchange.head.headers
        if not is_form(headers) or b"content-encoding" in headers:
            return None
        length = headers.get(b"content-length")
        if length is not None and int(length) > FORM_MAX:
            return None
        resource = partial(self._resource_to_upstream, exchange.host)
        return HeldRequest(FORM_MAX, lambda content: with_parameter(content, b"resource", resource))

    def rewriter(self, exchange: Exchange, head: ResponseHead) -> Rewrite | None:
        """
        The rewriter for the content that follows C{head}, if that is a metadata document that can be read.
        """
        if (
            b"/.well-known/" not in exchange.target
            or head.status != 200
            or not asks_for_document(exchange.head.method, exchange.target)
            or exchange.origin is None
        ):
            return None
        headers = head.headers
        kind, length = headers.get(b"content-type"), headers.get(b"content-length")
        if kind is None or kind.partition(b";")[0].strip().lower() != b"application/json":
            return None
        if b"content-encoding" in headers or (length is not None and int(length) > DOCUMENT_MAX):
            return None
        named = self._route.places_for(exchange.origin.upstream, exchange.host)
        if named is None:
            return None
        name = document_kind(exchange.target.partition(b"?")[0])
        return partial(document_to_relay, kind=name, places=named)

    def _resource_to_upstream(self, host: bytes, url: bytes) -> bytes:
        """
        The upstream's name of a resource, which may lie on another route than the server that gives the
        token.
        """
        route = self._find(url_path(url))
        if route is None:
            return url
        members = route.group.members
        upstream = next((each for each in members if each.up), members[0])
        named = route.places_for(upstream, host)
        return url if named is None else url_to_upstream(url, named)
