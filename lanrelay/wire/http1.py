"""HTTP/1.x on one connection: bytes to events and events to bytes, as a server and as a client."""

from __future__ import annotations

from functools import lru_cache

from lanrelay.errors import OtherProtocol, RemoteProtocolError
from lanrelay.wire.events import (
    HTTP_1_0,
    HTTP_1_1,
    NO_FIELDS,
    BodyPart,
    EndOfMessage,
    Event,
    RequestHead,
    ResponseHead,
    Version,
)
from lanrelay.wire.framing import (
    CHUNKED,
    UNTIL_CLOSE,
    Framing,
    request_framing,
    response_framing,
    with_one_length,
)
from lanrelay.wire.headers import Headers, logs_in_connection
from lanrelay.wire.heads import (
    TOKEN_BYTES,
    parse_request_head,
    parse_request_line,
    parse_response_head,
    refuse_long_method,
)
from lanrelay.wire.limits import LIMITS, Limits
from lanrelay.wire.reader import MessageReader, Reading
from lanrelay.wire.writer import NO_CONTENT, BodyWriter, encode_request_head, encode_response_head

_LINE_SLACK = 256
"""What a request line may hold beside its target: method, version, spaces."""


# The first byte of a ClientHello (RFC 8446 section 5.1) and of a greeting (RFC 1928 section 3).
_OTHER_PROTOCOLS = {0x16: "TLS", 0x05: "SOCKS", 0x04: "SOCKS"}


