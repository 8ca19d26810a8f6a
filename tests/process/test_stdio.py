"""C{lanrelay stdio} as a process: what its client sees, whatever becomes of the target."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.process.support import poll
from tests.support.progress import PATIENCE
from tests.support.servers import CountingProcess
from tests.support.stdio import COMMAND, HELLO, CountingServer, Stdio, environment


class StdioCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def serve(self, port: int = 0) -> CountingServer:
        server = CountingServer(port=port)
        self.addCleanup(server.stop)
        return server

    def start(self, *words: str) -> Stdio:
        made = Stdio(*words, folder=self.folder)
        self.addCleanup(made.kill)
        return made


class SessionTests(StdioCase):
    def test_one_session_that_is_ended_in_order(self) -> None:
        server = self.serve()
        client = self.start(server.url)
        self.assertEqual(client.begin()["result"]["serverInfo"]["name"], "counting")
        client.ask("list", "tools/list")
        tools = client.answer("list")["result"]["tools"]
        self.assertEqual([tool["name"] for tool in tools], ["count", "together", "flood", "echo"])
        self.assertEqual(client.call(1, "count", key="a")["content"][0]["text"], "1")
        self.assertEqual(client.end(), 0)
        self.assertTrue(server.wait_for_end())
        self.assertEqual(server.seen.count(("POST", "initialize")), 1)
        self.assertEqual(server.seen.count(("DELETE", "")), 1)

    def test_requests_before_the_end_of_input_are_answered(self) -> None:
        server = self.serve()
        lines = [
            {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": HELLO},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        ]
        done = subprocess.run(
            [*COMMAND, server.url],
            input="\n".join(map(json.dumps, lines)).encode(),  # no newline at its end
            capture_output=True,
            env=environment(self.folder),
            timeout=PATIENCE,
        )
        ids = [json.loads(line)["id"] for line in done.stdout.splitlines()]
        self.assertEqual((ids, done.returncode, done.stderr), ([0, 1], 0, b""))

    def test_a_target_that_is_down_at_the_start_is_used_once_it_is_up(self) -> None:
        server = self.serve()
        server.stop()
        client = self.start(server.url, "--hold", "1s")
        client.ask(0, "initialize", HELLO)
        self.assertIn("Nothing on this machine listens on port", client.answer(0)["error"]["message"])
        again = CountingServer(port=server.port)
        self.addCleanup(again.stop)
        self.assertIn("result", client.begin())
        self.assertFalse(client.call(1, "count", key="a")["isError"])
        self.assertEqual(client.end(), 0)

    def test_a_target_that_is_down_is_answered_for_from_the_cache(self) -> None:
        server = self.serve()
        first = self.start(server.url)
        said = first.begin()
        first.ask(1, "tools/list")
        listed = first.answer(1)
        self.assertEqual(first.end(), 0)
        server.stop()
        second = self.start(server.url)
        self.assertEqual(second.begin(), said)
        second.ask(1, "tools/list")
        self.assertEqual(second.answer(1), listed)
        failed = second.call(2, "count", key="a")
        self.assertTrue(failed["isError"])
        self.assertIn("Nothing on this machine listens on port", failed["content"][0]["text"])
        self.assertEqual(second.end(), 0)
        self.assertEqual(server.runs, {})

    def test_a_server_that_is_begun_anew_gets_each_call_once(self) -> None:
        server = self.serve()
        client = self.start(server.url)
        client.begin()
        for number in range(3):
            self.assertEqual(client.call(number + 1, "count", key=f"a{number}")["content"][0]["text"], "1")
        server.stop()
        again = self.serve(port=server.port)
        for number in range(3):
            self.assertEqual(client.call(number + 9, "count", key=f"b{number}")["content"][0]["text"], "1")
        self.assertEqual(again.runs, {f"b{number}": 1 for number in range(3)})
        self.assertEqual(client.end(), 0)

    def test_a_thousand_calls_in_flight_whose_answers_come_in_another_order(self) -> None:
        server = self.serve()
        client = self.start(server.url)
        client.begin()
        for number in range(1000):
            client.ask(
                number + 1, "tools/call", {"name": "together", "arguments": {"of": 1000, "text": number}}
            )
        answers = [client.wait_for(lambda line: "result" in line, patience=60) for _ in range(1000)]
        self.assertEqual(
            {int(one["result"]["content"][0]["text"]) + 1 for one in answers}, set(range(1, 1001))
        )
        for one in answers:
            self.assertEqual(int(one["result"]["content"][0]["text"]) + 1, one["id"])
        self.assertNotEqual([one["id"] for one in answers], list(range(1, 1001)))
        self.assertEqual(client.end(), 0)


class KillTests(StdioCase):
    """The server is killed and started again; it keeps a record of what it has run."""

    def setUp(self) -> None:
        super().setUp()
        self.record = self.folder / "record"
        self.record.touch()
        self.server = CountingProcess(self.record).start()
        self.addCleanup(self.server.stop)
        self.client = self.start(f"{self.server.url}/mcp")
        self.client.begin()

    def executions(self) -> list[str]:
        return self.record.read_text().split()

    def test_in_mid_call(self) -> None:
        self.client.ask(1, "tools/call", {"name": "count", "arguments": {"key": "a", "hang": True}})
        poll(lambda: self.executions() == ["a"], "it runs")
        self.server.kill()
        failed = self.client.answer(1)["result"]
        self.assertTrue(failed["isError"])
        self.assertIn("The tool may have run", failed["content"][0]["text"])
        self.server.start()
        self.assertFalse(self.client.call(2, "count", key="b")["isError"])
        self.assertEqual(self.executions(), ["a", "b"])
        self.assertEqual(self.client.end(), 0)

    def test_again_and_again_with_calls_in_flight(self) -> None:
        answers = []
        for number in range(300):
            self.client.ask(number + 1, "tools/call", {"name": "count", "arguments": {"key": number}})
            if number % 75 == 40:
                self.server.kill()
                self.server.start()
            if number >= 20:
                answers.append(self.client.wait_for(lambda line: "result" in line))
        answers += [self.client.wait_for(lambda line: "result" in line) for _ in range(20)]
        self.assertEqual(sorted(one["id"] for one in answers), list(range(1, 301)))
        found = self.executions()
        self.assertEqual(len(found), len(set(found)))  # none twice
        for one in answers:
            if one["result"]["isError"]:
                self.assertIn("may have run", one["result"]["content"][0]["text"])
            else:
                self.assertIn(str(one["id"] - 1), found)
        self.assertEqual(self.client.end(), 0)
        self.assertEqual(self.client.lines, [])


class SizeTests(StdioCase):
    def test_a_line_of_64_megabytes_passes_and_a_longer_one_is_an_error_for_its_id(self) -> None:
        server = self.serve()
        client = self.start(server.url)
        client.begin()
        text = "x" * (63 * 1024 * 1024)
        self.assertEqual(len(client.call(1, "echo", text=text)["content"][0]["text"]), len(text))
        client.ask("long", "tools/call", {"name": "echo", "arguments": {"text": text + "x" * (2 << 20)}})
        self.assertIn("64 MB", client.answer("long")["error"]["message"])
        self.assertFalse(client.call(2, "echo", text="x")["isError"])

    def test_a_reader_that_stops_costs_no_memory_and_nothing_is_lost(self) -> None:
        server = self.serve()
        client = self.start(server.url)
        client.begin()
        pieces, size = 3200, 65536  # 200 MB
        client.ask(1, "tools/call", {"name": "flood", "arguments": {"pieces": pieces, "size": size}})
        client.wait_for(lambda line: line.get("method") == "notifications/message")
        before = -1

        def settled() -> bool:
            nonlocal before
            written = int(Path(f"/proc/{client.process.pid}/io").read_text().split("wchar: ")[1].split()[0])
            same, before = written == before, written
            return same

        poll(settled, "it stops writing")
        self.assertLess(client.memory(), 40_000)
        for number in range(1, pieces):
            line = client.wait_for(lambda line: line.get("method") == "notifications/message")
            self.assertEqual(line["params"]["data"]["number"], number)
        self.assertEqual(client.answer(1)["result"]["isError"], False)
        self.assertLess(client.memory(), 40_000)

    def test_what_is_in_memory_while_it_waits(self) -> None:
        server = self.serve()
        client = self.start(server.url)
        client.begin()
        client.call(1, "count", key="a")
        self.assertLess(client.memory(), 25_000)


class EndTests(StdioCase):
    def test_a_signal_ends_it_and_the_session(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            server = self.serve()
            client = self.start(server.url)
            client.begin()
            client.call(1, "count", key="a")
            client.process.send_signal(number)
            self.assertEqual(client.process.wait(PATIENCE), 0)
            self.assertTrue(server.wait_for_end())

    def test_a_client_that_reads_no_more_ends_it(self) -> None:
        server = self.serve()
        client = self.start(server.url)
        client.begin()
        assert client.process.stdout is not None
        client.process.stdout.close()
        self.assertEqual(client.process.wait(PATIENCE), 0)
        self.assertTrue(server.wait_for_end())

    def test_the_end_of_input_ends_it_whatever_the_target_does(self) -> None:
        server = self.serve()
        client = self.start(server.url)
        client.begin()
        client.ask(1, "tools/call", {"name": "together", "arguments": {"of": 2}})  # is never answered
        self.assertEqual(client.end(), 0)

    def test_a_parent_that_died_ends_it_though_its_input_stays_open(self) -> None:
        server = self.serve()
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        out = self.folder / "pid"
        parent = (
            "import subprocess, sys\n"
            f"child = subprocess.Popen(sys.argv[1:], stdin={reading}, stdout=subprocess.PIPE)\n"
            f"child.stdout.readline()\nopen({str(out)!r}, 'w').write(str(child.pid))\n"
        )
        hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": HELLO}
        os.write(writing, json.dumps(hello).encode() + b"\n")
        subprocess.run(
            [sys.executable, "-c", parent, *COMMAND, server.url],
            pass_fds=[reading],
            env=environment(self.folder),
            timeout=PATIENCE,
            check=True,
        )
        os.close(reading)
        pid = int(out.read_text())
        poll(lambda: not _runs(pid), "it ends")

    def test_twenty_that_are_killed_at_once_leave_nothing_behind(self) -> None:
        server = self.serve()
        running = [self.start(server.url) for _ in range(20)]
        for client in running:
            client.ask(0, "initialize", HELLO)
        running[0].answer(0)
        for client in running:
            client.process.kill()
        for client in running:
            client.process.wait()
        last = self.start(server.url)
        last.begin()
        last.ask(1, "tools/list")
        last.answer(1)
        self.assertEqual(last.end(), 0)
        kept = [path for path in self.folder.rglob("*") if path.is_file()]
        self.assertEqual([path for path in kept if path.parent.name != "stdio"], [])
        self.assertEqual([path for path in kept if "." in path.name], [])

    def test_two_at_once_do_not_know_of_one_another(self) -> None:
        server = self.serve()
        one, two = self.start(server.url), self.start(server.url)
        one.begin()
        two.begin()
        self.assertEqual(one.call(1, "count", key="a")["content"][0]["text"], "1")
        self.assertEqual(one.end(), 0)
        self.assertEqual(two.call(1, "count", key="a")["content"][0]["text"], "2")
        self.assertEqual(two.end(), 0)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class StartTests(StdioCase):
    def test_what_a_start_imports(self) -> None:
        """Each of the heavy ones costs 5 to 60 ms, and a host starts dozens of these."""
        program = (
            "import gc, sys, select, json\n"
            "from lanrelay.bridge.loop import Loop\n"
            "def ready(self): print(json.dumps([gc.isenabled(), sorted(sys.modules)]))\n"
            "Loop.run = ready\n"
            "from lanrelay.cli.main import main\n"
            "main(['stdio', 'https://nas.lan:8443/mcp'])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment(self.folder),
            timeout=PATIENCE,
            check=True,
        )
        collects, modules = json.loads(done.stdout)
        self.assertTrue(collects)  # again: it does not while it starts
        found = set(modules)
        heavy = {
            *("argparse", "asyncio", "dataclasses", "hashlib", "inspect", "ipaddress", "logging", "pathlib"),
            *("ssl", "subprocess", "tempfile", "threading", "twisted", "urllib", "uuid", "yaml"),
        }
        self.assertEqual(sorted(found & heavy), [])
        ours = [name for name in found if name.startswith("lanrelay.")]
        self.assertLess(len(ours), 50)
        self.assertLess(len(found) - len(ours), 110)
