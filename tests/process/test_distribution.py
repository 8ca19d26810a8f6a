"""What goes to a package index: it builds, it is sound, and it works however it is installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from email.parser import Parser
from signal import SIGTERM
from zipfile import ZipFile

import readme_renderer.markdown
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lanrelay.version import __version__
from tests.process.installs import (
    CHECKOUT,
    Install,
    Unreachable,
    built,
    by_uv,
    by_uv_with,
    checkout,
    other_pythons,
    sdist,
    wheel,
)
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
            shown = said(sys.executable, "-m", "twine", "check", "--strict", str(archive))
            self.assertIn("PASSED", shown)
            self.assertNotIn("not available", shown)  # it has no eyes without a renderer

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
        self.assertLessEqual({"LICENSE", "README.md", "setup.cfg", "setup.py", "pyproject.toml"}, top)

    def test_it_can_be_found_and_says_for_which_pythons_it_is(self) -> None:
        with ZipFile(built()[0]) as opened:
            metadata = Parser().parsestr(opened.read(f"lanrelayd-{__version__}.dist-info/METADATA").decode())
        self.assertLessEqual({"mcp", "http-proxy", "private-ca"}, set(metadata["Keywords"].split(",")))
        self.assertEqual(metadata["Requires-Python"], ">=3.10")
        pythons = [one for one in metadata.get_all("Classifier") or () if ":: Python :: 3." in one]
        self.assertEqual([one.rpartition(".")[2] for one in pythons], ["10", "11", "12", "13", "14"])

    def test_the_description_leads_to_nothing_that_is_not_there(self) -> None:
        """No file is beside it on the index: it names files, and they are in the source distribution."""
        archive, source = built()
        with ZipFile(archive) as opened:
            metadata = opened.read(f"lanrelayd-{__version__}.dist-info/METADATA").decode()
        shown = metadata.partition("\n\n")[2]
        self.assertIn("uv tool install lanrelayd", shown)
        html = readme_renderer.markdown.render(shown)
        assert html is not None  # the index would show the bare text
        places = re.findall(r'(?:href|src)="([^"]*)"', html)
        self.assertEqual(
            [place for place in places if not place.startswith(("https://", "http://", "#"))], []
        )
        with tarfile.open(source) as opened_source:
            files = {name.split("/", 1)[1] for name in opened_source.getnames() if "/" in name}
        readme = (CHECKOUT / "README.md").read_text()
        led_to = {
            place.partition("#")[0]
            for place in re.findall(r"\]\(([^)]*)\)", readme)
            if not place.startswith("http")
        }
        self.assertGreater(len(led_to), 20)
        self.assertEqual(led_to - files, set())
        self.assertEqual({place for place in led_to if place not in shown}, {"docs/pictures/page.png"})


def carries(test: SynchronousTestCase, install: Install, mode: Mode) -> None:
    upstream = Upstream(test)
    relay = Relay(test, FORWARD.format(port=upstream.port), mode=mode, install=install).start()
    client = relay.connect("forward")
    server = upstream.accept()
    client.sendall(b"up")
    test.assertEqual(server.recv(10), b"up")
    test.assertIn(__version__, relay.get("/")[1].decode())
    test.assertEqual(json.loads(relay.get("/healthz")[1])["version"], __version__)
    client.close()
    server.close()
    relay.signal(SIGTERM)
    test.assertEqual(relay.wait(), 0)
    test.assertIn(f"lanrelay {__version__} with ", relay.log())


def works(test: SynchronousTestCase, install: Install) -> None:
    """The demonstration, C{run}, C{twistd}, and the look-up of plugins by which the last finds us."""
    show = subprocess.Popen(
        [*install.lanrelay, "demo", "--once"],
        env=install.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    test.addCleanup(show.kill)
    test.assertEqual(said(*install.lanrelay, "--version"), f"lanrelay {__version__}\n")
    found = json.loads(said(str(install.python), "-c", LOOK_UP))
    test.assertEqual(found, {"module": "lanrelay.tap", "version": __version__})
    carries(test, install, "run")
    carries(test, install, "foreground")
    shown, _ = show.communicate(timeout=120)
    test.assertEqual(show.returncode, 0, shown)
    test.assertIn(f"lanrelay {__version__} in front of it", shown.splitlines()[0])


class InstalledTests(SynchronousTestCase):
    """Each ends in an environment that has nothing of the checkout."""

    def test_from_the_wheel(self) -> None:
        works(self, wheel())

    def test_from_the_source_distribution(self) -> None:
        works(self, sdist())

    def test_from_the_wheel_by_uv(self) -> None:
        works(self, by_uv())


class OtherPythonsTests(SynchronousTestCase):
    """The same with the other interpreters that this machine has, and with what the index has for them."""

    def test_every_one_that_is_here(self) -> None:
        pythons = other_pythons()
        if not pythons:
            raise SkipTest("there is no other interpreter")
        for version, python in pythons.items():
            try:
                install = by_uv_with(python)
            except Unreachable as error:
                raise SkipTest(f"the index cannot be reached: {error}") from None
            found = said(str(install.python), "-c", "import sys; print(*sys.version_info[:2], sep='.')")
            self.assertEqual(found.strip(), version)
            said(str(install.python), "-c", LOOK_UP)
            carries(self, install, "run")


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
