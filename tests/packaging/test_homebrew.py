"""The Homebrew formula that is made of a release's lock."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.progress import PATIENCE

SCRIPT = Path(__file__).parents[2] / "packaging" / "homebrew" / "formula.py"


def entry(name: str, number: int, *, kind: str = "tar.gz", **metadata: str) -> dict[str, Any]:
    """As in a report of pip's (version 1)."""
    return {
        "metadata": {"name": name, "version": f"{number}.0", **metadata},
        "download_info": {
            "url": f"https://files.example/{name}-{number}.0.{kind}",
            "archive_info": {"hashes": {"sha256": f"{number:064x}"}},
        },
    }


OURS = entry("lanrelayd", 1, summary='Relays, with a "name" and #{more}', license="MIT")


class FormulaTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def made(
        self, *entries: dict[str, Any], words: tuple[str, ...] = ("--homepage", "https://home.example")
    ) -> subprocess.CompletedProcess[str]:
        lock = self.folder / "lock.json"
        lock.write_text(json.dumps({"version": "1", "install": entries}))
        command = [sys.executable, str(SCRIPT), str(lock), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    def test_each_source_is_a_resource_with_its_checksum(self) -> None:
        done = self.made(
            OURS,
            entry("Zope.Interface", 4),
            entry("Twisted", 2),
            entry("cryptography", 3, kind="whl"),
            entry("cffi", 5, kind="whl"),
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        text = done.stdout
        self.assertIn('  url "https://files.example/lanrelayd-1.0.tar.gz"\n', text)
        self.assertIn(f'  sha256 "{1:064x}"\n', text)
        self.assertIn('  desc "Relays, with a \\"name\\" and \\#{more}"\n', text)
        self.assertIn('  homepage "https://home.example"\n', text)
        self.assertIn('  license "MIT"\n', text)
        self.assertEqual(re.findall(r'resource "(.*)" do', text), ["twisted", "zope-interface"])
        self.assertIn(
            f'    url "https://files.example/Twisted-2.0.tar.gz"\n    sha256 "{2:064x}"\n  end', text
        )
        self.assertIn('  depends_on "cryptography"\n', text)
        self.assertIn('system bin/"lanrelay", "manual", man1', text)
        self.assertIn('system bin/"lanrelay", "demo", "--once"', text)

    def test_what_pip_has_to_take_as_source_is_all_but_what_homebrew_builds(self) -> None:
        found = [OURS, entry("Zope.Interface", 4, kind="whl"), entry("cryptography", 3, kind="whl")]
        done = self.made(*found, words=("--names",))
        self.assertEqual((done.stdout, done.stderr), ("lanrelayd,zope-interface\n", ""))

    def test_every_block_has_its_end(self) -> None:
        text = self.made(OURS, entry("twisted", 2)).stdout
        code = re.sub(r"<<~EOS.*?EOS", "", text, flags=re.DOTALL)
        code = re.sub(r'"(?:\\.|[^"\\])*"', '""', code)
        begun = re.findall(r"^\s*(?:class|def)\b|\bdo$", code, re.MULTILINE)
        self.assertEqual(len(begun), len(re.findall(r"^\s*end$", code, re.MULTILINE)))
        ruby = shutil.which("ruby")
        if ruby is not None:
            done = subprocess.run(
                [ruby, "-c", "-"], input=text, capture_output=True, text=True, timeout=PATIENCE
            )
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_lock_of_wheels_is_refused(self) -> None:
        done = self.made(OURS, entry("twisted", 2, kind="whl"))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("twisted is no source distribution", done.stderr)

    def test_a_lock_without_a_checksum_is_refused(self) -> None:
        bare = entry("twisted", 2)
        del bare["download_info"]["archive_info"]
        self.assertIn("twisted has no SHA-256", self.made(OURS, bare).stderr)

    def test_a_lock_of_something_else_is_refused(self) -> None:
        self.assertIn("The lock has no lanrelayd", self.made(entry("twisted", 2)).stderr)

    def test_the_commands_of_the_formula_are_ours(self) -> None:
        from lanrelay.cli.main import COMMANDS

        rest = runpy.run_path(str(SCRIPT))["_REST"]
        called = re.findall(r'bin/"lanrelay", "(\w+)"', rest)
        self.assertEqual(called, ["manual", "completion", "run", "demo"])
        self.assertLessEqual(set(called), set(COMMANDS))
