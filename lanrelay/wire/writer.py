"""The sending half of an HTTP/1.x connection: heads and framed content, as bytes."""

from __future__ import annotations

import re

from lanrelay.wire.events import RequestHead
from lanrelay.wire.framing import CHUNKED, UNTIL_CLOSE, Framing
from lanrelay.wire.headers import NAME, VALUE, Headers

_TARGET = re.compile(rb"[\x21\x22\x24-\x7e\x80-\xff]+")
_OTHER_FRAMING = frozenset({b"connection", b"transfer-encoding"})
_FRAMING = _OTHER_FRAMING | {b"content-length"}
_METHODS = frozenset({b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"})
_REASONS = frozenset({b"OK", b"Accepted", b"No Content", b"Not Modified"})
"""The reasons of nearly all answers."""


def encode_request_head(head: RequestHead) -> bytes:
    """
    A request's head as an origin gets it, always as HTTP/1.1 (RFC 9110 section 2.5).

    @raise ValueError: method or target would split the request.
    """
    method, target = head.method, head.target
    if (method not in _METHODS and NAME.fullmatch(method) is None) or _TARGET.fullmatch(target) is None:
        raise ValueError("no valid method or target")
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, head.headers.encode())


def encode_response_head(
    status: int, reason: bytes, headers: Headers, *, framing: Framing | None, connection: bytes = b""
) -> bytes:
    """
    A response's head as a client gets it, always as HTTP/1.1.

    @param headers: its Connection, Transfer-Encoding and Content-Length fields are replaced by what follows.
    @param framing: a length, L{CHUNKED}, L{UNTIL_CLOSE}, or C{None} to leave C{headers} as they are.
    @param connection: the one connection option, if any.
    @raise ValueError: the reason would split the response.
    """
    if reason not in _REASONS and VALUE.fullmatch(reason) is None:
        raise ValueError("no valid reason")
    if framing is not None and not _FRAMING.isdisjoint(headers.index):
        keep_length = framing >= 0
        if not (keep_length and _OTHER_FRAMING.isdisjoint(headers.index)):
            headers = Headers.of(
                [
                    field
                    for field in headers.fields
                    if field[0] not in _FRAMING or (keep_length and field[0] == b"content-length")
                ]
            )
    lines = headers.encode()
    if framing == CHUNKED:
        lines += b"Transfer-Encoding: chunked\r\n"
    if connection:
        lines += b"Connection: %b\r\n" % connection
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, lines)


class BodyWriter:
    """
    Frames one body, and holds the sender to what its head announced.

    @param framing: a length, L{CHUNKED} or L{UNTIL_CLOSE}.
    @param silent: the message has no content whatever its fields say; content is swallowed.
    @ivar complete: the end was sent.
    """

    __slots__ = ("_left", "complete", "framing", "silent")

    def __init__(self, framing: Framing, *, silent: bool = False) -> None:
        self.framing = framing
        self.complete = False
        self.silent = silent
        self._left = framing

    def part(self, data: bytes) -> bytes:
        """
        @raise RuntimeError: more came than was announced, or it came after the end.
        """
        if self.complete:
            raise RuntimeError("content after the end of a message")
        if self.silent or not data:
            return b""
        if self.framing == CHUNKED:
            return b"%x\r\n%b\r\n" % (len(data), data)
        if self.framing != UNTIL_CLOSE:
            self._left -= len(data)
            if self._left < 0:
                raise RuntimeError("more content than Content-Length says")
        return data

    def end(self, trailers: Headers) -> bytes:
        """
        The end of the body. Trailers are left out if the framing has no place for them.

        @raise RuntimeError: less came than was announced, or this is a second end.
        """
        if self.complete:
            raise RuntimeError("a second end of a message")
        if self.silent:
            self.complete = True
            return b""
        if self._left > 0:
            raise RuntimeError("less content than Content-Length says")
        self.complete = True
        return b"0\r\n%b\r\n" % trailers.encode() if self.framing == CHUNKED else b""


NO_CONTENT = BodyWriter(0)
"""For every message that was sent to its end; it is shared."""
NO_CONTENT.complete = True
