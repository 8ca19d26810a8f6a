"""Finds where an event of a C{text/event-stream} ends, and rewrites the endpoint event of an MCP stream."""

from __future__ import annotations

import re
from collections.abc import Callable

BOM = b"\xef\xbb\xbf"
"""The byte order mark that may begin a stream; it is no part of the content."""

_ANY_LINE_END = re.compile(rb"[\r\n]")
_LOOK_AHEAD = 65536


class EventBoundary:
    """
    Tells whether what has passed so far ended an event, so that a comment may be put in.

    The line ends of the WHATWG specification (HTML section 9.2.6): LF, CR, CRLF. The beginning of a stream is
    a boundary, too, with or without a byte order mark.
    """

    __slots__ = ("_tail", "_total")

    def __init__(self) -> None:
        self._tail = b""
        self._total = 0

    def feed(self, data: bytes) -> None:
        """These bytes have passed."""
        self._total += len(data)
        self._tail = data[-8:] if len(data) >= 8 else (self._tail + data)[-8:]

    def has_passed(self, size: int, last: bytes) -> None:
        """So many bytes have passed, of which these are the last eight."""
        self._total, self._tail = size, last

    @property
    def at_boundary(self) -> bool:
        """Whether the last bytes ended an event, or nothing has come yet."""
        tail = self._tail
        if self._total <= len(tail):
            tail = tail.removeprefix(BOM)
            if not tail:
                return True
            tail = b"\n" + tail  # the first line may be blank
        if tail[-2:] == b"\r\n":
            return tail[-3:-2] in (b"\n", b"\r")
        return tail[-1:] in (b"\n", b"\r") and tail[-2:-1] in (b"\n", b"\r")

    @property
    def begun(self) -> bool:
        """Whether anything has come."""
        return self._total > 0

    @property
    def comment(self) -> bytes:
        """
        A comment line, to be put in at a boundary; clients skip it.

        No blank line follows it, for a client that has seen an C{id} would take that for an empty event
        (httpx-sse, openai-python). If the last byte was CR, an LF may still belong to it. So the comment ends
        in CR, too: then that LF belongs to the comment, and is no blank line either.
        """
        return b":\r" if self._tail[-1:] == b"\r" else b":\n"


class MarkRemover:
    """
    Removes the byte order mark from the beginning of a stream before which a comment was put.

    After the comment it would be a part of the first field's name (HTML section 9.2.5).
    """

    __slots__ = ("_held", "done")

    def __init__(self) -> None:
        self._held = b""
        self.done = False

    def ignores(self, data: bytes) -> bool:
        """Whether C{feed} would give C{data} back unchanged, and be C{done}."""
        return not self._held and not data.startswith(BOM[:1])

    def feed(self, data: bytes) -> bytes:
        """The bytes that can go on now; none while they may still be a mark."""
        data = self._held + data
        self._held = b""
        if len(data) < len(BOM) and BOM.startswith(data):
            self._held = data
            return b""
        self.done = True
        return data.removeprefix(BOM)

    def finish(self) -> bytes:
        """The stream has ended; gives what turned out to be no mark."""
        return self._held


def messages(content: bytes) -> list[bytes]:
    """The data of each whole event in C{content}; events without data do not count."""
    found: list[bytes] = []
    data: list[bytes] = []
    for line in re.split(rb"\r\n|\n|\r", content.removeprefix(BOM))[:-1]:
        name, _, value = line.partition(b":")
        if not line and data:
            found.append(b"\n".join(data))
            data = []
        elif name == b"data":
            data.append(value.removeprefix(b" "))
    return found


