"""What goes to a package index: it builds, it is sound, and it works however it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from signal import SIGTERM
from zipfile import ZipFile

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.version import __version__
from tests.process.installs import CHECKOUT, Install, built, by_uv, checkout, sdist, wheel
from tests.process.support import Mode, Relay, Upstream

FORWARD = """\
admin: {{listen: "127.0.0.1:0"}}
listeners:
  forward:
    type: tcp-forward
    listen: 127.0.0.1:0
    upstream: tcp://127.0.0.1:{port}
"""

LOOK_UP = """\
import json
from importlib.metadata import version
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
(found,) = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "lanrelay"]
print(json.dumps({"module": found.module, "version": version("lanrelayd")}))
"""


def said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class ArchiveTests(SynchronousTestCase):
    def test_the_index_would_take_them(self) -> None:
        for archive in built():
            self.assertIn("PASSED", said(sys.executable, "-m", "twine", "check", "--strict", str(archive)))

    def test_the_wheel_has_all_of_the_package_and_nothing_else(self) -> None:
        check = [sys.executable, "-m", "check_wheel_contents", "--config", str(CHECKOUT / "pyproject.toml")]
        self.assertIn("OK", said(*check, str(built()[0])))
        with ZipFile(built()[0]) as opened:
            there = {name for name in opened.namelist() if name.startswith("lanrelay/")}
        own = {
            str(path.relative_to(CHECKOUT))
            for path in (CHECKOUT / "lanrelay").rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
        self.assertEqual(there, own)

    def test_it_is_called_lanrelayd_and_brings_lanrelay(self) -> None:
        archive, source = built()
        self.assertEqual(archive.name, f"lanrelayd-{__version__}-py3-none-any.whl")
        self.assertEqual(source.name, f"lanrelayd-{__version__}.tar.gz")
        with ZipFile(archive) as opened:
            names = set(opened.namelist())
            scripts = opened.read(f"lanrelayd-{__version__}.dist-info/entry_points.txt").decode()
        self.assertIn("lanrelay = lanrelay.cli.main:main", scripts)
        self.assertIn("twisted/plugins/lanrelay_plugin.py", names)
        self.assertNotIn("twisted/__init__.py", names)
        self.assertNotIn("twisted/plugins/__init__.py", names)
        with tarfile.open(source) as opened_source:
            top = {name.split("/", 1)[1] for name in opened_source.getnames() if "/" in name}
        self.assertLessEqual({"LICENSE", "README.md", "setup.cfg", "pyproject.toml"}, top)


class InstalledTests(SynchronousTestCase):
    """Each ends in an environment that has nothing of the checkout."""

    def carries(self, install: Install, mode: Mode) -> None:
        upstream = Upstream(self)
        relay = Relay(self, FORWARD.format(port=upstream.port), mode=mode, install=install).start()
        client = relay.connect("forward")
        server = upstream.accept()
        client.sendall(b"up")
        self.assertEqual(server.recv(10), b"up")
        self.assertIn(__version__, relay.get("/")[1].decode())
        self.assertEqual(json.loads(relay.get("/healthz")[1])["version"], __version__)
        client.close()
        server.close()
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        self.assertIn(f"lanrelay {__version__} with ", relay.log())

    def works(self, install: Install) -> None:
        show = subprocess.Popen(
            [*install.lanrelay, "demo", "--once"],
            env=install.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(show.kill)
        self.assertEqual(said(*install.lanrelay, "--version"), f"lanrelay {__version__}\n")
        found = json.loads(said(str(install.python), "-c", LOOK_UP))
        self.assertEqual(found, {"module": "lanrelay.tap", "version": __version__})
        self.carries(install, "run")
        self.carries(install, "foreground")
        shown, _ = show.communicate(timeout=120)
        self.assertEqual(show.returncode, 0, shown)
        self.assertIn(f"lanrelay {__version__} in front of it", shown.splitlines()[0])

    def test_from_the_wheel(self) -> None:
        self.works(wheel())

    def test_from_the_source_distribution(self) -> None:
        self.works(sdist())

    def test_from_the_wheel_by_uv(self) -> None:
        self.works(by_uv())


class VersionTests(SynchronousTestCase):
    def test_a_checkout_that_is_not_installed_knows_it_too(self) -> None:
        install = checkout()
        done = subprocess.run(
            [*install.lanrelay, "--version"], env=install.variables(), capture_output=True, text=True
        )
        self.assertEqual(done.stdout, f"lanrelay {__version__}\n")

    def test_it_has_one_source(self) -> None:
        self.assertIn("version = attr: lanrelay.version.__version__\n", (CHECKOUT / "setup.cfg").read_text())
        for path in (CHECKOUT / "lanrelay").rglob("*.py"):
            if path.name != "version.py":
                self.assertNotIn(f'"{__version__}"', path.read_text(), str(path))