class Http1Server(MessageReader):
    """
    The side of a connection that is asked.

    C{receive} never goes past the end of a request: the bytes after it wait until L{start_next_cycle}, or
    C{take_unread} gives them away. After a CONNECT answered with 2xx, or a 101, everything waits there.

    @ivar request: the head of the request under way.
    @ivar keep_alive: whether the connection can serve another request; valid once a final head was sent.
    @ivar switched: HTTP has ended, by 101 or a successful CONNECT.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        super().__init__(limits)
        self.request: RequestHead | None = None
        self.keep_alive = True
        self.switched = False
        self._response: BodyWriter | None = None
        self._line_judged = False
        self._empty_line_skipped = False

    # receiving ------------------------------------------------------------------------------------

    @property
    def request_complete(self) -> bool:
        """The request was received to its end."""
        return self.request is not None and self._reading in (Reading.COMPLETE, Reading.SWITCHED)

    @property
    def untouched(self) -> bool:
        """Nothing of the next request has come, not even the empty line that may stand before it."""
        return not (self._held or self._empty_line_skipped)

    def start_next_cycle(self) -> list[Event]:
        """
        Go on with what came behind the last request; may hold a whole next one.

        @raise RemoteProtocolError: as C{receive}.
        @raise RuntimeError: not L{ready_for_next}.
        """
        if not self.ready_for_next:
            raise RuntimeError("this request, or its response, is not complete")
        self.request = None
        self._response = None
        self._line_judged = self._empty_line_skipped = False
        self._reading = Reading.HEAD
        return self.receive(self.take_unread()) if self._unread else []

    def _head_received(self, block: bytes, events: list[Event]) -> None:
        head = parse_request_head(block, self._limits)
        framing = request_framing(head.method, head.version, head.headers)
        if framing == 0 and b"expect" in head.headers.index:
            # RFC 9110 section 10.1.1: not without content. waitress would wait for that without end.
            head.headers = head.headers.without({b"expect"})
        self.request = head
        events.append(head)
        self._body_follows(framing, events)

    def _head_begun(self, held: bytearray) -> bool:
        if held[0] == 13 and not self._empty_line_skipped:  # RFC 9112 section 2.2: at least one is ignored
            if len(held) == 1:
                return False
            if held[1] == 10:
                self._empty_line_skipped = True
                del held[:2]
                if not held:
                    return False
        if held[0] not in TOKEN_BYTES:
            if held[0] in _OTHER_PROTOCOLS:
                raise OtherProtocol(_OTHER_PROTOCOLS[held[0]])
            raise RemoteProtocolError("no valid request line")
        if not self._line_judged:
            end = held.find(b"\r\n")
            if end >= 0:
                parse_request_line(bytes(held[:end]), self._limits)
                self._line_judged = True
            else:
                refuse_long_method(held, self._limits)
                if len(held) > self._limits.target + _LINE_SLACK:
                    raise self._too_long(len(held))
        return True

    def _too_long(self, first_line: int) -> RemoteProtocolError:
        if first_line > self._limits.target + _LINE_SLACK:
            return RemoteProtocolError(f"a target of more than {self._limits.target} bytes", 414)
        return super()._too_long(first_line)

    # sending --------------------------------------------------------------------------------------

    @property
    def ready_for_next(self) -> bool:
        """Request and response are complete, and the connection may serve another."""
        response = self._response
        return (
            response is not None
            and response.complete
            and self.keep_alive
            and self._reading is Reading.COMPLETE
            and self.request is not None
        )

    @property
    def response_begun(self) -> bool:
        """A final head was sent."""
        return self._response is not None or self.switched

    @property
    def response_complete(self) -> bool:
        """The response was sent to its end."""
        return self._response is not None and self._response.complete

    @property
    def shows_its_end(self) -> bool:
        """Whether the framing of the response under way tells the client that all of it has come."""
        return self._response is not None and self._response.framing != UNTIL_CLOSE

    @property
    def sends_chunks(self) -> bool:
        """The response under way is framed in chunks; a L{whole_chunk} may be sent as it is."""
        response = self._response
        return (
            response is not None
            and response.framing == CHUNKED
            and not (response.silent or response.complete)
        )

    def close_after_response(self) -> None:
        """The response under way is the last one. Its head says so to the client, if it was not sent yet."""
        self.keep_alive = False

    def send(self, event: ResponseHead | BodyPart | EndOfMessage) -> bytes:
        """
        The bytes that say so.

        A final head may also be sent when there is no request (it was malformed, or never came); the
        connection then closes after it.

        @raise RuntimeError: out of order, or content that is not as long as Content-Length says.
        """
        if isinstance(event, BodyPart):
            return self._sending().part(event.data)
        if isinstance(event, EndOfMessage):
            return self._sending().end(event.trailers)
        if self._response is not None or self.switched:
            raise RuntimeError("a second response head")
        if event.status >= 200:
            return self._send_final(event)
        return self._send_interim(event)

    def send_whole(self, head: ResponseHead, content: bytes, trailers: Headers = NO_FIELDS) -> bytes:
        """A final head, all of the content and the end at once; raises as L{send}."""
        data = self.send(head)
        if self.switched:
            raise RuntimeError("content after a switch of protocols")
        writer = self._sending()
        if writer.framing == len(content) and not writer.silent:  # nearly always
            self._response = NO_CONTENT
            return data + content
        return b"%b%b%b" % (data, writer.part(content), writer.end(trailers))

    def answered(self) -> None:
        """The whole response to this request was sent by somebody else; another may follow."""
        self._response = NO_CONTENT

    def _sending(self) -> BodyWriter:
        if self._response is None:
            raise RuntimeError("content before a response head")
        return self._response

    def _send_interim(self, head: ResponseHead) -> bytes:
        request = self.request
        if request is None or request.version == HTTP_1_0:
            if head.status == 101:
                raise RuntimeError("101 without a request for it")
            return b""  # RFC 9110 section 15.2: never to an HTTP/1.0 client
        if head.status == 101:
            if b"upgrade" not in request.headers or not self.request_complete:
                raise RuntimeError("101 without a request for it")
            self._switch()
            return encode_response_head(101, head.reason, head.headers, framing=None)
        return encode_response_head(head.status, head.reason, head.headers, framing=UNTIL_CLOSE)

    def _send_final(self, head: ResponseHead) -> bytes:
        request = self.request
        method, version = (b"GET", HTTP_1_1) if request is None else (request.method, request.version)
        if method == b"CONNECT" and head.status < 300:
            if not self.request_complete:
                raise RuntimeError("a tunnel inside a request")
            self._switch()
            if not head.headers:
                return _tunnel_head(head.status, head.reason)
            return encode_response_head(head.status, head.reason, head.headers, framing=UNTIL_CLOSE)
        framing, silent = _response_framing(method, version, head)
        if self.keep_alive and (
            request is None
            or self._reading is Reading.FAILED
            or method == b"CONNECT"  # what follows was meant for a tunnel, and must never run as a request
            or (framing == UNTIL_CLOSE and not silent)
            or not _persists(request)
            or (b"connection" in head.headers.index and b"close" in head.headers.tokens(b"connection"))
        ):
            self.keep_alive = False
        connection = b""
        if not self.keep_alive:
            connection = b"close"
        elif version == HTTP_1_0:
            connection = b"keep-alive"
        self._response = BodyWriter(framing, silent=silent)
        return encode_response_head(
            head.status, head.reason, head.headers, framing=framing, connection=connection
        )

    def _switch(self) -> None:
        self.switched = True
        self.keep_alive = False
        self._reading = Reading.SWITCHED


class Http1Client(MessageReader):
    """
    The side of a connection that asks, one exchange after another.

    An answer may come while the request is still being sent; it is read, and the connection then only serves
    again if the request was sent to its end. Bytes after a complete response, or before a request, are
    dropped, and end the connection's use. After a 101, or a 2xx to CONNECT, everything waits for
    C{take_unread}.

    @ivar personal: a user may be logged in on the connection (L{logs_in_connection}), so that it can serve
        nobody else.
    @ivar switched: HTTP has ended, by 101 or a successful CONNECT.
    """

    padded_chunks = True

    def __init__(self, limits: Limits = LIMITS) -> None:
        super().__init__(limits)
        self.personal = self.switched = False
        self._asked = self._answered = False  # a request was sent; the final head of its answer has come
        self._request: RequestHead | None = None  # until then: nobody asks later, and a stream may be long
        self._body: BodyWriter | None = None
        self._persistent = True
        self._interim = 0
        self._reading = Reading.COMPLETE

    # sending --------------------------------------------------------------------------------------

    @property
    def request_complete(self) -> bool:
        """The request was sent to its end."""
        return self._body is not None and self._body.complete

    def send(self, event: RequestHead | BodyPart | EndOfMessage) -> bytes:
        """
        The bytes that say so. Content is framed as the head says: Content-Length, or Transfer-Encoding,
        or none.

        @raise RuntimeError: out of order, or content that is not as long as Content-Length says.
        @raise ValueError: method or target would split the request.
        """
        if isinstance(event, BodyPart):
            return self._sending().part(event.data)
        if isinstance(event, EndOfMessage):
            return self._sending().end(event.trailers)
        data, framing = self._send_head(event)
        self._body = BodyWriter(framing)
        return data

    def send_whole(self, head: RequestHead) -> bytes:
        """A request without content, to its end; raises as L{send}."""
        data, framing = self._send_head(head)
        self._body = BodyWriter(framing) if framing else NO_CONTENT
        return data + self._body.end(NO_FIELDS) if framing else data

    def _send_head(self, head: RequestHead) -> tuple[bytes, Framing]:
        fresh = not self._asked and self._persistent and not self._eof
        if not (fresh or self.reusable):
            raise RuntimeError("a request on a connection that cannot take one")
        data = encode_request_head(head)
        try:
            framing = request_framing(head.method, HTTP_1_1, head.headers)
        except RemoteProtocolError as error:
            raise ValueError(error.detail) from None
        if b"authorization" in head.headers.index:
            self._is_logged_in(head.headers, b"authorization")
        self._request = head
        self._asked, self._answered = True, False
        self._interim = 0
        self._reading = Reading.HEAD
        return data, framing

    def _sending(self) -> BodyWriter:
        if self._body is None:
            raise RuntimeError("content before a request head")
        return self._body

    # receiving ------------------------------------------------------------------------------------

    @property
    def response_complete(self) -> bool:
        """The final response was received to its end."""
        return self._answered and self._reading is Reading.COMPLETE

    @property
    def reusable(self) -> bool:
        """The exchange is complete, and the connection can take another request."""
        body = self._body
        return (
            self._persistent
            and self._reading is Reading.COMPLETE
            and self._answered
            and body is not None
            and body.complete
            and not self._eof
        )

    def _behind(self, data: bytes) -> None:
        if self.switched:
            super()._behind(data)
        else:
            # RFC 9112 section 9.2: an answer to nothing. It must never be read as the answer to what
            # comes next.
            self._persistent = False

    def _between_messages(self) -> bool:
        return self._reading in (Reading.COMPLETE, Reading.SWITCHED)

    def _head_received(self, block: bytes, events: list[Event]) -> None:
        head = parse_response_head(block, self._limits)
        request = self._request
        assert request is not None
        if head.status == 101:
            if b"upgrade" not in request.headers:
                raise RemoteProtocolError("101 without a request for it")
            if not self.request_complete:
                raise RemoteProtocolError("101 before the end of the request")
            self._switch(head, events)
            return
        if head.status < 200:
            # Go bounds them too, by the size of a head: without end they would only be work.
            self._interim += len(block)
            if self._interim > self._limits.head:
                raise RemoteProtocolError("too many interim responses")
            events.append(head)
            return
        if request.method == b"CONNECT" and head.status < 300:
            self._switch(head, events)
            return
        if b"www-authenticate" in head.headers.index:
            self._is_logged_in(head.headers, b"www-authenticate")
        length = head.headers.index.get(b"content-length")
        if length is not None and not (head.headers.unique and length[2].isdigit()):
            head.headers = with_one_length(head.headers)
        framing = response_framing(request.method, head)
        if (
            framing == UNTIL_CLOSE
            or not _persists(head)
            or (b"connection" in request.headers.index and b"close" in request.headers.tokens(b"connection"))
            # The peer was offered another protocol, and may still wait for it, whatever it answered.
            or b"upgrade" in request.headers.index
            # Not even the length of what an origin may send here is known.
            or (framing == 0 and request.method != b"HEAD" and b"transfer-encoding" in head.headers.index)
        ):
            self._persistent = False
        self._request, self._answered = None, True
        events.append(head)
        self._body_follows(framing, events)

    def _is_logged_in(self, headers: Headers, name: bytes) -> None:
        if not self.personal:
            self.personal = any(map(logs_in_connection, headers.all(name)))

    def _head_begun(self, held: bytearray) -> bool:
        if not b"HTTP/1.".startswith(held[:7]):
            raise RemoteProtocolError("no HTTP/1.x response")
        return True

    def _forgiven(self, data: bytes) -> tuple[bytearray | bytes, bytes] | None:
        """
        A head whose field lines, with the empty one, all end in LF alone is read as one with CRLF. Its status
        line may end either way, because another program writes it if a CGI script writes the rest. If field
        lines end in both ways, two readers may see different lines, so that is an error; a bare CR is always
        one.
        """
        first = data.find(b"\n")
        second = data.find(b"\n", first + 1)
        if first < 0 or not data.startswith(b"HTTP/1.") or (second > 0 and data[second - 1] == 13):
            return None
        end = data.find(b"\n\n", first)
        whole = end >= 0
        fields = data[first + 1 : max(end, first)] if whole else data[first + 1 :]
        if b"\r" in fields or first + len(fields) > self._limits.head:
            return None
        if not whole:
            return bytearray(data), b""
        lines = [data[:first].removesuffix(b"\r"), *fields.splitlines()]
        return b"", b"\r\n".join([*lines, b"", data[end + 2 :]])

    def _switch(self, head: ResponseHead, events: list[Event]) -> None:
        self._request, self._answered = None, True
        self.switched = True
        self._persistent = False
        self._reading = Reading.SWITCHED
        events.append(head)


@lru_cache(maxsize=8)
def _tunnel_head(status: int, reason: bytes) -> bytes:
    """That a tunnel is open, which is nearly always said in the same words."""
    return encode_response_head(status, reason, NO_FIELDS, framing=UNTIL_CLOSE)


_KEEP_ALIVE = frozenset({b"keep-alive", b"Keep-Alive"})


def _response_framing(method: bytes, version: Version, head: ResponseHead) -> tuple[Framing, bool]:
    """How we frame a response's content, and whether there is none whatever its fields say."""
    status = head.status
    if status == 204:  # RFC 9112 section 6.1, RFC 9110 section 8.6: neither field
        return UNTIL_CLOSE, True
    silent = status == 304 or method == b"HEAD"
    index = head.headers.index
    chunked = b"transfer-encoding" in index
    if not chunked and b"content-length" in index:
        return int(index[b"content-length"][2]), silent
    if version == HTTP_1_0 or (silent and not chunked):
        return UNTIL_CLOSE, silent
    return CHUNKED, silent


def _persists(head: RequestHead | ResponseHead) -> bool:
    """RFC 9112 section 9.3."""
    field = head.headers.index.get(b"connection")
    if field is None or (field[2] in _KEEP_ALIVE and head.headers.unique):
        return field is not None or head.version == HTTP_1_1
    options = head.headers.tokens(b"connection")
    if b"close" in options:
        return False
    return head.version == HTTP_1_1 or b"keep-alive" in options
