from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import StartError
from lanrelay.setup.files import File, remove, write


class WriteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay test "))
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.folder / "a/b/lanrelay.service"

    def write(self, content: bytes, mode: int = 0o644, **keys: Any) -> str:
        return write(File(path=self.path, content=content, mode=mode), **keys)

    def there(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.path.parent.iterdir())}

    def test_a_new_file_with_its_folders_and_its_mode_whatever_the_umask(self) -> None:
        before = os.umask(0o077)
        try:
            self.assertEqual(self.write(b"one", 0o755), f"{self.path} is written.")
        finally:
            os.umask(before)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o755)
        self.assertEqual(self.there(), {"lanrelay.service": b"one"})

    def test_the_same_again_is_no_change(self) -> None:
        self.write(b"one")
        number = self.path.stat().st_ino
        self.assertIn("as it should be", self.write(b"one", 0o600))
        self.assertEqual((self.path.stat().st_ino, self.path.stat().st_mode & 0o777), (number, 0o600))

    def test_another_is_kept_and_said(self) -> None:
        self.write(b"one", 0o600)
        self.assertIn("what was there is lanrelay.service.bak now", self.write(b"two"))
        self.assertIn("what was there is lanrelay.service.bak2 now", self.write(b"three"))
        self.assertEqual(
            self.there(),
            {
                "lanrelay.service": b"three",
                "lanrelay.service.bak": b"one",
                "lanrelay.service.bak2": b"two",
            },
        )
        self.assertEqual(self.path.with_name("lanrelay.service.bak").stat().st_mode & 0o777, 0o600)

    def test_unless_one_insists(self) -> None:
        self.write(b"one")
        self.assertIn("is overwritten", self.write(b"two", force=True))
        self.assertEqual(self.there(), {"lanrelay.service": b"two"})

    def test_half_a_file_is_never_there(self) -> None:
        self.write(b"one")

        def breaks(*arguments: object) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", breaks)
        error = self.assertRaises(StartError, self.write, b"two")
        self.assertIn("No space left", str(error))
        self.assertEqual(self.there(), {"lanrelay.service": b"one"})

    def test_a_place_where_one_may_not_write(self) -> None:
        def breaks(*arguments: object, **keys: object) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(Path, "mkdir", breaks)
        error = self.assertRaises(StartError, self.write, b"one")
        self.assertIn("sudo", str(error))

    def test_removal(self) -> None:
        self.write(b"one")
        self.assertIn("is removed", remove(self.path))
        self.assertIn("was not there", remove(self.path))
