"""The protocols of systemd, with the real twistd: notification, watchdog, and sockets that it opened."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from signal import SIGHUP, SIGTERM

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.process.support import Mode, Relay, Upstream, poll
from tests.support.progress import PATIENCE

FORWARD = """\
listeners:
  forward:
    type: tcp-forward
    listen: 127.0.0.1:0
    timeouts: {{drain: {drain}}}
    upstream: tcp://127.0.0.1:{port}
"""

HANDED = """\
admin: {{listen: "127.0.0.1:0"}}
listeners:
  forward:
    type: tcp-forward
    listen: systemd:{name}
    clients: loopback
    upstream: tcp://127.0.0.1:{port}
"""


class NotifyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.listening.close)
        self.listening.settimeout(PATIENCE)

    def relay(self, address: str, *, drain: str = "1h", mode: Mode = "foreground") -> Relay:
        self.upstream = Upstream(self)
        relay = Relay(self, FORWARD.format(port=self.upstream.port, drain=drain), mode=mode)
        self.listening.bind("\0" + address[1:] if address.startswith("@") else str(relay.folder / "notify"))
        relay.variables = {
            "NOTIFY_SOCKET": address if address.startswith("@") else str(relay.folder / "notify"),
            "WATCHDOG_USEC": "200000",
        }
        return relay

    def hear(self, wanted: str) -> list[str]:
        """Wait for a message with this line; the others before it may be signs of life."""
        while True:
            message = self.listening.recv(4096).decode().split("\n")
            if wanted in message:
                return message
            self.assertIn(message[0].partition("=")[0], ("WATCHDOG", "STATUS", "READY"))

    def test_from_start_to_end(self) -> None:
        modes: list[Mode] = ["foreground", "twist", "run"]
        for mode in modes:
            self.setUp()
            relay = self.relay("path", mode=mode).start(wait=False)
            ready = self.hear("READY=1")
            self.assertEqual(ready[1], "STATUS=listeners: 1; open connections: 0")
            for _ in range(3):
                self.hear("WATCHDOG=1")
            client = relay.connect("forward")
            server = self.upstream.accept()
            while "STATUS=listeners: 1; open connections: 1" not in self.hear("WATCHDOG=1"):
                pass
            relay.signal(SIGTERM)
            stopping = self.hear("STOPPING=1")
            self.assertIn("EXTEND_TIMEOUT_USEC=3605000000", stopping)
            self.assertIn("STATUS=stopping; 1 connections have time to end", stopping)
            self.hear("WATCHDOG=1")  # while it drains
            client.close()
            server.close()
            self.assertEqual(relay.wait(), 0)

    def test_a_reload_that_failed_is_shown_until_one_succeeds(self) -> None:
        relay = self.relay("path").start(wait=False)
        self.hear("READY=1")
        right = relay.configuration.read_text()
        relay.configuration.write_text("listeners: {a: 1}\n")
        relay.signal(SIGHUP)
        self.assertTrue(self.listening.recv(4096).startswith(b"RELOADING=1") or self.until_reloading())
        status = self.hear("READY=1")[1]
        self.assertRegex(
            status, r"^STATUS=listeners: 1; .*NOT RELOADED.*relay\.yaml:1:\d+: listeners\.a: found"
        )
        self.hear("WATCHDOG=1")
        relay.configuration.write_text(right)
        relay.signal(SIGHUP)
        self.until_reloading()
        self.assertEqual(self.hear("READY=1")[1], "STATUS=listeners: 1; open connections: 0")

    def until_reloading(self) -> bool:
        while not self.listening.recv(4096).startswith(b"RELOADING=1"):
            pass
        return True

    def test_an_abstract_socket(self) -> None:
        try:
            relay = self.relay(f"@lanrelay-test-{os.getpid()}")
        except OSError:
            raise SkipTest("abstract sockets are not here") from None
        relay.start(wait=False)
        self.hear("READY=1")
        self.hear("WATCHDOG=1")

    def test_another_process_is_watched(self) -> None:
        relay = self.relay("path")
        relay.variables["WATCHDOG_PID"] = str(os.getpid())
        relay.start()
        relay.signal(SIGTERM)
        self.hear("READY=1")
        self.assertEqual(self.listening.recv(4096).split(b"\n")[0], b"STOPPING=1")

    def test_nobody_listens(self) -> None:
        relay = self.relay("path")
        self.listening.close()
        relay.start()
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        self.assertEqual(relay.log().count("NOTIFY_SOCKET"), 1)


def _connected(listening: socket.socket) -> socket.socket:
    client = socket.socket(listening.family)
    client.connect(listening.getsockname())
    return client


# What systemd does between fork and exec. The descriptor is where the test has put it.
ACTIVATE = """\
import os, sys
names, *words = sys.argv[2:]
given = [int(number) for number in sys.argv[1].split(",")]
high = [os.dup2(number, 100 + index) for index, number in enumerate(given)]
for index, number in enumerate(high):
    os.dup2(number, 3 + index)
    os.close(number)
