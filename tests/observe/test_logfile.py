"""Our own log file: whole lines, numbered files, and nothing that happens to it stops the relay."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.observe.logfile import LogFile

os_open, os_write = os.open, os.write


class LogFileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay test "))
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.folder / "relay.log"
        self.now = 100.0
        self.patch(time, "monotonic", lambda: self.now)
        self.said = StringIO()
        self.patch(sys, "__stderr__", self.said)
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.heard)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, self.heard)  # type: ignore[arg-type]

    def heard(self, event: LogEvent) -> None:
        if event.get("log_namespace") == "lanrelay.observe.logfile.LogFile":
            self.events.append(event)

    def logged(self) -> list[str]:
        events, self.events = self.events, []
        return [formatEvent(event) for event in events]

    def file(self, **keys: Any) -> LogFile:
        file = LogFile(self.path, **keys)
        self.addCleanup(file.close)
        return file

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted(self.folder.iterdir())}

    def fail_open(self, code: int, times: int = 1) -> None:
        """The next C{os.open} of the log fails."""
        left = [times]

        def refuses(path: Any, flags: int, mode: int = 0o777) -> int:
            if path == self.path and left[0]:
                left[0] -= 1
                raise OSError(code, os.strerror(code), path)
            return os_open(path, flags, mode)

        self.patch(os, "open", refuses)

    def fail_write(self, *results: int | OSError) -> None:
        """What the next writes do: write so many bytes, or fail."""
        coming = list(results)

        def write(descriptor: int, data: bytes) -> int:
            result = coming.pop(0) if coming else len(data)
            if isinstance(result, OSError):
                raise result
            return os_write(descriptor, data[:result])

        self.patch(os, "write", write)


FULL = OSError(errno.ENOSPC, "No space left on device")


class ModeTests(LogFileCase):
    def mode(self) -> int:
        return stat.S_IMODE(self.path.stat().st_mode)

    def test_others_may_not_read_it_whatever_the_umask(self) -> None:
        for umask, mode in ((0o000, 0o640), (0o077, 0o600)):
            before = os.umask(umask)
            try:
                self.file().close()
            finally:
                os.umask(before)
            self.assertEqual(self.mode(), mode)
            self.path.unlink()

    def test_what_was_there_gets_no_more_and_keeps_no_more(self) -> None:
        for before, after in ((0o600, 0o600), (0o644, 0o640), (0o666, 0o640), (0o200, 0o200)):
            self.path.write_text("old\n")
            self.path.chmod(before)
            self.file().close()
            self.assertEqual(self.mode(), after)
            self.path.chmod(0o600)

    def test_a_device_is_left_alone(self) -> None:
        changed: list[Any] = []
        self.patch(os, "fchmod", lambda *arguments: changed.append(arguments))
        file = LogFile(Path(os.devnull), rotate=1)
        self.addCleanup(file.close)
        for _ in range(3):
            file.write("x\n")
        self.assertEqual((changed, self.files()), ([], {}))


class WriteTests(LogFileCase):
    def test_lines_follow_what_is_there(self) -> None:
        self.path.write_text("old\n")
        self.file().write("new \u2014 \udc80\n")
        self.assertEqual(self.files(), {"relay.log": "old\nnew \u2014 \\udc80\n"})

    def test_a_folder_that_is_not_there_is_the_callers_business(self) -> None:
        self.assertRaises(OSError, LogFile, self.folder / "no" / "log")

    def test_a_full_disk_is_said_when_it_begins_and_when_it_is_over(self) -> None:
        file = self.file()
        file.write("one\n")
        self.fail_write(FULL, FULL, FULL)
        for number in range(3):
            file.write(f"lost {number}\n")
        self.assertEqual(
            self.said.getvalue(), f"the log file {self.path} cannot be written: No space left on device\n"
        )
        self.assertEqual(self.logged(), [])
        file.write("two\n")
        self.assertEqual(self.files(), {"relay.log": "one\ntwo\n"})
        self.assertEqual(
            self.logged(), ["lines missing from the log file before this: 3 (No space left on device)"]
        )
        file.write("three\n")
        self.assertEqual(self.logged(), [])

    def test_no_half_line_stays(self) -> None:
        """It would be a foreign line in a JSON log, together with the next one."""
        for results in ((5, FULL), (5, 3)):
            file = self.file()
            file.write("whole\n")
            self.fail_write(*results)
            file.write("does not fit\n")
            file.write("fits\n")
            self.assertEqual(self.files(), {"relay.log": "whole\nfits\n"})
            self.assertEqual(len(self.logged()), 1)
            file.close()
            self.path.unlink()

    def test_a_line_in_two_pieces_is_a_line(self) -> None:
        file = self.file()
        self.fail_write(5)
        file.write("hello world\n")
        self.assertEqual(self.files(), {"relay.log": "hello world\n"})
        self.assertEqual((self.logged(), self.said.getvalue()), ([], ""))

    def test_there_may_be_no_standard_error(self) -> None:
        self.patch(sys, "__stderr__", None)
        file = self.file()
        self.fail_write(FULL)
        file.write("lost\n")
        file.write("found\n")
        self.assertEqual(self.files(), {"relay.log": "found\n"})

    def test_after_the_end_nothing_is_written(self) -> None:
        file = self.file()
        file.close()
        file.close()
        file.write("late\n")
        file.reopen()
        self.assertEqual(self.files(), {"relay.log": ""})


class RotationTests(LogFileCase):
    def test_numbered_files(self) -> None:
        file = self.file(rotate=10, keep=2)
        for number in range(8):
            file.write(f"line{number}\n")  # 6 bytes: one fits
        self.assertEqual(
            self.files(), {"relay.log": "line7\n", "relay.log.1": "line6\n", "relay.log.2": "line5\n"}
        )

    def test_no_file_is_over_the_size_unless_one_line_is(self) -> None:
        file = self.file(rotate=12, keep=9)
        for text in ("12345\n", "12345\n", "a line that is longer\n", "1\n"):
            file.write(text)
        self.assertEqual(
            self.files(),
            {"relay.log": "1\n", "relay.log.1": "a line that is longer\n", "relay.log.2": "12345\n12345\n"},
        )

    def test_what_was_there_at_the_start_counts(self) -> None:
        self.path.write_text("12345678\n")
        self.file(rotate=10).write("x\n")
        self.assertEqual(self.files(), {"relay.log": "x\n", "relay.log.1": "12345678\n"})

    def test_none_are_kept(self) -> None:
        file = self.file(rotate=4, keep=0)
        for text in ("one\n", "two\n"):
            file.write(text)
        self.assertEqual(self.files(), {"relay.log": "two\n"})

    def test_without_a_size_it_grows(self) -> None:
        file = self.file()
        for _ in range(1000):
            file.write("x" * 99 + "\n")
        self.assertEqual(self.path.stat().st_size, 100_000)
        self.assertEqual(len(self.files()), 1)

    def test_the_new_file_has_the_mode_too(self) -> None:
        file = self.file(rotate=4)
        before = os.umask(0)
        try:
            file.write("one\n")
            file.write("two\n")
        finally:
            os.umask(before)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o640)

    def test_what_cannot_be_rotated_grows_on_and_is_tried_again(self) -> None:
        file = self.file(rotate=4)
        refused = OSError(errno.EACCES, "Permission denied")

        def refuses(*arguments: Any) -> None:
            raise refused

        replace = os.replace
        self.patch(os, "replace", refuses)
        for text in ("one\n", "two\n", "thr\n"):
            file.write(text)
        self.assertEqual(
            self.logged(),
            [f"the log file {self.path} cannot be rotated, so it grows on: Permission denied"],
        )
        self.patch(os, "replace", replace)
        self.now += 6
        file.write("fou\n")
        self.assertEqual(self.files(), {"relay.log": "fou\n", "relay.log.1": "one\ntwo\nthr\n"})

    def test_a_new_file_that_cannot_be_opened_costs_no_old_one(self) -> None:
        """The old one, under its new number, is gone on with, and moves no further."""
        file = self.file(rotate=4, keep=3)
        file.write("one\n")
        self.fail_open(errno.EACCES)
        for text in ("two\n", "thr\n"):
            file.write(text)
        self.assertEqual(self.files(), {"relay.log.1": "one\ntwo\nthr\n"})
        self.assertEqual(len(self.logged()), 1)
        self.now += 6
        file.write("fou\n")
        self.assertEqual(self.files(), {"relay.log": "fou\n", "relay.log.1": "one\ntwo\nthr\n"})

    def test_what_somebody_else_rotated_is_not_rotated_again(self) -> None:
        file = self.file(rotate=4)
        file.write("one\n")
        self.path.rename(self.folder / "elsewhere")
        file.write("two\n")
        self.assertEqual(self.files(), {"elsewhere": "one\n", "relay.log": "two\n"})


class ReopenTests(LogFileCase):
    def test_it_goes_on_in_a_new_file_and_rotates_nothing(self) -> None:
        file = self.file(rotate=1000)
        file.write("one\n")
        file.reopen()
        file.write("two\n")
        self.assertEqual(self.files(), {"relay.log": "one\ntwo\n"})
        self.path.rename(self.folder / "moved")
        file.write("three\n")
        file.reopen()
        file.write("four\n")
        self.assertEqual(self.files(), {"moved": "one\ntwo\nthree\n", "relay.log": "four\n"})

    def test_no_descriptor_is_lost(self) -> None:
        file = self.file()
        before = len(os.listdir("/dev/fd"))
        for _ in range(5):
            file.reopen()
        self.assertEqual(len(os.listdir("/dev/fd")), before)

    def test_it_works_when_there_is_no_descriptor_left(self) -> None:
        file = self.file()
        file.write("one\n")
        self.path.rename(self.folder / "moved")
        self.fail_open(errno.EMFILE)
        file.reopen()
        file.write("two\n")
        self.assertEqual(self.files(), {"moved": "one\n", "relay.log": "two\n"})
        self.assertEqual(self.logged(), [])
        self.path.rename(self.folder / "again")
        self.fail_open(errno.EMFILE)
        file.reopen()
        file.write("three\n")
        self.assertEqual(self.files()["relay.log"], "three\n")

    def test_where_the_new_file_cannot_be_opened_the_old_one_goes_on(self) -> None:
        file = self.file()
        self.path.rename(self.folder / "moved")
        self.fail_open(errno.EACCES, times=2)
        file.reopen()
        file.write("one\n")
        self.assertEqual(self.files(), {"moved": "one\n"})
        self.assertIn("gone on with: Permission denied", self.logged()[0])
        self.now += 6
        file.write("two\n")
        self.assertEqual((self.files(), self.logged()), ({"moved": "one\ntwo\n"}, []))
        self.now += 6
        file.write("three\n")
        self.assertEqual(self.files(), {"moved": "one\ntwo\n", "relay.log": "three\n"})
