"""Listeners of a live relay that lead to themselves, by names that nobody can judge before they are asked."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.support.blocking import Peer
from tests.support.browser import until
from tests.support.names import Names
from tests.support.peers import free_ports
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import TcpServer

TABLE = {
    "nas.lan": ["127.0.0.1"],
    "another.lan": ["127.0.0.5"],
    "six.lan": ["::1"],
    "mapped.lan": ["::ffff:127.0.0.1"],
    "nowhere.lan": ["0.0.0.0"],
    "nowhere6.lan": ["::"],
    "both.lan": ["0.0.0.0", "127.0.0.1"],
}
MANY = 300

# As systemd opens `ListenStream=PORT`: for IPv6 and IPv4 on one socket.
ACTIVATE = """\
import os, socket, sys
given = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
os.dup2(given.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


class LoopTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.echo = TcpServer("echo").start()
        self.addCleanup(self.echo.stop)
        self.names = Names(TABLE)
        self.addCleanup(self.names.remove)

    def start(self, *listeners: str, transport: str = "own", within: Sequence[str] = ()) -> None:
        """Each listener as C{NAME: {...}}; beside them there is one that leads to an echo."""
        good = f'good: {{type: tcp-forward, listen: "127.0.0.1:0", upstream: "tcp://{self.echo.address}"}}'
        text = "\n".join(["listeners:", *(f"  {line}" for line in (good, *listeners))])
        environ = {**self.names.environ, "LANRELAY_TRANSPORT": transport}
        self.relay = Relay(text, environ=environ, within=within).start()
        self.addCleanup(self.relay.stop)
        self.before = self.descriptors()

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.relay.process.pid}/fd"))

    def echoes(self, port: int) -> None:
        client = Peer.to(port).send(b"hello")
        self.addCleanup(client.close)
        self.assertEqual(client.exactly(5), b"hello")
        client.close()

    def given_back(self) -> None:
        """Nothing was taken that is not given back, and others are served."""
        self.assertLess(self.descriptors() - self.before, MANY)
        self.echoes(self.relay.port("good"))
        until(lambda: self.descriptors() <= self.before + 2, within=PATIENCE)

    def loops(self, port: int, said: str, host: str = "127.0.0.1") -> None:
        """A client is turned away, and the log says why."""
        client = Peer.to(port, host)
        self.addCleanup(client.close)
        self.assertTrue(client.has_ended())
        client.close()
        self.given_back()
        self.relay.wait_for(said)


def forward(name: str, port: int, upstream: str, *, listen: str = "127.0.0.1:PORT", more: str = "") -> str:
    where = listen.replace("PORT", str(port))
    return f'{name}: {{type: tcp-forward, listen: "{where}", clients: loopback, upstream: {upstream}{more}}}'


