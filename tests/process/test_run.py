"""C{lanrelay run}, as C{pipx} and C{uv tool} install it: no other program of ours is on C{PATH}."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from signal import SIGHUP, SIGTERM

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.authority import Authority
from tests.process.installs import CHECKOUT, checkout, wheel
from tests.process.support import Pair, Relay, Upstream, forward, poll
from tests.process.test_imports_at_start import CONFIGURATION, NOT_AT_START, interpreter_s_own
from tests.support.ports import free_port
from tests.support.progress import PATIENCE

PROGRAM = """\
import json, sys
from lanrelay.cli import run as command
from lanrelay.cli.main import main
later = command._later
def then(*words):
    later(*words)
    from twisted.internet.base import ReactorBase
    ReactorBase.run = run
def run(self, **keys):
    print("MODULES", json.dumps(sorted(sys.modules)), file=sys.__stdout__)
command._later = then
sys.exit(main(["run", "-c", "relay.yaml"]))
"""

RAISES = """\
import sys
from lanrelay.cli import run as command
from lanrelay.cli.main import main
later = command._later
def then(*words):
    later(*words)
    from twisted.internet.base import ReactorBase
    ReactorBase.run = run
def run(self, **keys):
    raise RuntimeError("the reactor broke")
command._later = then
sys.exit(main(["run", "-c", "relay.yaml"]))
"""

TWISTD_S = (
    *("pdb", "twisted.application.app", "twisted.application.reactors", "twisted.scripts", "twisted.trial"),
    *("email", "http.client", "urllib.request"),
)
"""What twistd imports for its own ends, and Twisted for cookies that the relay has none of."""

LATER = """\
import sys
from lanrelay.cli.run import _later
_later("http", "cookiejar")
from http import cookiejar
assert "urllib.request" not in sys.modules
import http.cookiejar as same
assert same is cookiejar
print(list(cookiejar.CookieJar()), "urllib.request" in sys.modules)
"""


class RunTests(SynchronousTestCase):
    def start(self, configuration: str) -> Relay:
        return Relay(self, configuration, mode="run").start()

    def stop(self, relay: Relay) -> None:
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        self.assertNotIn("Traceback", relay.log() + relay.errors())

    def test_with_nothing_else_on_the_path(self) -> None:
        upstream = Upstream(self)
        port = free_port()
        relay = Relay(self, f"listeners:\n{forward('a', port, upstream)}", mode="run", install=wheel())
        programs = relay.folder / "bin"
        programs.mkdir()
        (programs / "lanrelay").symlink_to(wheel().lanrelay[0])
        relay.variables["PATH"] = str(programs)
        self.patch(relay, "command", lambda *extra: ["lanrelay", "run"])
        path = os.environ["PATH"]
        os.environ["PATH"] = str(programs)  # by which the program is found
        self.addCleanup(os.environ.__setitem__, "PATH", path)
        relay.start()
        Pair(self, port, upstream)
        self.stop(relay)

    def test_the_log_has_no_lines_of_twistd_s_own(self) -> None:
        upstream = Upstream(self)
        relay = self.start(f"listeners:\n{forward('a', 0, upstream)}")
        self.stop(relay)
        first = relay.log().splitlines()[0]
        self.assertIn("[info] lanrelay ", first)
        for words in ("starting up", "reactor class", "Server Shut Down"):
            self.assertNotIn(words, relay.log())
        self.assertEqual(sorted(path.name for path in relay.folder.glob("twistd*")), [])

    def test_the_file_may_be_the_user_s_own_and_watched(self) -> None:
        upstream = Upstream(self)
        relay = Relay(self, "", mode="run")
        own = relay.folder / "config" / "lanrelay" / "relay.yaml"
        own.parent.mkdir(parents=True)
        own.write_text(f"listeners:\n{forward('a', 0, upstream)}")
        relay.variables["XDG_CONFIG_HOME"] = str(relay.folder / "config")
        relay._spawn([*relay.command(), "--watch"], subprocess.DEVNULL)
        relay.ready()
        self.assertIn(f"with {own}", relay.log())
        told = relay.cli("status")
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertIn(str(own), told.stdout.replace("\n", ""))
        whole = own.with_name("whole")
        whole.write_text(f"listeners:\n{forward('b', 0, upstream)}")
        whole.replace(own)
        relay.logged("reloaded: b ")
        told = relay.cli("reload")
        self.assertEqual((told.returncode, told.stderr), (0, f"lanrelay reload: with {own}\n"))
        self.stop(relay)
        twistd = Relay(self, "")
        twistd.variables["LANRELAY_CONFIG"] = str(own)
        twistd._spawn(twistd.command(), subprocess.DEVNULL)
        twistd.ready()
        self.stop(twistd)

    def test_it_imports_less_than_under_twistd(self) -> None:
        relay = Relay(self, CONFIGURATION)
        done = subprocess.run(
            [str(checkout().python), "-c", PROGRAM],
            cwd=relay.folder,
            env={**checkout().variables(), "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("MODULES ")]
        modules = set(json.loads(line.removeprefix("MODULES "))) - interpreter_s_own()
        self.assertIn("lanrelay.listeners.connect_proxy", modules)
        unwanted = {*NOT_AT_START, *TWISTD_S} - {"lanrelay.cli"}
        self.assertEqual(unwanted & modules, set(), done.stderr)
        own = {name for name in modules if name.startswith("lanrelay.cli.")}
        self.assertEqual(own, {f"lanrelay.cli.{name}" for name in ("main", "options", "run", "streams")})

    def test_a_reactor_that_breaks_is_no_success(self) -> None:
        relay = Relay(self, CONFIGURATION)
        done = subprocess.run(
            [str(checkout().python), "-c", RAISES],
            cwd=relay.folder,
            env={**checkout().variables(), "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        self.assertIn("RuntimeError: the reactor broke", done.stdout)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)

    def test_what_is_imported_later_is_there_for_who_needs_it(self) -> None:
        done = subprocess.run(
            [str(checkout().python), "-c", LATER],
            env={**checkout().variables(), "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((done.stdout, done.stderr), ("[] True\n", ""))


class WithoutFileTests(SynchronousTestCase):
    def start(self, *options: str) -> Relay:
        relay = Relay(self, "", mode="run")
        relay._spawn([*relay.command(), *options], subprocess.DEVNULL)
        relay.ready()
        return relay

    def test_a_port_that_is_derived_and_the_same_the_next_time(self) -> None:
        upstream = Upstream(self)
        ports = set()
        for _ in range(2):
            relay = self.start("--to", f"tcp://127.0.0.1:{upstream.port}")
            port = relay.port("relay")
            ports.add(port)
            self.assertIn(f"Clients are to have localhost:{port}\n", relay.errors())
            Pair(self, port, upstream)
            relay.signal(SIGTERM)
            self.assertEqual(relay.wait(), 0)
        self.assertEqual(len(ports), 1)
        self.assertTrue(28100 <= port <= 28999)
        with socket.create_server(("127.0.0.1", port)):
            relay = self.start("--to", f"tcp://127.0.0.1:{upstream.port}")
            self.assertEqual(relay.port("relay"), port + 1 if port < 28999 else 28100)

    def test_https_with_a_ca_that_is_named_from_here(self) -> None:
        openssl = shutil.which("openssl")
        assert openssl is not None
        port = free_port()
        relay = Relay(self, "", mode="run")
        authority = Authority(relay.folder)
        issued = authority.issue("localhost")
        server = subprocess.Popen(
            [openssl, "s_server", "-accept", str(port), "-cert", issued.cert, "-key", issued.key, "-www"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        listen = free_port()
        words = [
            "--to",
            f"https://localhost:{port}/mcp",
            "--listen",
            str(listen),
            "--ca",
            authority.root.name,
        ]
        relay._spawn([*relay.command(), *words], subprocess.DEVNULL)
        relay.ready()
        self.assertEqual(relay.errors(), f"Clients are to have http://localhost:{listen}/mcp\n")
        poll(lambda: relay.get("/", "relay")[0] == 200 or None, "an answer of the server")
        relay.signal(SIGHUP)
        relay.logged("not reloaded: ")
        self.assertEqual(relay.get("/", "relay")[0], 200)
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)

    def test_what_is_wrong_is_the_option_s(self) -> None:
        relay = Relay(self, "", mode="run")
        for words, expected in (
            (("--to", "nas.lan"), '--to: found "nas.lan", expected http://'),
            (("--to", "https://nas.lan?x"), "--to: found"),
            (("--to", "tcp://nas.lan"), "--to: found"),
            (("--to", "https://nas.lan", "--pin", "x"), '--pin: found "x"'),
            (("--to", "https://nas.lan", "--listen", "x"), '--listen: found "x"'),
            (("--to", "https://nas.lan", "--listen", "0.0.0.0:80"), "--listen: found"),
            (("--to", "https://nas.lan", "--ca", "a", "--pin", "b"), "not allowed with"),
            (("--to", "https://nas.lan", "-c", "relay.yaml"), "--to does without"),
            (("--ca", "a"), "--ca goes with --to"),
        ):
            told = relay.cli("run", *words)
            self.assertEqual((told.returncode, told.stdout), (2, ""), told.stderr)
            self.assertIn(expected, told.stderr)
            self.assertNotIn("Traceback", told.stderr)
        told = relay.cli("run", "--to", "https://nas.lan", "--ca", "nowhere.pem")
        self.assertEqual((told.returncode, told.stdout), (1, ""))
        self.assertIn(f"tls.ca: there is no file {relay.folder}/nowhere.pem", told.stderr)

    def test_ctrl_c_while_it_starts_is_no_failure(self) -> None:
        relay = Relay(self, "", mode="run")
        relay._spawn([*relay.command(), "--to", f"tcp://127.0.0.1:{free_port()}"], subprocess.DEVNULL)
        poll(lambda: "Clients are to have" in relay.errors(), "the line before Twisted is imported")
        assert relay.process is not None
        relay.process.send_signal(signal.SIGINT)
        self.assertIn(relay.process.wait(PATIENCE), (0, 130, -signal.SIGINT))
