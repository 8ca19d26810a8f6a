from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from unittest import SkipTest, mock

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.control import LONGEST, default_paths, is_believable, is_served, paths_of_file


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


class SpellingTests(SynchronousTestCase):
    """F_GETPATH is played: it tells how a file is stored, however it was asked for. No Mac has been seen."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-Test-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def name(self, spelled: str) -> str:
        return default_paths(self.folder / spelled, environment={}, uid=7, platform="darwin")[0].name

    def test_a_file_that_is_spelled_otherwise_has_the_same_socket_on_macos(self) -> None:
        spellings = ("R\u00e9lay.yaml", "re\u0301lay.yaml", "RE\u0301LAY.YAML")
        for spelled in spellings:  # each can be opened there
            (self.folder / spelled).write_text("")
        stored = os.path.realpath(self.folder / spellings[0])
        opened = []

        def played(descriptor: int, command: int, argument: bytes) -> bytes:
            self.assertEqual((command, len(argument)), (50, 1024))
            opened.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
            return os.fsencode(stored) + b"\0" * 100

        with mock.patch("fcntl.fcntl", played):
            names = {self.name(spelled) for spelled in spellings}
        self.assertEqual(len(names), 1, names)
        self.assertEqual(opened, list(spellings))

    def test_one_that_cannot_be_opened_goes_by_its_own_name(self) -> None:
        self.assertNotEqual(self.name("a.yaml"), self.name("b.yaml"))


class ServedTests(SynchronousTestCase):
    def test_who_is_there_and_who_was(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, folder)
        path = folder / "s"
        self.assertFalse(is_served(path))
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_UNIX, kind) as there:
                there.bind(str(path))
                self.assertTrue(is_served(path))
                if kind == socket.SOCK_STREAM:
                    there.listen()
                    self.assertTrue(is_served(path))
            self.assertFalse(is_served(path))
            path.unlink()

    def test_what_cannot_be_told(self) -> None:
        self.assertRaises(OSError, is_served, Path("/" + "x" * 200))


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


class BelievableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.folder / "s"
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(self.path))

    def test_ours_in_a_folder_of_ours(self) -> None:
        self.assertTrue(is_believable(self.path))

    def test_what_is_no_socket_or_not_there(self) -> None:
        (self.folder / "file").touch()
        (self.folder / "link").symlink_to(self.path)
        for name in ("file", "link", "nothing"):
            self.assertFalse(is_believable(self.folder / name), name)

    def test_a_folder_in_which_all_may_write(self) -> None:
        self.folder.chmod(0o777)
        self.assertFalse(is_believable(self.path))
        self.folder.chmod(0o1777)  # as /tmp: nobody may rename what is another's
        self.assertTrue(is_believable(self.path))

    def test_to_root_somebody_elses_is_not_root_s(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root can give a file away")
        config = self.folder / "relay.yaml"
        config.touch()
        os.chown(self.path, 65534, -1)
        self.assertFalse(is_believable(self.path, config=config))
        os.chown(config, 65534, -1)  # root asks for the relay of this one
        self.assertTrue(is_believable(self.path, config=config))
        os.chown(config, 0, -1)
        os.chown(self.path, 0, -1)
        os.chown(self.folder, 65534, -1)
        self.assertFalse(is_believable(self.path, config=config))
