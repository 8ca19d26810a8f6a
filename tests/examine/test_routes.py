"""Which way the kernel would take, as it says itself and as macOS' C{route} does."""

from __future__ import annotations

import errno
import socket
import sys
from ipaddress import ip_address
from unittest import skipUnless

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.commands import Output
from lanrelay.examine.checks import Examined
from lanrelay.examine.routes import darwin_route, linux_route
from lanrelay.transport.connect import connect
from lanrelay.transport.stream import Stream
from lanrelay.upstream.race import SocketAddress, from_errno
from tests.examine.support import ExamineTestCase, Said
from tests.support.macos import recorded

BY_GATEWAY, BY_TUNNEL, ON_LINK = recorded("route_get").strip().split("\n\n")


@skipUnless(sys.platform == "linux", "rtnetlink is Linux'")
class LinuxTests(SynchronousTestCase):
    def test_loopback(self) -> None:
        for text in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
            route = linux_route(ip_address(text))
            assert route is not None
            self.assertEqual((route.interface, route.on_link), ("lo", True), text)


class DarwinTests(SynchronousTestCase):
    def test_a_gateway(self) -> None:
        route = darwin_route(BY_GATEWAY, "", "192.168.1.6")
        assert route is not None
        self.assertEqual(
            (route.gateway, route.interface, route.source), ("192.168.1.1", "en0", "192.168.1.6")
        )

    def test_no_gateway(self) -> None:
        for said, interface in ((BY_TUNNEL, "utun4"), (ON_LINK, "en0")):
            route = darwin_route(said, "", "")
            assert route is not None
            self.assertEqual((route.on_link, route.interface), (True, interface))

    def test_no_route(self) -> None:
        with self.assertRaises(OSError) as caught:
            darwin_route("", "route: writing to routing socket: not in table\n", "")
        self.assertEqual(caught.exception.errno, errno.ENETUNREACH)

    def test_what_is_not_understood(self) -> None:
        self.assertIsNone(darwin_route("", "route: not here", ""))


class PrivacyTests(ExamineTestCase):
    """Local network privacy, as recorded: EHOSTUNREACH at once, on-link, again and again."""

    tries = 0
    number = errno.EHOSTUNREACH

    def refuse(self, reactor: object, address: SocketAddress) -> Deferred[Stream]:
        self.tries += 1
        failed: Deferred[Stream] = Deferred()
        failed.errback(from_errno(self.number, address))
        return failed

    async def look(self, host: str, said: str, *, place: str = "here") -> Examined:
        run = Said({("route", "-n", "get", "-inet", host): Output(0, said)})
        means = self.means(platform="darwin", run=run, connect=self.refuse)
        return await self.examine(f"https://{host}/mcp", means=means, place=place)

    async def test_an_on_link_private_address(self) -> None:
        check = self.assert_cause(
            await self.look("192.168.10.7", ON_LINK), "connect", "local_network_privacy"
        )
        self.assertEqual(self.tries, 2)
        self.assertIn("System Settings > Privacy & Security > Local Network", check.remedy or "")

    async def test_a_vpn_that_leads_to_a_private_address(self) -> None:
        for said, vpn in ((BY_TUNNEL, True), (ON_LINK, False), (BY_GATEWAY, False)):
            self.tries = 0
            examined = await self.look("192.168.10.7", said)
            self.assertEqual("through a VPN" in self.only(examined, "route").said, vpn)
            if vpn:  # which is no local network, so nobody is asked about it
                self.assert_cause(examined, "connect", "no_route")
                self.assertEqual(self.tries, 1)

    async def test_the_service_needs_another_way_to_be_started(self) -> None:
        examined = await self.look("192.168.10.7", ON_LINK, place="service")
        check = self.assert_cause(examined, "connect", "local_network_privacy")
        self.assertEqual(check.remedy, "sudo lanrelay service install --mode daemon")

    async def test_a_host_of_which_the_kernel_remembers_that_it_is_down(self) -> None:
        self.number = errno.EHOSTDOWN
        examined = await self.look("192.168.10.7", ON_LINK)
        check = self.assert_cause(examined, "connect", "host_down", "does not answer on its own network")
        self.assertEqual((check.facts["errno"], self.tries), ("EHOSTDOWN", 1))

    async def test_behind_a_gateway_it_is_a_missing_route(self) -> None:
        self.assert_cause(await self.look("192.168.10.7", BY_GATEWAY), "connect", "no_route")

    async def test_the_router_is_reached_by_all_and_no_proof(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        there = listening.getsockname()

        def reach(reactor: object, address: SocketAddress) -> Deferred[Stream]:
            return connect(reactor, socket.AF_INET, there)

        for host, proof in (("192.168.1.1", False), ("192.168.1.20", True)):
            run = Said(
                {
                    ("route", "-n", "get", "-inet", host): Output(0, ON_LINK),
                    ("route", "-n", "get", "-inet", "198.51.100.1"): Output(0, BY_GATEWAY),
                }
            )
            examined = await self.examine(
                f"tcp://{host}:443", means=self.means(platform="darwin", run=run, connect=reach)
            )
            check = self.only(examined, "connect")
            self.assertEqual(check.state, "ok")
            self.assertEqual("no proof" not in check.said, proof)
            self.assertEqual(check.facts.get("exempt"), None if proof else True)

    async def test_a_link_local_address_does_not_come_under_it(self) -> None:
        self.assert_cause(await self.look("169.254.7.1", ON_LINK), "connect", "host_down")

    async def test_public_and_tunnel_addresses_do_not_come_under_it(self) -> None:
        for host in ("8.8.8.8", "100.100.1.1"):
            self.assert_cause(await self.look(host, ON_LINK), "connect", "host_down")
