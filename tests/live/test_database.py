"""A real database through a forward: Redis behind TCP, behind TLS of a private CA, and on a unix socket."""

from __future__ import annotations

import subprocess
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from lanrelay.cli.authority import Authority
from tests.support.peers import PeerTestCase, free_ports
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME
from tests.support.to_copy import lines as to_copy


class DatabaseTests(PeerTestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="lanrelay-redis-")
        self.addCleanup(temporary.cleanup)
        folder = Path(temporary.name)
        authority = Authority(folder)
        issued = authority.issue(LAN_NAME)
        plain, secure = free_ports(2)
        config = f"""
            bind 127.0.0.1
            port {plain}
            tls-port {secure}
            tls-cert-file {issued.cert}
            tls-key-file {issued.key}
            tls-ca-cert-file {authority.root}
            tls-auth-clients no
            unixsocket {folder}/redis.sock
            save ""
            """
        self.program(["redis-server", "{config}"], [plain, secure], config=config)
        [self.admin] = free_ports(1)
        self.relay = Relay(
            f"""
            admin: {{listen: "127.0.0.1:{self.admin}"}}
            listeners:
              named:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream: {{url: "tcp://cache.lan:6379", address: "127.0.0.1:{plain}"}}
              plain: {{type: tcp-forward, listen: 127.0.0.1:0, upstream: "tcp://127.0.0.1:{plain}"}}
              secure:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream:
                  url: tls://{LAN_NAME}:{secure}
                  address: 127.0.0.1:{secure}
                  tls: {{ca: {authority.root}}}
              socket: {{type: tcp-forward, listen: 127.0.0.1:0, upstream: "unix:{folder}/redis.sock"}}
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def ask(self, listener: str, *command: str, data: bytes = b"") -> bytes:
        port = str(self.relay.port(listener))
        done = subprocess.run(
            ["redis-cli", "-p", port, *command], input=data, capture_output=True, timeout=PATIENCE, check=True
        )
        return done.stdout

    def test_what_one_forward_stores_another_reads(self) -> Deferred[None]:
        value = bytes(range(256)) * 40_000

        def run() -> None:
            self.assertEqual(self.ask("plain", "-x", "SET", "value", data=value), b"OK\n")
            for listener in ("plain", "secure", "socket"):
                got = self.ask(listener, "--raw", "GET", "value").removesuffix(b"\n")
                self.assertEqual(sha256(got).hexdigest(), sha256(value).hexdigest(), listener)

        return deferToThread(run)

    def test_the_line_of_the_status_page_works(self) -> Deferred[None]:
        def run() -> None:
            line = to_copy(self.admin)["named"]["redis-cli"]
            self.assertTrue(line.startswith("redis-cli "), line)
            done = subprocess.run(
                ["sh", "-c", f"{line} PING"], capture_output=True, timeout=PATIENCE, check=False, text=True
            )
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "PONG\n", ""))

        return deferToThread(run)

    def test_a_message_comes_on_a_connection_that_was_silent(self) -> Deferred[None]:
        def run() -> None:
            command = ["redis-cli", "-p", str(self.relay.port("secure")), "--raw", "SUBSCRIBE", "news"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as subscriber:
                assert subscriber.stdout is not None
                try:
                    confirmed = [subscriber.stdout.readline() for _ in range(3)]
                    self.assertEqual(confirmed, [b"subscribe\n", b"news\n", b"1\n"])
                    time.sleep(1.0)  # the silence is what is tested
                    self.assertEqual(self.ask("plain", "PUBLISH", "news", "it rains"), b"1\n")
                    message = [subscriber.stdout.readline() for _ in range(3)]
                    self.assertEqual(message, [b"message\n", b"news\n", b"it rains\n"])
                finally:
                    subscriber.kill()

        return deferToThread(run)
