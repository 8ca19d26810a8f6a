"""systemd's own programs judge what we write."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import StartError
from lanrelay.setup import units
from tests.test_wrapping import CONF, program


class CommandLineTests(SynchronousTestCase):
    def test_plain_words_stay_plain(self) -> None:
        words = ["/opt/lanrelay/bin/twistd", "-n", "--pidfile=", "lanrelay", "-c", "/etc/lanrelay/relay.yaml"]
        self.assertEqual(units.command_line(words), " ".join(words))

    def test_what_systemd_would_read_otherwise_is_quoted(self) -> None:
        for word, written in (
            ("/my folder/twistd", '"/my folder/twistd"'),
            ('a"b', '"a\\"b"'),
            ("a\\b", '"a\\\\b"'),
            ("100%", "100%%"),
            ("it's", '"it\'s"'),
            ("", '""'),
            (";", '";"'),
        ):
            self.assertEqual(units.command_line(["/p", word]), f"/p {written}")
        # Variables are expanded in arguments, and not in the program.
        self.assertEqual(units.command_line(["/$x", "/$x"]), "/$x /$$x")

    def test_what_no_unit_file_can_hold(self) -> None:
        for path in ("/it's/twistd", '/"x"/twistd', "/a\\b/twistd"):
            self.assertRaises(StartError, units.command_line, [path])
        self.assertRaises(StartError, units.command_line, ["/p", "a\nExecStart=/bin/sh"])

    def test_systemd_reads_it_back(self) -> None:
        """With the worst names that a folder can have; those of a program may have less."""
        analyze = program("systemd-analyze")
        folder = Path(tempfile.mkdtemp(prefix="lanrelay 100% $HOME ; "))
        self.addCleanup(shutil.rmtree, folder)
        twistd = folder / "twistd"
        twistd.write_text("#!/bin/sh\n")
        twistd.chmod(0o755)
        beside = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, beside)
        unit = beside / "lanrelay-test-quoting.service"
        unit.write_text(
            units.system_unit(units.command_line([str(twistd), "-c", str(folder / "relay.yaml")]))
        )
        self.assertEqual(verify(analyze, unit), "")


def verify(analyze: str, *files: Path, user: bool = False, **variables: str) -> str:
    """What systemd complains of."""
    done = subprocess.run(
        [analyze, *(["--user"] if user else []), "verify", "--man=no", *map(str, files)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    names = tuple(file.name for file in files)
    complaints = [line for line in done.stderr.splitlines() if any(name in line for name in names)]
    return "\n".join(complaints) or ("" if done.returncode == 0 else done.stderr)


class SystemUnitTests(SynchronousTestCase):
    file = CONF / "lanrelay-system.service"

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-unit-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.twistd = self.folder / "twistd"
        self.twistd.write_text("#!/bin/sh\n")
        self.twistd.chmod(0o755)
        # Under the name that it gets, with a program that exists, for a missing one is a complaint too.
        self.unit = self.folder / "lanrelay.service"
        self.unit.write_text(self.file.read_text().replace("/opt/lanrelay/bin/twistd", str(self.twistd)))

    def test_systemd_accepts_it_and_its_socket(self) -> None:
        socket = self.folder / "lanrelay.socket"
        shutil.copy(CONF / "lanrelay.socket", socket)
        self.assertEqual(verify(program("systemd-analyze"), self.unit, socket), "")

    def test_systemd_rates_it_two_or_better(self) -> None:
        done = subprocess.run(
            [program("systemd-analyze"), "security", "--offline=true", "--no-pager", str(self.unit)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        found = re.search(r"Overall exposure level for lanrelay.service: ([0-9.]+) ", done.stdout)
        assert found is not None, done.stdout + done.stderr
        self.assertLessEqual(float(found.group(1)), 2.0)

    def test_tls_works_in_it(self) -> None:
        """Python's OpenSSL makes callbacks in memory that is both writable and executable."""
        settings = [line for line in self.file.read_text().splitlines() if not line.startswith("#")]
        self.assertFalse([line for line in settings if line.startswith("MemoryDenyWriteExecute=")])

    def test_it_says_what_the_install_command_writes(self) -> None:
        command = "/opt/lanrelay/bin/twistd -n --pidfile= lanrelay -c /etc/lanrelay/relay.yaml"
        self.assertTrue(self.file.read_text().endswith("\n\n" + units.system_unit(command)))


class UserUnitTests(SynchronousTestCase):
    def test_it_says_what_the_install_command_writes(self) -> None:
        command = (
            "%h/.local/share/lanrelay/bin/twistd -n --pidfile= lanrelay -c %h/.config/lanrelay/relay.yaml"
        )
        text = (CONF / "lanrelay.service").read_text()
        self.assertTrue(text.endswith("\n\n" + units.user_unit(command)))

    def test_both_notify_and_are_watched_and_reload(self) -> None:
        for text in (units.user_unit("/p"), units.system_unit("/p")):
            lines = text.splitlines()
            for line in ("Type=notify", "WatchdogSec=30", "ExecReload=/bin/kill -HUP $MAINPID"):
                self.assertIn(line, lines)
            self.assertEqual("DynamicUser=yes" in lines, "multi-user.target" in text)
