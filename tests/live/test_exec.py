"""Real programs behind the real relay: a process for each connection."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay

# Says its number and that of a child which it leaves behind; neither heeds SIGTERM.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(os.getpid(), child, flush=True)
while True:
    time.sleep(100)
"""
# Ends at once, and leaves a child that has its output open.
PARENT = """
import os, sys, time
child = os.fork()
if child:
    print(child, flush=True)
else:
    time.sleep(1000)
"""
DESCRIPTORS = """
import os
numbers = [number for number in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{number}")]
print(*sorted(numbers, key=int))
print(os.getpid() == os.getpgid(0) == os.getsid(0))
"""
FLOOD = """
import signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
line = b"x" * 65535 + b"\\n"
for number in range(100_000):
    sys.stdout.buffer.write(line)
    print(number, file=sys.stderr, flush=True)
"""


def alive(pid: int) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends between both calls
        return False


def in_thread(function: Callable[[], None]) -> Deferred[None]:
    """Run a blocking peer."""
    return deferToThread(function)


def until(true: Callable[[], bool]) -> None:
    """Wait until C{true()}; blocks."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


class ExecTests(TestCase):
    timeout = LIMIT
    environ: ClassVar[dict[str, str]] = {}

    def relay(self, *command: str, keys: str = "", environ: dict[str, str] | None = None) -> Relay:
        words = "".join(f"\n      - {_quoted(word)}" for word in command)
        text = (
            f"listeners:\n  tool:\n    type: exec\n    listen: 127.0.0.1:0\n    command:{words}\n"
            + "".join(f"    {line}\n" for line in keys.splitlines())
        )
        relay = Relay(text, environ={**self.environ, **(environ or {})}).start()
        self.addCleanup(relay.stop)
        return relay

    def connect(self, relay: Relay) -> socket.socket:
        peer = socket.create_connection(("127.0.0.1", relay.port("tool")), timeout=PATIENCE)
        self.addCleanup(peer.close)
        return peer

    def run_python(self, code: str, keys: str = "") -> Relay:
        return self.relay(sys.executable, "-c", code, keys=keys)

    def test_bytes_and_ends_go_both_ways(self) -> Deferred[None]:
        relay = self.relay("sort")

        def use() -> None:
            peer = self.connect(relay)
            lines = [b"%06d\n" % (number * 7919 % 100_000) for number in range(100_000)]
            peer.sendall(b"".join(lines))
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(_all(peer), b"".join(sorted(lines)))
            found = relay.wait_for(r"\[access\] tool .*")
            self.assertIn(" in=700000 out=700000 to=sort ", found[0])
            self.assertRegex(found[0], r'addr="pid \d+" .* end=downstream phase=done$')

        return in_thread(use)

    def test_a_program_that_speaks_first_is_heard(self) -> Deferred[None]:
        relay = self.relay("sh", "-c", "echo hello; cat")

        def use() -> None:
            peer = self.connect(relay)
            self.assertEqual(peer.recv(100), b"hello\n")
            peer.sendall(b"and hello")
            self.assertEqual(peer.recv(100), b"and hello")

        return in_thread(use)

    def test_a_web_page_is_closed_out_and_starts_nothing(self) -> Deferred[None]:
        relay = self.relay("sh", "-c", "echo started >&2; cat")

        def use() -> None:
            peer = self.connect(relay)
            peer.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n{}")
            self.assertEqual(_all(peer), b"")
            relay.wait_for(r"error=http_request_denied .*as a web page sends it")
            self.assertNotIn("tool: started", relay.log)

        return in_thread(use)

    def test_a_request_in_parts_reaches_no_program_that_runs_already(self) -> Deferred[None]:
        relay = self.relay("sh", "-c", "echo ready; cat >&2")

        def use() -> None:
            peer = self.connect(relay)
            self.assertEqual(peer.recv(100), b"ready\n")
            for part in (b"GET /secret HT", b"TP/1.1\r\nHost: x\r\n"):
                peer.sendall(part)
            self.assertEqual(_all(peer), b"")
            relay.wait_for(r"error=http_request_denied")
            self.assertNotIn("tool: GET", relay.log)

        return in_thread(use)

    def test_what_heeds_nothing_is_killed_with_all_it_started(self) -> Deferred[None]:
        relay = self.run_python(STUBBORN, "stop_timeout: 200ms")

        def use() -> None:
            peer = self.connect(relay)
            numbers = [int(word) for word in peer.recv(100).split()]
            self.assertEqual([alive(number) for number in numbers], [True, True])
            peer.close()
            until(lambda: not any(map(alive, numbers)))
            relay.wait_for(r"\[access\] tool ")

        return in_thread(use)

    def test_a_reset_ends_the_program(self) -> Deferred[None]:
        relay = self.run_python(STUBBORN, "stop_timeout: 200ms")

        def use() -> None:
            peer = self.connect(relay)
            numbers = [int(word) for word in peer.recv(100).split()]
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            until(lambda: not any(map(alive, numbers)))

        return in_thread(use)

    def test_a_child_that_is_left_behind_is_ended_and_keeps_nobody_waiting(self) -> Deferred[None]:
        relay = self.run_python(PARENT, "stop_timeout: 200ms")

        def use() -> None:
            peer = self.connect(relay)
            child = int(_all(peer))
            until(lambda: not alive(child))

        return in_thread(use)

    def test_a_long_answer_after_the_end_of_input_is_not_cut(self) -> Deferred[None]:
        relay = self.relay(
            "sh", "-c", "cat; for i in 1 2 3 4; do sleep 0.2; echo $i; done", keys="stop_timeout: 400ms"
        )

        def use() -> None:
            peer = self.connect(relay)
            peer.sendall(b"0\n")
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(_all(peer), b"0\n1\n2\n3\n4\n")

        return in_thread(use)

    def test_a_reader_that_stops_stops_the_program(self) -> Deferred[None]:
        relay = self.run_python(FLOOD, "stop_timeout: 200ms")

        def use() -> None:
            peer = self.connect(relay)
            peer.recv(1)
            before = relay.rss

            def stands() -> bool:
                said = re.findall(r"tool: (\d+)$", relay.log, re.MULTILINE)
                time.sleep(0.2)
                return bool(said) and said == re.findall(r"tool: (\d+)$", relay.log, re.MULTILINE)

            until(stands)
            self.assertLess(relay.rss - before, 8 * 1024 * 1024)
            for _ in range(2000):  # and it goes on
                peer.recv(65536)

        return in_thread(use)

    def test_a_program_that_reads_nothing_stops_its_client(self) -> Deferred[None]:
        relay = self.relay("sh", "-c", "sleep 100", keys="stop_timeout: 200ms")

        def use() -> None:
            peer = self.connect(relay)
            peer.settimeout(1)
            before = relay.rss
            with self.assertRaises(TimeoutError):
                peer.sendall(bytes(64 * 1024 * 1024))
            self.assertLess(relay.rss - before, 8 * 1024 * 1024)

        return in_thread(use)

    def test_one_that_dies_at_once_says_so(self) -> Deferred[None]:
        relay = self.relay("sh", "-c", "echo no luck >&2; exit 3")

        def use() -> None:
            self.assertEqual(_all(self.connect(relay)), b"")
            relay.wait_for(r"tool: no luck\n")
            relay.wait_for(r'error=connection_terminated detail="the program ended with status 3"')

        return in_thread(use)

    def test_one_that_is_not_there_says_so(self) -> Deferred[None]:
        relay = self.relay("no-such-program")

        def use() -> None:
            self.assertEqual(_all(self.connect(relay)), b"")
            relay.wait_for(r"\[error\] tool: no-such-program cannot be started: No such file")

        return in_thread(use)

    def test_over_max_processes_a_connection_is_closed(self) -> Deferred[None]:
        relay = self.relay("cat", keys="max_processes: 1")

        def use() -> None:
            first = self.connect(relay)
            first.sendall(b"{1}")
            self.assertEqual(first.recv(10), b"{1}")
            self.assertEqual(_all(self.connect(relay)), b"")
            relay.wait_for(r"\[warn\] tool: 1 run already")
            first.close()
            relay.wait_for(r"\[access\] tool .* in=3 out=3 ")
            third = self.connect(relay)
            third.sendall(b"{3}")
            self.assertEqual(third.recv(10), b"{3}")

        return in_thread(use)

    def test_its_environment_is_clean(self) -> Deferred[None]:
        relay = self.relay(
            "env", keys="env: {TOOL: given, LANG: C}", environ={"SECRET_OF_THE_RELAY": "1", "LANG": "de"}
        )

        def use() -> None:
            said = dict(line.split("=", 1) for line in _all(self.connect(relay)).decode().splitlines())
            self.assertEqual((said["TOOL"], said["LANG"]), ("given", "C"))
            self.assertEqual(set(said) - {"PATH", "HOME", "LANG", "TMPDIR", "USER", "TOOL", "PWD"}, set())
            self.assertLessEqual({"PATH", "HOME", "USER"}, set(said))

        return in_thread(use)

    def test_it_has_a_session_of_its_own_and_no_descriptor_of_the_relay(self) -> Deferred[None]:
        relay = self.run_python(DESCRIPTORS)

        def use() -> None:
            self.assertEqual(_all(self.connect(relay)), b"0 1 2\nTrue\n")

        return in_thread(use)

    def test_a_line_of_standard_error_has_a_bound_and_no_power_over_terminals(self) -> Deferred[None]:
        code = "import sys; sys.stderr.write('\\x1b[31mred\\n' + 'y' * 1_000_000 + '\\nlast')"
        relay = self.run_python(code)

        def use() -> None:
            _all(self.connect(relay))
            relay.wait_for(r"tool: \?\[31mred\n")
            relay.wait_for(r"tool: y{2000}\.\.\.\(\+998000\)\n")
            relay.wait_for(r"tool: last\n")

        return in_thread(use)

    def test_nothing_outlives_the_relay(self) -> Deferred[None]:
        relay = self.run_python(STUBBORN, "stop_timeout: 200ms\ntimeouts: {drain: 200ms}")

        def use() -> None:
            numbers = [int(word) for word in self.connect(relay).recv(100).split()]
            relay.stop()
            self.assertEqual([alive(number) for number in numbers], [False, False])

        return in_thread(use)

    def test_nothing_outlives_a_relay_that_is_told_twice_to_end(self) -> Deferred[None]:
        relay = self.run_python(STUBBORN, "stop_timeout: 60s\ntimeouts: {drain: 60s}")

        def use() -> None:
            numbers = [int(word) for word in self.connect(relay).recv(100).split()]
            os.kill(relay.process.pid, signal.SIGTERM)
            relay.wait_for(r"given time to end")
            relay.stop()
            self.assertEqual([alive(number) for number in numbers], [False, False])

        return in_thread(use)

    def test_a_reload_lets_it_end_in_its_own_time(self) -> Deferred[None]:
        relay = self.relay("cat")

        def use() -> None:
            peer = self.connect(relay)
            peer.sendall(b"{1}")
            self.assertEqual(peer.recv(10), b"{1}")
            relay.config.write_text(relay.config.read_text().replace("cat", "rev"))
            os.kill(relay.process.pid, signal.SIGHUP)
            relay.wait_for(r"reloaded: ")
            peer.sendall(b"{2}")
            self.assertEqual(peer.recv(10), b"{2}")
            other = self.connect(relay)
            other.sendall(b"ab\n")
            other.shutdown(socket.SHUT_WR)
            self.assertEqual(_all(other), b"ba\n")

        return in_thread(use)


class TwistedsTransportTests(ExecTests):
    """The same on Twisted's own transports."""

    environ: ClassVar[dict[str, str]] = {"LANRELAY_TRANSPORT": "twisted"}


class ShownTests(SynchronousTestCase):
    def test_a_command_is_shown_without_its_secrets(self) -> None:
        from lanrelay.listeners.exec_programs import shown

        self.assertEqual(shown(["npx", "-y", "@scope/server"]), "npx -y @scope/server")
        for secret in (["--api-key", "abc123"], ["--token=abc123"], ["abc123abc123abc123"]):
            self.assertNotIn("abc123", shown(["server", *secret]))


def _quoted(word: str) -> str:
    import json

    return json.dumps(word)


def _all(peer: socket.socket) -> bytes:
    data = b""
    try:
        while part := peer.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return data
