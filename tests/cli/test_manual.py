"""The manual pages, and what formats them for man."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lanrelay.cli import main
from lanrelay.cli.completion import parser_of
from lanrelay.cli.manual import pages
from lanrelay.version import __version__
from tests.cli.test_check import Run
from tests.support.progress import PATIENCE


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        groff = shutil.which("groff")
        if groff is None:
            raise SkipTest("groff is not here")
        self.groff = groff

    def shown(self, source: str) -> str:
        done = subprocess.run(
            [self.groff, "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=500n", "-rHY=0"],
            input=source,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), source[:100])
        return done.stdout

    def test_each_command_has_one_with_all_that_help_says(self) -> None:
        found = dict(pages())
        self.assertEqual(list(found), ["lanrelay.1", *(f"lanrelay-{name}.1" for name in main.COMMANDS)])
        # All in one run of groff, each page under its title.
        shown = re.split(r"(?m)^LANRELAY.*\(1\) +lanrelay +LANRELAY.*$", self.shown("".join(found.values())))
        shown = [" ".join(page.split()) for page in shown if page.strip()]
        self.assertEqual(len(shown), len(found))
        for name, text in zip(main.COMMANDS, shown[1:], strict=True):
            parser = parser_of(name)
            assert parser is not None
            self.assertIn(" ".join((parser.description or "").split()), text, name)
            with mock.patch.dict(os.environ, {"COLUMNS": "80"}):
                examples = Run(name, "--help").out.partition("examples:\n")[2]
            for line in filter(None, examples.splitlines()):
                self.assertIn(" ".join(line.split()), text, name)
            for action in parser._actions:
                for option in action.option_strings:
                    self.assertIn(option, text, name)
                if action.help and action.help != argparse.SUPPRESS:
                    told = parser._get_formatter()._expand_help(action)
                    self.assertIn(" ".join(told.split())[1:], text, name)  # it begins with a capital there
        for name, what in main.COMMANDS.items():
            self.assertIn(f"lanrelay-{name}(1)", shown[0])
            self.assertIn(what[1:], shown[0])
        self.assertIn(f"lanrelay {__version__}", self.shown(found["lanrelay.1"]))

    def test_the_actions_of_a_command_are_in_its_page(self) -> None:
        text = " ".join(self.shown(dict(pages())["lanrelay-service.1"]).split())
        for action in ("INSTALL", "STATUS", "UNINSTALL"):
            self.assertIn(f"LANRELAY SERVICE {action}", text)
        self.assertIn("--dry-run Show the files and commands, do nothing.", text)


class CommandTests(SynchronousTestCase):
    def test_it_writes_them_into_a_folder_that_it_makes(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, folder)
        run = Run("manual", str(folder / "man" / "man1"))
        self.assertEqual((run.status, run.err), (0, ""))
        self.assertEqual(len(list((folder / "man" / "man1").iterdir())), len(main.COMMANDS) + 1)

    def test_a_folder_that_cannot_be_made(self) -> None:
        run = Run("manual", "/dev/null/man1")
        self.assertEqual((run.status, run.out), (1, ""))
        self.assertIn("/dev/null/man1 cannot be written to", run.err)
