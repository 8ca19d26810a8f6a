"""C{lanrelay doctor}: looks at what a client would go through, and says what is wrong and what to do."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from lanrelay.config.load import Loaded
    from lanrelay.examine.checks import Check, Examined
    from lanrelay.examine.subject import Subject

Json = dict[str, Any]


def parser() -> ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import add_config, parser

    made = parser(
        "doctor",
        "Look at what a client would go through, layer by layer, and say what is wrong and what to do.",
        examples="""
            lanrelay doctor                             the whole configuration, and this machine
            lanrelay doctor nas                         the listener nas, and what it leads to
            lanrelay doctor https://nas.lan:8443/mcp    a server that nothing leads to yet
            lanrelay doctor 192.168.1.20:5432           whether a port can be reached at all
            lanrelay doctor nas --from service          as the running relay sees it
            lanrelay doctor --timeout 2s --json         for programs
        """,
    )
    made.add_argument(
        "targets", metavar="TARGET", nargs="*", help="a listener, a URL, or HOST:PORT; all by default"
    )
    add_config(made)
    made.add_argument(
        "--from",
        dest="place",
        choices=("here", "service", "both"),
        help="who looks: this command, the running relay, or both (the default where one runs)",
    )
    made.add_argument("--timeout", metavar="TIME", type=_duration, default=5.0, help="of each check (5s)")
    made.add_argument("--json", action="store_true", help="print one JSON document, for programs")
    return made


def run(arguments: list[str]) -> int:
    """0 where nothing keeps a client from working, 1 where something does, 2 for a wrong command line."""
    return Doctor(parser().parse_args(arguments)).run()


class Doctor:
    """
    One run of the command.

    @param options: what L{parser} makes; its C{command} stands before complaints.
    """

    def __init__(self, options: Namespace) -> None:
        from lanrelay.cli.conversation import Conversation

        self._options = options
        self._words: list[str] = list(dict.fromkeys(options.targets))
        self._talk: Conversation = Conversation(options.command, as_json=options.json)
        self._file: Path | None = None
        self._loaded: Loaded | None = None
        self._machine: list[Check] = []
        self._examined: list[Examined] = []
        self._status: Json | None = None
        self._not_asked = self._advice = ""
        self._others = False
        self._limit: int | None = None

    def run(self) -> int:
        from lanrelay.cli.asking import NotDone
        from lanrelay.examine import machine
        from lanrelay.examine.subject import Unknown

        self._read()
        self._ask_for_status()
        place: str = self._options.place or ("here" if self._status is None else "both")
        if place == "service" and self._status is None and self._words:
            return self._refused(f"{self._not_asked} {self._advice}".rstrip())
        try:
            with self._talk.waiting("Looking"):
                self._look(self._subjects() if place != "service" else [], place)
                if self._words and self._loaded is not None:
                    self._machine += machine.not_enabled(self._loaded.config, self._words)
                if not self._words:
                    self._look_around()
                if sys.platform == "darwin":
                    self._look_who_answers()
        except NotDone as error:
            return self._refused(str(error))
        except Unknown as error:
            for check in self._machine:  # a configuration that is not right: what was named may be in it
                self._talk.complain(check.said)
            return self._refused(str(error))
        return self._tell()

    def _refused(self, sentence: str) -> int:
        """Nothing could be looked at."""
        from lanrelay.edit.masking import mask
        from lanrelay.examine.checks import document

        sentence = mask(sentence)
        self._talk.complain(sentence)
        whole = document(None if self._file is None else os.path.abspath(self._file), [], self._machine)
        self._talk.json({**whole, "ok": False, "error": sentence})
        return 1

    # --- what there is ---

    def _read(self) -> None:
        """The configuration, as far as there is one; what is wrong with it is a check."""
        from lanrelay.config.default_path import NotFound, find
        from lanrelay.config.load import ConfigErrors, examine
        from lanrelay.examine.checks import Check
        from lanrelay.examine.machine import wrong_config

        try:
            self._file = find(self._options.config)
        except NotFound as error:
            self._not_asked, self._advice = str(error), error.advice
            if not self._words:
                no_file = Check(
                    layer="config",
                    state="failed",
                    cause="wrong_config",
                    said=str(error),
                    remedy=error.command,
                )
                self._machine.append(no_file)
            return
        if not os.path.exists(self._file) and self._words:
            return  # said where the relay is asked, if it is
        try:
            self._loaded = examine(self._file)
        except ConfigErrors as error:
            self._machine.append(wrong_config(self._file, str(error)))

    def _ask_for_status(self) -> None:
        from lanrelay.cli.asking import NotAsked, NotOurs, result

        if self._file is None:
            return
        try:
            self._status = result(self._file, {"method": "status"}, timeout=5.0)
        except NotAsked as error:
            self._not_asked, self._advice = str(error), error.advice
            self._others = isinstance(error, NotOurs)

    def _subjects(self) -> list[Subject]:
        from lanrelay.config.default_path import users_own
        from lanrelay.examine.subject import every_subject, subjects

        config = None if self._loaded is None else self._loaded.config
        if not self._words:
            return [] if config is None else every_subject(config)
        file = self._file or users_own()
        return [one for word in self._words for one in subjects(word, config, file=file)]

    # --- looking ---

    def _look(self, subjects: list[Subject], place: str) -> None:
        asked: _Asked | None = None
        if place != "here":
            if self._status is None:
                self._no_service()
            elif self._file is not None:
                asked = _Asked(self._file, self._words, self._options.timeout)
        if place != "service" and subjects:
            from lanrelay.cli.in_reactor import in_reactor

            self._examined += in_reactor(lambda reactor: self._from_here(reactor, subjects))
        if asked is not None:
            self._from_service(asked)

    async def _from_here(self, reactor: Any, subjects: list[Subject]) -> list[Examined]:
        from lanrelay.examine.opener import Means
        from lanrelay.examine.target import examine_all
        from lanrelay.upstream.resolve import Resolver

        means = Means(reactor=reactor, resolver=Resolver(reactor), platform=sys.platform)
        return await examine_all(means, subjects, timeout=self._options.timeout)

    def _from_service(self, asked: _Asked) -> None:
        from lanrelay.cli.asking import NotAsked, NotDone
        from lanrelay.examine.checks import Check, from_json

        try:
            said = asked.result()
            self._examined += [from_json(one) for one in said["targets"]]
            self._limit = said["descriptors"]
        except NotDone as error:
            if self._options.place == "service" or not self._examined:
                raise  # it does not know what is meant
            self._machine.append(
                Check(
                    layer="relay",
                    state="warn",
                    said=f"The running relay did not look: {error}",
                    remedy="Have it read its configuration anew (lanrelay reload), or start it anew.",
                )
            )
        except NotAsked as error:
            self._not_asked = str(error)
            self._no_service()
        except (KeyError, TypeError, IndexError):
            self._not_asked = "The running relay is of another version, and cannot be asked."
            self._no_service()

    def _no_service(self) -> None:
        """The relay was to look, and cannot."""
        from lanrelay.examine.checks import Check

        if self._words or self._status is not None:  # else its own check says so
            said = self._not_asked
            remedy = (
                f"lanrelay run -c {quote(str(self._file))}" if self._file is not None else "lanrelay setup"
            )
            self._machine.append(
                Check(layer="relay", state="failed", cause="not_running", said=said, remedy=remedy)
            )

    def _look_around(self) -> None:
        """What is no target's."""
        from lanrelay import commands
        from lanrelay.cli.around import client_checks, modes_here, service_check
        from lanrelay.cli.check import unreadable
        from lanrelay.examine import machine
        from lanrelay.examine.network import network_checks
        from lanrelay.version import __version__

        run, found = commands.run, self._machine
        if self._loaded is not None and self._file is not None:
            config = self._loaded.config
            problems = [str(problem) for problem in unreadable(self._loaded)]
            found.append(machine.config_check(self._file, config, problems))
            found.append(
                machine.relay_of_others(self._not_asked, self._file)
                if self._others
                else machine.relay_check(self._status, self._not_asked, config, __version__)
            )
            if not self._others:
                found += machine.port_checks(config, self._status, run)
            found.append(
                service_check(
                    modes_here(), config.path, run, running=self._status is not None or self._others
                )
            )
            found += client_checks(config)
            found.append(machine.descriptors_check(config, self._limit))
        else:
            found += client_checks(None)
        found.append(machine.clock_check(self._examined))
        found += network_checks(run, platform=sys.platform)

    def _look_who_answers(self) -> None:
        """Whom macOS asks about what it keeps from the LAN."""
        from lanrelay import commands
        from lanrelay.examine.responsible import responsible_checks

        self._machine += responsible_checks(
            self._examined, self._status, commands.run, shell=os.getppid(), root=os.geteuid() == 0
        )

    # --- telling ---

    def _tell(self) -> int:
        from lanrelay.cli.report import Report
        from lanrelay.examine.checks import as_json, document, from_json

        # Without what may be secret, for a terminal as for programs.
        self._examined = [from_json(as_json(one)) for one in self._examined]
        whole = document(
            None if self._file is None else os.path.abspath(self._file), self._examined, self._machine
        )
        self._talk.json(whole)
        if not self._options.json:
            if self._file is not None:
                self._talk.tell(f"The configuration is {self._file}.")
            report = Report(shutil.get_terminal_size().columns, colour=_colour())
            for line in (*report.targets(self._examined), *report.machine(self._machine)):
                print(line)
            print(report.verdict(self._examined, self._machine))
        return 0 if whole["ok"] else 1


