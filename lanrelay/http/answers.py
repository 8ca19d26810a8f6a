"""
The answers that the relay makes itself: they say what failed and what to do, in the form that the client
reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from lanrelay.errors import OtherProtocol, RelayError, RemoteProtocolError, RequestDenied
from lanrelay.passage.intermediary import hops_left, with_date
from lanrelay.upstream.explain import explain
from lanrelay.upstream.phrases import words
from lanrelay.wire.events import RequestHead
from lanrelay.wire.headers import Headers

PROXY_NAME: Final = b"lanrelay"

_REASONS: Final = {
    200: b"OK",
    202: b"Accepted",
    204: b"No Content",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}

# JSON-RPC leaves -32000 to -32099 to implementations; MCP's SDKs use some of the first ten themselves.
_RPC_CODES: Final = {502: -32012, 503: -32013, 504: -32014}
_RPC_OTHER: Final = -32010

METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

# Fields that the answer to a TRACE should not send back (RFC 9110 section 9.3.8).
_NOT_TRACED: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization"})

# What a client without a valid request has done, by the status of the answer.
_NOT_VALID: Final = "Use a client that sends valid HTTP/1.1; what can be read in two ways is not passed on."
_REMEDIES: Final = {
    405: "For a tunnel ask a listener of the type connect-proxy.",
    408: "Send it faster, or raise timeouts.head or timeouts.body of this listener.",
    413: "Send less, or raise max_body of this listener.",
    414: "Use a shorter URL.",
    417: "Leave the field Expect out, or send 100-continue.",
    431: "Send fewer or shorter fields; most often cookies have piled up, which the browser can delete.",
    501: "Use another method or coding.",
    505: "Use HTTP/1.1.",
}

RETRY_AFTER: Final = b"2"
"""Seconds: how often an upstream that is down is looked at (C{health.down_interval})."""

_DETAILS_MAX: Final = 512


class Answer(NamedTuple):
    """
    A whole response.

    @ivar reason: the reason phrase, which is all that many programs show.
    @ivar explanation: what failed and the remedy, in one line, for the session.
    """

    status: int
    headers: Headers
    body: bytes
    explanation: str
    reason: bytes = b""


def reason_phrase(status: int) -> bytes:
    """The phrase that goes with a status that the relay sends itself."""
    return _REASONS.get(status, b"")


def failed(
    error: RelayError,
    head: RequestHead | None = None,
    content: bytes | None = None,
    *,
    upstream: str = "",
    listener: str = "",
    status_page: Callable[[], str] | None = None,
) -> Answer:
    """
    The answer to a request that came to nothing.

    @param head: the request, C{None} when what came was none; it decides between JSON-RPC, HTML and text.
    @param content: that of the request, if all of it is at hand: then a JSON-RPC error has its C{id}.
    @param upstream: the name or URL of the upstream that was asked, for an error that does not know it.
    @param listener: its name, for people.
    @param status_page: gives the URL of the status page, or nothing if this client may not see it.
    """
    what, remedy = sentences(error)
    status = error.http_status
    policy = b""
    if head is not None and _is_rpc(head):
        content_type, body = b"application/json", _as_rpc(error, what, remedy, content)
    elif head is not None and _is_navigation(head):
        from lanrelay.http.failure_page import POLICY, failure_page  # only browsers ask for it

        facts = (("Listener", listener), ("Upstream", upstream), ("Error", error.proxy_status))
        page = "" if status_page is None else status_page()
        policy, content_type = POLICY, b"text/html; charset=utf-8"
        body = failure_page(_title(error), what, remedy, facts, page)
    else:
        content_type, body = b"text/plain; charset=utf-8", _as_text(error, what, remedy)
    fields = [
        (b"Content-Type", content_type),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Proxy-Status", proxy_status(error, what)),
    ]
    if policy:
        fields.append((b"Content-Security-Policy", policy))
    if status == 503:
        fields.append((b"Retry-After", RETRY_AFTER))
    headers = with_date(Headers(fields), time.time())
    return Answer(
        status=status,
        headers=headers,
        body=body,
        explanation=f"{what} {remedy}".strip(),
        reason=words(error, upstream).encode("ascii") or reason_phrase(status),
    )


def from_here(head: RequestHead) -> Answer | None:
    """The answer to a TRACE or OPTIONS that may go no further; C{None} if it may (RFC 9110 section 7.6.2)."""
    if hops_left(head) != 0:
        return None
    if head.method == b"OPTIONS":
        headers, body = Headers([(b"Allow", METHODS)]), b""
    else:
        line = b"%b %b HTTP/%d.%d\r\n" % (head.method, head.target, *head.version)
        body = line + head.headers.without(_NOT_TRACED).encode() + b"\r\n"
        headers = Headers([(b"Content-Type", b"message/http")])
    headers = with_date(headers.added(b"Content-Length", b"%d" % len(body)), time.time())
    return Answer(status=200, headers=headers, body=body, explanation="")


def sentences(error: RelayError) -> tuple[str, str]:
    """What happened, and what to do about it; the latter may be empty."""
    if isinstance(error, RequestDenied):
        return _sentence(str(error)), _sentence(error.remedy)
    if isinstance(error, RemoteProtocolError) and not isinstance(error, OtherProtocol):
        return _sentence(f"the request was refused: {error}"), _REMEDIES.get(error.http_status, _NOT_VALID)
    explanation = explain(error)
    return explanation.what, explanation.remedy


def proxy_status(error: RelayError, details: str) -> bytes:
    """The C{Proxy-Status} field of RFC 9209; C{details} is escaped as a string of RFC 8941 section 3.3.3."""
    text = "".join(letter if " " <= letter <= "~" else "?" for letter in details[:_DETAILS_MAX])
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return b'%b; error=%b; details="%b"' % (PROXY_NAME, error.proxy_status.encode(), quoted.encode("ascii"))


def _is_rpc(head: RequestHead) -> bool:
    """Whether it is a POST of JSON: MCP's clients, and others that speak JSON-RPC, read such an error."""
    content_type = head.headers.get(b"content-type") or b""
    return head.method == b"POST" and content_type.partition(b";")[0].strip().lower() == b"application/json"


