from __future__ import annotations

import socket
from ipaddress import ip_address
from unittest import SkipTest

from lanrelay.admin.address import address_for
from lanrelay.config import model
from lanrelay.transport.client import Client
from lanrelay.transport.port import BoundSocket
from tests.admin.support import ANY_PORT, WatchedTestCase


def client(address: str | None, local: str | None) -> Client:
    """Who connected from an address to another."""
    return Client(
        name="it",
        address=None if address is None else ip_address(address),
        local=None if local is None else ip_address(local),
        secure=False,
    )


class AddressTests(WatchedTestCase):
    def page(self, host: str, *clients: model.ClientRule) -> int:
        """The page on C{host} for C{clients}; its port."""
        from lanrelay.admin.endpoints import AdminService

        config = model.Admin(listen=(ANY_PORT,), clients=clients or model.LOOPBACK_CLIENTS)
        service = AdminService(self.around.environment, config, self.watched)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family)
        self.addCleanup(sock.close)
        sock.bind((host, 0))
        service.bound.append(BoundSocket(socket=sock, address=ANY_PORT, name="page"))
        self.listeners.append(service)
        port: int = sock.getsockname()[1]
        return port

    def seen(self, address: str | None, local: str | None) -> str:
        return address_for(client(address, local), self.listeners)

    def test_a_client_on_this_machine_goes_to_localhost(self) -> None:
        port = self.page("127.0.0.1")
        for address, local in (("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.9", "127.0.0.3")):
            self.assertEqual(self.seen(address, local), f"http://localhost:{port}/")

    def test_to_what_localhost_does_not_mean_it_goes_by_its_address(self) -> None:
        try:
            port = self.page("127.0.0.2")
        except OSError as error:
            raise SkipTest(f"lo has 127.0.0.1 alone: {error}") from None
        self.assertEqual(self.seen("127.0.0.1", "127.0.0.1"), f"http://127.0.0.2:{port}/")

    def test_one_from_elsewhere_is_not_told_of_what_it_may_not_reach(self) -> None:
        self.page("127.0.0.1", model.ClientRule(word="any"))
        self.page("0.0.0.0")
        self.assertEqual(self.seen("192.168.1.9", "192.168.1.2"), "")

    def test_one_that_may_goes_to_the_address_that_it_has_reached_already(self) -> None:
        port = self.page("0.0.0.0", model.ClientRule(word="private"), model.ClientRule(word="loopback"))
        self.assertEqual(self.seen("192.168.1.9", "192.168.1.2"), f"http://192.168.1.2:{port}/")
        self.assertEqual(self.seen("::ffff:192.168.1.9", "::ffff:192.168.1.2"), f"http://192.168.1.2:{port}/")
        self.assertEqual(self.seen("fd00::9", "fd00::2"), "")
        self.assertEqual(self.seen("127.0.0.1", "127.0.0.1"), f"http://localhost:{port}/")
        self.assertEqual(self.seen("8.8.8.8", "192.168.1.2"), "")

    def test_over_ipv6_it_has_brackets(self) -> None:
        port = self.page("::", model.ClientRule(word="private"))
        self.assertEqual(self.seen("fd00::9", "fd00::2"), f"http://[fd00::2]:{port}/")

    def test_without_an_address_or_a_page_there_is_none(self) -> None:
        self.assertEqual(self.seen("127.0.0.1", "127.0.0.1"), "")
        self.page("127.0.0.1")
        self.assertEqual(self.seen(None, None), "")
        self.assertEqual(address_for(None, self.listeners), "")
