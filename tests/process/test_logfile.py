"""C{log.file} with the real twistd, in every way to start it."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import socket
import stat
import subprocess
from functools import partial
from pathlib import Path
from signal import SIGTERM, SIGUSR1

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.process.support import Mode, Relay, poll

CONFIGURATION = """\
log: {{file: logs/relay.log, format: json, {more}}}
listeners:
  proxy: {{type: connect-proxy, listen: "127.0.0.1:0"}}
"""

MODES: tuple[Mode, ...] = ("foreground", "daemon", "twist", "run")


class Logging(Relay):
    """A relay whose log is where its configuration says."""

    @property
    def file(self) -> Path:
        return self.folder / "logs" / "relay.log"

    def log(self) -> str:
        try:
            return self.file.read_text()
        except FileNotFoundError:
            return ""


class LogFileTests(SynchronousTestCase):
    def relay(self, mode: Mode = "foreground", more: str = "") -> Logging:
        relay = Logging(self, CONFIGURATION.format(more=more), mode=mode)
        relay.file.parent.mkdir()
        return relay

    def port(self, relay: Logging, listener: str = "proxy") -> int:
        return relay.port(listener)

    def end(self, relay: Logging) -> None:
        pid = relay.pid
        relay.signal(SIGTERM)
        if relay.mode == "daemon":
            relay.wait_daemon(pid)
        else:
            self.assertEqual(relay.wait(), 0)

    def test_it_takes_the_place_of_twistds_own(self) -> None:
        for mode in MODES:
            relay = self.relay(mode)
            relay.start("--rundir", "/") if mode in ("foreground", "daemon") else relay.start()
            self.assertEqual(relay.get("/proxy.pac", "proxy")[0], 200)
            self.end(relay)
            self.assertEqual((relay.output(), relay.errors()), ("", ""))
            self.assertFalse((relay.folder / "twistd.log").exists())
            self.assertEqual(stat.S_IMODE(relay.file.stat().st_mode) & ~0o640, 0)
            lines = [json.loads(line) for line in relay.log().splitlines()]
            self.assertTrue(all({"time", "level", "logger"} <= set(line) for line in lines))
            self.assertIn("lanrelay.access", [line["logger"] for line in lines])

    def test_sigusr1_opens_it_anew_and_rotates_nothing(self) -> None:
        for mode in MODES:
            relay = self.relay(mode).start()
            port = self.port(relay)
            relay.signal(SIGUSR1)
            relay.get("/proxy.pac", "proxy")
            self.assertEqual([path.name for path in relay.file.parent.iterdir()], ["relay.log"])
            moved = relay.file.rename(relay.file.with_name("moved"))
            relay.signal(SIGUSR1)
            poll(relay.file.exists, "the new file")
            self.assertFalse("SIGUSR1" in moved.read_text())
            self.patch(relay, "port", lambda listener, port=port: port)
            relay.get("/proxy.pac", "proxy")
            poll(lambda relay=relay: "lanrelay.access" in relay.log(), "a line in it")  # type: ignore[misc]
            self.end(relay)
            self.assertEqual((relay.output(), relay.errors()), ("", ""))

    def test_it_is_rotated_at_its_size_and_jq_reads_it_all(self) -> None:
        jq = shutil.which("jq")
        if jq is None:
            raise SkipTest("jq is not here")
        relay = self.relay(more="rotate: 4KiB, keep: 3").start()
        port = self.port(relay)
        self.patch(relay, "port", lambda listener: port)
        for _ in range(60):
            relay.get("/proxy.pac", "proxy")
        self.end(relay)
        names = sorted(path.name for path in relay.file.parent.iterdir())
        self.assertEqual(names, ["relay.log", "relay.log.1", "relay.log.2", "relay.log.3"])
        for name in names:
            file = relay.file.with_name(name)
            self.assertLessEqual(file.stat().st_size, 4096)
            self.assertEqual(stat.S_IMODE(file.stat().st_mode) & ~0o640, 0)
            done = subprocess.run([jq, "-e", "-c", ".time"], stdin=file.open(), capture_output=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(len(done.stdout.splitlines()), len(file.read_text().splitlines()))

    def test_a_disk_that_is_full_is_borne(self) -> None:
        """A limit of the size of files is like it, partial writes included."""
        if not hasattr(resource, "prlimit"):
            raise SkipTest("prlimit is Linux's")
        relay = self.relay()
        # What is imported late would be cached on the disk that is full.
        relay.variables["PYTHONDONTWRITEBYTECODE"] = "1"
        relay.start()
        relay.get("/proxy.pac", "proxy")
        unlimited = resource.prlimit(relay.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, (6000, unlimited[1]))
        port = self.port(relay)
        self.patch(relay, "port", lambda listener: port)
        for _ in range(40):
            self.assertEqual(relay.get("/proxy.pac", "proxy")[0], 200)
        size = relay.file.stat().st_size
        self.assertLessEqual(size, 6000)
        self.assertEqual(relay.errors().count("cannot be written: File too large"), 1, relay.errors())
        resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, unlimited)
        relay.get("/proxy.pac", "proxy")
        poll(lambda: "lines missing from the log file before this" in relay.log(), "the loss to be told")
        self.end(relay)
        for line in relay.log().splitlines():
            json.loads(line)

    def test_the_command_line_wins(self) -> None:
        relay = Relay(self, CONFIGURATION.format(more="").replace("json", "text"))
        relay.start("--logfile", "-")
        self.assertFalse((relay.folder / "logs").exists())

    def test_a_place_that_is_not_there(self) -> None:
        for mode in MODES:
            relay = Relay(self, CONFIGURATION.format(more=""), mode=mode)
            (line,) = relay.fails()
            self.assertTrue(line.startswith("relay.yaml:1:13: log.file: the log /"), line)
            self.assertIn("logs/relay.log cannot be opened: No such file or directory; change log.file", line)

    def test_it_is_opened_before_any_port_and_said_with_all_else(self) -> None:
        text = (
            CONFIGURATION.format(more="")
            + f"  b: {{type: connect-proxy, listen: '127.0.0.1:{self.taken()}'}}\n"
        )
        for mode in MODES:
            relay = Relay(self, text, mode=mode)
            log, port = relay.fails()
            self.assertTrue(log.startswith("relay.yaml:1:13: log.file: "), log)
            self.assertTrue(port.startswith("listeners.b: 127.0.0.1:"), port)

    def taken(self) -> int:
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port: int = taken.getsockname()[1]
        return port

    def test_a_reload_opens_it_anew(self) -> None:
        for text in (CONFIGURATION.format(more=""), "listeners: wrong"):
            relay = self.relay().start()
            moved = relay.file.rename(relay.file.with_name("moved"))
            relay.configuration.write_text(text)
            relay.signal(signal.SIGHUP)
            poll(partial(_has, relay.file, "reloaded"), "the reload in the new file")
            self.assertNotIn("reloaded", moved.read_text())
            self.end(relay)

    def test_twistd_s_own_is_opened_anew_when_it_has_gone(self) -> None:
        text = CONFIGURATION.format(more="").replace("file: logs/relay.log, format: json", "format: text")
        relay = Relay(self, text, mode="daemon").start()
        file = relay.folder / "twistd.log"
        file.rename(file.with_name("moved"))
        relay.signal(SIGUSR1)
        poll(file.exists, "the new file")
        pid = relay.pid
        relay.signal(SIGTERM)
        relay.wait_daemon(pid)
        self.assertIn("stopped", file.read_text())

    def test_a_reload_may_move_it(self) -> None:
        relay = self.relay().start()
        other = relay.file.with_name("other.log")
        relay.configuration.write_text(CONFIGURATION.format(more="").replace("relay.log", "other.log"))
        relay.signal(signal.SIGHUP)
        poll(partial(_has, other, "reloaded"), "the reload in the new file")
        self.end(relay)


def _has(file: Path, text: str) -> bool:
    return file.exists() and text in file.read_text()
