"""A program of one's own behind C{lanrelay stdio}: real processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.bridge.client import Client, text_of
from tests.support.progress import PATIENCE

PROGRAM = str(Path(__file__).parent.parent / "support" / "stdio_program.py")


def lives(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return not Path("/proc").exists()


class ProgramTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)

    def client(self, *manners: str, options: tuple[str, ...] = ()) -> Client:
        words = [*options, "--", sys.executable, PROGRAM, str(self.folder), *manners]
        client = Client(words, self.folder)
        self.addCleanup(client.stop)
        return client

    def noted(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().split() if file.exists() else []

    def all_end(self) -> None:
        """Every process of the program."""
        until = time.monotonic() + PATIENCE
        self.assertNotEqual(self.noted("pids"), [])
        while left := [pid for pid in map(int, self.noted("pids")) if lives(pid)]:
            self.assertLess(time.monotonic(), until, f"{left} still run")
            time.sleep(0.01)

    def test_calls_go_to_the_program_and_come_back(self) -> None:
        client = self.client("banner")
        self.assertEqual(client.greet()["result"]["serverInfo"], {"name": "program", "version": "1"})
        self.assertEqual(client.ask("a", "tools/list")["result"]["tools"][0]["name"], "echo")
        self.assertEqual(text_of(client.call(2, "echo", text="räksmörgås")), "räksmörgås")
        self.assertEqual(client.ask(3, "nonsense")["error"]["code"], -32601)
        self.assertEqual(client.end(), 0)
        self.assertIn("no message of MCP", client.log)
        self.all_end()

    def test_the_programs_questions_and_its_progress_reach_the_client(self) -> None:
        client = self.client()
        client.greet()
        params = {"name": "ask", "arguments": {}}
        client.say({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        question = client.hear(method="roots/list")
        client.say({"jsonrpc": "2.0", "id": question["id"], "result": {"roots": []}})
        self.assertEqual(text_of(client.hear(id=1)["result"]), '{"roots": []}')
        params = {"name": "progress", "_meta": {"progressToken": 7}}
        client.say({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})
        self.assertEqual(client.hear(method="notifications/progress")["params"]["progressToken"], 7)
        self.assertEqual(text_of(client.hear(id=2)["result"]), "done")

    def test_a_call_in_which_the_program_dies_is_answered_for_and_not_repeated(self) -> None:
        client = self.client()
        client.greet()
        result = client.call(1, "die")
        self.assertTrue(result["isError"])
        self.assertIn("ended by SIGKILL", text_of(result))
        self.assertIn("may have run", text_of(result))
        # The next one goes to a new program, which was greeted in the client's name.
        self.assertEqual(text_of(client.call(2, "echo", text="again")), "again")
        self.assertEqual(self.noted("calls"), ["die", "echo"])
        self.assertEqual(len(self.noted("pids")), 2)
        self.assertIn("about to die", client.log)
        self.assertEqual(client.end(), 0)

    def test_a_program_that_dies_idle_is_begun_anew_and_its_changed_list_is_told(self) -> None:
        client = self.client()
        client.greet()
        client.ask(1, "tools/list")
        (self.folder / "tools").write_text("echo other")
        os.kill(int(self.noted("pids")[0]), signal.SIGKILL)
        client.hear(method="notifications/tools/list_changed")
        tools = client.ask(2, "tools/list")["result"]["tools"]
        self.assertEqual([tool["name"] for tool in tools], ["echo", "other"])

    def test_a_slow_program_is_answered_for_from_what_is_known(self) -> None:
        first = self.client()
        greeting = first.greet()
        tools = first.ask(1, "tools/list")
        self.assertEqual(first.end(), 0)
        os.mkfifo(self.folder / "gate")
        second = self.client()
        self.assertEqual(second.greet(), greeting)
        self.assertEqual(second.ask(1, "tools/list"), tools)  # the program still waits at its gate
        self.assertEqual(self.noted("calls"), [])
        params = {"name": "echo", "arguments": {"text": "late"}}
        second.say({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params})
        (self.folder / "gate").write_text("go")
        self.assertEqual(text_of(second.hear(id=2)["result"]), "late")

    def test_a_program_that_is_not_there_is_answered_for(self) -> None:
        client = Client(["--hold", "100ms", "--", str(self.folder / "nothing")], self.folder)
        self.addCleanup(client.stop)
        self.assertIn("could not be started", client.greet()["error"]["message"])
        self.assertEqual(client.end(), 0)

    def test_a_program_that_heeds_nothing_ends_with_us_and_so_do_its_children(self) -> None:
        client = self.client("deaf", "child")
        client.greet()
        self.assertEqual(client.end(), 0)
        self.all_end()

    def test_what_was_started_ends_when_we_are_killed(self) -> None:
        client = self.client("deaf", "child")
        client.greet()
        client.process.kill()
        client.process.wait()
        self.all_end()

    def test_copies_that_are_killed_while_they_begin_leave_nothing(self) -> None:
        """A host starts some at once, and ends them before they have begun."""
        clients = [self.client("deaf", "child") for _ in range(12)]
        until = time.monotonic() + PATIENCE
        for client in clients[:4]:
            client.process.kill()
        while not self.noted("pids"):  # by now some have begun, and others have not
            self.assertLess(time.monotonic(), until)
            time.sleep(0.001)
        for client in clients[4:]:
            client.process.kill()
        self.all_end()

    def test_a_signal_ends_both(self) -> None:
        client = self.client("deaf", "child")
        client.greet()
        client.process.send_signal(signal.SIGTERM)
        self.assertEqual(client.process.wait(PATIENCE), 0)
        self.all_end()

    def test_filters_hold_for_a_program_too(self) -> None:
        (self.folder / "tools").write_text("echo die")
        client = self.client(options=("--ignore-tool", "d*"))
        client.greet()
        tools = client.ask(1, "tools/list")["result"]["tools"]
        self.assertEqual([tool["name"] for tool in tools], ["echo"])
        self.assertEqual(client.ask(2, "tools/call", {"name": "die"})["error"]["code"], -32602)
