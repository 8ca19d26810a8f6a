"""Has a request in an MCP session made again if the upstream has forgotten the session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from lanrelay.http.held import BODY_MAX, INITIALIZE_MAX
from lanrelay.wire.events import RequestHead, ResponseHead
from lanrelay.wire.headers import Headers

if TYPE_CHECKING:
    from lanrelay.http.exchange import Exchange
    from lanrelay.http.mcp_sessions import McpSession, McpSessions

_LAST_EVENT: Final = frozenset({b"last-event-id"})


class Recovery:
    """
    The L{Doubt<lanrelay.http.route.Doubt>} of a request in a session that is remembered.

    @param told: the id by which the upstream has heard of the session, if it was asked already.
    """

    __slots__ = ("_anew", "_method", "_sessions", "_told", "copies", "session")

    def __init__(
        self, sessions: McpSessions, session: McpSession, method: bytes, *, told: bytes = b""
    ) -> None:
        self.session = session
        self.copies = BODY_MAX if method == b"POST" else 0
        self._sessions, self._method, self._told = sessions, method, told
        self._anew = False  # whether the request is being made again, which is done once

    def asking(self, head: RequestHead) -> None:
        self._told = self.session.upstream_id

    def holds(self, head: ResponseHead) -> bool:
        return head.status == 404 and not self._anew and self._method != b"DELETE"

    def passes(self, head: ResponseHead, content: bytes | None) -> None:
        if self._method == b"DELETE" and (200 <= head.status < 300 or head.status == 404):
            self._sessions.ended(self.session)

    def again(self, exchange: Exchange) -> bool | Deferred[bool]:
        if self.session.upstream_id != self._told:  # another request has had it initialised anew
            self._anew = True
            return True
        recovering = self._sessions.recover(self.session, exchange)
        recovering.addCallback(self._recovered)
        return recovering

    def _recovered(self, success: bool) -> bool:
        self._anew = success
        return success

    def for_upstream(self, headers: Headers) -> Headers:
        """A request's fields with the session's id as the upstream knows it."""
        session = self.session
        if self._anew:
            headers = headers.without(_LAST_EVENT)  # this field names an event of the forgotten session
        if session.upstream_id == session.client_id:
            return headers
        return headers.replaced(b"Mcp-Session-Id", session.upstream_id)

    def for_client(self, headers: Headers) -> Headers:
        """An answer's fields with the id that the client knows."""
        return self.session.for_client(headers)


class Beginning:
    """The L{Doubt<lanrelay.http.route.Doubt>} of a request that may begin a session; it has none."""

    __slots__ = ("_began",)

    copies = INITIALIZE_MAX

    def __init__(self, began: Callable[[bytes, bytes], None]) -> None:
        """@param began: gets the id of a session, and the content that has begun it."""
        self._began = began

    def asking(self, head: RequestHead) -> None: ...

    def holds(self, head: ResponseHead) -> bool:
        return False

    def passes(self, head: ResponseHead, content: bytes | None) -> None:
        begun = head.headers.get(b"mcp-session-id")
        if begun is not None and content is not None and 200 <= head.status < 300:
            self._began(begun, content)

    def again(self, exchange: Exchange) -> bool:
        return False


def may_begin(head: RequestHead) -> bool:
    """Whether a session may begin with a request: it has none, and its content may be C{initialize}."""
    headers = head.headers
    return (
        head.method == b"POST"
        and b"mcp-session-id" not in headers.index
        and b"json" in (headers.get(b"content-type") or b"").lower()
    )
