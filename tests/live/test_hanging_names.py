"""Names that hang, asked for by one client of a live forward proxy: everybody else is served."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.support.blocking import Peer
from tests.support.names import HANGS, Names
from tests.support.relay import Relay
from tests.support.servers import TcpServer

TABLE = {"hung*": HANGS, "good*.test": ["127.0.0.1"]}
MANY = 80


class HangingNamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.echo = TcpServer("echo").start()
        self.addCleanup(self.echo.stop)
        self.port = int(self.echo.address.rpartition(":")[2])
        names = Names(TABLE)
        self.addCleanup(names.remove)
        proxy = 'listen: "127.0.0.1:0", allow: any, timeouts: {connect: 3s}'
        self.relay = Relay(
            f"""
            listeners:
              proxy: {{type: connect-proxy, {proxy}}}
              other: {{type: connect-proxy, {proxy}}}
              socks: {{type: socks-proxy, {proxy}}}
              db:
                type: tcp-forward
                listen: 127.0.0.1:0
                retry: off
                upstream: tcp://good.test:{self.port}
            """,
            environ=names.environ,
        ).start()
        self.addCleanup(self.relay.stop)

    def ask(self, listener: str, host: str) -> Peer:
        client = Peer.to(self.relay.port(listener))
        self.addCleanup(client.close)
        name = host.encode()
        if listener == "socks":
            return client.send(b"\5\1\0\5\1\0\3" + bytes([len(name)]) + name + self.port.to_bytes(2, "big"))
        return client.send(f"CONNECT {host}:{self.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def is_served(self, listener: str) -> None:
        if listener == "db":
            client = Peer.to(self.relay.port("db"))
            self.addCleanup(client.close)
        else:
            client = self.ask(listener, "good.test")
            if listener == "socks":
                self.assertEqual(client.exactly(12)[3], 0)
            else:
                self.assertEqual(client.head()[9:12], b"200", listener)
        client.send(b"hello")
        self.assertEqual(client.exactly(5), b"hello", listener)

    def asked(self, listener: str, turn: int = 0) -> list[Peer]:
        """Many clients who wait for their names."""
        clients = [self.ask(listener, f"hung{turn}-{number}.test") for number in range(MANY)]
        self.is_served("db" if listener != "db" else "other")  # so all that came before has been read
        return clients

    def check(self, listener: str, others: list[str]) -> None:
        clients = self.asked(listener)
        for other in others:
            self.is_served(other)
        for client in clients:
            client.close()
        self.is_served(listener)
        for other in others:
            self.is_served(other)

    def test_of_connect(self) -> None:
        self.check("proxy", ["other", "socks", "db"])

    def test_of_socks(self) -> None:
        self.check("socks", ["other", "proxy", "db"])

    def test_who_is_over_the_budget_waits_and_is_served_while_they_are_there(self) -> None:
        """Their places are free when their own time is over."""
        clients = self.asked("proxy")
        late = self.ask("proxy", "good.test")
        for client in clients:
            self.assertEqual(client.head()[9:12], b"504")
        again = self.ask("proxy", "good2.test")
        self.assertEqual(again.head()[9:12], b"200")
        self.assertIn(late.head()[9:12], (b"200", b"504"))

    def test_who_comes_and_goes_finds_an_end(self) -> None:
        """The threads cannot be ended; there are only so many."""
        for turn in range(4):
            for client in self.asked("proxy", turn):
                client.close()
        self.is_served("other")
        self.is_served("db")
        self.assertLess(self.threads(), 150)
        self.assertEqual(self.ask("proxy", "good.test").head()[9:12], b"504")

    def threads(self) -> int:
        with open(f"/proc/{self.relay.process.pid}/status") as status:
            return int(next(line for line in status if line.startswith("Threads:")).split()[1])