class ForwardTests(LoopTestCase):
    def check_itself(self, upstream: str, listen: str, host: str = "127.0.0.1") -> None:
        [port] = free_ports(1)
        self.start(forward("one", port, f'"tcp://{upstream}:{port}"', listen=listen))
        self.loops(port, f":{port} is where one itself listens", host)

    def test_one_that_leads_to_itself(self) -> None:
        self.check_itself("nas.lan", "localhost:PORT")

    def test_one_that_leads_to_itself_by_ipv6(self) -> None:
        self.check_itself("six.lan", "localhost:PORT", "::1")

    def test_one_that_leads_to_itself_by_a_mapped_address(self) -> None:
        self.check_itself("mapped.lan", "127.0.0.1:PORT")

    def test_one_that_listens_on_every_address(self) -> None:
        self.check_itself("another.lan", "0.0.0.0:PORT")

    def test_one_that_listens_on_every_address_of_ipv6(self) -> None:
        self.check_itself("six.lan", "[::]:PORT", "::1")

    def test_one_of_whose_addresses_one_is_none(self) -> None:
        self.check_itself("both.lan", "127.0.0.1:PORT")

    def test_two_that_lead_to_each_other(self) -> None:
        one, two = free_ports(2)
        self.start(
            forward("one", one, f'"tcp://nas.lan:{two}"'), forward("two", two, f'"tcp://nas.lan:{one}"')
        )
        self.loops(one, "circle: one -> two -> one")
        self.loops(two, "circle: two -> one -> two")

    def check_handed(self, transport: str) -> None:
        one, two = free_ports(2)
        within = [sys.executable, "-c", ACTIVATE, str(one)]
        for upstream in ("nas.lan", "six.lan"):
            self.start(
                forward("one", one, f'"tcp://{upstream}:{one}"', listen="systemd:0"),
                transport=transport,
                within=within,
            )
            self.loops(one, f":{one} is where one itself listens")
            self.relay.stop()
        self.start(
            forward("one", one, f'"tcp://nas.lan:{two}"', listen="systemd:0"),
            forward("two", two, f'"tcp://nas.lan:{one}"'),
            transport=transport,
            within=within,
        )
        self.loops(one, "circle: one -> two -> one")
        self.loops(two, "circle: two -> one -> two")

    def test_a_socket_of_systemd_for_both_families(self) -> None:
        self.check_handed("own")

    def test_a_socket_of_systemd_for_both_families_on_twisted_s_transports(self) -> None:
        self.check_handed("twisted")

    def check_unix(self, transport: str) -> None:
        """A path is known to be one's own; what leads there may be a name."""
        [port] = free_ports(1)
        self.start(
            forward("one", port, "unix:two.sock"),
            forward("two", 0, f'"tcp://nas.lan:{port}"', listen="unix:two.sock"),
            transport=transport,
        )
        self.loops(port, "circle: one -> two -> one")
        for _ in range(5):
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(PATIENCE)
            self.addCleanup(client.close)
            client.connect(str(self.relay.folder / "two.sock"))
            self.assertTrue(Peer(client).has_ended())
            client.close()
        self.given_back()
        self.relay.wait_for("circle: two -> one -> two")

    def test_one_of_two_listens_on_a_unix_socket(self) -> None:
        self.check_unix("own")

    def test_one_of_two_listens_on_a_unix_socket_on_twisted_s_transports(self) -> None:
        self.check_unix("twisted")

    def test_a_way_through_a_unix_socket_is_no_loop(self) -> None:
        [port] = free_ports(1)
        self.start(
            forward("one", port, "unix:two.sock"),
            forward("two", 0, f'"tcp://{self.echo.address}"', listen="unix:two.sock"),
        )
        for _ in range(3):
            self.echoes(port)

    def check_ring(self, transport: str) -> None:
        ports = free_ports(6)
        self.start(
            *(
                forward(f"r{number}", port, f'"tcp://nas.lan:{ports[number - 1]}"')
                for number, port in enumerate(ports)
            ),
            transport=transport,
        )
        clients = [Peer.to(port) for port in ports * 3]
        for client in clients:
            self.addCleanup(client.close)
            self.assertTrue(client.has_ended())
        self.loops(ports[3], "circle: r3 -> r2 -> r1 -> r0 -> r5 -> r4 -> r3")

    def test_a_ring_of_several(self) -> None:
        self.check_ring("own")

    def test_a_ring_of_several_on_twisted_s_transports(self) -> None:
        self.check_ring("twisted")

    def test_one_with_another_way_takes_that(self) -> None:
        [port] = free_ports(1)
        upstreams = f'["tcp://nas.lan:{port}", "tcp://{self.echo.address}"]'
        self.start(forward("one", port, upstreams, more=", health: off"))
        self.echoes(port)

    def test_what_leads_to_another_listener_and_on_is_no_loop(self) -> None:
        one, two = free_ports(2)
        self.start(
            forward("one", one, f'"tcp://nas.lan:{two}"'), forward("two", two, f'"tcp://{self.echo.address}"')
        )
        for _ in range(3):
            self.echoes(one)

    def test_the_same_port_of_another_address_is_another_s(self) -> None:
        self.start(
            forward("one", self.echo.port, f'"tcp://nas.lan:{self.echo.port}"', listen="127.0.0.2:PORT")
        )
        client = Peer.to(self.echo.port, "127.0.0.2").send(b"hello")
        self.addCleanup(client.close)
        self.assertEqual(client.exactly(5), b"hello")


