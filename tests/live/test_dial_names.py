"""Names that hang, in a real process: they delay neither other names nor the end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.support.progress import LIMIT, PATIENCE

HUNG = """
import sys, time
from twisted.internet import defer, reactor
from lanrelay.upstream.resolve import Resolver
from lanrelay.errors import DialError

def getaddrinfo(host, *_, **__):
    if host.startswith("hung"):
        time.sleep(60)
    return [(2, 1, 6, "", ("192.0.2.7", 0))]

resolver = Resolver(reactor, getaddrinfo=getaddrinfo)
hung = [defer.Deferred.fromCoroutine(resolver.resolve(f"hung{number}.test")) for number in range(8)]
for each in hung:
    each.addErrback(lambda failure: failure.trap(defer.CancelledError))

async def main():
    print(await resolver.resolve("quick.test"))

def done(result):
    if %(stop)s:
        resolver.stop()
    reactor.stop()
    return result

defer.Deferred.fromCoroutine(main()).addBoth(done)
reactor.run()
print("over")
"""

LATE = """
import time
from twisted.internet import defer, reactor
from lanrelay.upstream.resolve import Resolver

def getaddrinfo(host, *_, **__):
    time.sleep(0.3)
    return [(2, 1, 6, "", ("192.0.2.7", 0))]

resolver = Resolver(reactor, getaddrinfo=getaddrinfo)
waiting = defer.Deferred.fromCoroutine(resolver.resolve("late.test"))
reactor.callWhenRunning(reactor.stop)
reactor.run()
time.sleep(0.6)
print("over")
"""


class HangingNameTests(TestCase):
    timeout = LIMIT

    def run_it(self, program: str) -> tuple[str, float]:
        started = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-c", program],
            cwd=Path(__file__).resolve().parent.parent.parent,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        return ended.stdout, time.monotonic() - started

    def test_names_that_hang_delay_neither_others_nor_the_end(self) -> None:
        for stop in ("True", "False"):
            output, took = self.run_it(HUNG % {"stop": stop})
            self.assertIn("192.0.2.7", output)
            self.assertIn("over", output)
            self.assertLess(took, 15)

    def test_an_answer_after_the_reactor_s_stop_does_no_harm(self) -> None:
        self.assertIn("over", self.run_it(LATE)[0])