class _Asked:
    """Has the relay look, while others do, too."""

    def __init__(self, file: Path, words: list[str], timeout: float) -> None:
        from threading import Thread

        self._outcome: Json | Exception | None = None

        def ask() -> None:
            from lanrelay.cli.asking import NotAsked, result

            found: Json = {"targets": [], "descriptors": None}
            try:
                for some in _portions(words):
                    request = {"method": "examine", "targets": some, "timeout": timeout}
                    # Each layer may take as long, and some do several things one after another.
                    said = result(file, request, timeout=30.0 + 20 * timeout)
                    found["targets"] += said["targets"]
                    found["descriptors"] = said["descriptors"]
                self._outcome = found
            except (NotAsked, KeyError, TypeError) as error:
                self._outcome = error

        self._thread = Thread(target=ask, daemon=True)
        self._thread.start()

    def result(self) -> Json:
        """
        What it said; blocks.

        @raise NotAsked: it could not be asked.
        @raise KeyError: it is of another version.
        """
        self._thread.join()
        if isinstance(self._outcome, Exception):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome


_PORTION = 3000  # bytes of the words in a request, which has 4096 at most
_WORDS = 60


def _portions(words: list[str]) -> list[list[str]]:
    """So many at a time as one request holds; nothing at all means everything, and is one portion."""
    portions: list[list[str]] = [[]]
    size = 0
    for word in words:
        length = len(json.dumps(word)) + 2
        if portions[-1] and (size + length > _PORTION or len(portions[-1]) == _WORDS):
            portions.append([])
            size = 0
        portions[-1].append(word)
        size += length
    return portions


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def _duration(text: str) -> float:
    from argparse import ArgumentTypeError

    from lanrelay.config.values import Unfit, duration

    try:
        return duration(text)
    except Unfit as unfit:
        raise ArgumentTypeError(str(unfit)) from None
