"""Few descriptors: it is said, connections wait or are refused, nothing spins, and all is well afterwards."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from signal import SIGTERM, SIGUSR1

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.process.support import Relay, _default_signals, poll
from tests.support.progress import PATIENCE

CONFIGURATION = """\
log: {{file: relay.log}}
admin: {{listen: "127.0.0.1:0"}}
listeners:
  forward:
    type: tcp-forward
    listen: 127.0.0.1:0
    upstream: tcp://127.0.0.1:{port}
    retry: off
  proxy:
    type: connect-proxy
    listen: 127.0.0.1:0
"""


class Echo:
    """Answers each connection with what it sent, for as long as it is open."""

    def __init__(self, test: SynchronousTestCase) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1000)
        test.addCleanup(self._listening.close)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
            except OSError:
                pass


class OwnLog(Relay):
    """A relay with C{log.file}."""

    def log(self) -> str:
        try:
            return (self.folder / "relay.log").read_text()
        except FileNotFoundError:
            return ""


def limited(descriptors: int) -> Callable[[], None]:
    def prepare() -> None:
        _default_signals()
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    return prepare


class DescriptorTests(SynchronousTestCase):
    def relay(self, descriptors: int) -> Relay:
        if not Path("/proc/self/stat").exists():
            raise SkipTest("/proc is not here")
        self.echo = Echo(self)
        relay = OwnLog(self, CONFIGURATION.format(port=self.echo.port))
        relay.prepare = limited(descriptors)
        return relay.start()

    def clients(self, relay: Relay, count: int, listener: str = "forward") -> list[socket.socket]:
        found = [relay.connect(listener) for _ in range(count)]
        for one in found:
            one.sendall(b"hello")
        return found

    def served(self, clients: list[socket.socket]) -> list[socket.socket]:
        """Those that have been answered so far."""
        found = []
        for one in clients:
            one.setblocking(False)
            try:
                if one.recv(100, socket.MSG_PEEK):
                    found.append(one)
            except OSError:
                pass
            one.settimeout(PATIENCE)
        return found

    def processor_time(self, relay: Relay) -> float:
        fields = Path(f"/proc/{relay.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def assert_idle(self, relay: Relay, seconds: float = 2.0) -> None:
        """It takes no more than a small part of the time, as something that spins would."""
        before = self.processor_time(relay)
        time.sleep(seconds)
        self.assertLess(self.processor_time(relay) - before, seconds * 0.25)

    def test_more_connections_than_descriptors(self) -> None:
        relay = self.relay(64)
        relay.logged(r"grants 64 open files, which is room for 16 connections at a time of 8192 ")
        clients = self.clients(relay, 100)
        poll(lambda: len(self.served(clients)) >= 16, "those for whom there is room to be served")
        relay.logged("forward.*|127.0.0.1:.*: new connections wait: the limit of open files")
        self.assert_idle(relay)
        self.assertEqual(len(self.served(clients)), 16)
        # The status page is there for who wants to know why.
        self.assertEqual(relay.get("/healthz")[0], 200)
        # Whoever waits comes in as others leave.
        waiting = clients
        while waiting:
            served = poll(partial(self.served, waiting), "the next ones to be served")
            for one in served:
                self.assertEqual(one.recv(100), b"hello")
                one.close()
            waiting = [one for one in waiting if one not in served]
        (one,) = self.clients(relay, 1)
        self.assertEqual(one.recv(100), b"hello")
        self.assertLess(relay.log().count("new connections wait"), 5)
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        self.assertNotIn("Traceback", relay.log() + relay.errors())

    def exhaust(self, relay: Relay) -> Callable[[], None]:
        """Take its descriptors away; call what is returned to give them back."""
        in_use = len(os.listdir(f"/proc/{relay.pid}/fd"))
        before = resource.prlimit(relay.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (in_use, before[1]))
        return lambda: resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, before) and None

    def test_not_one_descriptor_left(self) -> None:
        relay = self.relay(256)
        (held,) = self.clients(relay, 1)
        self.assertEqual(held.recv(100), b"hello")
        recover = self.exhaust(relay)
        waiting = self.clients(relay, 20)
        relay.logged("new connections wait: Too many open files")
        self.assert_idle(relay)
        self.assertEqual(self.served(waiting), [])
        held.sendall(b"still there")
        self.assertEqual(held.recv(100), b"still there")
        # The log is moved away, and opened anew all the same.
        (relay.folder / "relay.log").rename(relay.folder / "old.log")
        relay.signal(SIGUSR1)
        poll((relay.folder / "relay.log").exists, "a new log")
        recover()
        for one in waiting:
            self.assertEqual(one.recv(100), b"hello")
            one.close()
        held.close()
        poll(lambda: relay.log().count("[access]") == 21, "a line for each in the new log")
        self.assertNotIn("Traceback", (relay.folder / "old.log").read_text() + relay.log())

    def ask(self, client: socket.socket, target: str) -> bytes:
        client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = client.recv(4096)
            if not data:
                break
            answer += data
        return answer

    def test_no_descriptor_for_the_upstream(self) -> None:
        """Neither for a connection nor for a name, of which nobody may say that it does not exist."""
        relay = self.relay(256)
        self.ask(relay.connect("proxy"), f"127.0.0.1:{self.echo.port}")  # whatever is read once
        first, second = relay.connect("proxy"), relay.connect("proxy")
        # An answer to something else, so that both are surely accepted.
        for one in (first, second):
            one.sendall(b"GET /proxy.pac HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertTrue(one.recv(65536).startswith(b"HTTP/1.1 200 "))
        recover = self.exhaust(relay)
        for client, target in ((first, f"127.0.0.1:{self.echo.port}"), (second, "no-such-host.invalid:443")):
            answer = self.ask(client, target)
            self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
            self.assertIn(b"error=connection_limit_reached", answer)
        recover()
        answer = self.ask(relay.connect("proxy"), f"127.0.0.1:{self.echo.port}")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        self.assertNotIn("Traceback", relay.log() + relay.errors())
