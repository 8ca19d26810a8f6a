"""The receiving half of an HTTP/1.x connection: heads and bodies out of bytes, whatever their pieces."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import ClassVar

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.events import BodyPart, ConnectionClosed, EndOfMessage, Event
from lanrelay.wire.framing import CHUNKED, UNTIL_CLOSE, ChunkedReader, Framing, refuse_bare_line_ends
from lanrelay.wire.limits import LIMITS, Limits


class Reading(Enum):
    """What the next byte belongs to."""

    HEAD = "a head"
    FIXED = "the content"
    CHUNKED = "the chunked content"
    UNTIL_CLOSE = "content that the end of the connection ends"
    COMPLETE = "the next message; it waits"
    SWITCHED = "another protocol"
    FAILED = "nothing; there was an error"


_HEAD, _FIXED, _CHUNKED, _COMPLETE = Reading.HEAD, Reading.FIXED, Reading.CHUNKED, Reading.COMPLETE
_END = EndOfMessage()


class MessageReader:
    """
    What both ends have in common. A subclass says what a head means.

    An error is raised by the call that finds it. C{before_error} then has the events of the same bytes before
    the fault. A caller that ignores it loses only the last content of a message that is broken anyway. After
    an error all further bytes are ignored.

    @ivar before_error: the events that came before the error in the call that raised it.
    """

    before_error: Sequence[Event] = ()
    padded_chunks: ClassVar[bool] = False

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._reading = Reading.HEAD
        self._left = 0
        self._chunked: ChunkedReader | None = None
        self._held: bytes | bytearray = b""
        """The beginning of a head; C{bytes} for none, as below: an idle connection has neither."""
        self._unread: bytes | bytearray = b""
        """What came after the message, or after the switch."""
        self._eof = False

    # what a subclass says -------------------------------------------------------------------------

    def _head_received(self, block: bytes, events: list[Event]) -> None:
        """A whole head; appends its event and calls L{_body_follows}, unless another head follows."""
        raise NotImplementedError

    def _head_begun(self, held: bytearray) -> bool:
        """
        Judge the beginning of a head before its end has come, so that nobody waits for a hopeless one.

        @return: whether to look further; C{False} if nothing of a head has come yet.
        """
        raise NotImplementedError

    def _forgiven(self, data: bytes) -> tuple[bytearray | bytes, bytes] | None:
        """
        What to make of a head that is not valid, with the bytes behind it: those to hold until more have
        come, and those to read in its place. C{None}: nothing, it is an error.
        """
        return None

    def _too_long(self, first_line: int) -> RemoteProtocolError:
        """The error for a head over the limit; C{first_line} is the length of its first line so far."""
        return RemoteProtocolError(f"a head of more than {self._limits.head} bytes", 431)

    # ---------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """
        What the peer has sent means this.

        @raise RemoteProtocolError: it means nothing; see C{before_error}.
        """
        events: list[Event] = []
        while data:
            try:
                reading = self._reading
                if reading is _HEAD:
                    data = self._read_head(data, events)
                elif reading is _FIXED:
                    data = self._read_fixed(data, events)
                elif reading is _CHUNKED:
                    data = self._read_chunked(data, events)
                else:
                    if reading is Reading.UNTIL_CLOSE:
                        events.append(BodyPart(data=data))
                    elif reading is not Reading.FAILED:
                        self._behind(data)
                    break
            except RemoteProtocolError:
                forgiven = self._forgiven(bytes(self._held) or data) if self._reading is _HEAD else None
                if forgiven is None:
                    self._reading = Reading.FAILED
                    self._held = self._unread = b""
                    self.before_error = events
                    raise
                self._held, data = forgiven
        return events

    @property
    def head_begun(self) -> bool:
        """A part of a head has come, and not its end."""
        return bool(self._held)

    @property
    def between_chunks(self) -> bool:
        """What comes next begins with a chunk's size."""
        return self._reading is _CHUNKED and self._chunked is not None and self._chunked.between_chunks

    def take_unread(self) -> bytes:
        """Hand over what was received and not parsed; for whoever takes the connection as a tunnel."""
        unread, self._unread = bytes(self._unread), b""
        return unread

    @property
    def buffered(self) -> int:
        """Bytes that were received and wait behind the message; stop reading when they become many."""
        return len(self._unread)

    def _behind(self, data: bytes) -> None:
        """Bytes after the message, or of another protocol."""
        if self._unread:
            self._unread += data
        else:
            self._unread = bytearray(data)

    def _read_head(self, data: bytes, events: list[Event]) -> bytes:
        held = self._held
        if not held and data[0] > 13:
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                if end > self._limits.head:
                    raise self._too_long(data.find(b"\r\n"))
                self._head_received(data[:end], events)
                return data[end + 4 :]
        if not isinstance(held, bytearray):
            held = self._held = bytearray()
        scanned = max(len(held) - 3, 0)
        held += data
        if not self._head_begun(held):
            return b""
        end = held.find(b"\r\n\r\n", scanned)
        if end > self._limits.head or (end < 0 and len(held) > self._limits.head + 3):
            raise self._too_long(held.find(b"\r\n"))
        if end < 0:
            refuse_bare_line_ends(held, scanned)
            return b""
        block, rest = bytes(held[:end]), bytes(held[end + 4 :])
        self._head_received(block, events)
        self._held = b""
        return rest

    def _body_follows(self, framing: Framing, events: list[Event]) -> None:
        if framing == 0:
            self._reading = _COMPLETE
            events.append(_END)
        elif framing == CHUNKED:
            self._reading = _CHUNKED
            self._chunked = ChunkedReader(self._limits, padded=self.padded_chunks)
        elif framing == UNTIL_CLOSE:
            self._reading = Reading.UNTIL_CLOSE
        else:
            self._reading = _FIXED
            self._left = framing

    def _read_fixed(self, data: bytes, events: list[Event]) -> bytes:
        left = self._left - len(data)
        if left > 0:
            self._left = left
            events.append(BodyPart(data=data))
            return b""
        self._reading = _COMPLETE
        if left:
            events.append(BodyPart(data=data[:left]))
            events.append(_END)
            return data[left:]
        events.append(BodyPart(data=data))
        events.append(_END)
        return b""

    def _read_chunked(self, data: bytes, events: list[Event]) -> bytes:
        chunked = self._chunked
        assert chunked is not None
        try:
            chunked.feed(data)
        finally:
            # Many small chunks that came together go on together.
            content, chunked.content_so_far = chunked.content_so_far, ()
            if content:
                events.append(BodyPart(data=content[0] if len(content) == 1 else b"".join(content)))
        if not chunked.complete:
            return b""
        self._chunked = None
        self._reading = _COMPLETE
        events.append(EndOfMessage(trailers=chunked.trailers) if chunked.trailers else _END)
        return chunked.rest

    def receive_eof(self) -> list[Event]:
        """
        The peer has ended its side.

        @raise RemoteProtocolError: in the middle of a message.
        """
        if self._eof or self._reading is Reading.FAILED:
            return []
        self._eof = True
        if self._reading is Reading.UNTIL_CLOSE:
            self._reading = Reading.COMPLETE
            return [_END]
        if self._between_messages():
            return [ConnectionClosed()]
        place, self._reading = self._reading.value, Reading.FAILED
        self.before_error = ()
        raise RemoteProtocolError(f"the connection ended before the end of {place}")

    def _between_messages(self) -> bool:
        if self._reading is Reading.HEAD:
            return not self._held
        return self._reading in (Reading.COMPLETE, Reading.SWITCHED)
