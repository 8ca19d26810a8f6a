"""Two streams in memory whose peers are each other."""

from __future__ import annotations

from tests.support.memory import MemoryStream


class Wire:
    """
    Carries bytes and ends between two C{MemoryStream}s, when the test says so.

    @ivar a: one end.
    @ivar b: the other.
    @ivar carried: all bytes that went from C{a} to C{b}, and from C{b} to C{a}.
    """

    def __init__(self) -> None:
        self.a, self.b = MemoryStream(), MemoryStream()
        self.carried = (bytearray(), bytearray())
        self._ended = [False, False]

    def run(self) -> None:
        """Carry all there is, until both ends are quiet."""
        moved = True
        while moved:
            moved = self._carry(0, self.a, self.b)
            moved = self._carry(1, self.b, self.a) or moved

    def _carry(self, way: int, source: MemoryStream, sink: MemoryStream) -> bool:
        data = source.take()
        if data:
            self.carried[way].extend(data)
            if sink.connected:
                sink.receive(data)
            elif source.connected:
                source.lose()  # the peer is gone: RST
        if self._ended[way] or not sink.connected:
            return bool(data)
        if source.aborted:
            sink.lose()
        elif source.closed or source.half_closed:
            sink.receive_eof()
        else:
            return bool(data)
        self._ended[way] = True
        return True
