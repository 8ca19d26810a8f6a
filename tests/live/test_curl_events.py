"""Streams that go on: every event arrives before the next one is sent."""

from __future__ import annotations

import shutil
import subprocess
import time
from unittest import skipUnless

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.live.test_curl import curl
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import HttpOrigin


@skipUnless(shutil.which("curl"), "curl is not installed")
class EventTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        self.origin = HttpOrigin().start()
        self.addCleanup(self.origin.stop)
        self.relay = Relay(
            f"""
            listeners:
              forward: {{type: tcp-forward, listen: "127.0.0.1:0", upstream: "tcp://{self.origin.address}"}}
              reverse: {{type: reverse-proxy, listen: "127.0.0.1:0", upstream: "{self.origin.url}"}}
              proxy: {{type: connect-proxy, listen: "127.0.0.1:0", allow: loopback}}
            """
        ).start()
        self.addCleanup(self.relay.stop)
        proxy = f"http://127.0.0.1:{self.relay.port('proxy')}"
        self.ways: dict[str, tuple[str, ...]] = {
            "forward": (f"http://127.0.0.1:{self.relay.port('forward')}",),
            "reverse": (f"http://127.0.0.1:{self.relay.port('reverse')}",),
            "absolute-form": (self.origin.url, "-x", proxy),
            "connect": (self.origin.url, "-x", proxy, "--proxytunnel"),
        }

    def stream(self, way: str, path: str) -> subprocess.Popen[bytes]:
        base, *arguments = self.ways[way]
        command = ["curl", "-q", "--silent", "--no-buffer", "--max-time", "30", *arguments, base + path]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)

        def end() -> None:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

        self.addCleanup(end)
        return process

    def events(self, way: str) -> list[bytes]:
        """Ask for the next event only when the last one is here."""
        process = self.stream(way, "/events/3")
        assert process.stdout is not None
        seen = []
        for number in range(3):
            if number:
                self.assertEqual(curl(self.origin.url + "/next", timeout=5).returncode, 0)
            lines = [process.stdout.readline() for _ in range(3)]
            seen.append(lines[1].strip())
        self.assertEqual(process.stdout.read(), b"")
        self.assertEqual(process.wait(PATIENCE), 0)
        return seen

    def test_an_event_arrives_before_the_next_is_sent(self) -> Deferred[None]:
        async def run() -> None:
            for way in self.ways:
                seen = await deferToThread(self.events, way)
                self.assertEqual(seen, [b"data: event 0", b"data: event 1", b"data: event 2"], way)

        return Deferred.fromCoroutine(run())

    def gone(self) -> int:
        import json

        found: int = json.loads(curl(self.origin.url + "/counters", timeout=5).stdout)["gone"]
        return found

    def leave(self, way: str) -> None:
        before = self.gone()
        process = self.stream(way, "/events/2")
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        deadline = time.monotonic() + PATIENCE
        while self.gone() == before:
            self.assertLess(time.monotonic(), deadline, f"{way}: the origin does not notice")
            time.sleep(0.05)

    def test_a_client_that_leaves_is_noticed_by_the_origin_at_once(self) -> Deferred[None]:
        async def run() -> None:
            for way in self.ways:
                await deferToThread(self.leave, way)

        return Deferred.fromCoroutine(run())
