from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import twisted.internet
from twisted.application.service import IServiceMaker
from twisted.logger import FilteringLogObserver, Logger, LogLevel, LogLevelFilterPredicate, LogPublisher
from twisted.plugin import getPlugins
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.tap import Options, choose_log, makeService
from lanrelay.transport.reactor_choice import choose


class PluginTests(SynchronousTestCase):
    def test_twisted_finds_it(self) -> None:
        (ours,) = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "lanrelay"]
        self.assertIs(ours.options, Options)


class ReactorTests(SynchronousTestCase):
    def installed(self, platform: str) -> list[str]:
        """What is installed where Twisted has no reactor yet."""
        chosen: list[str] = []
        for name in ("kqreactor", "default"):
            module = ModuleType(f"twisted.internet.{name}")
            module.install = lambda name=name: chosen.append(name)  # type: ignore[attr-defined]
            if not hasattr(twisted.internet, name):
                setattr(twisted.internet, name, None)
                self.addCleanup(delattr, twisted.internet, name)
            self.patch(twisted.internet, name, module)
        self.patch(sys, "platform", platform)
        choose()
        return chosen

    def test_kqueue_on_macos(self) -> None:
        self.assertEqual(self.installed("darwin"), ["kqreactor"])

    def test_elsewhere_twisted_s_default(self) -> None:
        self.assertEqual(self.installed("linux"), ["default"])


class RefusalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.said = io.StringIO()
        self.patch(sys, "stderr", self.said)

    def refused(self, configuration: str | None) -> list[str]:
        options = Options()
        if configuration is not None:
            path = self.folder / "relay.yaml"
            path.write_text(configuration)
            options.parseOptions(["-c", str(path)])
        else:
            options.parseOptions([])
        left = self.assertRaises(SystemExit, makeService, options)
        self.assertEqual(left.code, 1)
        return self.said.getvalue().splitlines()

    def test_without_a_file(self) -> None:
        with mock.patch.dict(os.environ, {"XDG_CONFIG_HOME": str(self.folder)}):
            (line,) = self.refused(None)
        self.assertIn(f"{self.folder}/lanrelay/relay.yaml and /etc/lanrelay/relay.yaml are not there", line)
        self.assertIn("-c FILE, as in `twistd -n lanrelay -c conf/relay.yaml`", line)

    def test_the_file_that_the_environment_names(self) -> None:
        with mock.patch.dict(os.environ, {"LANRELAY_CONFIG": str(self.folder / "relay.yaml")}):
            (line,) = self.refused(None)
            self.assertIn("LANRELAY_CONFIG names ", line)
            (self.folder / "relay.yaml").write_text("listeners: 1\n")
            self.assertIn(f"{self.folder}/relay.yaml:1:12: listeners: ", "".join(self.refused(None)))

    def test_with_a_wrong_file_each_mistake_is_a_line(self) -> None:
        lines = self.refused("listeners: {one: {type: tcp-forward, listen: x, upstream: y}}\nnothing: 1\n")
        self.assertEqual(len(lines), 3, lines)
        for line in lines:
            self.assertTrue(line.startswith(str(self.folder / "relay.yaml")), line)


class Lines:
    """A log file in memory, and a logger that writes to an observer of it."""

    def __init__(self) -> None:
        self.file = io.StringIO()

    def logger(self, observer: Any) -> Logger:
        return Logger(namespace="lanrelay.test", observer=LogPublisher(observer))

    def __iter__(self) -> Any:
        return iter(self.file.getvalue().splitlines())


class TwistdLogTests(SynchronousTestCase):
    """Where twistd's options put the log, in our format."""

    def setUp(self) -> None:
        folder = tempfile.mkdtemp(prefix="lanrelay-test-")
        self.addCleanup(shutil.rmtree, folder)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    def options(self, **given: Any) -> dict[str, Any]:
        return {"nodaemon": 0, "logfile": None, "logger": None, "syslog": 0, **given}

    def test_standard_output_in_the_foreground(self) -> None:
        for name in (None, "", "-"):
            lines = Lines()
            self.patch(sys, "stdout", lines.file)
            observer = choose_log(self.options(nodaemon=1, logfile=name), model.Log(format="json"))
            lines.logger(observer).info("hello")
            (line,) = lines
            self.assertEqual(json.loads(line)["message"], "hello")

    def test_a_daemon_has_twistd_log_which_sigusr1_rotates(self) -> None:
        observer = choose_log(self.options(), model.Log())
        Lines().logger(observer).info("hello")
        self.assertIn("[info] hello", Path("twistd.log").read_text())
        rotate: Any = signal.getsignal(signal.SIGUSR1)
        self.assertTrue(callable(rotate))

    def test_a_file_that_was_asked_for(self) -> None:
        for nodaemon in (0, 1):
            name = f"other{nodaemon}.log"
            observer = choose_log(self.options(nodaemon=nodaemon, logfile=name), model.Log(level="warn"))
            logger = Lines().logger(observer)
            logger.info("quiet")
            logger.warn("loud")
            self.assertRegex(Path(name).read_text(), r"^\S+ \[warn\] loud\n$")

    def test_what_twistd_does_otherwise_is_left_to_it(self) -> None:
        for options in (
            self.options(logger=lambda: None),
            self.options(syslog=1),
            self.options(logfile="-"),  # a daemon cannot, as it says itself
        ):
            self.assertIsNone(choose_log(options, model.Log()))
        self.assertEqual(os.listdir(), [])

    def test_a_file_that_cannot_be_opened(self) -> None:
        self.assertRaises(OSError, choose_log, self.options(logfile="no/such/log"), model.Log())

    def test_the_file_is_the_one_that_twistd_would_take(self) -> None:
        """It rotates at a size, as twistd's does."""
        opened: list[LogFile] = []
        original = LogFile.__init__

        def noting(self: LogFile, *arguments: Any, **keys: Any) -> None:
            original(self, *arguments, **keys)
            opened.append(self)

        self.patch(LogFile, "__init__", noting)
        choose_log(self.options(), model.Log())
        self.assertEqual(opened[0].rotateLength, 1_000_000)

    def test_nobody_asked(self) -> None:
        self.assertIsNone(choose_log(None, model.Log()))


class TwistLogTests(SynchronousTestCase):
    """C{python -m twisted} reads its options after the service was made."""

    def written(self, log: model.Log, level: Any = LogLevel.info) -> list[str]:
        options: dict[str, Any] = {"fileLogObserverFactory": None, "logLevel": level}
        self.assertIsNone(choose_log(options, log))
        lines = Lines()
        # As twisted.application.runner does it.
        observer = FilteringLogObserver(
            options["fileLogObserverFactory"](lines.file), [LogLevelFilterPredicate(options["logLevel"])]
        )
        logger = lines.logger(observer)
        for emit in (logger.debug, logger.info, logger.warn, logger.error):
            emit("x")
        return list(lines)

    def test_our_format(self) -> None:
        for line in self.written(model.Log(format="json")):
            self.assertEqual(json.loads(line)["message"], "x")

    def test_our_level(self) -> None:
        self.assertEqual(len(self.written(model.Log(level="debug"))), 4)
        self.assertEqual(len(self.written(model.Log())), 3)
        self.assertEqual(len(self.written(model.Log(level="error"))), 1)

    def test_the_level_of_the_command_line_wins(self) -> None:
        self.assertEqual(len(self.written(model.Log(level="error"), LogLevel.debug)), 4)
        self.assertEqual(len(self.written(model.Log(level="debug"), LogLevel.warn)), 2)
        self.assertEqual(len(self.written(model.Log(level="debug"), LogLevel.critical)), 1)
