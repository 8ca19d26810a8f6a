"""Python packages for live tests that cannot be in the same environment as the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest


def installed(package: str, version: str) -> Path:
    """
    A folder for C{PYTHONPATH} with C{package} and all that it needs, made once for whoever runs the tests.

    @raise SkipTest: it cannot be had.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lanrelay-tests"
    folder = cache / f"{sys.implementation.cache_tag}-{package}-{version}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=cache))
        try:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--target", str(made)]
            done = subprocess.run(
                [*command, f"{package}=={version}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=180,
            )
            if done.returncode != 0:
                raise SkipTest(
                    f"{package} {version} is not installed, for pip could not: {done.stderr[-500:]}"
                )
            try:
                made.rename(folder)
            except OSError:  # another run was faster
                if not folder.exists():
                    raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder
