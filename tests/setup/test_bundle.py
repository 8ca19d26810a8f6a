"""The app bundle of the relay's own: its files, and the touch of the LAN that has macOS ask."""

from __future__ import annotations

import plistlib
import shutil
import sys
import tempfile
from ipaddress import IPv4Address
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.commands import Output, run
from lanrelay.errors import StartError
from lanrelay.setup.bundle import Python, ask_python, bundle_files, command_of, is_ours, try_copy
from lanrelay.setup.files import write
from lanrelay.setup.first_touch import neighbours, touch_once
from lanrelay.setup.launchd import AppAgent
from lanrelay.setup.mode import Step
from tests.examine.support import Said
from tests.setup.support import Commands, machine
from tests.support.macos import recorded

COMMAND = ["/my folder/it's/twistd", "-n", "--pidfile=", "lanrelay", "-c", '/a "b" \\c/relay.yaml']


class BundleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="lanrelay test "))
        self.addCleanup(shutil.rmtree, self.home)
        self.mode = AppAgent(machine(self.home, "darwin"))
        self.mode.look_at(Path(sys.executable), run)
        self.bundle = self.home / "Applications/lanrelay.app"

    def test_what_the_app_says_of_itself(self) -> None:
        info, program, launcher, _ = self.mode.files(COMMAND)
        self.assertEqual(info.path, self.bundle / "Contents/Info.plist")
        said = plistlib.loads(info.content)
        self.assertEqual((said["CFBundleIdentifier"], said["LSUIElement"]), ("lanrelay.app", True))
        self.assertEqual(said["CFBundlePackageType"], "APPL")
        self.assertTrue(said["NSLocalNetworkUsageDescription"].endswith("."))
        self.assertEqual(program.path, self.bundle / "Contents/MacOS" / said["CFBundleExecutable"])
        self.assertEqual((program.mode, program.content[:4]), (0o755, Path(sys.executable).read_bytes()[:4]))
        compile(launcher.content, "launcher.py", "exec")

    def test_the_agent_belongs_to_the_app(self) -> None:
        self.mode.drain = 60
        agent = plistlib.loads(self.mode.files(COMMAND)[-1].content)
        self.assertEqual(agent["AssociatedBundleIdentifiers"], ["lanrelay.app"])
        program, option, launcher, *arguments = agent["ProgramArguments"]
        self.assertEqual(program, str(self.bundle / "Contents/MacOS/lanrelay"))
        self.assertEqual((option, arguments), ("-S", COMMAND[1:]))
        self.assertEqual(launcher, str(self.bundle / "Contents/Resources/launcher.py"))
        self.assertEqual(agent["EnvironmentVariables"], {"PYTHONHOME": sys.base_prefix})
        self.assertEqual(agent["ExitTimeOut"], 65)

    def test_the_program_of_a_framework_is_the_one_in_its_app(self) -> None:
        """The one in C{bin} would start that, and be the relay no longer."""
        own = self.home / "Resources/Python.app/Contents/MacOS/Python"
        own.parent.mkdir(parents=True)
        own.touch()
        framework = self.home / "python"
        framework.write_text(
            f"#!/bin/sh\nexec {sys.executable} -c \"import sys; sys.base_prefix = '{self.home}'; $2\"\n"
        )
        framework.chmod(0o755)
        found = ask_python(framework, run)
        self.assertEqual((found.program, found.prefix), (str(own), str(self.home)))

    def test_the_home_of_the_copy_is_not_that_of_what_it_starts(self) -> None:
        site = self.home / "it's/site"
        (site / "lanrelay").mkdir(parents=True)
        (site / "lanrelay/__init__.py").touch()
        (site / "lanrelay/tap.py").write_text(
            "import os, sys\nprint(sys.executable, os.environ.get('PYTHONHOME'), sys.prefix)\n"
        )
        real = ask_python(Path(sys.executable), run)
        for file in bundle_files(
            self.bundle, Python("/venv/python", real.program, real.prefix, (str(site),)), Path("m"), "1"
        ):
            write(file)
        words = command_of(self.bundle, ["--check"])
        done = run(["env", "-i", f"PYTHONHOME={real.prefix}", *words])
        self.assertEqual(done.output, f"/venv/python None {real.prefix}\n", done.errors)

    def test_a_python_that_does_not_run_from_a_copy_is_refused_first(self) -> None:
        real = ask_python(Path(sys.executable), run)
        try_copy(real, run)
        beside = self.home / "python"  # it looks for what lies beside it
        beside.write_text('#!/bin/sh\ntest -e "${0%/*}/library" || { echo no library >&2; exit 1; }\n')
        beside.chmod(0o755)
        (self.home / "library").touch()
        error = self.assertRaises(StartError, try_copy, Python("/p", str(beside), real.prefix, ()), run)
        self.assertIn("does not run from a copy: no library", str(error))

    def test_a_python_that_says_nothing(self) -> None:
        error = self.assertRaises(StartError, ask_python, Path("/p"), Commands())
        self.assertIn("/p does not say", str(error))

    def test_another_app_of_this_name_is_left_alone(self) -> None:
        self.bundle.mkdir(parents=True)
        (sentence,) = self.mode.obstacles(Path("/x/relay.yaml"), COMMAND)
        self.assertIn("another app", sentence)
        self.assertEqual(self.mode.remove_more(), [])
        self.assertTrue(self.bundle.exists())

    def test_ours_is_removed(self) -> None:
        for file in self.mode.files(COMMAND)[:-1]:
            write(file)
        self.assertTrue(is_ours(self.bundle))
        self.assertEqual(self.mode.obstacles(Path("/x/relay.yaml"), COMMAND), [])
        self.assertEqual(self.mode.remove_more(), [f"{self.bundle} is removed."])
        self.assertFalse(self.bundle.exists())

    def test_it_is_signed_and_tried_before_anything_is_stopped(self) -> None:
        def is_like(step: Step, *words: str) -> bool:
            return step.words[: len(words)] == words

        steps = self.mode.start()
        self.assertTrue(is_like(steps[0], "codesign", "--force", "--sign", "-", str(self.bundle)))
        self.assertFalse(steps[0].needed)
        self.assertEqual(steps[1].words[-1], "--check")
        self.assertTrue(steps[1].needed)
        (stopped,) = [at for at, step in enumerate(steps) if is_like(step, "launchctl", "bootout")]
        self.assertGreater(stopped, 1)


class TouchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def test_a_neighbour_on_each_network_that_can_be_broadcast_to(self) -> None:
        self.assertEqual(neighbours(recorded("ifconfig_en0")), [IPv4Address("192.168.1.1")])
        router = recorded("ifconfig_en0").replace("192.168.1.6", "192.168.1.1")
        self.assertEqual(neighbours(router), [IPv4Address("192.168.1.2")])
        tunnel = "utun4: flags=8051<UP,POINTOPOINT,RUNNING> mtu 1\n\tinet 10.2.0.2 netmask 0xffffff00\n"
        self.assertEqual(neighbours(tunnel), [])
        self.assertEqual(neighbours("ifconfig: not here"), [])

    def test_it_is_done_once(self) -> None:
        marker = self.folder / "lanrelay/lan-touched"
        ask = Said({("ifconfig",): Output(0, recorded("ifconfig_en0"))})
        sent: list[IPv4Address] = []
        for _ in range(2):
            touch_once(str(marker), run=ask, send=sent.append)
        self.assertEqual(sent, [IPv4Address("192.168.1.1")])

    def test_a_network_that_is_not_there_yet_is_touched_later(self) -> None:
        marker = self.folder / "lan-touched"
        self.assertEqual(touch_once(str(marker), run=Said({}), send=self.fail), [])
        self.assertFalse(marker.exists())


class PythonTests(SynchronousTestCase):
    def test_this_one(self) -> None:
        found = ask_python(Path(sys.executable), run)
        self.assertEqual(found.prefix, sys.base_prefix)
        self.assertTrue(any((Path(folder) / "twisted").is_dir() for folder in found.folders))
        self.assertIsInstance(found, Python)