def _is_navigation(head: RequestHead) -> bool:
    """Whether a person looks at the answer in a browser."""
    if head.method not in (b"GET", b"HEAD", b"POST"):
        return False
    mode = head.headers.get(b"sec-fetch-mode")
    if mode is not None and mode != b"navigate":
        return False
    return any(each.partition(b";")[0].strip() == b"text/html" for each in head.headers.tokens(b"accept"))


def _title(error: RelayError) -> str:
    return f"{error.http_status} {reason_phrase(error.http_status).decode('ascii')}".strip()


def _as_text(error: RelayError, what: str, remedy: str) -> bytes:
    lines = [f"{_title(error)} ({error.proxy_status})", "", what, *([remedy] if remedy else [])]
    return ("\n".join(lines) + "\n").encode()


def _as_rpc(error: RelayError, what: str, remedy: str, content: bytes | None) -> bytes:
    import json  # only here; a relay without JSON-RPC needs none

    code = _RPC_CODES.get(error.http_status, _RPC_OTHER)
    message = f"{what} {remedy}".strip()
    data = {"status": error.http_status, "error": error.proxy_status, "from": PROXY_NAME.decode()}
    reply = {
        "jsonrpc": "2.0",
        "id": _rpc_id(content),
        "error": {"code": code, "message": message, "data": data},
    }
    return json.dumps(reply).encode() + b"\n"


def _rpc_id(content: bytes | None) -> str | int | None:
    """The C{id} of a JSON-RPC request (JSON-RPC 2.0 section 5: null where it is not known)."""
    import json

    try:
        request = json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return None
    given = request.get("id")
    return given if isinstance(given, (str, int)) and not isinstance(given, bool) else None


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
