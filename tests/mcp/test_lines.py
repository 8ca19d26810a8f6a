"""Lines, however they are cut, and those that are too long."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.mcp.lines import Lines, TooLong


class LinesTests(SynchronousTestCase):
    def test_however_they_are_cut(self) -> None:
        data = b"one\n\nthree is longer\nrest"
        for size in (1, 2, 7, len(data)):
            lines = Lines()
            found = []
            for begin in range(0, len(data), size):
                found += lines.feed(data[begin : begin + size])
            self.assertEqual(found, [b"one", b"", b"three is longer"])

    def test_one_that_is_too_long_is_thrown_away_and_its_id_known(self) -> None:
        rest = b"x" * 5000
        for line, identity in (
            (b'{"jsonrpc": "2.0", "id": "a", "result": "' + rest + b'"}', "a"),
            (b'{"jsonrpc":"2.0","id":12,"error":"' + rest + b'"}', 12),
            (b'{"result":"' + rest + b'","jsonrpc":"2.0","id":3}', 3),
            (b'{"method":"' + rest + b'"}', None),
        ):
            for size in (1, 100, 10_000):
                lines = Lines(3000)
                found = []
                data = line + b"\nnext\n"
                for begin in range(0, len(data), size):
                    found += lines.feed(data[begin : begin + size])
                self.assertEqual(found, [TooLong(len(line), identity), b"next"])
