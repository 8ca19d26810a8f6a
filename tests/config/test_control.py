from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.control import LONGEST, default_paths, paths_of_file


class DefaultTests(SynchronousTestCase):
    def folders(self, *, platform: str = "linux", home: str = "/home/me", **environment: str) -> list[str]:
        paths = default_paths(
            Path("/etc/relay.yaml"), environment=environment, platform=platform, uid=7, home=Path(home)
        )
        self.assertEqual(len({path.name for path in paths}), 1)
        return [str(path.parent) for path in paths]

    def test_in_a_folder_of_the_user_that_is_gone_after_the_next_boot(self) -> None:
        last = ["/run/user/7/lanrelay", "/tmp/lanrelay-7"]
        self.assertEqual(self.folders(), last)
        self.assertEqual(self.folders(XDG_RUNTIME_DIR="/x"), ["/x/lanrelay", *last])
        self.assertEqual(self.folders(XDG_RUNTIME_DIR="/run/user/7"), last)
        self.assertEqual(self.folders(XDG_RUNTIME_DIR="relative"), last)
        self.assertEqual(self.folders(RUNTIME_DIRECTORY="/run/a:/run/b"), ["/run/a", *last])
        self.assertEqual(
            self.folders(platform="darwin", XDG_RUNTIME_DIR="/x"),
            ["/home/me/Library/Application Support/lanrelay", "/tmp/lanrelay-7"],
        )

    def test_a_folder_that_is_too_deep_for_a_socket_is_passed_over(self) -> None:
        deep = "/" + "x" * 90
        self.assertEqual(self.folders(XDG_RUNTIME_DIR=deep)[0], "/run/user/7/lanrelay")
        self.assertEqual(self.folders(platform="darwin", home=deep), ["/tmp/lanrelay-7"])
        for path in default_paths(Path("/" + "y" * 300), environment={}):
            self.assertLessEqual(len(os.fsencode(path)), LONGEST)

    def test_one_for_each_file_however_it_is_named(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, folder)
        self.addCleanup(os.chdir, os.getcwd())
        (folder / "real").mkdir()
        (folder / "link").symlink_to("real")
        os.chdir(folder / "real")

        def name(path: str | Path) -> str:
            return default_paths(Path(path), environment={}, uid=7)[0].name

        first = name(folder / "real" / "relay.yaml")
        self.assertEqual(name("relay.yaml"), first)
        self.assertEqual(name("../real/./relay.yaml"), first)
        self.assertEqual(name(folder / "link" / "relay.yaml"), first)
        self.assertNotEqual(name("other.yaml"), first)
        self.assertNotEqual(name(folder / "relay.yaml"), first)
        self.assertRegex(name("/etc/my relay\n.yaml"), r"^my-relay--[0-9a-f]{16}\.sock$")


class OfFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "relay.yaml"

    def paths(self, text: str, **environment: str) -> tuple[Path, ...]:
        self.file.write_text(text)
        return paths_of_file(self.file, environment=environment)

    def test_a_file_that_says_where(self) -> None:
        named = (self.folder / "my.sock",)
        for text in (
            "control: unix:my.sock\n",
            "listeners:\n  one: {}\ncontrol: 'my.sock'  # here\n",
            "{control: 'unix:my.sock', listeners: {}}",
            "control: unix:${NAME}.sock\n",
            "control: unix:my.sock\nlisteners: [\n",  # the rest is wrong, so it is read by itself
        ):
            self.assertEqual(self.paths(text, NAME="my"), named, text)
        self.assertEqual(self.paths("control: off\n"), ())
        self.assertEqual(self.paths("control: []\nlisteners: {{\n"), ())

    def test_a_file_that_says_nothing_or_nothing_that_can_be_read(self) -> None:
        usual = default_paths(self.file, environment={})
        for text in (
            "listeners: {}\n",
            "# control: unix:my.sock\n",
            "listeners: {a: {control: unix:my.sock}}\n",
            "control: {}\n",
            "control: unix:${UNSET}\n",
            "\x00control",
            "",
        ):
            self.assertEqual(self.paths(text)[: len(usual)], usual, text)
        self.file.unlink()
        self.assertEqual(paths_of_file(self.file, environment={})[: len(usual)], usual)

    def test_a_system_unit_may_have_made_it(self) -> None:
        self.assertIn(Path("/run/lanrelay"), [path.parent for path in self.paths("")])
