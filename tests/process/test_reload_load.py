"""Many reloads under load, and a stop in between."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGHUP, SIGTERM

from twisted.trial.unittest import SynchronousTestCase

from tests.process.support import Pair, Relay, Upstream, forward, poll
from tests.support.ports import free_port
from tests.support.progress import PATIENCE

CHECKOUT = Path(__file__).resolve().parents[2]


class LoadTests(SynchronousTestCase):
    """Under load, from one configuration to the next and back."""

    COUNT = {"keep_alive": 12, "fresh": 6, "streams": 60, "echoes": 20}  # noqa: RUF012
    RELOADS = 50

    def test_fifty_reloads_lose_nothing(self) -> None:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.support.load_program"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        assert program.stdin is not None
        assert program.stdout is not None
        _, origin, echo = program.stdout.readline().split()
        web, forwarded, third = free_port(), free_port(), free_port()

        def configuration(number: int) -> str:
            """Names swap, listeners come and go, settings and ports change; two ports stay."""
            names = ("web", "forward") if number % 2 else ("forward", "web")
            more = ""
            if number % 3:
                more = f"  more: {{type: tcp-forward, listen: {third}, upstream: 'tcp://127.0.0.1:{echo}'}}\n"
            return (
                "log: {access: false}\nlisteners:\n"
                f"  {names[0]}:\n    type: reverse-proxy\n    listen: localhost:{web}\n"
                f"    sse_keepalive: {15 + number}s\n    max_connections: {1000 + number}\n"
                f"    upstream: http://127.0.0.1:{origin}\n"
                f"  {names[1]}:\n    type: tcp-forward\n    listen: 127.0.0.1:{forwarded}\n"
                f"    timeouts: {{close: {5 + number}s}}\n    upstream: tcp://127.0.0.1:{echo}\n{more}"
            )

        relay = Relay(self, configuration(0)).start()
        wanted = {"ports": {"web": web, "forward": forwarded}, "count": self.COUNT}
        program.stdin.write(json.dumps(wanted) + "\n")
        program.stdin.flush()
        time.sleep(1)
        began = time.monotonic()
        for number in range(1, self.RELOADS + 1):
            relay.reload(configuration(number))
            if number % 5 == 0:
                relay.configuration.write_text("listeners: {")
                self.assertFalse(relay.ask("reload")["ok"])
            time.sleep(0.12)
        left = 7 - (time.monotonic() - began)
        time.sleep(max(left, 0.5))
        program.stdin.write("stop\n")
        program.stdin.flush()
        seen = json.loads(program.stdout.readline())
        elapsed = time.monotonic() - began + 1
        self.assertEqual(seen["failures"], {}, seen)
        self.assertEqual(len(seen["streams"]), self.COUNT["streams"])
        self.assertGreater(min(seen["streams"]), 100, "the slowest stream had as many events")
        requests = seen["seen"]["kept alive"] + seen["seen"]["fresh"]
        self.assertGreater(requests / elapsed, 60, seen["seen"])
        self.assertGreater(seen["seen"]["told to come again"], self.COUNT["keep_alive"])
        self.assertGreater(seen["seen"]["echoed"], self.COUNT["echoes"] * 40)
        poll(lambda: len(relay.ask("status")["sessions"]) == 0, "the sessions to end")
        poll(lambda: len(relay.ask("status")["listeners"]) <= 3, "the listeners of old to end")
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        self.assertNotIn("Traceback", relay.log())


class StopTests(SynchronousTestCase):
    def test_a_stop_ends_what_a_reload_left(self) -> None:
        upstream = Upstream(self)
        port = free_port()
        relay = Relay(self, f"listeners:\n{forward('a', port, upstream, ', timeouts: {drain: 1h}')}").start()
        pair = Pair(self, port, upstream)
        relay.reload(f"listeners:\n{forward('b', port, upstream, ', timeouts: {drain: 1h}')}")
        relay.signal(SIGTERM)
        relay.logged("given time to end: 1")
        pair.check()
        relay.signal(SIGHUP)
        relay.logged("SIGHUP: no reload: the relay is stopping")
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        self.assertTrue(pair.ended())

    def test_idle_clients_and_idle_upstreams_hold_nothing_up(self) -> None:
        origin = subprocess.Popen(
            [sys.executable, "-m", "tests.support.load_program"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(origin.wait)
        self.addCleanup(origin.kill)
        assert origin.stdout is not None
        upstream = origin.stdout.readline().split()[1]
        relay = Relay(
            self,
            "listeners:\n"
            f"  web: {{type: reverse-proxy, listen: '127.0.0.1:0', upstream: 'http://127.0.0.1:{upstream}'}}\n"
            "  proxy: {type: connect-proxy, listen: '127.0.0.1:0'}\n"
            "  socks: {type: socks-proxy, listen: '127.0.0.1:0'}\n",
        ).start()
        silent = [relay.connect(name) for name in ("web", "proxy", "socks")]
        idle = http.client.HTTPConnection("127.0.0.1", relay.port("web"), timeout=PATIENCE)
        self.addCleanup(idle.close)
        idle.request("GET", "/a")
        self.assertEqual(idle.getresponse().read(), b"hello\n")
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(relay.control))
            time.sleep(0.1)
            relay.signal(SIGTERM)
            self.assertEqual(relay.wait(), 0)
        self.assertLess(relay.took_to_stop(), 0.9, "the shortest drain is 1 s")
        self.assertEqual(len(silent), 3)
