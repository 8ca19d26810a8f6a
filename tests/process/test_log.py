"""C{lanrelay log}: what it shows of a real relay, and that it goes on when that is started anew."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from typing import IO

from twisted.trial.unittest import SynchronousTestCase

from tests.process.support import Pair, Relay, Upstream, forward, poll
from tests.support.ports import free_port
from tests.support.progress import PATIENCE


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.upstream = Upstream(self)
        self.port = free_port()
        self.relay = Relay(self, f"listeners:\n{forward('db', self.port, self.upstream)}").start()

    def connect(self) -> None:
        """A connection that has been used, and is over for the relay, too."""
        before = self.relay.log().count("db 127.0.0.1:")
        pair = Pair(self, self.port, self.upstream)
        pair.check()
        pair.client.close()
        pair.server.close()
        poll(lambda: self.relay.log().count("db 127.0.0.1:") > before, "the line of the connection")

    def follow(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self.relay.install.lanrelay, "log", "-f", "-c", "relay.yaml", *words],
            cwd=self.relay.folder,
            env={**self.relay.install.variables(), "XDG_RUNTIME_DIR": str(self.relay.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def test_what_was_asked_for(self) -> None:
        told = self.relay.cli("log", "-c", "relay.yaml")
        none = "lanrelay log: The listeners have served no request since the relay was started.\n"
        self.assertEqual((told.returncode, told.stdout, told.stderr), (0, "", none))
        self.connect()
        told = self.relay.cli("log", "-c", "relay.yaml", "db")
        self.assertRegex(told.stdout, r"\A\d\d:\d\d:\d\d  db    -  +\d+ ms +\d+ B  connection\n\Z")
        told = self.relay.cli("log", "-c", "relay.yaml", "--json")
        (one,) = json.loads(told.stdout)["requests"]
        self.assertEqual((one["listener"], one["method"], one["error"]), ("db", None, None))
        told = self.relay.cli("log", "-c", "relay.yaml", "printer")
        self.assertEqual(
            (told.returncode, told.stderr),
            (1, "lanrelay log: There is no listener printer; there are: db.\n"),
        )

    def test_it_goes_on_with_a_relay_that_is_started_anew_until_it_is_ended(self) -> None:
        self.connect()
        following = self.follow("--json")
        out, err = _streams(following)
        first = json.loads(out.readline())
        self.connect()
        second = json.loads(out.readline())
        self.assertEqual({first["listener"], second["listener"]}, {"db"})
        self.assertGreater(second["at"], first["at"])
        self.relay.signal(signal.SIGTERM)
        self.assertEqual(self.relay.wait(), 0)
        self.assertIn("the relay has gone", err.readline())
        self.relay.start()
        self.assertIn("the relay is there again", err.readline())
        self.connect()
        third = json.loads(out.readline())
        self.assertGreater(third["at"], second["at"])
        following.send_signal(signal.SIGINT)
        self.assertEqual(following.wait(PATIENCE), 130)
        self.assertEqual((out.read(), err.read()), ("", ""))

    def test_nobody_who_follows_a_relay_that_is_not_there(self) -> None:
        self.relay.signal(signal.SIGTERM)
        self.relay.wait()
        told = self.relay.cli("log", "-f", "-c", "relay.yaml")
        self.assertEqual(
            (told.returncode, told.stderr),
            (
                1,
                "lanrelay log: No relay is running with relay.yaml. `lanrelay run -c relay.yaml` starts one; "
                "`lanrelay service install` has the system do it.\n",
            ),
        )
        told = self.relay.cli("log", "-f", "-c", "relay.yaml", "--json")
        self.assertEqual((told.returncode, json.loads(told.stdout)["ok"]), (1, False))

    def test_a_reader_that_leaves_ends_it(self) -> None:
        following = self.follow()
        out, _ = _streams(following)
        self.connect()
        self.assertIn("connection", out.readline())
        out.close()
        self.connect()
        self.assertEqual(following.wait(PATIENCE), 1)

    def test_it_ends_at_once_though_nothing_more_comes(self) -> None:
        following = self.follow()
        out, _ = _streams(following)
        self.connect()
        self.assertIn("connection", out.readline())
        out.close()
        self.assertEqual(following.wait(PATIENCE), 1)

    def test_so_many_may_follow_and_others_may_ask(self) -> None:
        (path,) = (self.relay.folder / "lanrelay").iterdir()
        clients = [socket.socket(socket.AF_UNIX) for _ in range(9)]
        answers = []
        for client in clients:
            self.addCleanup(client.close)
            client.settimeout(PATIENCE)
            client.connect(str(path))
            client.sendall(b'{"method": "log", "follow": true}\n')
            file = client.makefile("r")
            self.addCleanup(file.close)
            answers.append(json.loads(file.readline()))
        self.assertEqual([list(one) for one in answers], [["progress"]] * 8 + [["error"]])
        self.assertEqual(self.relay.cli("status", "-c", "relay.yaml").returncode, 0)


def _streams(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdout, process.stderr
