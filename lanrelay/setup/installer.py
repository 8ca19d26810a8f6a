"""Installs a service, sees whether it reaches the LAN, and takes it away again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from errno import EHOSTDOWN
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from lanrelay.addresses import is_private
from lanrelay.commands import Runner
from lanrelay.config import model
from lanrelay.config.kinds import upstreams_of
from lanrelay.errors import StartError, Unroutable
from lanrelay.examine.network import darwin_defaults
from lanrelay.setup.files import remove, write
from lanrelay.setup.mode import Mode, Step

_AT_ONCE = 0.1  # seconds; a host that is down takes the kernel some to notice
_WAIT = 20.0  # seconds for a start: Python on a cold disk, and launchd's own pauses


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """
    What came of a try to reach an upstream.

    @ivar error: the word of RFC 9209, empty where it was reached.
    @ivar address: the one that failed, as C{"192.168.1.20:443"}.
    @ivar elapsed: seconds.
    @ivar errno: what the kernel said.
    @ivar said: one or two sentences.
    """

    upstream: str
    error: str = ""
    address: str = ""
    elapsed: float = 0.0
    errno: int | None = None
    said: str = ""


class Running(Protocol):
    """The relay with a configuration file, through its control socket."""

    def pid(self) -> int | None:
        """Its process; C{None} where there is none."""

    def probe(self, listener: str) -> list[Tried]:
        """
        Have it reach each upstream of a listener.

        @raise Failed: it cannot be asked.
        """


class Failed(Exception):
    """The installation cannot go on; C{str} is for the person at the terminal."""


class Installer:
    """
    One mode of one machine.

    @param others: the other modes of this platform; an installed one makes way.
    @param tell: prints a sentence.
    @param pause: waits for seconds.
    """

    def __init__(
        self,
        mode: Mode,
        others: Sequence[Mode],
        *,
        run: Runner,
        tell: Callable[[str], None],
        pause: Callable[[float], None],
    ) -> None:
        self.mode = mode
        self._others = others
        self._run = run
        self._tell = tell
        self._pause = pause

    # --- install ---

    def describe(self, command: Sequence[str]) -> Iterator[str]:
        """What L{install} would write and run, line by line."""
        for file in self.mode.files(command):
            yield f"# {file.path} (mode {file.mode:04o})"
            if file.copy_of is not None:
                yield f"# a copy of {file.copy_of}"
            else:
                yield from file.content.decode().splitlines()
            yield ""
        yield "# and then"
        for step in self.mode.start():
            yield f"# {shown(step.words)}"

    def install(self, command: Sequence[str], config: Path, running: Running | None, *, force: bool) -> None:
        """
        Write the files, start the relay, and wait until it answers.

        @raise Failed: it does not run.
        """
        before = self.refuse(command, config, running)
        replaced = [one for one in self._others if one.installed]
        try:
            files = self.mode.files(command)
            for other in replaced:
                self._tell(f"The mode {other.name} makes way.")
                self._remove(other)
            for file in files:
                self._tell(write(file, force=force))
        except StartError as error:
            raise Failed(str(error)) from error
        for step in self.mode.start():
            self._do(step)
        if running is not None:
            self._wait(running, before)
        for hint in self.mode.hints(self._run):
            self._tell(hint)

    def refuse(self, command: Sequence[str], config: Path, running: Running | None) -> int | None:
        """
        What L{install} looks at before it writes anything.

        @return: the process of the relay that runs and will make way, if any.
        @raise Failed: it would not run, or something is in the way.
        """
        obstacles = self.mode.obstacles(config, command)
        if obstacles:
            raise Failed("\n".join(obstacles))
        replaced = [one for one in self._others if one.installed]
        before = running.pid() if running is not None else None
        if before is not None and not replaced and not self.mode.installed:
            raise Failed(f"A relay with this configuration runs already, process {before}: stop it first.")
        for other in replaced:
            if other.needs_root and not other.machine.root:
                raise Failed(
                    f"The mode {other.name} is installed already and would be in the way: "
                    f'sudo "$(command -v lanrelay)" service uninstall --mode {other.name}'
                )
        return before

    def _wait(self, running: Running, before: int | None) -> None:
        waited = 0.0
        while running.pid() in (None, before):
            if waited >= _WAIT:
                state = self.mode.state(self._run)
                raise Failed(
                    f"The relay was started and does not answer; the system says: {state}.\n"
                    f"What it says itself: {self.mode.log}"
                )
            self._pause(0.5)
            waited += 0.5
        self._tell(f"The relay runs: {self.mode.state(self._run)}.")

    def reach(self, running: Running, listeners: Sequence[str]) -> bool:
        """
        Have the relay reach the upstreams of these, and say what came of it.

        @return: C{False} where macOS keeps it from the LAN.
        @raise Failed: it cannot be asked.
        """
        blocked = False
        for listener in listeners:
            for probed in running.probe(listener):
                said = f"{probed.error}: {probed.said}" if probed.error else "reached"
                if not probed.error and self._is_router(_host_of(probed.upstream)):
                    said += (
                        ", but it is this network's router, which macOS lets every program reach: "
                        "that is no proof of access to other devices"
                    )
                self._tell(f"  {listener}: {probed.upstream}: {said}")
                blocked = blocked or (self.mode.platform == "darwin" and is_blocked(probed))
        return not blocked

    def _is_router(self, host: str) -> bool:
        """Whether it is one that macOS' local network privacy hides from nobody: a default gateway."""
        if self.mode.platform != "darwin" or not host[:1].isdigit():
            return False
        table = self._run(("netstat", "-rn", "-f", "inet")).output
        return host in [one.gateway for one in darwin_defaults(table)]

    # --- status, uninstall ---

    def uninstall(self) -> None:
        """
        Stop it and take its files away; the configuration stays.

        @raise Failed: a file cannot be removed.
        """
        try:
            self._remove(self.mode)
        except StartError as error:
            raise Failed(str(error)) from error

    def _remove(self, mode: Mode) -> None:
        for step in mode.stop():
            self._do(step)
        self._tell(remove(mode.path))
        for sentence in mode.remove_more():
            self._tell(sentence)
        for step in mode.after_removal():
            self._do(step)

    def _do(self, step: Step) -> None:
        answer = self._run(step.words)
        tries = step.tries - 1
        while not answer.good and tries > 0:
            tries -= 1
            self._pause(1.0)
            answer = self._run(step.words)
        if answer.good:
            return
        if step.needed:
            said = f"What the relay says: {self.mode.log}"
            raise Failed(f"`{shown(step.words)}` failed: {self.mode.why(answer)}\n{step.otherwise or said}")
        if step.otherwise:
            self._tell(f"`{shown(step.words)}` failed: {answer.reason}. By hand: {step.otherwise}.")


def shown(words: Sequence[str]) -> str:
    """A command as one would type it."""
    import shlex

    return shlex.join(words)


def _host_of(upstream: str) -> str:
    try:
        return urlsplit(upstream).hostname or ""
    except ValueError:
        return ""


def is_blocked(probed: Tried) -> bool:
    """
    Whether a failure looks as macOS' local network privacy: no route to a private address, at once.

    A host that is down looks the same, except that it takes seconds; and so does a link-local address of
    another link, which is why those do not count.
    """
    if probed.error != Unroutable.proxy_status or probed.elapsed >= _AT_ONCE:
        return False
    if probed.errno == EHOSTDOWN:  # said at once, for a while after ARP found nobody
        return False
    host = probed.address.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return is_private(address)


def leading(config: model.Config) -> list[str]:
    """The names of the enabled listeners that have upstreams of their own."""
    return [listener.name for listener in config.listeners if listener.enabled and upstreams_of(listener)]
