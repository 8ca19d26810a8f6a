"""The answers that the relay makes itself."""

from __future__ import annotations

from typing import Final

from lanrelay.errors import RelayError
from lanrelay.wire.headers import Headers

_REASONS: Final = {
    200: b"OK",
    204: b"No Content",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
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

Answer = tuple[int, Headers, bytes]
"""Status, fields and body, for L{HttpConnection.answer<lanrelay.listeners.http.HttpConnection.answer>}."""


def reason_phrase(status: int) -> bytes:
    """The phrase that goes with a status that the relay sends itself."""
    return _REASONS.get(status, b"")


def refusal(error: RelayError) -> Answer:
    """The answer to what is no request."""
    body = f"{error.http_status} {reason_phrase(error.http_status).decode()}: {error}\n".encode()
    headers = Headers(
        [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Cache-Control", b"no-store"),
            (b"X-Content-Type-Options", b"nosniff"),
        ]
    )
    return error.http_status, headers, body