class ProxyTests(LoopTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.proxy, self.socks, self.port = free_ports(3)

    def start_with(self, *listeners: str) -> None:
        allow = 'allow: [any, 0.0.0.0, "::"]'
        self.start(
            f'proxy: {{type: connect-proxy, listen: "127.0.0.1:{self.proxy}", {allow}}}',
            f'socks: {{type: socks-proxy, listen: "127.0.0.1:{self.socks}", {allow}}}',
            *listeners,
        )

    def connect(self, host: str, port: int) -> Peer:
        client = Peer.to(self.proxy).send(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.addCleanup(client.close)
        return client

    def ask_socks(self, host: str, port: int) -> Peer:
        client = Peer.to(self.socks)
        self.addCleanup(client.close)
        name = host.encode()
        return client.send(b"\5\1\0\5\1\0\3" + bytes([len(name)]) + name + port.to_bytes(2, "big"))

    def turned_away(self) -> None:
        """The way to the listener is open, and it ends it."""
        client = self.connect("nas.lan", self.port)
        self.assertEqual(client.head()[9:12], b"200")
        self.assertTrue(client.has_ended())
        client.close()
        client = self.ask_socks("nas.lan", self.port)
        self.assertEqual(client.exactly(12)[3], 0)
        self.assertTrue(client.has_ended())
        client.close()
        self.given_back()

    def test_to_a_forward_that_leads_to_itself(self) -> None:
        self.start_with(forward("one", self.port, f'"tcp://nas.lan:{self.port}"'))
        self.turned_away()

    def test_to_a_forward_that_leads_to_itself_through_the_proxy(self) -> None:
        for parent in (f"http://127.0.0.1:{self.proxy}", f"socks5://127.0.0.1:{self.socks}"):
            upstream = f'{{url: "tcp://nas.lan:{self.port}", via: "{parent}"}}'
            self.start_with(forward("one", self.port, upstream))
            self.loops(self.port, "circle: one -> (proxy|socks) -> one")
            self.turned_away()
            self.relay.stop()

    def test_a_listener_that_goes_on_through_the_same_proxy_is_no_loop(self) -> None:
        for parent in (f"http://127.0.0.1:{self.proxy}", f"socks5://127.0.0.1:{self.socks}"):
            upstream = f'{{url: "tcp://nas.lan:{self.echo.port}", via: "{parent}"}}'
            self.start_with(forward("one", self.port, upstream))
            self.echoes(self.port)
            client = self.connect("nas.lan", self.port)
            self.assertEqual(client.head()[9:12], b"200")
            self.assertEqual(client.send(b"hello").exactly(5), b"hello")
            self.relay.stop()

    def test_no_address_is_never_dialed(self) -> None:
        """Linux and macOS would take it for 127.0.0.1."""
        port = self.echo.port
        self.start_with(
            forward("one", self.port, f'"tcp://nowhere.lan:{port}"'),
            f'web: {{type: reverse-proxy, listen: "127.0.0.1:0", health: off, upstream: "http://nowhere6.lan:{port}"}}',
        )
        for host in ("0.0.0.0", "0", "[::]", "[::ffff:0.0.0.0]", "nowhere.lan", "nowhere6.lan"):
            self.assertEqual(self.connect(host, port).head()[9:12], b"502", host)
        for host in ("0.0.0.0", "::", "nowhere.lan"):
            self.assertEqual(self.ask_socks(host, port).exactly(6)[3], 2, host)
        self.loops(self.port, "nowhere.lan leads to 0.0.0.0, which is no address to connect to")
        client = Peer.to(self.relay.port("web")).send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.addCleanup(client.close)
        self.assertIn(b"error=destination_ip_prohibited", client.head())


class ReverseProxyTests(LoopTestCase):
    def web(self, name: str, port: int, upstream: int, hosts: str = "nas.lan") -> str:
        where = f'listen: "127.0.0.1:{port}", upstream: "http://nas.lan:{upstream}"'
        return f"{name}: {{type: reverse-proxy, {where}, health: off, hosts: {hosts}}}"

    def check(self, port: int) -> None:
        for _ in range(20):
            client = Peer.to(port).send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            self.addCleanup(client.close)
            head = client.head()
            self.assertEqual(head[9:12], b"502")
            self.assertIn(b"error=proxy_loop_detected", head)
            client.close()
        self.assertLess(self.descriptors() - self.before, MANY)
        self.echoes(self.relay.port("good"))

    def test_one_that_leads_to_itself(self) -> None:
        [port] = free_ports(1)
        self.start(self.web("one", port, port, "other.lan"))
        self.check(port)
        self.relay.wait_for(f":{port} is where one itself listens")

    def test_two_that_lead_to_each_other(self) -> None:
        one, two = free_ports(2)
        self.start(self.web("one", one, two), self.web("two", two, one))
        self.check(one)

    def test_one_and_a_forward(self) -> None:
        one, two = free_ports(2)
        self.start(self.web("one", one, two), forward("two", two, f'"tcp://nas.lan:{one}"'))
        self.check(one)
        self.check(two)