os.environ.update(LISTEN_FDS=str(len(given)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
os.execv(words[0], words)
"""


class ActivationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.upstream = Upstream(self)

    def listening(self, host: str = "127.0.0.1") -> socket.socket:
        sock = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.addCleanup(sock.close)
        return sock

    def relay(self, *held: socket.socket, name: str, names: str, mode: Mode = "foreground") -> Relay:
        relay = Relay(self, HANDED.format(name=name, port=self.upstream.port), mode=mode)
        relay.descriptors = tuple(one.fileno() for one in held)
        given = ",".join(map(str, relay.descriptors))
        relay.before = [str(relay.install.python), "-c", ACTIVATE, given, names]
        return relay

    def carries(self, connect: Callable[[], socket.socket]) -> None:
        with connect() as client:
            client.settimeout(PATIENCE)
            client.sendall(b"up")
            with self.upstream.accept() as server:
                self.assertEqual(server.recv(10), b"up")
                server.sendall(b"down")
            self.assertEqual(client.recv(10), b"down")

    def test_all_of_a_name_and_they_outlive_the_relay(self) -> None:
        modes: list[Mode] = ["foreground", "daemon", "twist"]
        for mode in modes:
            held = [self.listening(), self.listening()]
            relay = self.relay(*held, name="web", names="web:web", mode=mode)
            waiting = socket.create_connection(held[0].getsockname(), timeout=PATIENCE)
            self.addCleanup(waiting.close)
            relay.start()
            self.upstream.accept().close()  # it was in the queue before the relay was there
            self.assertEqual(waiting.recv(1), b"")
            for one in held:
                self.carries(lambda one=one: socket.create_connection(one.getsockname()))  # type: ignore[misc]
            self.assertIn(f"listens on 127.0.0.1:{held[0].getsockname()[1]}, 127.0.0.1:", relay.log())
            pid = relay.pid
            relay.signal(SIGTERM)
            if mode == "daemon":
                relay.wait_daemon(pid)
            else:
                self.assertEqual(relay.wait(), 0)
            # The next process finds the queue as it was.
            late = socket.create_connection(held[0].getsockname(), timeout=PATIENCE)
            self.addCleanup(late.close)
            self.relay(*held, name="0", names="web:web").start()
            self.upstream.accept().close()
            self.assertEqual(late.recv(1), b"")

    def test_twisted_has_taken_the_variables_away(self) -> None:
        """As it does when its endpoints are imported, by another plugin for one."""
        held = self.listening()
        relay = self.relay(held, name="web", names="web")
        program = relay.folder / "program.py"
        program.write_text(
            "import sys; import twisted.internet.endpoints; from twisted.scripts.twistd import run; run()"
        )
        relay.before += [str(relay.install.python), str(program)]
        self.patch(relay, "command", lambda *extra: ["-n", "--pidfile=", "lanrelay"])
        relay.start()
        self.carries(lambda: socket.create_connection(held.getsockname()))

    def test_a_reload_gives_them_up_and_takes_them_again(self) -> None:
        held = [self.listening(), self.listening(), self.listening()]
        relay = self.relay(*held, name="web", names="web:web:db").start()
        web, both, _ = held
        text = relay.configuration.read_text()

        def reload(changed: str) -> None:
            before = relay.log().count("SIGHUP: reading")
            relay.configuration.write_text(changed)
            relay.signal(SIGHUP)
            poll(lambda: relay.log().count("reloaded: ") > before, "the reload")

        # Renamed it keeps its sockets; without a listener they stay systemd's, and their queue waits.
        reload(text.replace("forward:", "renamed:"))
        self.carries(lambda: socket.create_connection(both.getsockname()))
        reload(text.replace("systemd:web", "systemd:db"))
        relay.logged("no listener takes systemd:web")
        waiting = socket.create_connection(web.getsockname(), timeout=PATIENCE)
        self.addCleanup(waiting.close)
        self.carries(lambda: socket.create_connection(held[2].getsockname()))
        reload(text)
        self.upstream.accept().close()
        self.assertEqual(waiting.recv(1), b"")
        for one in held[:2]:
            self.carries(lambda one=one: socket.create_connection(one.getsockname()))  # type: ignore[misc]

    def test_a_unix_socket_stays_where_it_is(self) -> None:
        unix = socket.socket(socket.AF_UNIX)
        self.addCleanup(unix.close)
        relay = self.relay(unix, name="local", names="local")
        path = relay.folder / "s"
        unix.bind(str(path))
        unix.listen()
        relay.start()

        def connect() -> socket.socket:
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(path))
            return client

        self.carries(connect)
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        self.assertTrue(path.is_socket())
        connect().close()

    def test_who_may_connect_is_asked_only_where_others_could(self) -> None:
        text = HANDED.format(name="web", port=self.upstream.port).replace("    clients: loopback\n", "")
        unix = socket.socket(socket.AF_UNIX)
        self.addCleanup(unix.close)
        unix.bind("\0lanrelay-test-" + os.urandom(8).hex())
        unix.listen()
        cases: list[tuple[socket.socket, Mode]] = [(self.listening(), "foreground"), (unix, "run")]
        for held, mode in cases:
            relay = self.relay(held, name="web", names="web", mode=mode)
            relay.configuration.write_text(text)
            relay.start()
            self.carries(lambda held=held: _connected(held))  # type: ignore[misc]
            relay.signal(SIGTERM)
            self.assertEqual(relay.wait(), 0)
        relay = self.relay(self.listening(), self.listening("0.0.0.0"), name="web", names="web:web")
        relay.configuration.write_text(text)
        (line,) = relay.fails()
        self.assertRegex(
            line,
            r"^listeners\.forward: systemd:web is 0\.0\.0\.0:\d+, which is not loopback, and `clients` ",
        )
        proxy = text.replace("tcp-forward", "connect-proxy").replace(
            "listen: systemd:web", "clients: any\n    listen: systemd:web"
        )
        relay = self.relay(self.listening("0.0.0.0"), name="web", names="web")
        relay.configuration.write_text(
            "".join(line for line in proxy.splitlines(True) if "upstream" not in line)
        )
        (line,) = relay.fails()
        self.assertIn("and `auth` is not set", line)

    def test_what_nobody_takes_is_said(self) -> None:
        relay = self.relay(self.listening(), self.listening(), name="web", names="web:db").start()
        relay.logged("no listener takes systemd:db")

    def test_what_is_wrong_is_a_line(self) -> None:
        for name, words in (("other", "no socket other"), ("1", "no socket 1")):
            relay = self.relay(self.listening(), name=name, names="web")
            (line,) = relay.fails()
            self.assertTrue(line.startswith("listeners.forward: "), line)
            self.assertIn(words, line)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            (line,) = self.relay(datagrams, name="web", names="web").fails()
        self.assertIn("systemd:web is not for streams", line)
        (line,) = Relay(self, HANDED.format(name="web", port=1)).fails()
        self.assertIn("LISTEN_FDS is not set", line)

    def test_a_shell_that_did_not_exec(self) -> None:
        relay = self.relay(self.listening(), name="web", names="web")
        relay.before += ["/bin/sh", "-c", '"$@"; exit $?', "sh"]
        (line,) = relay.fails()
        self.assertIn("(LISTEN_PID), and this is", line)

    def test_with_systemds_own_program(self) -> None:
        program = shutil.which("systemd-socket-activate")
        if program is None:
            raise SkipTest("systemd-socket-activate is not here")
        with self.listening() as probe:
            port = probe.getsockname()[1]
        relay = Relay(self, HANDED.format(name="web", port=self.upstream.port))
        passed = [f"--setenv={name}" for name in relay.install.variables() if name in ("PYTHONPATH", "PATH")]
        relay.before = [program, f"--listen=127.0.0.1:{port}", "--fdname=web", *passed]
        relay.start(wait=False)

        def connect() -> socket.socket | None:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            except ConnectionRefusedError:
                return None

        self.carries(lambda: poll(connect, "systemd-socket-activate to listen"))
        relay.logged(rf"forward \(tcp-forward\) listens on 127\.0\.0\.1:{port} ")
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