class EndpointRewriter:
    """
    Rewrites the data of the first C{endpoint} event of an HTTP+SSE stream (MCP of 2024-11-05, transports).

    Everything passes the moment it comes, except the data of what is, or may still turn out to be, that
    event. Those wait for the blank line, before which a client cannot use them anyway. Data that begin like
    JSON are a message, and do not wait. After the event, or if there was none in the first 64 KiB, nothing is
    looked at any more.

    @ivar done: nothing is looked at any more.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_first",
        "_held",
        "_holding",
        "_kind",
        "_line",
        "_rewrite",
        "_seen",
        "done",
    )

    def __init__(self, rewrite: Callable[[bytes], bytes]) -> None:
        self.done = False
        self._rewrite = rewrite
        self._seen = 0
        self._first = True
        """Whether this is the first line, which may begin with a byte order mark."""
        self._after_cr = False
        """Whether the last line ended in CR, so that an LF would belong to it."""
        self._line = bytearray()
        """The line under way, as far as it has come."""
        self._held = bytearray()
        """What waits: data of the event under way, and what came after them."""
        self._holding = False
        self._kind = b""
        self._data: list[tuple[int, int]] = []
        """Where in C{_held} the data lines of the event are; the place of one that has passed is empty."""

    def ignores(self, events: bytes) -> bool:
        """
        Whether C{feed} would give C{events} back unchanged; the caller knows that they end with a blank line.
        """
        return not (self._line or self._kind or self._data) and b"endpoint" not in events

    def passed(self, size: int) -> None:
        """Note that so many bytes have passed which it L{ignores}."""
        self._first = self._after_cr = False
        self._seen += size
        self.done = self._seen > _LOOK_AHEAD

    def feed(self, data: bytes) -> bytes:
        """The bytes that can go on now."""
        if self.done or not data:
            return data
        out = bytearray()
        position = 0
        left = _LOOK_AHEAD - self._seen
        self._seen += len(data)
        while position < len(data) and not self.done:
            if position > left:
                break
            if self._after_cr and data[position] == 10:
                self._pass(data[position : position + 1], out)
                self._after_cr = False
                position += 1
                continue
            self._after_cr = False
            match = _ANY_LINE_END.search(data, position)
            end = len(data) if match is None else match.start()
            if end > position:
                self._part_came(data[position:end], out)
            if match is not None:
                self._after_cr = match[0] == b"\r"
                self._line_came(match[0], out)
                end = match.end()
            position = end
        if not self.done and self._seen > _LOOK_AHEAD:
            self.done = True
        if self.done:
            out += self._release()
            out += data[position:]
        return bytes(out)

    def finish(self) -> bytes:
        """
        The stream has ended; gives what was held back. A client never dispatches an event without its blank
        line.
        """
        self.done = True
        return self._release()

    def _pass(self, data: bytes, out: bytearray) -> None:
        if self._holding:
            self._held += data
        else:
            out += data

    def _release(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        self._holding = False
        return held

    def _part_came(self, part: bytes, out: bytearray) -> None:
        """A piece of a line has come; in it may begin a value that has to wait."""
        before = len(self._line)
        self._line += part
        if not self._holding and not self._data and self._kind in (b"", b"endpoint"):
            start = self._value_start()
            if before <= start < len(self._line) and self._line[start] not in b"{[":
                out += part[: start - before]
                part = part[start - before :]
                self._holding = True
        self._pass(part, out)

    def _value_start(self) -> int:
        """Where the value of a data line begins; -1 if this is no data line, or cannot be known yet."""
        line = self._line
        name = len(BOM) if self._first and line.startswith(BOM) else 0
        if not line.startswith(b"data:", name):
            return -1
        return name + (6 if line[name + 5 : name + 6] == b" " else 5)

    def _line_came(self, line_end: bytes, out: bytearray) -> None:
        line = bytes(self._line)
        start = self._value_start()
        self._line.clear()
        if self._first:
            self._first = False
            line = line.removeprefix(BOM)
        if not line:
            self._event_came()
            out += self._release()
            out += line_end
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            # If the value of this line had to wait, what is held ends with this line.
            length = len(value.removeprefix(b" ")) if start >= 0 and self._holding else 0
            self._data.append((len(self._held) - length, len(self._held)))
        elif name == b"event":
            self._kind = value.removeprefix(b" ")
            if self._kind != b"endpoint":
                out += self._release()
                self._data = [(0, 0)] * len(self._data)
        self._pass(line_end, out)

    def _event_came(self) -> None:
        """A blank line has come: now it is known what the event is."""
        if self._kind == b"endpoint" and self._data:
            self.done = True
            start, end = self._data[0]
            if len(self._data) == 1 and start < end:
                self._held[start:end] = self._rewrite(bytes(self._held[start:end]))
        self._kind = b""
        self._data = []
