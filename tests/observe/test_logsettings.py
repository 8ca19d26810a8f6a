from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import Log
from lanrelay.observe.logsettings import LogSettings


class SettingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.settings = LogSettings()
        self.settings.ours = True
        self.terminal = io.StringIO()
        self.addCleanup(self.close)
        self.log = Log()

    def close(self) -> None:
        if self.settings.file is not None:
            self.settings.file.close()

    def begin(self, log: Log) -> None:
        self.log = log
        file = self.settings.open(log) if log.file is not None and self.settings.ours else self.terminal
        self.logger = Logger(namespace="lanrelay.test", observer=LogPublisher(self.settings.make(file, log)))

    def change(self, log: Log) -> None:
        self.settings.prepare(self.log, log)()
        self.log = log

    def path(self, name: str) -> Path:
        return self.folder / name

    def test_level_and_format(self) -> None:
        self.begin(Log(level="warn"))
        self.logger.info("quiet")
        self.change(Log(level="info", format="json"))
        self.logger.info("loud")
        (line,) = self.terminal.getvalue().splitlines()
        self.assertIn('"message": "loud"', line)

    def test_the_level_of_the_command_line_stays(self) -> None:
        self.settings.level = "error"
        self.begin(Log())
        self.change(Log(level="debug"))
        self.logger.warn("quiet")
        self.assertEqual(self.terminal.getvalue(), "")

    def test_from_the_terminal_to_a_file_to_another_and_back(self) -> None:
        self.begin(Log())
        self.logger.info("0")
        for name in ("a", "b"):
            self.change(Log(file=self.path(name)))
            self.logger.info(name)
        self.change(Log())
        self.logger.info("1")
        self.assertEqual([self.path(name).read_text().count("\n") for name in ("a", "b")], [1, 1])
        self.assertEqual(self.terminal.getvalue().count("\n"), 2)
        self.assertIsNone(self.settings.file)

    def test_one_that_cannot_be_opened_leaves_the_old_one(self) -> None:
        self.begin(Log(file=self.path("a")))
        self.assertRaises(OSError, self.settings.prepare, self.log, Log(file=self.path("no") / "way"))
        self.logger.info("still")
        self.assertIn("still", self.path("a").read_text())

    def test_without_another_place_the_file_stays(self) -> None:
        self.begin(Log(file=self.path("a")))
        self.change(Log())
        self.logger.info("still")
        self.assertIn("still", self.path("a").read_text())

    def test_where_the_command_line_says_where_it_goes_there(self) -> None:
        self.settings.ours = False
        self.begin(Log(file=self.path("a")))
        self.change(Log(file=self.path("b")))
        self.logger.info("here")
        self.assertIn("here", self.terminal.getvalue())
        self.assertEqual(os.listdir(self.folder), [])

    def test_other_numbers_of_the_same_file(self) -> None:
        self.begin(Log(file=self.path("a")))
        self.change(Log(file=self.path("a"), rotate=200, keep=1))
        for _ in range(5):
            self.logger.info("x" * 80)
        self.assertEqual(sorted(os.listdir(self.folder)), ["a", "a.1"])

    def test_the_file_in_force_is_opened_anew(self) -> None:
        self.begin(Log(file=self.path("a")))
        self.change(Log(file=self.path("b")))
        self.path("b").rename(self.path("old"))
        self.settings.reopen()
        self.logger.info("new")
        self.assertIn("new", self.path("b").read_text())
        self.settings.file = None
        self.settings.reopen()  # nothing to do

    def test_who_has_no_observer_changes_nothing(self) -> None:
        LogSettings().prepare(Log(), Log(level="debug"))()
