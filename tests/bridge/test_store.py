"""What is remembered from one start to the next."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.bridge import store
from lanrelay.bridge.store import Store


class StoreTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def store(self, *scope: str) -> Store:
        return Store(lambda: str(self.folder), scope)

    def test_another_process_finds_it_and_nobody_else_may_read_it(self) -> None:
        self.store("a").put(("tools", "x"), b"one")
        self.assertEqual(self.store("a").get(("tools", "x")), b"one")
        [file] = self.folder.iterdir()
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)

    def test_targets_headers_and_keys_are_told_apart(self) -> None:
        self.store("a", "b").put(("c",), b"one")
        for other, key in (
            (self.store("a"), ("b", "c")),
            (self.store("a", "b"), ("d",)),
            (self.store("ab"), ("c",)),
            (self.store("a", "x"), ("c",)),
        ):
            self.assertIsNone(other.get(key))
        self.assertNotIn("one", [file.name for file in self.folder.iterdir()])

    def test_what_was_not_used_for_longest_goes_first(self) -> None:
        self.patch(store, "MOST", 2500)
        kept = self.store("a")
        for number in range(3):
            kept.put((str(number),), b"x" * 1000)
            path = kept._path((str(number),))
            os.utime(path, (number + 1, number + 1))
        kept.put(("3",), b"x" * 1000)
        self.assertIsNone(kept.get(("0",)))
        self.assertIsNone(kept.get(("1",)))
        self.assertIsNotNone(kept.get(("2",)))
        self.assertIsNotNone(kept.get(("3",)))

    def test_what_a_killed_writer_left_is_swept(self) -> None:
        kept = self.store("a")
        kept.put(("1",), b"x")
        left = self.folder / "0123.4711"
        left.write_bytes(b"half")
        os.utime(left, (1, 1))
        kept.put(("2",), b"x")
        self.assertFalse(left.exists())

    def test_where_nothing_can_be_written_nothing_is_remembered(self) -> None:
        self.folder.write_text("a file")
        kept = self.store("a")
        kept.put(("1",), b"x")
        self.assertIsNone(kept.get(("1",)))
