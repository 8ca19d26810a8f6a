"""Signals: the first lets end what is under way, the second does not; SIGHUP depends on the terminal."""

from __future__ import annotations

import json
import os
import pty
import socket
from signal import SIGHUP, SIGINT, SIGTERM, Signals

from twisted.trial.unittest import SynchronousTestCase

from tests.process.support import Mode, Relay, Upstream, answers, poll
from tests.support.ports import free_port
from tests.support.progress import PATIENCE


def forward(upstream: Upstream, drain: str = "3s", format: str = "text") -> str:
    return f"""\
log: {{format: {format}}}
admin: {{listen: "127.0.0.1:0"}}
listeners:
  forward:
    type: tcp-forward
    listen: 127.0.0.1:0
    timeouts: {{drain: {drain}}}
    upstream: tcp://127.0.0.1:{upstream.port}
"""


class StopTests(SynchronousTestCase):
    def joined(self, relay: Relay, upstream: Upstream) -> tuple[socket.socket, socket.socket]:
        """A client and its server, with something said."""
        client = relay.connect("forward")
        server = upstream.accept()
        client.sendall(b"hello")
        self.assertEqual(server.recv(10), b"hello")
        return client, server

    def refuses(self, port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
        except ConnectionRefusedError:
            return True
        return False

    def drains(self, number: Signals, mode: Mode) -> None:
        upstream = Upstream(self)
        relay = Relay(self, forward(upstream, drain="1h"), mode=mode).start()
        port = relay.port("forward")
        client, server = self.joined(relay, upstream)
        relay.signal(number)
        relay.logged("stopped listening")  # a client that came before would be one more to wait for
        self.assertTrue(self.refuses(port))
        server.sendall(b"still here")
        self.assertEqual(client.recv(20), b"still here")
        client.close()
        server.close()
        self.assertEqual(relay.wait(), 0)
        self.assertRegex(relay.log(), rf"\[info\] {number.name}: stopping")
        self.assertIn("connections given time to end: ", relay.log())

    def test_sigterm_stops_listening_at_once_and_lets_a_connection_end(self) -> None:
        self.drains(SIGTERM, "foreground")

    def test_sigint_does_the_same(self) -> None:
        self.drains(SIGINT, "foreground")

    def test_under_python_m_twisted_too(self) -> None:
        self.drains(SIGTERM, "twist")

    def test_under_lanrelay_run_too(self) -> None:
        self.drains(SIGTERM, "run")
        self.drains(SIGINT, "run")

    def test_what_does_not_end_is_reset_after_the_drain(self) -> None:
        upstream = Upstream(self)
        relay = Relay(self, forward(upstream, drain="200ms")).start()
        client, server = self.joined(relay, upstream)
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        for one in (client, server):
            self.assertRaises(ConnectionResetError, one.recv, 1)
        self.assertIn(" end=relay ", relay.log())

    def test_a_second_signal_ends_it_now(self) -> None:
        cases: list[tuple[Signals, Signals, Mode]] = [
            (SIGTERM, SIGTERM, "foreground"),
            (SIGINT, SIGTERM, "foreground"),
            (SIGTERM, SIGINT, "run"),
        ]
        for first, second, mode in cases:
            upstream = Upstream(self)
            relay = Relay(self, forward(upstream, drain="1h"), mode=mode).start()
            client, _ = self.joined(relay, upstream)
            relay.signal(first)
            relay.logged("given time to end")
            relay.signal(second)
            self.assertEqual(relay.wait(), 0)
            self.assertRaises(ConnectionResetError, client.recv, 1)
            log = relay.log()
            self.assertLess(log.index(" end=relay phase=tunnel"), log.index("stopped\n"))

    def test_an_idle_keep_alive_connection_holds_nothing_up(self) -> None:
        upstream = Upstream(self)
        relay = Relay(self, forward(upstream)).start()
        client = relay.connect("admin")
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 200 "))
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        self.assertLess(relay.took_to_stop(), 0.9, "admin's drain is 1 s")

    def test_a_daemon_drains_and_takes_its_pid_file_away(self) -> None:
        upstream = Upstream(self)
        relay = Relay(self, forward(upstream, drain="1h"), mode="daemon").start()
        pid = relay.pid
        client, server = self.joined(relay, upstream)
        relay.signal(SIGTERM)
        relay.logged("given time to end")
        server.sendall(b"still here")
        self.assertEqual(client.recv(20), b"still here")
        client.close()
        server.close()
        relay.wait_daemon(pid)
        self.assertFalse((relay.folder / "twistd.pid").exists())


class HangUpTests(SynchronousTestCase):
    def test_without_a_terminal_it_reloads(self) -> None:
        modes: list[Mode] = ["foreground", "daemon", "twist"]
        for mode in modes:
            upstream = Upstream(self)
            relay = Relay(self, forward(upstream), mode=mode).start()
            relay.signal(SIGHUP)
            relay.logged("reloaded: nothing has changed")
            self.assertEqual(relay.get("/healthz")[0], 200)

    def test_on_a_terminal_it_stops_as_a_closed_window_should(self) -> None:
        upstream = Upstream(self)
        modes: list[Mode] = ["foreground", "twist"]
        for mode in modes:
            ours, theirs = pty.openpty()
            self.addCleanup(os.close, ours)
            relay = Relay(self, forward(upstream), mode=mode)
            try:
                relay.start(stdin=theirs)
            finally:
                os.close(theirs)
            relay.signal(SIGHUP)
            self.assertEqual(relay.wait(), 0)
            self.assertIn("SIGHUP: stopping", relay.log())


class LogTests(SynchronousTestCase):
    def test_a_json_log_is_one_object_on_each_line_from_first_to_last(self) -> None:
        modes: list[Mode] = ["foreground", "daemon", "twist"]
        for mode in modes:
            upstream = Upstream(self)
            relay = Relay(self, forward(upstream, format="json"), mode=mode).start()
            pid = relay.pid
            client = socket.create_connection(("127.0.0.1", relay.port("forward")), timeout=PATIENCE)
            self.addCleanup(client.close)
            upstream.accept().close()
            client.close()
            relay.logged('"logger": "lanrelay.access"')
            relay.signal(SIGTERM)
            if mode == "daemon":
                relay.wait_daemon(pid)
            else:
                self.assertEqual(relay.wait(), 0)
            lines = [json.loads(line) for line in relay.log().splitlines()]
            self.assertTrue(all({"time", "level", "logger"} <= set(line) for line in lines))
            (access,) = [line for line in lines if line["logger"] == "lanrelay.access"]
            self.assertEqual((access["listener"], access["kind"]), ("forward", "tcp-forward"))
            self.assertEqual(relay.errors(), "")

    def test_the_level_holds_for_twisted_and_for_us(self) -> None:
        modes: list[Mode] = ["foreground", "twist"]
        for mode in modes:
            port = free_port()
            configuration = forward(Upstream(self)).replace("format: text", "level: warn")
            configuration = configuration.replace("127.0.0.1:0", f"127.0.0.1:{port}", 1)
            relay = Relay(self, configuration, mode=mode).start(wait=False)
            poll(lambda port=port: answers(port), "the admin page")  # type: ignore[misc]
            relay.configuration.write_text(configuration.replace("warn", "loud"))
            relay.signal(SIGHUP)
            relay.logged("not reloaded: .*log.level")
            relay.signal(SIGTERM)
            self.assertEqual(relay.wait(), 0)
            self.assertEqual(len(relay.log().splitlines()), 1, relay.log())
