"""Who asks a running relay to reload: a command, a signal, a changed file; and the socket it is asked by."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
from signal import SIGCONT, SIGHUP, SIGSTOP, SIGTERM

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lanrelay.version import __version__
from tests.process.support import Mode, Pair, Relay, Upstream, forward
from tests.support.ports import free_port
from tests.support.progress import PATIENCE


class ControlTests(SynchronousTestCase):
    def start(self, body: str, *, mode: Mode = "foreground", options: tuple[str, ...] = ()) -> Relay:
        relay = Relay(self, f"listeners:\n{body}", mode=mode)
        relay.options = list(options)
        return relay.start()

    def stop(self, relay: Relay) -> None:
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        self.assertNotIn("Traceback", relay.log())
        self.assertFalse(list((relay.folder / "lanrelay").iterdir()), "the socket is taken away")

    def reload(self, relay: Relay, body: str) -> list[str]:
        """What has changed."""
        changes: list[str] = relay.reload(f"listeners:\n{body}")["changes"]
        return changes

    def test_the_command_waits_for_the_outcome(self) -> None:
        upstream = Upstream(self)
        port = free_port()
        relay = self.start(forward("a", port, upstream))
        relay.configuration.write_text(f"listeners:\n{forward('b', port, upstream)}")
        told = relay.cli("reload", "-c", "relay.yaml")
        self.assertEqual((told.returncode, told.stdout), (0, "b stands for a\nReloaded.\n"), told.stderr)
        told = relay.cli("reload", "-c", str(relay.configuration))
        self.assertEqual((told.returncode, told.stdout), (0, "Reloaded: nothing has changed.\n"))
        self.stop(relay)
        told = relay.cli("reload", "-c", "relay.yaml")
        self.assertEqual(
            (told.returncode, told.stderr),
            (
                1,
                "lanrelay reload: No relay is running with relay.yaml. `lanrelay run -c relay.yaml` "
                "starts one; `lanrelay service install` has the system do it.\n",
            ),
        )

    def test_a_daemon_reloads_at_sighup(self) -> None:
        upstream = Upstream(self)
        before, after = free_port(), free_port()
        relay = self.start(forward("a", before, upstream), mode="daemon")
        relay.wait()
        pid = relay.pid
        pair = Pair(self, before, upstream)
        relay.configuration.write_text(f"listeners:\n{forward('a', after, upstream)}")
        relay.signal(SIGHUP)
        relay.logged("reloaded: a has changed")
        pair.check()
        Pair(self, after, upstream)
        pair.client.close()
        relay.signal(SIGTERM)
        relay.wait_daemon(pid)
        self.assertFalse(list((relay.folder / "lanrelay").iterdir()))

    def test_a_changed_file_is_noticed_and_half_a_file_is_survived(self) -> None:
        upstream = Upstream(self)
        before, after = free_port(), free_port()
        relay = Relay(
            self, f"log: {{level: '${{file:level}}'}}\nlisteners:\n{forward('a', before, upstream)}"
        )
        (relay.folder / "level").write_text("info")
        relay.options = ["--watch"]
        relay.start()
        text = f"log: {{level: '${{file:level}}'}}\nlisteners:\n{forward('a', after, upstream)}"
        relay.configuration.write_text(text[: len(text) // 2])
        relay.logged("--watch: reading .*\n.*not reloaded: ")
        relay.configuration.write_text(text)
        relay.logged("reloaded: a has changed")
        Pair(self, after, upstream)
        whole = relay.folder / "whole"
        whole.write_text(text.replace("  a:", "  b:"))
        os.replace(whole, relay.configuration)
        relay.logged("reloaded: b stands for a")
        (relay.folder / "level").write_text("debug")
        relay.logged("reloaded: log has changed")
        self.stop(relay)

    def test_a_second_relay_with_the_same_file_is_told_of_the_first(self) -> None:
        upstream = Upstream(self)
        relay = self.start(forward("a", free_port(), upstream))
        (relay.folder / "wrong.pem").write_text("this is no certificate\n")
        wrong = forward("c", 0, upstream, ", tls: {cert: wrong.pem, key: wrong.pem}")
        relay.configuration.write_text(relay.configuration.read_text() + wrong)
        socket_of_first = relay.control
        second = subprocess.run(
            [*relay.command("--pidfile="), "-c", "relay.yaml"],
            cwd=relay.folder,
            env={**relay.install.variables(), "XDG_RUNTIME_DIR": str(relay.folder)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        self.assertEqual(second.returncode, 1)
        (line,) = second.stderr.splitlines()
        said = f"control: another relay has unix:{socket_of_first}, pid {relay.pid}; "
        self.assertTrue(line.startswith(said), line)
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)

    def test_a_socket_that_a_crash_left_is_replaced(self) -> None:
        upstream = Upstream(self)
        relay = self.start(forward("a", 0, upstream))
        path = relay.control
        assert relay.process is not None
        relay.process.kill()
        relay.process.wait()
        self.assertTrue(path.exists())
        relay.start()
        self.assertEqual(relay.ask("hello")["pid"], relay.pid)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_the_control_socket_can_be_moved_and_switched_off(self) -> None:
        upstream = Upstream(self)
        body = f"listeners:\n{forward('a', 0, upstream)}"
        relay = Relay(self, body).start()
        relay.configuration.write_text(f"control: unix:my.sock\n{body}")
        default = relay.control
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(str(default))
            asking.sendall(b'{"method": "reload"}\n')
            self.assertTrue(json.loads(asking.makefile().readline())["result"]["ok"])
        self.assertFalse(default.exists())
        told = relay.cli("status", "-c", "relay.yaml")
        self.assertEqual(told.returncode, 0, told.stderr)
        relay.configuration.write_text(f"control: off\n{body}")
        relay.signal(SIGHUP)
        relay.logged("reloaded: control was removed")
        self.assertFalse((relay.folder / "my.sock").exists())
        told = relay.cli("status", "-c", "relay.yaml")
        self.assertEqual(told.returncode, 1)
        self.assertIn("control: off", told.stderr)


class CommandTests(SynchronousTestCase):
    """C{lanrelay status} and C{lanrelay probe} with a relay that runs, and with none."""

    def setUp(self) -> None:
        self.upstream = Upstream(self)
        port = self.upstream.port
        self.closed = free_port()
        self.relay = Relay(
            self,
            "admin: {listen: '127.0.0.1:0'}\nlisteners:\n"
            f"  good: {{type: tcp-forward, listen: '127.0.0.1:0', upstream: 'tcp://127.0.0.1:{port}'}}\n"
            f"  bad: {{type: tcp-forward, listen: '127.0.0.1:0', upstream: 'tcp://127.0.0.1:{self.closed}'}}\n"
            "  proxy: {type: connect-proxy, listen: '127.0.0.1:0'}\n",
        ).start()

    def test_status_fits_the_terminal(self) -> None:
        for columns in (80, 40):
            told = self.relay.cli("status", "-c", "relay.yaml", columns=columns)
            self.assertEqual(told.returncode, 0, told.stderr)
            self.assertLessEqual(max(map(len, told.stdout.splitlines())), columns)
            self.assertIn(f"lanrelay {__version__}, pid {self.relay.pid}", told.stdout)
            self.assertRegex(told.stdout, r"(?m)^good +listens +0 ")

    def test_status_for_programs_is_the_document_of_the_page(self) -> None:
        told = self.relay.cli("status", "--json", "-c", "relay.yaml")
        document = json.loads(told.stdout)
        _, body = self.relay.get("/status.json")
        self.assertEqual(set(document), set(json.loads(body)))
        self.assertEqual(document["pid"], self.relay.pid)

    def test_status_again_and_again_until_the_relay_ends(self) -> None:
        watching = subprocess.Popen(
            [
                str(self.relay.install.python),
                "-m",
                "lanrelay.cli.main",
                "status",
                "--watch",
                "-c",
                "relay.yaml",
            ],
            cwd=self.relay.folder,
            env={**self.relay.install.variables(), "XDG_RUNTIME_DIR": str(self.relay.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(watching.kill)
        assert watching.stdout is not None
        seen = 0
        while seen < 2:
            seen += "pid" in watching.stdout.readline()
        self.relay.signal(SIGTERM)
        self.assertEqual(self.relay.wait(), 0)
        _, errors = watching.communicate(timeout=PATIENCE)
        self.assertEqual(watching.returncode, 1)
        self.assertIn("No relay is running with relay.yaml.", errors)

    def test_probe_shows_each_layer_as_the_relay_sees_it(self) -> None:
        told = self.relay.cli("probe", "good", "-c", "relay.yaml")
        self.assertEqual(told.returncode, 0, told.stderr)
        url = f"tcp://127.0.0.1:{self.upstream.port}"
        self.assertIn(f"good  {url}  (from the service)", told.stdout)
        self.assertRegex(
            told.stdout, rf"(?m)^  connect +ok .* 127\.0\.0\.1:{self.upstream.port} took the conn"
        )
        self.assertTrue(told.stdout.endswith("No problems found.\n"), told.stdout)

    def test_probe_explains_a_failure(self) -> None:
        url = f"tcp://127.0.0.1:{self.closed}"
        told = self.relay.cli("probe", url, "-c", "relay.yaml")
        self.assertEqual(told.returncode, 1)
        self.assertIn("FAILED", told.stdout)
        self.assertIn(f"Something is wrong with: {url}.", told.stdout)
        told = self.relay.cli("probe", "bad", "--json", "-c", "relay.yaml")
        self.assertEqual(told.returncode, 1)
        (target,) = json.loads(told.stdout)["targets"]
        self.assertEqual((target["ok"], target["from"], target["listener"]), (False, "service", "bad"))
        (failed,) = [check for check in target["checks"] if check["state"] == "failed"]
        self.assertEqual((failed["layer"], failed["cause"]), ("connect", "refused"))
        self.assertEqual(failed["facts"]["address"], f"127.0.0.1:{self.closed}")

    def test_probe_of_what_is_no_upstream(self) -> None:
        for name, words in (("proxy", "wherever its clients ask"), ("nobody", "the name of a listener")):
            told = self.relay.cli("probe", name, "-c", "relay.yaml")
            self.assertEqual((told.returncode, told.stdout), (1, ""))
            self.assertIn(words, told.stderr)

    def test_doctor_shows_both_sides_where_a_relay_runs(self) -> None:
        told = self.relay.cli("doctor", "--json", "-c", "relay.yaml")
        document = json.loads(told.stdout)
        self.assertEqual((told.returncode, document["ok"]), (1, False))
        seen = [(one["listener"], one["from"], one["ok"]) for one in document["targets"]]
        self.assertEqual(
            sorted(seen),
            [
                ("bad", "here", False),
                ("bad", "service", False),
                ("good", "here", True),
                ("good", "service", True),
            ],
        )
        states = {check["layer"]: (check["state"], check["cause"]) for check in document["machine"]}
        self.assertEqual(states["relay"], ("ok", None))
        self.assertEqual(states["ports"], ("ok", None))
        told = self.relay.cli("doctor", "good", "-c", "relay.yaml")
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertIn("(from here and from the service)", told.stdout)

    def test_doctor_with_a_file_that_the_relay_has_not_read_yet(self) -> None:
        text = self.relay.configuration.read_text().replace("  good:", "  fresh:")
        self.relay.configuration.write_text(text)
        document = json.loads(self.relay.cli("doctor", "fresh", "--json", "-c", "relay.yaml").stdout)
        self.assertEqual([(one["from"], one["ok"]) for one in document["targets"]], [("here", True)])
        (relay,) = document["machine"]
        self.assertEqual((relay["layer"], relay["state"], document["ok"]), ("relay", "warn", True))
        self.assertIn("lanrelay reload", relay["remedy"])
        document = json.loads(self.relay.cli("doctor", "--json", "-c", "relay.yaml").stdout)
        (relay,) = [check for check in document["machine"] if check["layer"] == "relay"]
        self.assertEqual((relay["state"], relay["cause"]), ("failed", "wrong_config"))
        self.assertIn("fresh", relay["said"])

    def test_doctor_asks_the_relay_for_many_targets(self) -> None:
        words = [f"tcp://127.0.0.1:{self.upstream.port}"] + [
            f"http://127.0.0.1:{self.closed}/{'x' * 900}{n}" for n in range(70)
        ]
        told = self.relay.cli("doctor", *words, "--from", "service", "--json", "-c", "relay.yaml")
        document = json.loads(told.stdout)
        self.assertEqual(len(document["targets"]), len(words), told.stderr)
        self.assertEqual([one["ok"] for one in document["targets"]], [True] + [False] * 70)

    def test_doctor_without_a_relay_looks_from_here(self) -> None:
        self.relay.signal(SIGTERM)
        self.assertEqual(self.relay.wait(), 0)
        document = json.loads(self.relay.cli("doctor", "--json", "-c", "relay.yaml").stdout)
        self.assertEqual({one["from"] for one in document["targets"]}, {"here"})
        (relay,) = [check for check in document["machine"] if check["layer"] == "relay"]
        self.assertEqual((relay["state"], relay["cause"]), ("failed", "not_running"))
        self.assertIn("lanrelay run -c", relay["remedy"])
        told = self.relay.cli("doctor", "good", "--from", "service", "--json", "-c", "relay.yaml")
        self.assertEqual(told.returncode, 1)
        self.assertIn("No relay is running", json.loads(told.stdout)["error"])

    def test_no_relay_is_a_plain_sentence(self) -> None:
        (self.relay.folder / "other.yaml").write_text("listeners: {}\n")
        for command in (("status",), ("reload",), ("probe", "x")):
            told = self.relay.cli(*command, "-c", "other.yaml")
            self.assertEqual((told.returncode, told.stdout), (1, ""))
            said = f"lanrelay {command[0]}: No relay is running with other.yaml. "
            self.assertEqual(told.stderr[: len(said)], said)
            self.assertIn("`lanrelay run -c other.yaml` starts one", told.stderr)
            self.patch(self.relay, "variables", {"XDG_CONFIG_HOME": str(self.relay.folder / "nowhere")})
            told = self.relay.cli(*command)
            self.assertEqual((told.returncode, told.stdout), (1, ""))
            self.assertIn("There is no configuration: -c names one", told.stderr)
            self.assertIn("`lanrelay setup` makes one.", told.stderr)
            told = self.relay.cli(*command, "-c", "nowhere.yaml")
            self.assertEqual(told.stderr, f"lanrelay {command[0]}: There is no file nowhere.yaml.\n")

    def test_at_a_terminal_a_relay_that_takes_its_time_is_waited_for_aloud(self) -> None:
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        self.relay.signal(SIGSTOP)
        self.addCleanup(self.relay.signal, SIGCONT)
        asked = subprocess.Popen(
            [*self.relay.install.lanrelay, "status", "-c", "relay.yaml"],
            cwd=self.relay.folder,
            env={**self.relay.install.variables(), "XDG_RUNTIME_DIR": str(self.relay.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.close(theirs)
        self.assertEqual(os.read(ours, 1000), b"Waiting for the relay ...\r\n")
        self.relay.signal(SIGCONT)
        said, _ = asked.communicate(timeout=PATIENCE)
        self.assertEqual(asked.returncode, 0)
        self.assertIn(b"LISTENER", said)

    def test_somebody_elses_socket_is_not_believed(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root can give a file away")
        path = self.relay.control
        for other in (path, path.parent):
            os.chown(other, 65534, -1)
            for command in (("status",), ("reload",), ("probe", "good")):
                told = self.relay.cli(*command, "-c", "relay.yaml")
                self.assertEqual((told.returncode, told.stdout), (1, ""))
                self.assertIn("belongs to another user", told.stderr)
            os.chown(other, 0, -1)
        self.assertEqual(self.relay.cli("status", "-c", "relay.yaml").returncode, 0)

    def test_the_commands_are_quick_because_they_import_little(self) -> None:
        program = (
            "import sys; from lanrelay.cli.main import main; main(['status', '-c', 'relay.yaml']);"
            "print([name for name in ('twisted', 'yaml', 'zope', 'OpenSSL') if name in sys.modules])"
        )
        told = subprocess.run(
            [str(self.relay.install.python), "-c", program],
            cwd=self.relay.folder,
            env={**self.relay.install.variables(), "XDG_RUNTIME_DIR": str(self.relay.folder)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertTrue(told.stdout.endswith("\n[]\n"), told.stdout + told.stderr)
