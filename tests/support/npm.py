"""Programs from npm for live tests, each installed once for whoever runs the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest

NODE = 20
"""What the packages need at least."""

BETTER_SQLITE3 = ("better-sqlite3", "12.11.1")
"""It has no binary in it; L{tests.by_hand.better_sqlite3} builds one."""


def installed(package: str, version: str) -> Path:
    """
    The folder of C{package}, in a cache outside of the checkout (C{$XDG_CACHE_HOME/lanrelay-tests}).

    @raise SkipTest: a program that is needed is not here.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise SkipTest(f"{program} is not here")
    version_of_node = subprocess.check_output(["node", "--version"], text=True)
    if int(version_of_node.lstrip("v").partition(".")[0]) < NODE:
        raise SkipTest(f"node {NODE} or newer is not here")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lanrelay-tests"
    folder = cache / f"{package}-{version}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=cache))
        try:
            command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(made)]
            done = subprocess.run(
                [*command, f"{package}@{version}"],
                cwd=made,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=180,
            )
            if done.returncode != 0:
                raise SkipTest(f"{package} is not installed, for npm could not: {done.stderr[-500:]}")
            try:
                folder.parent.mkdir(exist_ok=True)  # of a package with a scope
                made.rename(folder)
            except OSError:  # another run was faster
                if not folder.exists():
                    raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder / "node_modules" / package


def beside(package: Path, name: str, text: str) -> Path:
    """A program of a test, from where Node finds C{package}; other runs may write it at the same time."""
    program = package.parent.parent / name
    if not program.exists() or program.read_text() != text:
        with tempfile.NamedTemporaryFile("w", dir=program.parent, delete=False) as file:
            file.write(text)
        Path(file.name).replace(program)
    return program
