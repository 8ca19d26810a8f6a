"""What it means that an answer is no good one: a sentence for what was seen, and one for what to do."""

from __future__ import annotations

from lanrelay.bridge.exchange import Exchange
from lanrelay.bridge.messages import Failure
from lanrelay.bridge.request import Request

_NEVER_REACHED = frozenset(
    (
        "connection_limit_reached",
        "connection_refused",
        "connection_timeout",
        "destination_ip_prohibited",
        "destination_ip_unroutable",
        "destination_unavailable",
        "dns_error",
        "dns_timeout",
        "tls_certificate_error",
    )
)
"""The error types (RFC 9209 section 2.3) of a proxy that had no connection to send the request on."""

_CAUSES = {
    "connection_refused": "refused",
    "connection_timeout": "timeout",
    "destination_ip_unroutable": "no_route",
    "dns_error": "name_unknown",
    "dns_timeout": "name_no_answer",
    "tls_certificate_error": "tls_other",
}

_TOKEN = "Give the token with --header 'Authorization: Bearer ...'."
_PATH = "See whether the path of the URL is right; many use /mcp."
_SENTENCES = {
    301: ("redirected", "It redirects elsewhere.", "Give the address to which it redirects."),
    302: ("redirected", "It redirects elsewhere.", "Give the address to which it redirects."),
    307: ("redirected", "It redirects elsewhere.", "Give the address to which it redirects."),
    308: ("redirected", "It redirects elsewhere.", "Give the address to which it redirects."),
    401: (
        "login_wanted",
        "The server wants a login.",
        _TOKEN,
    ),
    403: (
        "forbidden",
        "The server forbids it.",
        "See what this login may do, and which hosts and origins it allows.",
    ),
    404: (
        "path_unknown",
        "The server knows no such path.",
        _PATH,
    ),
    405: ("not_mcp", "The path takes no POST.", _PATH),
    421: (
        "host_refused",
        "The server does not answer for this host name.",
        "Set the Host that it answers for.",
    ),
    429: ("server_error", "The server has had too many requests.", "Wait, then try again."),
}


class Told(Failure):
    """What the server itself has said is part of the sentence, and does not go into a log."""

    __slots__ = ()


def logged(failure: Failure) -> str:
    """What the log may say of it: never a body."""
    return failure.cause.replace("_", " ") if isinstance(failure, Told) else str(failure)


def failure_of(exchange: Exchange) -> Failure:
    """
    Why this answer is an error, or cannot be understood.
    """
    if exchange.failure is not None:
        return exchange.failure
    status = exchange.status
    ran = never_ran(exchange)
    answered = f"The server answered {status} {exchange.reason}".strip() + "."
    said = proxied(exchange)
    if said is not None:
        cause = _CAUSES.get(_proxy_error(exchange), "server_error")
        return Told(cause, said, "", not ran)
    page = _page(exchange)
    if page is not None:
        remedy = "It is a login page, or the path of the URL is wrong."
        return Told("not_mcp", f"{answered[:-1]} with a page of HTML instead of JSON{page}.", remedy, True)
    refusal = exchange.refusal()
    if refusal is not None and refusal.error_text:
        cause = _SENTENCES.get(status, ("mcp_error",))[0]
        return Told(cause, f"{answered[:-1]}: {_clean(refusal.error_text)}", "", not ran)
    location = exchange.field("location")
    if location is not None and 300 <= status < 400:
        where = _clean(location.partition("?")[0])[:300]
        return Told(
            "redirected", f"{answered} It redirects to {where}.", "If that is right, give that.", True
        )
    if status in _SENTENCES:
        cause, seen, remedy = _SENTENCES[status]
        return Failure(cause, f"{answered} {seen}", remedy, not ran)
    if status >= 500:
        return Failure("server_error", answered, "Its own log says why.", not ran)
    if exchange.broken:
        return Failure("not_mcp", f"{answered} That is no JSON: {exchange.broken}.", "", True)
    if exchange.streams:
        return Failure("reset", "The server ended its answer before the result came.", "", True)
    if exchange.is_good:
        return Failure("not_mcp", f"{answered} It is no answer to a request of MCP.", "", True)
    return Failure("redirected" if 300 <= status < 400 else "not_mcp", answered, "", not ran)


def never_ran(exchange: Exchange) -> bool:
    """Whether the answer proves that the request did not reach the server."""
    if exchange.failure is not None:
        return not exchange.failure.ran
    return _proxy_error(exchange) in _NEVER_REACHED


def may_be_repeated(request: Request, exchange: Exchange) -> bool:
    """Whether C{request}, which ended without an answer, may be sent again: never what may have been done."""
    return never_ran(exchange) or (request.is_harmless and request.tries < 2 and is_away(exchange))


def is_away(exchange: Exchange) -> bool:
    """Whether the target is down or still starting, so that waiting may help."""
    return exchange.failure is not None or exchange.status in (502, 503, 504) or never_ran(exchange)


def proxied(exchange: Exchange) -> str | None:
    """The sentence of a proxy that could not reach the server; our own relay gives a remedy, too."""
    if not _proxy_error(exchange):
        return None
    refusal = exchange.refusal()
    if refusal is not None and refusal.error_text:
        return _clean(refusal.error_text)
    if exchange.content_type == "text/plain" and exchange.body:
        return _clean(exchange.body[:1000].decode("utf-8", "replace"))
    return f"A proxy answered {exchange.status}: {_proxy_error(exchange).replace('_', ' ')}."


def _proxy_error(exchange: Exchange) -> str:
    for part in (exchange.field("proxy-status") or "").split(";")[1:]:
        name, _, value = part.strip().partition("=")
        if name == "error":
            return value
    return ""


def _page(exchange: Exchange) -> str | None:
    """The title of the page, with a comma before it; C{None} where the answer is no page."""
    start = exchange.body[:4096].lstrip().lower()
    is_page = start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))
    if not is_page and exchange.content_type not in ("text/html", "application/xhtml+xml"):
        return None
    at = exchange.body[:65536].lower().find(b"<title")
    _, _, rest = exchange.body[at : at + 1000].partition(b">")
    title = _clean(rest.partition(b"<")[0].decode("utf-8", "replace"))[:200] if at >= 0 else ""
    return f', "{title}"' if title else ""


def _clean(text: str) -> str:
    """Without control characters, in one line."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:1000]
