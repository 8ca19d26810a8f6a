"""
The common part of listeners that run programs: how many may run, what the log says of them, their end.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from lanrelay.config import model
from lanrelay.edit.masking import HIDDEN, mask
from lanrelay.errors import ProgramNotStarted, StartError, TooManyPrograms
from lanrelay.listeners.service import Environment, ListenerService
from lanrelay.transport.program import Folder, Program, environment, outcome


class Programs(ListenerService):
    """
    A listener of C{type: exec}; it has ended when the last of its programs has.

    @ivar programs: those of which any process lives.
    """

    def __init__(self, environment: Environment, config: model.Exec) -> None:
        super().__init__(environment, config)
        self.exec = config
        self.programs: set[Program] = set()
        self._shown = shown(config.command)
        self._net: Any = None
        self._told_full = False

    def leads_to(self) -> str:
        return self._shown

    def load(self) -> None:
        super().load()
        try:
            Folder(self.exec.cwd).load()
        except StartError as error:
            raise self.start_error(error) from error

    def start_program(self, ended: Callable[[Program], None], *, spare: int = 0) -> Program:
        """
        Run another one.

        @param ended: called when nothing is left of it.
        @param spare: how many are about to end, and so do not count.
        @raise TooManyPrograms: C{max_processes} run.
        @raise ProgramNotStarted: it cannot be started.
        """
        config, name = self.exec, self.config.name
        spare = min(spare, config.max_processes)  # some may take long to end
        if len(self.programs) - spare >= config.max_processes:
            error = TooManyPrograms(f"{config.max_processes} run already, as many as `max_processes` lets")
            if not self._told_full:  # told once each time that the limit is reached
                self._told_full = True
                self.log.warn("{listener}: {reason}", listener=name, reason=error)
            raise error

        def over(program: Program) -> None:
            self.programs.discard(program)
            self._told_full = False
            self._unwatch()
            self.log.debug(
                "{listener}: pid {pid} has ended ({status})",
                listener=name,
                pid=program.pid,
                status=outcome(program.status) or "status 0",
            )
            ended(program)
            self._check_drained()

        try:
            program = Program(
                self.environment.reactor,
                config.command,
                cwd=config.cwd,
                env=environment(config.env),
                stop_timeout=config.stop_timeout,
                said=self._said,
                ended=over,
            )
        except ProgramNotStarted as error:
            self.log.error("{listener}: {reason}", listener=name, reason=error)
            raise
        self.programs.add(program)
        self._watch()
        self.log.debug(
            "{listener}: started {program}, pid {pid}", listener=name, program=self._shown, pid=program.pid
        )
        return program

    def _said(self, line: str) -> None:
        self.log.info("{listener}: {line}", listener=self.config.name, line=line)

    def abort(self) -> None:
        """End all programs; kill them if the caller has not waited for C{timeouts.drain}."""
        hurried = self._deadline is None or self._deadline.active()
        super().abort()
        for program in list(self.programs):
            if hurried:
                program.kill()
            else:
                program.terminate()

    def _check_drained(self) -> None:
        if not self.programs:
            super()._check_drained()

    # When the reactor ends, it ends the programs that are left, because later nothing could.

    def _watch(self) -> None:
        if self._net is None:
            self._net = self.environment.reactor.addSystemEventTrigger("after", "shutdown", self._kill_all)

    def _unwatch(self) -> None:
        if not self.programs and self._net is not None:
            net, self._net = self._net, None
            self.environment.reactor.removeSystemEventTrigger(net)

    def _kill_all(self) -> None:
        self._net = None
        for program in list(self.programs):
            program.kill()


def shown(command: Sequence[str]) -> str:
    """A command as people may see it, without arguments that may be credentials."""
    try:
        words = json.loads(mask(json.dumps(list(command), ensure_ascii=False)))
    except ValueError:  # a mask has taken a part of the quoting
        words = [command[0]]
    return shlex.join([words[0], *(HIDDEN if _random(word) else word for word in words[1:])])


def _random(word: str) -> bool:
    """Whether a word is long, and only of letters and digits."""
    return len(word) >= 16 and word.isalnum() and not word.isalpha()
