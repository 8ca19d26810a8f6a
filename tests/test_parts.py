"""What C{.ci/run} runs: every test, plain and on what a Mac has; and what it takes for a failure."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from tests.process.support import poll
from tests.support.progress import PATIENCE

TOP = Path(__file__).resolve().parents[1]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lanrelay_ci_parts", TOP / ".ci" / "parts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


class PartsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.parts = load()

    def test_each_module_is_run_once_plain_and_once_played(self) -> None:
        for plain in (True, False):
            seen = Counter(
                word
                for part in self.parts.parts()
                if part.tests and part.name.startswith("plain.") == plain
                for word in part.words
                if word.startswith("tests.")
            )
            files = {path.relative_to(TOP).with_suffix("") for path in (TOP / "tests").rglob("test_*.py")}
            self.assertEqual(seen, dict.fromkeys((".".join(path.parts) for path in files), 1))

    def test_the_rooms_that_live_by_streams_run_on_kqueue(self) -> None:
        names = [part.name for part in self.parts.parts()]
        self.assertIn("kqueue.transport", names)
        for part in self.parts.parts():
            if part.name.startswith("plain."):
                self.assertEqual(part.words[0], str(TOP / ".venv/bin/trial"))
        self.assertIn("darwin.config", names)
        self.assertEqual(len(names), len(set(names)))

    def test_what_counts(self) -> None:
        for last, counts in (
            ("PASSED (successes=3)", (3, 0)),
            ("PASSED (skips=2, successes=3)", (3, 0)),
            ("FAILED (failures=1, errors=2, unexpectedSuccesses=4, successes=3)", (3, 7)),
            ("Killed", (0, 0)),
        ):
            self.assertEqual(self.parts.counted(f"tests.x\n\n{last}\n"), counts)
        self.assertEqual(self.parts.counted(""), (0, 0))

    def outcome(self, program: str, *, tests: bool = True) -> tuple[int, int]:
        folder = Path(self.mktemp())
        folder.mkdir()
        part = self.parts.Part("made-up", [sys.executable, "-c", program], tests=tests)
        outcome = self.parts.run(part, folder)
        return outcome.passed, outcome.failed

    def test_what_breaks_off_has_failed(self) -> None:
        self.assertEqual(self.outcome("print('PASSED (successes=3)')"), (3, 0))
        self.assertEqual(self.outcome("print('PASSED (successes=3)'); raise SystemExit(1)"), (3, 1))
        self.assertEqual(self.outcome("print('PASSED (skips=3)')"), (0, 1))
        self.assertEqual(self.outcome("import os; os.kill(os.getpid(), 9)"), (0, 1))
        self.assertEqual(self.outcome("pass", tests=False), (1, 0))
        self.assertEqual(self.outcome("raise SystemExit(1)", tests=False), (0, 1))

    def test_what_takes_too_long_is_ended_with_all_that_it_started(self) -> None:
        self.patch(self.parts, "PATIENCE", 0.5)
        self.assertEqual(self.outcome("import subprocess; subprocess.run(['sleep', '60'])"), (0, 1))

    def test_whoever_ends_it_ends_what_it_runs(self) -> None:
        folder = Path(os.path.abspath(self.mktemp()))
        folder.mkdir()
        sleeper = f"import os, time; open({str(folder / 'pid')!r}, 'w').write(str(os.getpid()) + '.'); "
        program = (
            f"import sys; sys.path.insert(0, {str(TOP)!r})\n"
            "from tests.test_parts import load; parts = load();"
            f"words = [sys.executable, '-c', {sleeper + 'time.sleep(99)'!r}];"
            "parts.parts = lambda: [parts.Part('made-up', words)]; parts.main([])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        file = folder / "pid"
        poll(lambda: file.exists() and file.read_text().endswith("."), "its beginning")
        process.terminate()
        self.assertNotIn(process.wait(PATIENCE), (0, 2))
        self.assertRaises(ProcessLookupError, os.kill, int(file.read_text()[:-1]), 0)

    def test_a_skip_for_want_of_a_program_is_seen(self) -> None:
        log = "===\n[SKIPPED]\ncurl is not here\n\ntests.a.B.c\ntests.a.B.d\n===\n"
        log += "[SKIPPED]\nof root\n\ntests.x\n"
        skips = self.parts.skips_of(log)
        self.assertEqual(skips, {"curl is not here": 2, "of root": 1})
        self.assertEqual([one for one in skips if self.parts.LACKING.search(one)], ["curl is not here"])
