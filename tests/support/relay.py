"""The real relay for live tests: C{twistd} with this checkout's code, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent

from tests.support.progress import PATIENCE, Patience
from tests.support.servers import CHECKOUT

# What the installed script does.
TWISTD = "from twisted.scripts.twistd import run; run()"


class Relay:
    """
    A relay with the configuration C{text}, written into a folder of its own.

    It best chooses its ports itself (C{127.0.0.1:0}); L{port} says which it took. Its starter adds C{stop} as
    a cleanup.

    @param within: a command that runs it, with its arguments.
    @ivar environ: what is added to its environment when it starts.
    @ivar folder: where its configuration is; relative paths in it begin here.
    """

    def __init__(
        self, text: str, *, environ: Mapping[str, str] | None = None, within: Sequence[str] = ()
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="lanrelay-test-")
        self.folder = Path(self._temporary.name)
        self.config = self.folder / "relay.yaml"
        self.config.write_text(dedent(text))
        self.environ = dict(environ or {})
        self._within = within
        self._log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All it has written so far."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None, "the relay is not running"
        return self._process

    @property
    def rss(self) -> int:
        """Its resident memory in bytes."""
        kib = subprocess.check_output(["ps", "-o", "rss=", "-p", str(self.process.pid)])
        return int(kib) * 1024

    def start(self, *, within: float = PATIENCE) -> Relay:
        """Start it; returns when it listens."""
        environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        here = {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1", "XDG_RUNTIME_DIR": str(self.folder)}
        environ.update(here, **self.environ)
        command = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "lanrelay", "-c", str(self.config)]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [*self._within, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd=self.folder,
            )
        try:
            self.wait_for(r"\bready in \d+ ms", within=within)
        except BaseException:
            self.kill()
            raise
        return self

    def port(self, listener: str) -> int:
        """The TCP port on which a listener listens, as its log says."""
        found = re.search(rf"\b{re.escape(listener)} \([a-z-]+\) listens on \S*?:(\d+)", self.log)
        assert found is not None, f"no port of {listener} in\n{self.log}"
        return int(found[1])

    def wait_for(self, pattern: str, *, within: float = PATIENCE) -> re.Match[str]:
        """The first match in its log, as soon as there is one; blocks."""
        patience = Patience(self.process.pid, within)
        while (found := re.search(pattern, self.log)) is None:
            status = self.process.poll()
            if status is not None:
                raise AssertionError(f"the relay ended with status {status}:\n{self.log}")
            if patience.over():
                raise AssertionError(f"nothing like {pattern!r} within {within} s in\n{self.log}")
            time.sleep(0.02)
        return found

    def stop(self, *, within: float = PATIENCE) -> None:
        """SIGTERM; it must end with status 0, and no traceback in its log. A second call does nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(within)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"the relay did not stop within {within} s:\n{self.log}") from None
            if status != 0:
                raise AssertionError(f"the relay ended with status {status}:\n{self.log}")
            if "Traceback" in self.log:
                raise AssertionError(f"a bug in the relay's log:\n{self.log}")

    def kill(self) -> None:
        """End it as a crash does."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
