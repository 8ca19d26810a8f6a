"""What needs a reactor runs inside of a command, twice, and Ctrl-C ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support.progress import PATIENCE
from tests.support.servers import CHECKOUT


class InReactorTests(SynchronousTestCase):
    def start(self, program: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", f"from lanrelay.cli.in_reactor import in_reactor\n{program}"],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.kill)
        return process

    def test_as_often_as_the_command_likes(self) -> None:
        program = """
from twisted.internet.task import deferLater
async def wait(reactor):
    await deferLater(reactor, 0.01)
    return "done"
async def fail(reactor):
    await deferLater(reactor, 0.01)
    raise ValueError("wrong")
print(in_reactor(wait), in_reactor(wait))
try:
    in_reactor(fail)
except ValueError as error:
    print(error)
"""
        out, errors = self.start(program).communicate(timeout=PATIENCE)
        self.assertEqual((out, errors), ("done done\nwrong\n", ""))

    def test_the_interrupt_cancels_what_is_under_way(self) -> None:
        program = """
from twisted.internet.defer import CancelledError, Deferred
async def wait(reactor):
    reactor.callLater(0, print, "waiting", flush=True)  # once it turns
    try:
        await Deferred()
    except CancelledError:
        print("cancelled", flush=True)
        raise
try:
    in_reactor(wait)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
        process = self.start(program)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "waiting\n")
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((out, errors), ("cancelled\ninterrupted\n", ""))
