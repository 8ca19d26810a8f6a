"""
Makes the Homebrew formula of this checkout, as a release does: its source distribution is built, pip finds
what it needs on the index, and Ruby reads the result. A word is the homepage.

It takes C{ruby}, a way to the index, and half a minute.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.process.installs import CHECKOUT, built

SCRIPT = CHECKOUT / "packaging" / "homebrew" / "formula.py"


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="lanrelay-homebrew-"))
    found, lock, formula = folder / "found.json", folder / "lock.json", folder / "lanrelayd.rb"
    report(found)
    report(lock, "--no-binary", script(str(found), "--names").strip())
    formula.write_text(script(str(lock), "--homepage", *(sys.argv[1:] or ["https://example.org/"])))
    print(formula)
    return subprocess.run(["ruby", "-c", str(formula)], check=False).returncode


def report(file: Path, *words: str) -> None:
    """What pip would install, with addresses and checksums."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    subprocess.run([*pip, *words, "--report", str(file), str(built()[1])], check=True)


def script(*words: str) -> str:
    return subprocess.check_output([sys.executable, str(SCRIPT), *words], text=True)


if __name__ == "__main__":
    sys.exit(main())
