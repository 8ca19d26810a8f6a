"""Several files that change together, or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.edit.replace import Changed, read
from lanrelay.edit.several import Planned, write


class SeveralTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.backups = self.folder / "backups"
        self.old, self.gone = self.folder / "old", self.folder / "gone"
        self.new = self.folder / "sub" / "new"
        self.old.write_bytes(b"old")
        self.old.chmod(0o640)
        self.gone.write_bytes(b"gone")

    def plan(self) -> list[Planned]:
        return [
            Planned(read(self.new), b"new"),
            Planned(read(self.gone), None),
            Planned(read(self.old), b"changed"),
        ]

    def test_all_of_them(self) -> None:
        kept = write(self.plan(), backups=self.backups)
        self.assertEqual((self.new.read_bytes(), self.old.read_bytes()), (b"new", b"changed"))
        self.assertFalse(self.gone.exists())
        self.assertEqual([(one.path, one.backup.read_bytes()) for one in kept],
                         [(self.gone, b"gone"), (self.old, b"old")])  # fmt: skip
        self.assertEqual(stat.S_IMODE(self.new.parent.stat().st_mode), 0o700)

    def test_a_file_that_goes_is_whole_until_it_is_gone(self) -> None:
        """As a kill at the last moment would find it."""

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        self.patch(Path, "unlink", killed)
        self.assertRaises(KeyboardInterrupt, write, [Planned(read(self.gone), None)], backups=self.backups)
        self.assertEqual(self.gone.read_bytes(), b"gone")
        self.assertEqual([one.read_bytes() for one in self.backups.iterdir()], [b"gone"])

    def test_none_of_them(self) -> None:
        plan = self.plan()
        self.old.write_bytes(b"somebody else's")
        self.assertRaises(Changed, write, plan, backups=self.backups)
        self.assertFalse(self.new.exists())
        self.assertEqual((self.gone.read_bytes(), self.old.read_bytes()), (b"gone", b"somebody else's"))
        self.assertEqual(stat.S_IMODE(self.old.stat().st_mode), 0o640)

    def test_what_is_not_there_can_go(self) -> None:
        nothing = read(self.folder / "nothing")
        self.assertEqual(write([Planned(nothing, None)], backups=self.backups), [])
