"""
Builds C{better-sqlite3} from its source, without asking for a binary, and has it used behind a relay.

It takes a C++ compiler, C{make}, the headers of Node (Debian's nodejs has them) and about a minute.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.npm import BETTER_SQLITE3, installed


def main() -> int:
    package = installed(*BETTER_SQLITE3)
    if not (package / "build" / "Release" / "better_sqlite3.node").exists():
        prefix = subprocess.check_output(["node", "-p", "process.execPath"], text=True)
        headers = Path(prefix.strip()).parent.parent  # below which is include/node
        gyp = installed("node-gyp", "12.0.0") / "bin" / "node-gyp.js"
        words = [str(gyp), "rebuild", "--release", f"--nodedir={headers}"]
        subprocess.run(["node", *words], cwd=package, check=True)
    test = "tests.live.test_exec_npm.NativeTests.test_better_sqlite3"
    return subprocess.run([sys.executable, "-m", "twisted.trial", test], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
