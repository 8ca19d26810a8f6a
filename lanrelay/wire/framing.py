"""Where a body ends (RFC 9112 section 6); refuses what two readers could understand in two ways."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.events import HTTP_1_0, NO_FIELDS, ResponseHead, Version
from lanrelay.wire.headers import FORWARDED_NAMES, HOP_BY_HOP, NAME, Field, Headers
from lanrelay.wire.heads import parse_trailers
from lanrelay.wire.limits import Limits

CHUNKED = -1
UNTIL_CLOSE = -2
Framing = int
"""The length of the content, or L{CHUNKED}, or L{UNTIL_CLOSE}."""

# RFC 9112 section 6.3, RFC 9110 section 8.6: digits and nothing else. 18 of them stay below 2**63, which
# every next hop can count to.
_LENGTH = re.compile(rb"[0-9]{1,18}")

# RFC 9112 section 7.1. 15 digits stay below 2**60. White space after the size is refused in a request. A
# recipient may skip it (section 7.1.1), but then one that does and one that does not see different sizes. Of
# answers we are the only reader; some old servers pad their sizes to a fixed width.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_CHUNK_LINE_BEGUN = re.compile(
    rb"[0-9A-Fa-f]{0,15}(?:(?<=[0-9A-Fa-f])(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r?)?\Z"
)
_PADDED_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_PADDED_CHUNK_LINE_BEGUN = re.compile(
    rb"[0-9A-Fa-f]{0,15}(?:(?<=[0-9A-Fa-f])[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r?)?\Z"
)

# RFC 9110 section 6.5.1: not in trailers is what frames, routes, authenticates, or says how the content
# is read.
FORBIDDEN_TRAILERS = (HOP_BY_HOP | FORWARDED_NAMES) | {
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"expect",
    b"host",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"location",
    b"max-forwards",
    b"origin",
    b"range",
    b"referer",
    b"set-cookie",
    b"strict-transport-security",
    b"vary",
    b"via",
    b"www-authenticate",
}


def request_framing(method: bytes, version: Version, headers: Headers) -> Framing:
    """
    How a request's content is framed.

    @raise RemoteProtocolError: Content-Length with Transfer-Encoding, or one of them not as it must be.
    """
    index = headers.index
    if b"content-length" not in index and b"transfer-encoding" not in index:
        return 0
    framing = _declared(version, headers)
    if method == b"CONNECT" and framing != 0:
        # RFC 9110 section 9.3.6: it has no content, so these bytes are content to one and a tunnel's to
        # another.
        raise RemoteProtocolError("a CONNECT with content")
    return 0 if framing is None else framing


def response_framing(method: bytes, head: ResponseHead) -> Framing:
    """
    How a response's content is framed, in the order of RFC 9112 section 6.3.

    @param method: of the request.
    @raise RemoteProtocolError: Content-Length with Transfer-Encoding, or one of them not as it must be.
    """
    status = head.status
    if status < 200 or status == 204 or (method == b"CONNECT" and status < 300):
        return 0
    framing = _declared(head.version, head.headers)
    if method == b"HEAD" or status == 304:
        return 0
    return UNTIL_CLOSE if framing is None else framing


def declares_content(headers: Headers) -> bool:
    """Whether a request has content: more than none."""
    index = headers.index
    length = index.get(b"content-length")
    return b"transfer-encoding" in index or (length is not None and length[2].strip(b"0") != b"")


def _declared(version: Version, headers: Headers) -> Framing | None:
    index = headers.index
    length = index.get(b"content-length")
    coding = index.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise RemoteProtocolError("Content-Length with Transfer-Encoding")
        if version == HTTP_1_0:
            raise RemoteProtocolError("Transfer-Encoding in HTTP/1.0")
        if coding[2].lower() != b"chunked" or len(headers.all(b"transfer-encoding")) > 1:
            # RFC 9112 section 6.1: content whose end we would see, and could not read.
            unknown = _is_unknown(b",".join(headers.all(b"transfer-encoding")))
            raise RemoteProtocolError("a Transfer-Encoding other than chunked", 501 if unknown else 400)
        return CHUNKED
    if length is None:
        return None
    if not headers.unique and len(headers.all(b"content-length")) > 1:
        raise RemoteProtocolError("several Content-Length fields")
    if _LENGTH.fullmatch(length[2]) is None:
        raise RemoteProtocolError("a Content-Length that is no number")
    return int(length[2])


def _is_unknown(codings: bytes) -> bool:
    """Whether these are others than chunked, and that as the last one."""
    *others, last = [member.strip(b" \t").lower() for member in codings.split(b",")]
    names = [other.partition(b";")[0].rstrip(b" \t") for other in others]
    return (
        last == b"chunked"
        and bool(names)
        and all(NAME.fullmatch(name) is not None and name != b"chunked" for name in names)
    )


def with_one_length(headers: Headers) -> Headers:
    """
    With one Content-Length, if it came several times with the same value (RFC 9110 section 8.6); else as they
    are.
    """
    values = b",".join(headers.all(b"content-length"))
    lengths = [member.strip(b" \t") for member in values.split(b",")]
    if len(lengths) < 2 or len(set(lengths)) > 1:
        return headers
    return headers.replaced(b"Content-Length", lengths[0])


def whole_chunk(data: bytes) -> int:
    """
    The length of the content, if C{data} are one chunk just as
    L{BodyWriter<lanrelay.wire.writer.BodyWriter>} would write it; else 0.
    """
    size = len(data) - data.find(b"\n") - 3
    return size if size > 0 and data.startswith(b"%x\r\n" % size) and data.endswith(b"\r\n") else 0


class ChunkedReader:
    """
    Takes a chunked body apart.

    @param padded: blanks may stand after a size.
    @ivar trailers: what came after the last chunk, without what may not stand there; valid once C{complete}.
    @ivar rest: the bytes after the body; valid once C{complete}.
    """

    __slots__ = (
        "_ending",
        "_extensions",
        "_held",
        "_left",
        "_limits",
        "_line",
        "_line_begun",
        "_trailing",
        "complete",
        "content_so_far",
        "rest",
        "trailers",
    )

    def __init__(self, limits: Limits, *, padded: bool = False) -> None:
        self._line = _PADDED_CHUNK_LINE if padded else _CHUNK_LINE
        self._line_begun = _PADDED_CHUNK_LINE_BEGUN if padded else _CHUNK_LINE_BEGUN
        self.complete = False
        self.trailers = NO_FIELDS
        self.content_so_far: Sequence[bytes] = ()
        self.rest = b""
        self._limits = limits
        self._left = 0
        """Bytes of the chunk that are still to come."""
        self._ending = False
        """The chunk is whole, its CRLF is not."""
        self._trailing: bytearray | None = None
        self._held = b""
        """The beginning of a chunk line, or of a CRLF; never more than one line."""
        self._extensions = 0

    @property
    def between_chunks(self) -> bool:
        """All that came were whole chunks, and not the last one."""
        return not (self._left or self._ending or self._held) and self._trailing is None and not self.complete

    def feed(self, data: bytes) -> list[bytes]:
        """
        The content in C{data}, in as many pieces as there are chunks.

        @raise RemoteProtocolError: C{content_so_far} holds what came before the fault.
        """
        content: list[bytes] = []
        self.content_so_far = content
        if self._held:
            data = self._held + data
            self._held = b""
        position, end = 0, len(data)
        while position < end:
            if self._trailing is not None:
                self._feed_trailers(data[position:])
                break
            if self._left:
                piece = data[position : position + self._left]
                content.append(piece)
                position += len(piece)
                self._left -= len(piece)
                self._ending = not self._left
            elif self._ending:
                if not data.startswith(b"\r\n", position):
                    if end - position == 1 and data[position] == 13:
                        self._held = b"\r"
                        break
                    raise RemoteProtocolError("a chunk that does not end with CRLF")
                self._ending = False
                position += 2
            else:
                match = self._line.match(data, position)
                if match is None:
                    self._hold(data[position:])
                    break
                position = match.end()
                size, extension = match.groups()
                if extension is not None:
                    self._count(match.end() - match.start(), len(extension))
                self._left = int(size, 16)
                if not self._left:
                    self._trailing = bytearray()
        return content

    def _hold(self, begun: bytes) -> None:
        if self._line_begun.match(begun) is None:
            raise RemoteProtocolError("no valid chunk size")
        self._count(len(begun), 0)
        self._held = begun

    def _count(self, line: int, extension: int) -> None:
        self._extensions += extension
        if line > self._limits.chunk_line or self._extensions > self._limits.extensions:
            raise RemoteProtocolError("too much in chunk extensions")

    def _feed_trailers(self, data: bytes) -> None:
        held = self._trailing
        assert held is not None
        scanned = max(len(held) - 3, 0)
        held += data
        if held[:2] == b"\r\n":
            end, fields = 2, b""
        else:
            found = held.find(b"\r\n\r\n", scanned)
            if max(found, 0) > self._limits.trailers or (found < 0 and len(held) > self._limits.trailers):
                raise RemoteProtocolError(f"more than {self._limits.trailers} bytes of trailers", 431)
            if found < 0:
                refuse_bare_line_ends(held, scanned)
                return
            end, fields = found + 4, bytes(held[:found])
        if fields:
            self.trailers = Headers.of(
                [field for field in parse_trailers(fields, self._limits) if _may_trail(field)]
            )
        self.rest = bytes(held[end:])
        self._trailing = None
        self.complete = True


def _may_trail(field: Field) -> bool:
    return field[0] not in FORBIDDEN_TRAILERS


_BARE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")


def refuse_bare_line_ends(held: bytearray, start: int) -> None:
    """
    Raise at once for a fault that would else show at an end that never comes: a head with LF alone has no
    CRLF CRLF.

    @param start: where to look from; the bytes before were looked at.
    @raise RemoteProtocolError: a LF without its CR, or a CR without its LF.
    """
    if _BARE.search(held, max(start - 1, 0)) is not None:
        raise RemoteProtocolError("a bare CR or LF")
