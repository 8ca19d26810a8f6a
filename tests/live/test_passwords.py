"""Clients of a live forward proxy who guess passwords, and all others, who are served meanwhile."""

from __future__ import annotations

import base64
import hashlib
import socket
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.support.blocking import Peer
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import HttpOrigin, TcpServer

try:
    import bcrypt
except ImportError:
    bcrypt = None  # type: ignore[assignment]

COST = 12  # the most that is let in; a check takes some 250 ms
RIGHT = "alice:secret"


def field(login: str) -> bytes:
    return b"Proxy-Authorization: Basic " + base64.b64encode(login.encode()) + b"\r\n"


@skipUnless(bcrypt, "the Python package bcrypt is not installed")
class PasswordTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.echo = TcpServer("echo").start()
        self.addCleanup(self.echo.stop)
        self.origin = HttpOrigin().start()
        self.addCleanup(self.origin.stop)
        hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(COST)).decode()
        self.relay = Relay(
            f"""
            listeners:
              proxy: {{type: connect-proxy, listen: "127.0.0.1:0", auth: {{file: users}}}}
              socks: {{type: socks-proxy, listen: "127.0.0.1:0", auth: {{file: users}}}}
              db: {{type: tcp-forward, listen: "127.0.0.1:0", upstream: "tcp://{self.echo.address}"}}
            """
        )
        (self.relay.folder / "users").write_text(f"alice:{hashed}\n")
        self.relay.start()
        self.addCleanup(self.relay.stop)
        self.other = Peer.to(self.relay.port("db"))
        self.addCleanup(self.other.close)

    def connect(self, login: str | None) -> Peer:
        client = Peer.to(self.relay.port("proxy"))
        self.addCleanup(client.close)
        head = f"CONNECT {self.echo.address} HTTP/1.1\r\nHost: x\r\n".encode()
        return client.send(head + (b"" if login is None else field(login)) + b"\r\n")

    def turns(self, *waiting: Peer) -> int:
        """How often another listener's client hears its echo before one of these has its answer."""
        count = 0
        for each in waiting:
            each.socket.setblocking(False)
        while not any(self.has_come(each.socket) for each in waiting):
            self.assertEqual(self.other.send(b"hello").exactly(5), b"hello")
            count += 1
        for each in waiting:
            each.socket.settimeout(PATIENCE)
        return count

    def has_come(self, sock: socket.socket) -> bool:
        try:
            sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True

    def test_others_are_served_during_a_check(self) -> None:
        client = self.connect("alice:wrong")
        self.assertGreater(self.turns(client), 20)
        self.assertEqual(client.head()[9:12], b"407")
        client = self.connect(RIGHT)
        self.assertGreater(self.turns(client), 20)
        self.assertEqual(client.head()[9:12], b"200")

    def test_a_crowd_that_guesses(self) -> None:
        """Few are looked at; the others are told at once that it is too much, and all are closed."""
        self.assertEqual(self.connect(RIGHT).head()[9:12], b"200")
        crowd = [self.connect(f"alice:{number}") for number in range(140)]
        self.assertGreater(self.turns(crowd[0]), 20)
        again = self.connect(RIGHT)
        self.assertEqual(again.head()[9:12], b"200", "who was let in before is not kept waiting")
        self.assertEqual(again.send(b"hello").exactly(5), b"hello")
        answers = [client.rest() for client in crowd]
        self.assertEqual({answer[9:12] for answer in answers}, {b"407", b"503"})
        self.assertLessEqual(sum(answer[9:12] == b"407" for answer in answers), 9)
        for answer in answers:
            self.assertIn(b"\r\nConnection: close\r\n", answer)

    def test_those_who_all_say_the_right_one_at_once_are_let_in(self) -> None:
        clients = [self.connect(RIGHT) for _ in range(40)]
        for client in clients:
            self.assertEqual(client.head()[9:12], b"200")
            self.assertEqual(client.send(b"hello").exactly(5), b"hello")

    def test_without_a_password_the_connection_stays(self) -> None:
        client = Peer.to(self.relay.port("proxy"))
        self.addCleanup(client.close)
        ask = f"GET {self.origin.url}/bytes/5 HTTP/1.1\r\nHost: {self.origin.address}\r\n".encode()
        answer = client.send(ask + b"\r\n").head()
        self.assertEqual(answer[9:12], b"407")
        self.assertNotIn(b"Connection: close", answer)
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        client.exactly(length)
        self.assertEqual(client.send(ask + field(RIGHT) + b"\r\n").head()[9:12], b"200")

    def check_content(self, content: bytes) -> None:
        for _ in range(2):  # looked at, and then known
            client = Peer.to(self.relay.port("proxy"))
            self.addCleanup(client.close)
            head = f"POST {self.origin.url}/upload HTTP/1.1\r\nHost: {self.origin.address}\r\n".encode()
            length = b"Content-Length: %d\r\nConnection: close\r\n" % len(content)
            client.send(head + length + field(RIGHT) + b"\r\n" + content)
            answer = client.rest()
            self.assertEqual(answer[9:12], b"200")
            self.assertIn(hashlib.sha256(content).hexdigest().encode(), answer)

    def test_content_that_came_with_the_password_goes_on(self) -> None:
        self.check_content(b"hello")

    def test_content_of_which_some_came_with_the_password_goes_on(self) -> None:
        self.check_content(b"x" * 3_000_000)

    def test_what_is_pipelined_behind_is_answered_in_turn(self) -> None:
        client = Peer.to(self.relay.port("proxy"))
        self.addCleanup(client.close)
        ask = f"GET {self.origin.url}/bytes/5 HTTP/1.1\r\nHost: {self.origin.address}\r\n".encode()
        last = ask + b"Connection: close\r\n" + field(RIGHT) + b"\r\n"
        answers = client.send((ask + field(RIGHT) + b"\r\n") * 3 + last).rest()
        self.assertEqual(answers.count(b"HTTP/1.1 200 "), 4)

    def test_one_that_leaves_meanwhile_leaves_nothing(self) -> None:
        for _ in range(3):
            client = self.connect("alice:wrong")
            client.close()
        self.assertEqual(self.connect(RIGHT).head()[9:12], b"200")

    def log_in(self, login: str) -> Peer:
        client = Peer.to(self.relay.port("socks"))
        self.addCleanup(client.close)
        name, _, password = login.encode().partition(b":")
        greeting = b"\5\1\2\1" + bytes([len(name)]) + name + bytes([len(password)]) + password
        port = self.echo.port.to_bytes(2, "big")
        return client.send(greeting + b"\5\1\0\1\x7f\0\0\1" + port + b"hello")  # it does not wait

    def test_socks(self) -> None:
        client = self.log_in("alice:wrong")
        self.assertEqual(client.exactly(2), b"\5\2")
        self.assertGreater(self.turns(client), 20)
        self.assertEqual(client.rest()[:2], b"\1\1")
        for _ in range(2):
            client = self.log_in(RIGHT)
            self.assertEqual(client.exactly(4), b"\5\2\1\0")
            self.assertEqual(client.exactly(10)[1], 0)
            self.assertEqual(client.exactly(5), b"hello")

    def test_a_crowd_that_guesses_by_socks(self) -> None:
        crowd = [self.log_in(f"alice:{number}") for number in range(140)]
        for client in crowd:
            self.assertEqual(client.exactly(2), b"\5\2")
        self.assertEqual(self.other.send(b"hello").exactly(5), b"hello")
        self.assertEqual({client.rest()[:2] for client in crowd}, {b"\1\1"})
