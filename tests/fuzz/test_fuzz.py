"""A short run of the fuzz targets, from a new seed each time; a failure says how to have it again."""

from __future__ import annotations

import secrets

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.fuzz.live import LiveRelay
from tests.fuzz.run import Failure, run, smallest
from tests.fuzz.targets import Target, must, targets


class FuzzTests(TestCase):
    timeout = 120

    def short(self, chosen: dict[str, Target], seconds: float) -> None:
        seed = secrets.randbelow(10**9)
        for found in run(chosen, seed=seed, seconds=seconds, slice_=seconds / len(chosen)):
            if isinstance(found, Failure):
                self.fail(str(found))
            self.assertGreater(found[1], 3, found[0])

    def test_in_memory(self) -> Deferred[None]:
        return deferToThread(self.short, targets(), 4.0)

    def test_a_live_relay(self) -> Deferred[None]:
        live = LiveRelay()
        self.addCleanup(live.stop)
        return deferToThread(self.short, {"live": live.target()}, 3.0)

    def test_a_failure_can_be_had_again_and_is_made_small(self) -> None:
        target = Target(
            lambda random: random.randbytes(50) + b"needle" + random.randbytes(50),
            lambda data, random: must(b"needle" not in data, "found it"),
        )
        found, again = (next(run({"x": target}, seed=5, seconds=0)) for _ in range(2))
        assert isinstance(found, Failure)
        self.assertEqual(found, again)
        self.assertEqual(found.smallest, b"needle")
        self.assertIn("--target x --seed 5 --case 0", str(found))
        self.assertEqual(smallest(b"", lambda data: True), b"")
