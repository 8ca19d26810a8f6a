"""Where an event of a C{text/event-stream} ends, and the endpoint event of an MCP stream."""

from __future__ import annotations

import re
from collections.abc import Callable

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_LOOK_AHEAD = 65536


class EventBoundary:
    """
    Tells whether what has passed so far ended an event, so that a comment may be put in.

    The line ends of the WHATWG specification (HTML section 9.2.6): LF, CR, CRLF. The beginning of a stream is
    a boundary, with a byte order mark or without.
    """

    __slots__ = ("_tail", "_total")

    def __init__(self) -> None:
        self._tail = b""
        self._total = 0

    def feed(self, data: bytes) -> None:
        """These bytes have passed."""
        self._total += len(data)
        self._tail = data[-8:] if len(data) >= 8 else (self._tail + data)[-8:]

    @property
    def at_boundary(self) -> bool:
        """The last bytes ended an event, or nothing has come yet."""
        tail = self._tail
        if self._total <= len(tail):
            tail = tail.removeprefix(_BOM)
            if not tail:
                return True
            tail = b"\n" + tail  # a blank line may be the first
        if tail[-2:] == b"\r\n":
            return tail[-3:-2] in (b"\n", b"\r")
        return tail[-1:] in (b"\n", b"\r") and tail[-2:-1] in (b"\n", b"\r")


class EndpointRewriter:
    """
    Rewrites the data of the first C{endpoint} event of an HTTP+SSE stream (MCP of 2024-11-05, transports).

    Events pass whole, the moment their blank line has come; a client can do nothing with less. Comments
    between events pass line by line. After the endpoint event, or when the first 64 KiB held none,
    everything passes as it comes.

    @ivar done: nothing is looked at any more.
    """

    def __init__(self, rewrite: Callable[[bytes], bytes]) -> None:
        self.done = False
        self._rewrite = rewrite
        self._held = b""
        """The beginning of an event."""
        self._begin = self._scanned = self._searched = 0
        """In C{_held}: where the event begins, up to where it was taken apart, up to where no line ends."""
        self._lines: list[tuple[int, int]] = []
        """Where the fields of the event are, without their line ends."""
        self._passed = 0
        self._started = False

    def feed(self, data: bytes) -> bytes:
        """What can go on now."""
        if self.done or not data:
            return data
        self._held += data
        while not self.done and self._next_line():
            self.done = self.done or self._passed + self._begin > _LOOK_AHEAD
        if self.done or self._passed + len(self._held) > _LOOK_AHEAD:
            return self.finish()
        begin = self._begin
        out, self._held = self._held[:begin], self._held[begin:]
        self._passed += begin
        self._begin = 0
        self._scanned -= begin
        self._searched -= begin
        self._lines = [(start - begin, end - begin) for start, end in self._lines]
        return out

    def finish(self) -> bytes:
        """The stream has ended: what was held back. An event without its blank line is never dispatched."""
        self.done = True
        held, self._held = self._held, b""
        return held

    def _next_line(self) -> bool:
        """Take one line; C{False} if none is whole."""
        match = _LINE_END.search(self._held, self._searched)
        if match is None:
            self._searched = len(self._held)
            return False
        start, end = self._scanned, match.start()
        if start < end and match[0] == b"\r" and match.end() == len(self._held):
            self._searched = end  # LF may follow; after a blank line it does no harm, for it is another
            return False
        self._scanned = self._searched = match.end()
        if not self._started:
            self._started = True
            if self._held.startswith(_BOM):
                start += len(_BOM)
        if start < end and self._held[start] != 58:
            self._lines.append((start, end))
        elif start == end or not self._lines:  # the end of an event, or a comment between events
            if start == end:
                self._rewrite_event()
            self._begin = self._scanned
            self._lines = []
        return True

    def _rewrite_event(self) -> None:
        kind = b""
        data: list[tuple[int, int]] = []
        for start, end in self._lines:
            name, colon, value = self._held[start:end].partition(b":")
            value_start = end - len(value) if colon else end
            if value[:1] == b" ":
                value_start += 1
            if name == b"event":
                kind = self._held[value_start:end]
            elif name == b"data":
                data.append((value_start, end))
        if kind != b"endpoint":
            return
        self.done = True
        if len(data) == 1:
            start, end = data[0]
            new = self._rewrite(self._held[start:end])
            self._held = self._held[:start] + new + self._held[end:]
            self._scanned += len(new) - (end - start)
