"""What passes as one chunk is one for the reader and the writer too."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.framing import CHUNKED, ChunkedReader, whole_chunk
from lanrelay.wire.limits import LIMITS
from lanrelay.wire.writer import BodyWriter
from tests.support.properties import example, given

_PIECES = st.sampled_from(
    [b"\r\n", b"\r", b"\n", b"0", b"1", b"2", b"-2", b"a", b"A", b"x", b";x", b" ", b"3\r\nabc"]
)


class WholeChunkTests(SynchronousTestCase):
    def test_one_chunk(self) -> None:
        writer = BodyWriter(CHUNKED)
        for size in (1, 2, 9, 10, 15, 16, 17, 255, 256, 4095, 4096, 65_535, 65_536, 1_000_000):
            for content in (b"x" * size, b"\n" * size):
                chunk = writer.part(content)
                self.assertEqual(whole_chunk(chunk), size)
                for other in (chunk[:-1], chunk + b"x", chunk + chunk, b"0" + chunk, chunk[1:], b" " + chunk):
                    self.assertEqual(whole_chunk(other), 0)

    def test_what_is_none(self) -> None:
        for data in (
            b"",
            b"\n",
            b"\r\n",
            b"\r\n\r\n",
            b"0\r\n\r\n",
            b"-1\r\n",
            b"-2\r\n",
            b"A\r\n0123456789\r\n",
        ):
            self.assertEqual(whole_chunk(data), 0)

    @given(st.lists(_PIECES, max_size=8).map(b"".join))
    @example(b"1\r\nx\r\n")
    def test_the_reader_agrees(self, data: bytes) -> None:
        size = whole_chunk(data)
        if not size:
            return
        reader = ChunkedReader(LIMITS)
        content = reader.feed(data)
        self.assertEqual([len(part) for part in content], [size])
        self.assertTrue(reader.between_chunks)
        self.assertEqual(BodyWriter(CHUNKED).part(content[0]), data)

    @given(st.lists(_PIECES, max_size=8).map(b"".join))
    @example(b"3\r\nabc\r\n0\r\n\r\n")
    @example(b"0\r\n\r\n\n")
    def test_between_chunks(self, data: bytes) -> None:
        """There a chunk, and nothing else, is read as it is read at the beginning."""
        reader = ChunkedReader(LIMITS)
        self.assertTrue(reader.between_chunks)
        try:
            reader.feed(data)
            if reader.between_chunks:
                self.assertEqual(reader.feed(b"1\r\nx\r\n"), [b"x"])
                self.assertTrue(reader.between_chunks)
        except RemoteProtocolError:
            pass
        else:
            self.assertEqual(reader.between_chunks, not data or (data[-1:] == b"\n" and _ends_a_chunk(data)))


def _ends_a_chunk(data: bytes) -> bool:
    """Fed byte by byte, the last one of C{data} ended a chunk."""
    reader = ChunkedReader(LIMITS)
    for at in range(len(data)):
        if reader.complete:
            return False  # the rest is no chunk, and not the reader's
        before = reader._ending
        reader.feed(data[at : at + 1])
    return before and not reader._ending and not reader.complete
