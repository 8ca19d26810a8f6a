"""What the plain ways of a listener's connections have in common: which requests and answers go by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from lanrelay.addresses import IPAddress
from lanrelay.config.model import Duration
from lanrelay.http.client import HttpConnection
from lanrelay.http.exchange import Exchange
from lanrelay.http.noticing import Noticing
from lanrelay.http.origin import OriginConnection
from lanrelay.http.origins import Origins
from lanrelay.http.route import Route
from lanrelay.mcp.known import McpServer
from lanrelay.observe.session import Session
from lanrelay.passage.rule import Rules
from lanrelay.wire.events import RequestHead
from lanrelay.wire.headers import Field
from lanrelay.wire.plain import PlainFields

if TYPE_CHECKING:
    from lanrelay.http.mcp_sessions import McpSession

# Fields that concern only the connection, beside Connection itself.
_DROPPED: Final = frozenset({b"keep-alive"})


class Answers:
    """
    How plain answers of one kind are read.

    @ivar chunked: the fields of those that come in chunks.
    """

    __slots__ = ("chunked", "fields", "rules")

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        noted = rules.weighed | {b"date"}
        self.fields = PlainFields(noted=noted, unusual=rules.looked_at, dropped=_DROPPED)
        self.chunked = PlainFields(
            noted=noted | {b"content-type", b"content-encoding"},
            unusual=rules.looked_at,
            dropped=_DROPPED,
            chunked=True,
        )


class PlainRoute(Route, Protocol):
    """
    The part of a route that the plain way asks.

    @ivar target: where it leads.
    @ivar requests: its rules for requests. C{answers} are those for answers, and C{session_answers} those for
        answers to a request with the id of an MCP session.
    @ivar server: what is known of the MCP server there.
    @ivar silence: seconds after which an event stream gets a comment; C{None} for none.
    """

    target: str
    origins: Origins
    noticing: Noticing
    requests: Rules
    answers: Rules
    session_answers: Rules
    server: McpServer
    silence: Duration

    def in_session(self, given: bytes) -> McpSession | None:
        """The MCP session that a client means, if it is remembered."""

    def plain_request(self, lines: list[bytes], host: Field) -> None:
        """
        As C{request_head}, for the lines of a plain request.

        @param lines: of the two empty ones at their end, the first becomes our Via.
        @param host: its Host.
        """

    def plain_answer(self, lines: list[bytes], noted: dict[bytes, Field]) -> None:
        """As C{response_head}, for a plain answer, whose Date is in C{noted} if it has one."""

    def go_on(
        self,
        connection: HttpConnection,
        head: RequestHead,
        session: Session,
        origin: OriginConnection,
        content: bytes,
        *,
        given: bytes | None,
        mcp: McpSession | None,
    ) -> Exchange:
        """
        An exchange for a request that is under way by the plain way, as if it had been one from the start.

        @param given: with which C{origin} was told of C{mcp}.
        """


class PlainWay:
    """
    What all plain exchanges of a listener have in common.

    It takes requests that concern no rule, neither a guard nor one of the route's: there is no other list of
    what is plain.

    @param listener: its name, and C{kind} what it is; for the ledger.
    @param known_hosts: values of Host that the guard has let in, with our addresses at which it did.
    """

    def __init__(
        self,
        listener: str,
        kind: str,
        guards: Rules,
        route: PlainRoute,
        known_hosts: Mapping[bytes, tuple[IPAddress | None, ...]],
    ) -> None:
        self.route = route
        self.ledger = route.ledger
        self.seconds: Callable[[], float] = route.reactor.seconds
        self.take = route.origins.take
        self.noticing = route.noticing
        self.listener, self.kind = listener, kind
        self.known_hosts = known_hosts
        self.max_body = route.max_body
        self.requests = Rules(*guards.all, *route.requests.all)
        self.answers, self.session_answers = Answers(route.answers), Answers(route.session_answers)
        self.rare = self.requests.rare
        self.request_fields = PlainFields(
            noted=self.requests.weighed | {b"host"}, unusual=self.requests.looked_at, dropped=_DROPPED
        )
