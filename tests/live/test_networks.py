"""A LAN that comes and goes, and a VPN beside it, in network namespaces of the test's own."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from unittest import skipUnless

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.networks import Namespace, background, cable, namespaces
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay

LAN, VPN = "10.99.0", "10.98.0"
PORT = 8000
CONNECT = 4.9
"""Seconds: a connection that is not answered is given up after 5, by default."""


class Answer:
    """What curl got, on the relay's own machine."""

    def __init__(self, home: Namespace, relay: Relay, *, listener: str = "web") -> None:
        begun = time.monotonic()
        url = f"http://127.0.0.1:{relay.port(listener)}/where"
        done = home.run("curl", "-q", "-s", "-i", "--max-time", "30", url)
        self.seconds = time.monotonic() - begun
        self.head, _, self.body = done.stdout.decode().partition("\r\n\r\n")
        self.status = int(self.head.split()[1]) if self.head else 0


@skipUnless(shutil.which("curl"), "curl is not installed")
class NetworkTestCase(TestCase):
    """C{home}, where the relay runs, and C{nas}, which the LAN and the VPN lead to."""

    timeout = LIMIT

    def setUp(self) -> None:
        self.home, self.nas = namespaces(self, "home", "nas")
        cable(self.home, self.nas, "lan", LAN)
        cable(self.home, self.nas, "vpn", VPN)
        for network in (LAN, VPN):
            self.serve(f"{network}.2")

    def serve(self, address: str) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        (Path(folder.name) / "where").write_text(address)
        command = [
            sys.executable,
            "-m",
            "http.server",
            "--bind",
            address,
            "--directory",
            folder.name,
            str(PORT),
        ]

        def ready() -> bool:
            done = self.nas.run("curl", "-q", "-s", f"http://{address}:{PORT}/where")
            return done.stdout.decode() == address

        background(self, [*self.nas.within, *command], ready)

    def relay(self, *settings: str, both: bool = False) -> Relay:
        upstreams = [f"http://{network}.2:{PORT}" for network in ((LAN, VPN) if both else (LAN,))]
        text = f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {upstreams}
            """
        indent = "\n" + 16 * " "
        relay = Relay(text.rstrip() + indent + indent.join(settings), within=self.home.within)
        relay.start()
        self.addCleanup(relay.stop)
        return relay

    def ask(self, relay: Relay) -> Answer:
        return Answer(self.home, relay)


class OneTests(NetworkTestCase):
    """A host on the LAN."""

    async def test_a_lan_that_is_gone_is_told_at_once_and_used_again_when_it_is_back(self) -> None:
        def check() -> None:
            relay = self.relay("retry: off", "pool: off", "health: off")
            self.assertEqual(self.ask(relay).body, f"{LAN}.2")
            self.home.ip("link set lan down")
            answer = self.ask(relay)
            self.assertEqual(answer.status, 502)
            self.assertIn("error=destination_ip_unroutable", answer.head)
            self.assertLess(answer.seconds, 2.5)  # ARP takes 3 to find nobody
            self.home.ip("link set lan up")
            self.assertEqual(self.ask(relay).body, f"{LAN}.2")

        await deferToThread(check)

    async def test_a_request_is_held_until_the_lan_is_back(self) -> None:
        relay = await deferToThread(self.relay, "retry: {for: 20s}", "pool: off", "health: off")
        self.home.ip("link set lan down")
        asking = deferToThread(self.ask, relay)
        await deferToThread(time.sleep, 1)
        self.home.ip("link set lan up")
        answer = await asking
        self.assertEqual(answer.body, f"{LAN}.2")
        self.assertGreater(answer.seconds, 0.9)

    async def test_a_host_that_is_switched_off_is_told_apart_from_a_network_that_is_gone(self) -> None:
        def check() -> None:
            relay = self.relay("retry: off", "pool: off", "health: off", "timeouts: {connect: 10s}")
            self.nas.ip(f"addr del {LAN}.2/24 dev lan")  # nobody answers ARP
            answer = self.ask(relay)
            self.assertEqual(answer.status, 502)
            self.assertIn("error=destination_ip_unroutable", answer.head)
            self.assertGreater(answer.seconds, 0.5)
            self.assertIn("Switch the host on", answer.body)

        await deferToThread(check)

    async def test_a_blackhole_is_a_timeout_and_over_when_packets_come_through_again(self) -> None:
        def check() -> None:
            relay = self.relay("retry: off", "pool: off", "health: off", "timeouts: {connect: 1s}")
            self.nas.ip(f"route add blackhole {LAN}.1/32")
            answer = self.ask(relay)
            self.assertEqual(answer.status, 504)
            self.assertIn("error=connection_timeout", answer.head)
            self.assertGreater(answer.seconds, 0.9)
            self.assertLess(answer.seconds, 20)  # the kernel itself tries for two minutes
            self.nas.ip(f"route del blackhole {LAN}.1/32")
            self.assertEqual(self.ask(relay).body, f"{LAN}.2")

        await deferToThread(check)


class LanThenVpnTests(NetworkTestCase):
    """C{balance: first}: the LAN's address, then the VPN's."""

    async def test_the_vpn_serves_while_the_lan_is_away(self) -> None:
        def check() -> None:
            relay = self.relay("health: {interval: 2s, down_interval: 500ms}", both=True)
            self.assertEqual(self.ask(relay).body, f"{LAN}.2")
            changes = (
                (("home", "link set lan down"), ("home", "link set lan up")),
                (("nas", f"route add blackhole {LAN}.1/32"), ("nas", f"route del blackhole {LAN}.1/32")),
            )
            for downs, (away, back) in enumerate(changes, 1):
                self.change(*away)
                answer = self.ask(relay)
                self.assertEqual(answer.body, f"{VPN}.2")
                relay.wait_for(rf"(?s)(http://{LAN}.2:{PORT} is down.*){{{downs}}}", within=PATIENCE)
                answer = self.ask(relay)
                self.assertEqual(answer.body, f"{VPN}.2")
                self.assertLess(answer.seconds, CONNECT)  # it was not tried
                ups = relay.log.count("is up again")
                self.change(*back)
                deadline = time.monotonic() + PATIENCE
                while relay.log.count("is up again") == ups:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.05)
                self.assertEqual(self.ask(relay).body, f"{LAN}.2")

        await deferToThread(check)

    def change(self, machine: str, command: str) -> None:
        {"home": self.home, "nas": self.nas}[machine].ip(command)
