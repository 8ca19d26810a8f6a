from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.reload.watch import EVERY, FileWatch


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, folder)
        self.file, self.other = folder / "relay.yaml", folder / "token"
        self.file.write_text("1")
        self.other.write_text("1")
        self.files = [self.file]
        self.clock = Clock()
        self.read: list[str] = []
        self.watch = FileWatch(
            self.clock, lambda: self.files, lambda: self.read.append(self.file.read_text())
        )
        self.watch.seen()
        self.watch.start()
        self.addCleanup(self.watch.stop)

    def look(self, times: int = 1) -> list[str]:
        for _ in range(times):
            self.clock.advance(EVERY)
        read, self.read = self.read, []
        return read

    def test_a_change_is_told_once_it_has_been_there_for_a_moment(self) -> None:
        self.assertEqual(self.look(3), [])
        self.file.write_text("12")
        self.assertEqual(self.look(), [])
        self.assertEqual(self.look(), ["12"])
        self.assertEqual(self.look(3), [])

    def test_a_file_that_is_being_written_is_waited_for(self) -> None:
        for size in range(2, 6):
            self.file.write_text("x" * size)
            self.assertEqual(self.look(), [])
        self.assertEqual(self.look(), ["xxxxx"])

    def test_a_file_that_is_put_in_its_place_has_changed(self) -> None:
        new = self.file.with_name("new")
        new.write_text("2")
        os.utime(new, ns=(0, self.file.stat().st_mtime_ns))
        os.replace(new, self.file)
        self.assertEqual(self.look(2), ["2"])

    def test_a_file_that_is_missing_is_waited_for(self) -> None:
        self.file.unlink()
        self.assertEqual(self.look(5), [])
        self.file.write_text("back")
        self.assertEqual(self.look(2), ["back"])

    def test_what_the_file_names_is_looked_at_too_from_when_it_is_named(self) -> None:
        self.files.append(self.other)
        self.assertEqual(self.look(3), [])
        self.other.write_text("22")
        self.assertEqual(self.look(2), ["1"])

    def test_what_was_seen_meanwhile_is_no_change(self) -> None:
        self.file.write_text("12")
        self.watch.seen()
        self.assertEqual(self.look(3), [])

    def test_what_changed_before_the_start_is_a_change(self) -> None:
        self.watch.stop()
        self.file.write_text("12")
        self.watch.start()
        self.assertEqual(self.look(2), ["12"])

    def test_after_the_stop_nobody_looks(self) -> None:
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
