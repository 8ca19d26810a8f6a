"""C{lanrelay doctor}: looks at what a client would go through, and says what is wrong and what to do."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from argparse import Namespace

    from lanrelay.cli.conversation import Conversation
    from lanrelay.config import model
    from lanrelay.examine.checks import Check, Examined
    from lanrelay.examine.subject import Subject

T = TypeVar("T")

_EXAMPLES = """examples:
  lanrelay doctor                               the whole configuration, and this machine
  lanrelay doctor nas                           the listener nas, and what it leads to
  lanrelay doctor https://nas.lan:8443/mcp      a server that nothing leads to yet
  lanrelay doctor 192.168.1.20:5432             whether a port can be reached at all
  lanrelay doctor nas --from service            as the running relay sees it
  lanrelay doctor --json                        for programs
"""


def run(arguments: list[str]) -> int:
    """0 where nothing keeps a client from working, 1 where something does, 2 for a wrong command line."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="lanrelay doctor",
        description="Look at what a client would go through, layer by layer, and say what is wrong.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "targets", metavar="TARGET", nargs="*", help="a listener, a URL, or HOST:PORT; all of them by default"
    )
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help="the configuration file")
    parser.add_argument(
        "--from",
        dest="place",
        choices=("here", "service", "both"),
        help="who looks: this command, the running relay, or both (the default where one runs)",
    )
    parser.add_argument("--timeout", metavar="TIME", type=_duration, default=5.0, help="of each check (5s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document, for programs")
    options = parser.parse_args(arguments)
    return _Doctor(options).run()


class _Doctor:
    def __init__(self, options: Namespace) -> None:
        from lanrelay.cli.conversation import Conversation

        self._options = options
        self._talk: Conversation = Conversation("doctor", as_json=options.json)
        self._file: Path | None = None
        self._config: model.Config | None = None
        self._machine: list[Check] = []
        self._examined: list[Examined] = []

    def run(self) -> int:
        from lanrelay.examine.subject import Unknown

        self._read()
        try:
            subjects = self._subjects()
        except Unknown as error:
            self._talk.complain(str(error))
            return 2
        with self._talk.waiting("Looking"):
            self._look(subjects)
        return self._tell()

    def _read(self) -> None:
        """The configuration, as far as there is one; what is wrong with it is a check."""
        from lanrelay.config.default_path import NotFound, find
        from lanrelay.config.load import ConfigErrors, load
        from lanrelay.examine.checks import Check

        try:
            self._file = find(self._options.config)
        except NotFound as error:
            if not self._options.targets:
                self._machine.append(
                    Check(
                        layer="config",
                        state="failed",
                        cause="wrong_config",
                        said=str(error),
                        remedy="lanrelay setup",
                    )
                )
            return
        try:
            self._config = load(self._file)
        except ConfigErrors as error:
            self._machine.append(
                Check(
                    layer="config",
                    state="failed",
                    cause="wrong_config",
                    said=f"{self._file} is not right: {error}",
                    remedy=f"lanrelay check -c {self._file}",
                )
            )

    def _subjects(self) -> list[Subject]:
        from lanrelay.config.default_path import users_own
        from lanrelay.examine.subject import every_subject, subjects

        words: list[str] = self._options.targets
        if not words:
            return [] if self._config is None else every_subject(self._config)
        file = self._file or users_own()
        return [one for word in dict.fromkeys(words) for one in subjects(word, self._config, file=file)]

    def _look(self, subjects: list[Subject]) -> None:
        timeout: float = self._options.timeout

        async def look(reactor: Any) -> list[Examined]:
            from lanrelay.examine.target import examine_all
            from lanrelay.examine.way import Means
            from lanrelay.upstream.resolve import Resolver

            means = Means(reactor=reactor, resolver=Resolver(reactor), platform=sys.platform)
            return await examine_all(means, subjects, timeout=timeout)

        if subjects:
            self._examined += in_reactor(look)

    def _tell(self) -> int:
        from lanrelay.cli.report import Report
        from lanrelay.examine.checks import document

        whole = document(None if self._file is None else str(self._file), self._examined, self._machine)
        self._talk.json(whole)
        report = Report(shutil.get_terminal_size().columns, colour=_colour())
        if self._file is not None and not self._options.json:
            self._talk.tell(f"The configuration is {self._file}.")
        if not self._options.json:
            for line in (*report.targets(self._examined), *report.machine(self._machine)):
                print(line)
            print(report.verdict(self._examined, self._machine))
        return 0 if whole["ok"] else 1


def in_reactor(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """
    What comes of C{work}, which is given a reactor that runs as long; for commands that do so once.

    @raise KeyboardInterrupt: Ctrl-C.
    """
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    running: Any = reactor
    outcome: list[Any] = []

    def start() -> None:
        doing = Deferred.fromCoroutine(work(running))
        doing.addBoth(outcome.append)
        doing.addBoth(lambda _: running.stop())

    running.callWhenRunning(start)
    running.run()
    if not outcome:
        raise KeyboardInterrupt
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: T = outcome[0]
    return result


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def _duration(text: str) -> float:
    from argparse import ArgumentTypeError

    from lanrelay.config.values import Unfit, duration

    try:
        return duration(text)
    except Unfit as unfit:
        raise ArgumentTypeError(str(unfit)) from None
