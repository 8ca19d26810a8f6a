"""HTTP/1.1 as a client reads it, and C{text/event-stream}: bytes in, meaning out."""

from __future__ import annotations

from typing import Literal, NamedTuple

from lanrelay.bridge.messages import Event, Fields

LONGEST_HEAD = 64 * 1024
"""Bytes of a head; nginx takes 4 to 8 kB from an upstream, and h11 takes 100 kB."""

LONGEST_LINE = 4096
"""Bytes of a chunk's line with its extensions."""

LARGEST_EVENT = 65 * 1024 * 1024
"""Bytes of an event, and of a body: a message of 64 MB, and what stands around it."""


class Malformed(Exception):
    """The answer is not HTTP/1.x, or breaks its framing; the text is a phrase."""


class Head(NamedTuple):
    """
    @ivar stays: the connection can be used again, once the answer is complete.
    """

    status: int
    reason: str
    fields: Fields
    stays: bool


class End(NamedTuple):
    """The answer is complete."""


END = End()


class Response:
    """
    Reads one answer.

    @param method: of the request: the answer to HEAD has no body; CONNECT is not supported.
    @ivar begun: a byte of it has come.
    @ivar rest: after L{End}: bytes behind the answer, which belong to no request.
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self._buffer = bytearray()
        self._state: Literal["head", "sized", "open", "chunk", "data", "crlf", "trailer", "end"] = "head"
        self._left = 0
        self.begun = False

    @property
    def rest(self) -> bytes:
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Head | bytes | End]:
        """
        What these bytes mean.

        @raise Malformed: they are no HTTP.
        """
        self.begun = self.begun or bool(data)
        found: list[Head | bytes | End] = []
        if self._state == "open":
            return [data] if data else []
        self._buffer += data
        while self._step(found):
            pass
        return found

    def ended(self) -> list[Head | bytes | End]:
        """
        The connection has ended.

        @raise Malformed: in the middle of the answer.
        """
        if self._state == "open":
            self._state = "end"
            return [END]
        if self._state == "end":
            return []
        raise Malformed("the connection ended before the answer was whole")

    def _step(self, found: list[Head | bytes | End]) -> bool:
        state, buffer = self._state, self._buffer
        if state == "head":
            return self._head(found)
        if state in ("sized", "data"):
            if not buffer:
                return False
            piece = bytes(buffer[: self._left])
            del buffer[: len(piece)]
            self._left -= len(piece)
            found.append(piece)
            if not self._left:
                if state == "sized":
                    self._finish(found)
                else:
                    self._state = "crlf"
            return True
        if state == "open":
            if buffer:
                found.append(bytes(buffer))
                buffer.clear()
            return False
        if state in ("chunk", "crlf", "trailer"):
            line = self._line()
            if line is None:
                return False
            if state == "chunk":
                self._chunk(line)
            elif state == "crlf":
                if line:
                    raise Malformed("a chunk is longer than it says")
                self._state = "chunk"
            elif not line:
                self._finish(found)
            return True
        return False

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", 0, LONGEST_LINE)
        if end < 0:
            if len(self._buffer) >= LONGEST_LINE:
                raise Malformed("a line of the chunked body is too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def _chunk(self, line: bytes) -> None:
        size = line.partition(b";")[0].strip(b" \t")
        if not size or len(size) > 15 or size.strip(b"0123456789abcdefABCDEF"):
            raise Malformed("a chunk has no size")
        self._left = int(size, 16)
        self._state = "data" if self._left else "trailer"

    def _head(self, found: list[Head | bytes | End]) -> bool:
        buffer = self._buffer
        while buffer[:2] == b"\r\n":  # RFC 9112 section 2.2
            del buffer[:2]
        ends = [(at, at + len(mark)) for mark in (b"\r\n\r\n", b"\n\n") if (at := buffer.find(mark)) >= 0]
        if not ends:
            if len(buffer) > 5 and not b"HTTP/".startswith(bytes(buffer[:5])):
                raise Malformed(f"it begins with {bytes(buffer[:16])!r}")
            if len(buffer) > LONGEST_HEAD:
                raise Malformed("the head of the answer is too long")
            return False
        at, end = min(ends)
        lines = bytes(buffer[:at]).decode("latin-1").split("\n")
        del buffer[:end]
        version, status, reason = _status_line(lines[0].removesuffix("\r"))
        fields = tuple(_field(line.removesuffix("\r")) for line in _unfolded(lines[1:]))
        if 100 <= status < 200:
            if status == 101:
                raise Malformed("it switches to another protocol")
            return True
        self._body(status, version, reason, fields, found)
        return True

    def _body(
        self, status: int, version: str, reason: str, fields: Fields, found: list[Head | bytes | End]
    ) -> None:
        lengths = {value.strip() for name, value in fields if name.lower() == "content-length"}
        codings = [
            word.strip().lower()
            for name, value in fields
            if name.lower() == "transfer-encoding"
            for word in value.split(",")
        ]
        options = {
            word.strip().lower()
            for name, value in fields
            if name.lower() in ("connection", "proxy-connection")
            for word in value.split(",")
        }
        stays = "close" not in options and (version == "1.1" or "keep-alive" in options)
        if self._method == "HEAD" or status in (204, 304):
            found.append(Head(status, reason, fields, stays))
            self._finish(found)
        elif codings:
            if codings != ["chunked"]:
                raise Malformed(f"its transfer coding is {', '.join(codings)}")
            found.append(Head(status, reason, fields, stays and not lengths))
            self._state = "chunk"
        elif lengths:
            [length] = lengths if len(lengths) == 1 else [""]
            if not (length.isascii() and length.isdigit() and len(length) < 16):
                raise Malformed("its Content-Length is none")
            found.append(Head(status, reason, fields, stays))
            self._left = int(length)
            self._state = "sized"
            if not self._left:
                self._finish(found)
        else:
            found.append(Head(status, reason, fields, False))
            self._state = "open"

    def _finish(self, found: list[Head | bytes | End]) -> None:
        self._state = "end"
        found.append(END)


def _status_line(line: str) -> tuple[str, int, str]:
    version, _, more = line.partition(" ")
    status, _, reason = more.partition(" ")
    is_number = len(status) == 3 and status.isascii() and status.isdigit()
    if version not in ("HTTP/1.1", "HTTP/1.0") or not is_number:
        raise Malformed(f"it begins with {line[:40]!r}")
    return version.removeprefix("HTTP/"), int(status), reason.strip()


def _unfolded(lines: list[str]) -> list[str]:
    found: list[str] = []
    for line in lines:
        if line[:1] in (" ", "\t") and found:  # obs-fold, RFC 9112 section 5.2
            found[-1] = f"{found[-1].rstrip()} {line.strip()}"
        else:
            found.append(line)
    return found


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name or name != name.strip():
        raise Malformed("a line of its head is no field")
    return name, value.strip(" \t\r")


def value_of(fields: Fields, name: str) -> str:
    """The first of that name, in lower case; empty for none."""
    return next((value for one, value in fields if one.lower() == name), "")


def is_event_stream(fields: Fields) -> bool:
    return value_of(fields, "content-type").partition(";")[0].strip().lower() == "text/event-stream"


class EventParser:
    """
    Reads a C{text/event-stream} (HTML section 9.2.6).

    An event without data is told, too, if it has an id or a time for trying again; browsers do not tell it.
    """

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._size = 0
        self._first = True
        self._after_cr = False
        self._kind = ""
        self._data: list[bytes] = []
        self._id: str | None = None
        self._retry: int | None = None
        self._told = False

    def feed(self, data: bytes) -> list[Event]:
        """
        The events that end in these bytes.

        @raise Malformed: one is too large.
        """
        if self._after_cr and data:
            self._after_cr = False
            data = data[1:] if data[:1] == b"\n" else data
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        self._size += len(data)
        if self._size > LARGEST_EVENT:
            raise Malformed("an event is larger than 64 MB")
        if len(lines) == 1:
            self._tail.append(data)
            return []
        found: list[Event] = []
        self._tail.append(lines[0])
        lines[0] = b"".join(self._tail)
        self._tail = [lines.pop()]
        for line in lines:
            if line:
                self._line(line)
            else:
                self._dispatch(found)
                self._size = len(self._tail[0])
        return found

    def _line(self, line: bytes) -> None:
        if self._first:
            self._first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._kind = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
                self._told = True
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self._retry = int(value)
            self._told = True

    def _dispatch(self, found: list[Event]) -> None:
        self._first = False
        if self._data or self._told:
            found.append(Event(self._kind or "message", b"\n".join(self._data), self._id, self._retry))
        self._kind, self._data, self._retry, self._told = "", [], None, False
