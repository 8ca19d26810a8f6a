"""C{lanrelay demo}: the real thing, with the real relay, from start to the last trace that it leaves."""

from __future__ import annotations

import io
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli import demo
from lanrelay.cli.demo import Signals, Stopped, free_ports
from lanrelay.cli.demo_host import answer, counting
from tests.support.progress import PATIENCE

CHECKOUT = Path(__file__).resolve().parent.parent.parent


class Run:
    """A running demonstration, in a temporary folder of its own and in a process group of its own."""

    def __init__(self, test: SynchronousTestCase, *arguments: str, folder: Path | None = None) -> None:
        self.temporary = Path(tempfile.mkdtemp(prefix="lanrelay-demo-test-"))
        test.addCleanup(shutil.rmtree, self.temporary, ignore_errors=True)
        self.output = ""
        paths = [str(CHECKOUT), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            [
                *[
                    sys.executable,
                    "-c",
                    "import sys; del sys.path[0]; from lanrelay.cli.main import main; sys.exit(main())",
                ],
                *["demo", *arguments],
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder or self.temporary,
            env={
                **os.environ,
                "TMPDIR": str(self.temporary),
                "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            },
            start_new_session=True,
        )
        test.addCleanup(self._end)

    def _end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def read_until(self, text: str, timeout: float = 60) -> None:
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout
        while text not in self.output:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not data:
                raise AssertionError(f"{text!r} never came; what came was:\n{self.output}")
            self.output += data.decode()

    def wait(self, timeout: float = 60) -> int:
        """The exit status, once the output has ended; a child that still holds it open is found out here."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout
        while True:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"it did not end; what came was:\n{self.output}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return self.process.wait(max(1, deadline - time.monotonic()))
            self.output += data.decode()

    def ports(self) -> list[int]:
        return sorted({int(port) for port in re.findall(r"(?:localhost|127\.0\.0\.1):(\d+)", self.output)})

    def traces(self) -> list[str]:
        """What is left of it: files, and ports that still answer."""
        left = [str(path) for path in self.temporary.iterdir()]
        for port in self.ports():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    left.append(f"port {port}")
        return left


class DemonstrationTests(SynchronousTestCase):
    def test_it_shows_the_refusal_the_relay_mcp_and_a_stream_and_leaves_nothing(self) -> None:
        run = Run(self, "--once")
        self.assertEqual(run.wait(), 0, run.output)
        for expected in (
            "refused: ",
            'Nobody here knows "lanrelay demo CA"',
            "->  200 OK",
            "name asked for in TLS (SNI): lan-host.demo",
            "Host: lan-host.demo\n",
            "initialize  ->  lan-host.demo",
            "tools/list  ->  now, count",
            "tools/call  ->  it is ",
            "event 3",
            "curl -N http://localhost:",
        ):
            self.assertIn(expected, run.output)
        given = ("jsonrpc", str(run.temporary))  # commands that are one line, and a folder of any length
        for line in run.output.splitlines():
            self.assertTrue(len(line) < 80 or any(text in line for text in given), line)
        times = [float(seconds) for seconds in re.findall(r"after +([\d.]+) s  event", run.output)]
        self.assertEqual(len(times), 3)
        self.assertGreater(times[2] - times[0], 1.5, "the events came all at once")
        self.assertEqual(run.traces(), [])

    def test_a_folder_with_modules_of_a_name_that_python_has_is_no_hindrance(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        for name in ("json", "ssl", "yaml", "threading"):
            (folder / f"{name}.py").write_text("raise SystemExit('this is not that module')\n")
        run = Run(self, "--once", folder=folder)
        self.assertEqual(run.wait(), 0, run.output)
        self.assertIn("event 3", run.output)

    def test_until_ctrl_c_the_relay_serves_and_shows_its_log(self) -> None:
        run = Run(self)
        run.read_until("press Ctrl-C")
        url = re.search(r"relay +http://localhost:(\d+)", run.output)
        assert url is not None, run.output
        with socket.create_connection(("localhost", int(url[1])), timeout=PATIENCE) as client:
            client.sendall(b"GET /?secret=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            received = b""
            while data := client.recv(65536):
                received += data
        self.assertIn(b"hello from lan-host.demo", received)
        run.read_until('"GET /" 200')
        os.killpg(run.process.pid, signal.SIGINT)
        self.assertEqual(run.wait(), 0, run.output)
        self.assertEqual(run.traces(), [])

    def test_sigterm_with_a_stream_open_leaves_nothing(self) -> None:
        run = Run(self)
        run.read_until("press Ctrl-C")
        url = re.search(r"relay +http://localhost:(\d+)", run.output)
        assert url is not None, run.output
        with socket.create_connection(("localhost", int(url[1])), timeout=PATIENCE) as client:
            client.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.recv(65536)
            run.process.terminate()
            self.assertEqual(run.wait(), 0, run.output)
        self.assertEqual(run.traces(), [])

    def test_sigterm_halfway_leaves_nothing(self) -> None:
        run = Run(self)
        run.read_until("4. A live stream")
        run.process.terminate()
        self.assertEqual(run.wait(), 1, run.output)
        self.assertNotIn("Traceback", run.output)
        self.assertEqual(run.traces(), [])

    def test_a_relay_that_does_not_start_says_why(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lanrelay-demo-test-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.patch(tempfile, "tempdir", str(folder))
        self.patch(demo, "_CONFIGURATION", "listeners: {{lan-host: {{type: teleport}}}}\n")
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        status = demo.run(["--once"])
        said = output.getvalue()
        self.assertEqual(status, 1, said)
        self.assertIn("the relay did not start. It said:", said)
        self.assertIn('listeners.lan-host.type: found "teleport"', said)
        self.assertEqual(list(folder.iterdir()), [])


class HostTests(SynchronousTestCase):
    def test_a_notification_has_no_answer(self) -> None:
        self.assertIsNone(answer({"jsonrpc": "2.0", "method": "notifications/initialized"}))

    def test_it_speaks_the_revision_that_the_client_asks_for_and_else_its_newest(self) -> None:
        def agreed(version: str) -> object:
            request = {"id": 1, "method": "initialize", "params": {"protocolVersion": version}}
            message = answer(request)
            assert message is not None
            return message["result"]["protocolVersion"]

        self.assertEqual(agreed("2025-03-26"), "2025-03-26")
        self.assertEqual(agreed("1999-01-01"), "2025-11-25")

    def test_what_it_does_not_know_is_an_error(self) -> None:
        for request, code in (
            ({"id": 1, "method": "server/discover"}, -32601),
            ({"id": 2, "method": "tools/call", "params": {"name": "format-disk"}}, -32602),
        ):
            message = answer(request)
            assert message is not None
            self.assertEqual((message["id"], message["error"]["code"]), (request["id"], code))

    def test_counting_reports_progress_only_to_who_wants_it(self) -> None:
        params = {"name": "count", "arguments": {"to": 1}}
        self.assertEqual(len(list(counting({"id": 1, "params": params}))), 1)
        first, last = counting({"id": 1, "params": {**params, "_meta": {"progressToken": "p"}}})
        self.assertEqual(first["params"], {"progressToken": "p", "progress": 1, "total": 1})
        self.assertEqual(last["result"]["content"][0]["text"], "counted to 1 on lan-host.demo")


class FreePortsTests(SynchronousTestCase):
    def test_they_differ_and_can_be_had(self) -> None:
        ports = free_ports(4)
        self.assertEqual(len(set(ports)), 4)
        for port in ports:
            with socket.socket() as listening:
                listening.bind(("127.0.0.1", port))


class SignalsTests(SynchronousTestCase):
    def setUp(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        self.addCleanup(signal.signal, signal.SIGTERM, before)

    def test_the_first_signal_stops_and_later_ones_do_not_disturb_the_end(self) -> None:
        with Signals():
            self.assertRaises(Stopped, os.kill, os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    def test_a_signal_waits_for_what_is_being_made(self) -> None:
        made = []
        with Signals() as signals:
            try:
                with signals.held():
                    os.kill(os.getpid(), signal.SIGTERM)
                    made.append("a child")
            except Stopped:
                made.append("stopped")
        self.assertEqual(made, ["a child", "stopped"])

    def test_what_was_ignored_stays_ignored(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with Signals():
            os.kill(os.getpid(), signal.SIGTERM)

    def test_afterwards_all_is_as_before(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        with Signals():
            self.assertIsNot(signal.getsignal(signal.SIGTERM), before)
        self.assertIs(signal.getsignal(signal.SIGTERM), before)
