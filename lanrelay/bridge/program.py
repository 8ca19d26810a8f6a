"""
Carries asks to a program, by its standard input and output; starts and ends it, and starts it anew when it
dies.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lanrelay.bridge.guard import Guard
from lanrelay.bridge.jsontext import NotJson
from lanrelay.bridge.lines import Reader, Writer
from lanrelay.bridge.loop import Loop, Timer, now
from lanrelay.bridge.messages import Ask, Failure, Note
from lanrelay.bridge.program_dialogue import JSON, ProgramDialogue

if TYPE_CHECKING:
    from lanrelay.bridge.seams import Sink

SOON, LONGEST = 0.25, 30.0
"""Seconds from a program's end to its next beginning: doubled each time."""

LIVED = 30.0
"""Seconds after which a program that ends has run well, so that the next is begun soon."""

LAST_WORDS = 0.5
"""Seconds for which a program's output may stay open after its end, as other processes may hold it."""

END_WITHIN, TERM_WITHIN = 1.0, 0.5
"""Seconds from the end of its input to SIGTERM, and from there to SIGKILL."""

CLOSED_END_WITHIN, CLOSED_TERM_WITHIN = 0.5, 0.2
"""The same when we end ourselves, for which the client waits."""


class Program:
    """
    What L{lanrelay.bridge.carrier.Carrier} is for a server of HTTP.

    @param words: the program and its arguments.
    """

    def __init__(self, loop: Loop, words: Sequence[str], sink: Sink, note: Callable[[Note], None]) -> None:
        self._loop = loop
        self._words = tuple(words)
        self._name = os.path.basename(words[0])  # its arguments may be secret
        self._sink = sink
        self._note = note
        self._guard = Guard()
        self._run: _Run | None = None
        self._ending: list[_Run] = []
        self._number = 0
        self._pause = SOON
        self._not_before = 0.0
        self._failure: Failure | None = None
        self._held = False
        signal.signal(signal.SIGCHLD, lambda *_: loop.post(self._look))
        loop.post(self._begin)  # before the first ask: it may start slowly

    @property
    def backlog(self) -> int:
        return 0 if self._run is None else self._run.writer.unsent

    def ask(self, ask: Ask) -> None:
        session = next((value for name, value in ask.fields if name.lower() == "mcp-session-id"), None)
        run = self._run
        if session is not None and (run is None or run.talk.session != session):
            self._refuse(ask.number, 404, "Not Found")
        elif ask.method == "DELETE":
            self._delete(ask.number)
        elif ask.method == "GET" and session is None:
            self._refuse(ask.number, 405, "Method Not Allowed")
        else:
            if run is not None and run.talk.greeted and _greets(ask):
                self._retire(run)
            run = self._running()
            if run is not None:
                run.talk.ask(ask)
            else:
                failure = self._failure
                assert failure is not None
                self._loop.post(lambda: self._sink.failed(ask.number, failure))

    def drop(self, number: int) -> None:
        if self._run is not None:
            self._run.talk.drop(number)

    def hold(self, held: bool) -> None:
        self._held = held
        if self._run is not None:
            self._run.hold(held)

    def close(self) -> None:
        """End it, and wait for it: C{CLOSED_END_WITHIN} and C{CLOSED_TERM_WITHIN} at most."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        runs = [*self._ending, *([] if self._run is None else [self._run])]
        for run in runs:
            run.let_go()
        for patience, number in ((CLOSED_END_WITHIN, signal.SIGTERM), (CLOSED_TERM_WITHIN, signal.SIGKILL)):
            until = now() + patience
            while any(run.process.poll() is None for run in runs) and now() < until:
                time.sleep(0.01)
            for run in runs:
                run.kill(number)
        for run in runs:
            run.process.poll()
        self._guard.close()

    # --- its life ---

    def _begin(self) -> None:
        self._running()

    def _running(self) -> _Run | None:
        """The run that takes asks; if there is none just now, C{None}, and why is noted."""
        if self._run is not None or now() < self._not_before:
            return self._run
        self._number += 1
        try:
            self._run = _Run(self, f"program-{self._number}")
        except OSError as error:
            said = f"The program {self._name} could not be started: {error.strerror}."
            self._ended(Failure("not_running", said, "See whether its path is right.", False))
            return None
        if self._number > 1:
            self._note(Note(f"The program {self._name} is begun anew.", warning=True))
        self._run.hold(self._held)
        return self._run

    def _ended(self, failure: Failure) -> None:
        self._failure = failure
        self._not_before = now() + self._pause
        self._pause = min(2 * self._pause, LONGEST)

    def _over(self, run: _Run) -> None:
        """The run answers no more."""
        if not run.open:
            return
        if now() - run.begun > LIVED:
            self._pause = SOON
        status = run.process.poll()
        said = f"The program {self._name} {_how(status)}."
        failure = Failure("not_running", said, "Its standard error may say why.", False)
        self._ended(failure)
        self._let_go(run)
        run.talk.gone(failure._replace(ran=True))

    def _let_go(self, run: _Run) -> None:
        """End a run in the background."""
        if self._run is run:
            self._run = None
        self._ending.append(run)
        run.let_go()
        run.timer = self._loop.at(now() + END_WITHIN, lambda: self._terminate(run))
        self._look()

    def _terminate(self, run: _Run) -> None:
        run.kill(signal.SIGTERM)
        run.timer = self._loop.at(now() + TERM_WITHIN, lambda: self._kill(run))

    def _kill(self, run: _Run) -> None:
        run.kill(signal.SIGKILL)
        self._look()

    def _look(self) -> None:
        """A child has ended, perhaps one of ours."""
        run = self._run
        if run is not None and run.process.poll() is not None:
            if run.silent:
                self._over(run)
            else:
                self.ends(run)
        for each in [each for each in self._ending if each.process.poll() is not None]:
            self._ending.remove(each)
            if each.timer is not None:
                each.timer.cancel()
            each.kill(signal.SIGKILL)  # the processes that it has left behind
            each.release()
            self._guard.remove(each.process.pid)
            for answer in each.when_ended:
                answer()

    def _retire(self, run: _Run) -> None:
        """End the run: its session is not wanted any more."""
        self._let_go(run)
        self._loop.post(lambda: run.talk.gone(Failure("not_running", "The session has ended.", "", True)))

    # --- answers of our own ---

    def _refuse(self, number: int, status: int, reason: str) -> None:
        def answer() -> None:
            self._sink.answered(number, status, reason, JSON)
            self._sink.content(number, b"")
            self._sink.finished(number)

        self._loop.post(answer)

    def _delete(self, number: int) -> None:
        """End the session; the answer comes when the program has ended, too."""
        run = self._run
        if run is None:
            self._refuse(number, 404, "Not Found")
            return
        run.when_ended.append(lambda: self._refuse(number, 204, "No Content"))
        self._retire(run)

    # --- what a run tells ---

    def started(self) -> subprocess.Popen[bytes]:
        """
        @raise OSError: there is no such program, or it cannot be started.
        """
        return subprocess.Popen(
            self._words,
            preexec_fn=self._guard.join,  # there are no other threads here
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )

    def ends(self, run: _Run) -> None:
        """The program, its output or its input has ended: the others follow."""
        if not run.open:
            return
        if run.timer is None:
            run.timer = self._loop.at(now() + LAST_WORDS, lambda: self._over(run))
        if run.silent:
            self._loop.post(self._look)

    def balance(self) -> None:
        moved = getattr(self._sink, "moved", None)
        if moved is not None:
            moved()

    @property
    def loop(self) -> Loop:
        return self._loop

    @property
    def sink(self) -> Sink:
        return self._sink

    def note(self, text: str) -> None:
        self._note(Note(text, warning=True))


class _Run:
    """
    One life of the program.

    @ivar timer: the next step towards its end.
    @ivar open: it may be spoken to.
    @ivar silent: its output has ended.
    """

    def __init__(self, owner: Program, session: str) -> None:
        self._owner = owner
        self.begun = now()
        self.timer: Timer | None = None
        self.when_ended: list[Callable[[], None]] = []
        self.process = owner.started()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._input, self._output = self.process.stdin, self.process.stdout
        self.open = True
        self.silent = False
        loop = owner.loop
        self.writer = Writer(loop, self._input.fileno(), gone=lambda: owner.ends(self), moved=owner.balance)
        self._reader = Reader(
            loop,
            self._output.fileno(),
            said=self._said,
            too_long=lambda _: owner.note("The program said a line of more than 64 MB, which is left out."),
            ended=self._fell_silent,
            hung_up=lambda: None,
        )
        self.talk = ProgramDialogue(session, owner.sink, self.writer.say, loop.post)
        self._complained = False

    def hold(self, held: bool) -> None:
        if held:
            self._reader.pause()
        else:
            self._reader.resume()

    def let_go(self) -> None:
        """
        End its input. Its output is still read until its end, and thrown away, so that it is not killed by
        SIGPIPE.
        """
        if not self.open:
            return
        self.open = False
        if self.timer is not None:
            self.timer.cancel()
        self._owner.loop.forget(self._input.fileno())
        self.writer.broken = True
        self._input.close()
        self._reader.resume()

    def release(self) -> None:
        """The program has ended: close what belongs to it."""
        self._reader.pause()
        self._owner.loop.forget(self._output.fileno())
        self._output.close()

    def kill(self, number: int) -> None:
        """Send a signal to its whole group."""
        try:
            os.killpg(self.process.pid, number)
        except OSError:
            pass  # no process is left

    def _fell_silent(self) -> None:
        self.silent = True
        self._owner.ends(self)

    def _said(self, line: bytes) -> None:
        if not self.open:
            return
        try:
            self.talk.said(line)
        except NotJson:
            if not self._complained:
                self._complained = True
                self._owner.note("The program writes to its standard output what is no message of MCP.")


def _greets(ask: Ask) -> bool:
    from lanrelay.bridge.rpc import messages_of

    return ask.method == "POST" and messages_of(ask.body or b"{}")[0].method == "initialize"


def _how(status: int | None) -> str:
    if status is None:
        return "ended its output"
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was ended by {name}"
