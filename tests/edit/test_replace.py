"""Files of others are replaced whole, and only as they were read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.edit.replace import KEPT, Changed, read, remove, replace
from lanrelay.errors import StartError


class ReplaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "settings.json"
        self.backups = self.folder / "state" / "backups"

    def test_the_file_keeps_its_mode_and_what_was_there_is_kept_privately(self) -> None:
        self.file.write_bytes(b"old\r\n")
        self.file.chmod(0o640)
        kept = replace(read(self.file), b"new", backups=self.backups)
        assert kept is not None
        self.assertEqual(self.file.read_bytes(), b"new")
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o640)
        self.assertEqual(kept.read_bytes(), b"old\r\n")
        self.assertEqual(stat.S_IMODE(kept.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.backups.stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(self.backups.parent.stat().st_mode), 0o700)

    def test_a_new_file_is_private_and_so_is_its_folder(self) -> None:
        file = self.folder / "new" / "relay.yaml"
        self.assertIsNone(replace(read(file), b"x", backups=self.backups))
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(file.parent.stat().st_mode), 0o700)

    def test_a_symbolic_link_stays_one(self) -> None:
        target = self.folder / "dotfiles" / "real.json"
        target.parent.mkdir()
        target.write_bytes(b"old")
        self.file.symlink_to(target)
        replace(read(self.file), b"new", backups=None)
        self.assertTrue(self.file.is_symlink())
        self.assertEqual(target.read_bytes(), b"new")
        self.assertEqual(os.listdir(target.parent), ["real.json"])

    def test_a_file_that_another_changed_is_left_as_it_is(self) -> None:
        self.file.write_bytes(b"old")
        original = read(self.file)
        self.file.write_bytes(b"theirs")
        self.assertRaises(Changed, replace, original, b"new", backups=None)
        self.assertEqual(self.file.read_bytes(), b"theirs")
        self.assertEqual(os.listdir(self.folder), ["settings.json"])

    def test_a_file_that_another_made_is_left_as_it_is(self) -> None:
        original = read(self.file)
        self.file.write_bytes(b"theirs")
        self.assertRaises(Changed, replace, original, b"new", backups=None)
        self.assertEqual(self.file.read_bytes(), b"theirs")

    def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(self) -> None:
        self.file.write_bytes(b"old")
        original = read(self.file)

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        error = self.assertRaises(StartError, replace, original, b"new", backups=None)
        self.assertIn("No space left", str(error))
        self.assertEqual(self.file.read_bytes(), b"old")
        self.assertEqual(os.listdir(self.folder), ["settings.json"])

    def test_what_cannot_be_kept_is_not_touched_and_the_folder_is_named(self) -> None:
        path = self.folder / "file"
        path.write_bytes(b"old")
        backups = self.folder / "taken"
        backups.write_bytes(b"a file in the place of the folder")
        for change in (
            lambda: replace(read(path), b"new", backups=backups),
            lambda: remove(read(path), backups=backups),
        ):
            error = self.assertRaises(StartError, change)
            self.assertIn(f"cannot be kept in {backups}: ", str(error))
            self.assertEqual(path.read_bytes(), b"old")

    def test_of_each_file_the_last_twenty_are_kept(self) -> None:
        other = self.folder / "other.json"
        other.write_bytes(b"other")
        replace(read(other), b"other 2", backups=self.backups)
        for number in range(KEPT + 3):
            self.file.write_bytes(b"%d" % number)
            replace(read(self.file), b"next", backups=self.backups)
        names = sorted(os.listdir(self.backups))
        ours = [name for name in names if name.startswith("settings.json.")]
        self.assertEqual(len(ours), KEPT)
        self.assertEqual(len(names), KEPT + 1)
        self.assertEqual((self.backups / ours[0]).read_bytes(), b"3")
        self.assertEqual((self.backups / ours[-1]).read_bytes(), b"%d" % (KEPT + 2))

    def test_what_is_no_regular_file_is_refused(self) -> None:
        os.mkfifo(self.file)
        self.assertRaises(StartError, read, self.file)
        self.assertRaises(StartError, read, self.folder)

    def test_removing_asks_for_the_same_bytes(self) -> None:
        self.file.write_bytes(b"old")
        original = read(self.file)
        self.file.write_bytes(b"theirs")
        self.assertRaises(Changed, remove, original)
        remove(read(self.file))
        self.assertFalse(self.file.exists())
