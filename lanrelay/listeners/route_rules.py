"""The rules of one route of a reverse proxy: what becomes of the fields of its requests and answers."""

from __future__ import annotations

from typing import Final

from lanrelay.config import model
from lanrelay.passage import mcp_session, oauth, places
from lanrelay.passage.browser import CORS, origin_rule
from lanrelay.passage.intermediary import HOPS, VIAS, configured_rule, forwarded_rule, login_rule
from lanrelay.passage.rule import Rule, Rules
from lanrelay.upstream.noticed import STATUSES

# Answers that may tell of a fault are also listened to.
_OVERHEARD: Final = Rule(statuses=STATUSES)


def request_rules(listener: model.ReverseProxy, config: model.Route) -> Rules:
    """The rules for requests."""
    page: str = listener.origin
    if page == "auto":  # servers compare it with Host
        page = "keep" if config.host == "preserve" else "upstream"
    rules = [
        origin_rule(page),
        forwarded_rule(listener.forwarded, secure=listener.tls is not None),
        HOPS,
        login_rule(b"authorization"),
        places.request_rule(listener.rewrite),
    ]
    if "endpoint" in listener.rewrite:
        rules.append(places.EVENT_STREAMS)
    if "oauth" in listener.rewrite:
        rules += [oauth.FORMS, oauth.DOCUMENTS]
    if listener.session_recovery:
        rules += [mcp_session.ENDS, mcp_session.NAMES]
    return Rules(*rules, configured_rule(config.request_headers))


def answer_rules(listener: model.ReverseProxy, config: model.Route, *, in_session: bool = False) -> Rules:
    """
    The rules for answers.

    @param in_session: the request had the id of an MCP session.
    """
    rules = [CORS, _OVERHEARD, VIAS, login_rule(b"www-authenticate")]
    if "oauth" in listener.rewrite:  # before the rule that hides where a Location led
        rules.append(oauth.ANSWERS)
    rules += places.answer_rules(listener.rewrite)
    if listener.session_recovery:
        rules.append(mcp_session.LOST if in_session else mcp_session.BEGINS)
    return Rules(*rules, configured_rule(config.response_headers))
