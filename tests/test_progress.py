"""How long the tests wait for another process."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support import progress
from tests.support.progress import Patience, work_of


class PatienceTests(SynchronousTestCase):
    def start(self) -> subprocess.Popen[bytes]:
        """A process that computes."""
        process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def rounds(self, patience: Patience) -> int:
        """How often it is prolonged."""
        for rounds in itertools.count():
            while patience.left:
                pass
            if patience.over():
                return rounds
        raise AssertionError

    def test_one_that_computes_gets_on_and_one_that_stands_still_does_not(self) -> None:
        process = self.start()
        before = work_of(process.pid)
        while work_of(process.pid) == before:
            pass
        process.send_signal(signal.SIGSTOP)
        while (before := work_of(process.pid)) != work_of(process.pid):
            pass
        self.assertEqual(self.rounds(Patience(process.pid, 0.2)), 0)

    def test_one_that_gets_on_is_waited_for_but_not_for_ever(self) -> None:
        steps = itertools.count()
        self.patch(progress, "work_of", lambda pid: str(next(steps)))
        self.assertEqual(self.rounds(Patience(0, 0.001)), 5)
