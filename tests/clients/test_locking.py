"""The lock of those who write Cline's file."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.clients.locking import STALE, locked
from lanrelay.errors import StartError


class LockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp()).resolve()
        self.file.write_text("{}")
        self.lock = Path(f"{self.file}.lock")

    def test_it_is_a_folder_while_it_is_held(self) -> None:
        with locked(self.file):
            self.assertTrue(self.lock.is_dir())
        self.assertFalse(self.lock.exists())

    def test_it_is_that_of_the_file_behind_a_link(self) -> None:
        link = self.file.with_name("link")
        link.symlink_to(self.file)
        with locked(link):
            self.assertTrue(self.lock.is_dir())

    def test_anothers_is_waited_for_and_no_longer_than_that(self) -> None:
        self.lock.mkdir()
        self.assertRaises(StartError, locked(self.file, patience=0).__enter__)
        self.assertTrue(self.lock.is_dir())

    def test_a_dead_ones_is_taken(self) -> None:
        self.lock.mkdir()
        long_ago = time.time() - STALE - 1
        os.utime(self.lock, (long_ago, long_ago))
        with locked(self.file, patience=0):
            self.assertTrue(self.lock.is_dir())
        self.assertFalse(self.lock.exists())

    def test_it_goes_when_writing_fails(self) -> None:
        with contextlib.suppress(ZeroDivisionError), locked(self.file):
            _ = 1 / 0
        self.assertFalse(self.lock.exists())
