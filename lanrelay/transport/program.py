"""A program that was started, its group of processes, and how it is made to end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.internet.process import registerReapProcessHandler, unregisterReapProcessHandler

from lanrelay.errors import ProgramNotStarted, StartError
from lanrelay.transport.pipes import ErrorLines, PipeStream

BASE: Final = ("PATH", "HOME", "LANG", "TMPDIR", "USER")
"""The variables of the relay's own environment that a program gets."""

# How often a group whose program has ended is looked at, for the kernel does not report the end of its last
# process.
_FIRST_LOOK, _LAST_LOOK = 0.01, 0.25


def environment(more: Mapping[str, str], own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """
    A clean base and C{more}. The system is asked for variables of the base that a service manager has left
    out.

    @param own: the relay's environment.
    """
    base = {name: own[name] for name in BASE if name in own}
    base.setdefault("PATH", os.defpath)
    if "HOME" not in base or "USER" not in base:
        import pwd  # few services are started without these variables

        with contextlib.suppress(KeyError):
            user = pwd.getpwuid(os.getuid())
            base.setdefault("HOME", user.pw_dir)
            base.setdefault("USER", user.pw_name)
    return {**base, **more}


class Folder:
    """The one in which a program is to run."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> None:
        """
        @raise StartError: it is not there.
        """
        if not os.path.isdir(self._path):
            raise StartError(f"{self._path} is no folder", remedy="correct `cwd`, or make it")


class Program:
    """
    One process, which leads a session and a group of its own, and all processes that it starts in that group.

    The end of its input tells it to end. After C{stop_timeout} seconds in which it writes nothing, the whole
    group gets SIGTERM, and after as many SIGKILL. When the program itself has ended, what is left of its
    group is ended in the same way.

    @param said: called with each line of its standard error.
    @param ended: called once, when nothing is left of the group.
    @ivar stream: its standard input and output, parked and paused.
    @ivar status: as C{subprocess} has it (C{-9}: by SIGKILL); C{None} as long as it runs.
    @raise ProgramNotStarted: by the constructor.
    """

    __slots__ = (
        "__weakref__",
        "_ended",
        "_look",
        "_over",
        "_process",
        "_reactor",
        "_said_last",
        "_sent",
        "_stderr",
        "_stop_timeout",
        "_timer",
        "_told_to_end",
        "pid",
        "status",
        "stream",
    )

    def __init__(
        self,
        reactor: Any,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stop_timeout: float,
        said: Callable[[str], None],
        ended: Callable[[Program], None],
    ) -> None:
        self._reactor, self._stop_timeout, self._ended = reactor, stop_timeout, ended
        self.status: int | None = None
        self._sent: int | None = None  # the last signal
        self._timer: Any = None
        self._told_to_end = False
        self._look = _FIRST_LOOK
        self._over = False
        self._said_last: float = reactor.seconds()
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=cwd,
                env=dict(env),
                close_fds=True,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise ProgramNotStarted(_why(error, command[0], cwd)) from error
        self._process = process
        self.pid = process.pid
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        writing, reading, errors = (
            os.dup(pipe.fileno()) for pipe in (process.stdin, process.stdout, process.stderr)
        )
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
        self.stream = PipeStream(
            reactor,
            reading,
            writing,
            input_ended=self._input_ended,
            spoke=self._spoke,
            name=f"pid {self.pid}",
        )
        self._stderr = ErrorLines(reactor, errors, said)
        # Later, for a program that has ended already would be reported before the caller has it.
        reactor.callLater(0, self._wait_for)

    def _wait_for(self) -> None:
        registerReapProcessHandler(self.pid, self)

    @property
    def told_to_end(self) -> bool:
        """Whether a signal of ours told it to end before it had ended by itself."""
        return self._told_to_end

    # --- making it end ----------------------------------------------------------------------------------

    def terminate(self) -> None:
        """SIGTERM to all of it now; SIGKILL after C{stop_timeout}."""
        if self._over:
            return
        self._signal(signal.SIGTERM)
        self._again(self._stop_timeout, self.kill)

    def kill(self) -> None:
        """SIGKILL to all of it now."""
        if self._over:
            return
        self._cancel()
        self._signal(signal.SIGKILL)
        if self.status is not None:
            self._again(self._look, self._look_at_group)

    def _input_ended(self) -> None:
        if self.status is None and self._sent is None:
            self._said_last = self._reactor.seconds()
            self._again(self._stop_timeout, self._silent)

    def _spoke(self) -> None:
        self._said_last = self._reactor.seconds()

    def _silent(self) -> None:
        """
        Its time is over. But output that still comes is not cut off, and a program that is not read cannot
        write it.
        """
        now = self._reactor.seconds()
        left = self._said_last + self._stop_timeout - now
        if self.stream.held_back:
            left = self._stop_timeout
        if left > 0.001:
            self._again(left, self._silent)
        else:
            self.terminate()

    def _signal(self, number: int) -> None:
        self._sent = number
        self._told_to_end = self._told_to_end or self.status is None
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for zombies
            os.killpg(self.pid, number)

    # --- its end ----------------------------------------------------------------------------------------

    def reapProcess(self) -> None:
        """Called by Twisted at each SIGCHLD."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 0  # another part of the process has reaped it
        if pid:
            unregisterReapProcessHandler(self.pid, self)
            self.processEnded(status)

    def processEnded(self, status: int) -> None:
        """Called by Twisted, also when the process had ended before Twisted began to wait for it."""
        self.status = self._process.returncode = os.waitstatus_to_exitcode(status)
        self._cancel()
        # As long as one of its processes lives, no other group can have its number.
        if self._group_lives():
            if self._sent != signal.SIGKILL:
                self._signal(signal.SIGTERM)
            self._said_last = self._reactor.seconds()
            self._again(self._look, self._look_at_group)
        else:
            self._finish()
        self.stream.exited()

    def _look_at_group(self) -> None:
        # Killed processes may stay as zombies for ever where process 1 does not wait for orphans.
        if not self._group_lives() or (self._sent == signal.SIGKILL and self._look > _LAST_LOOK / 4):
            self._finish()
            return
        if self._sent != signal.SIGKILL and self._reactor.seconds() >= self._said_last + self._stop_timeout:
            self._signal(signal.SIGKILL)
            self._look = _FIRST_LOOK
        self._look = min(2 * self._look, _LAST_LOOK)
        self._again(self._look, self._look_at_group)

    def _group_lives(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _finish(self) -> None:
        self._over = True
        self._cancel()
        self._stderr.finish()
        self.stream.abandoned()
        self._ended(self)

    def _again(self, seconds: float, call: Callable[[], None]) -> None:
        self._cancel()
        self._timer = self._reactor.callLater(seconds, call)

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def outcome(status: int | None) -> str:
    """How a program ended, for a sentence; empty for one that ended as it should."""
    if not status:
        return ""
    if status > 0:
        return f"the program ended with status {status}"
    try:
        return f"the program was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"the program was ended by signal {-status}"


def _why(error: Exception, program: str, cwd: Path) -> str:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, OSError) and error.filename == str(cwd):
        return f"its folder {cwd} cannot be entered: {reason}"
    return f"{program} cannot be started: {reason}"
