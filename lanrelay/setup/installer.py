"""Installs a service, sees whether it reaches the LAN, and takes it away again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from lanrelay.addresses import is_link_local, is_private
from lanrelay.config import model
from lanrelay.errors import RelayError, StartError, Unroutable
from lanrelay.setup.commands import Runner
from lanrelay.setup.files import remove, write
from lanrelay.setup.mode import Mode, Step

_AT_ONCE = 0.1  # seconds; a host that is down takes the kernel some to notice
_WAIT = 20.0  # seconds for a start: Python on a cold disk, and launchd's own pauses


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """
    What came of a try to reach an upstream.

    @ivar error: the word of RFC 9209, empty where it was reached.
    @ivar address: the one that failed, as C{"192.168.1.20:443"}.
    @ivar elapsed: seconds.
    @ivar said: one or two sentences.
    """

    upstream: str
    error: str = ""
    address: str = ""
    elapsed: float = 0.0
    said: str = ""


class Running(Protocol):
    """The relay that was started, through its control socket."""

    def answers(self) -> bool:
        """Whether it is there already."""

    def probe(self, upstream: str) -> Probed:
        """
        Have it reach one.

        @raise RelayError: it cannot be asked any more.
        """


class Failed(Exception):
    """It cannot go on; C{str} is for the person at the terminal."""


class Installer:
    """
    One mode of one machine.

    @param others: the other modes of this platform; one that is installed makes way.
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
            yield from file.content.decode().splitlines()
            yield ""
        yield "# and then"
        for step in self.mode.start():
            yield f"# {shown(step.words)}"

    def install(self, command: Sequence[str], config: Path, *, force: bool) -> None:
        """
        Write the files and start the relay.

        @raise Failed: it does not run.
        """
        obstacles = self.mode.obstacles(config, command)
        if obstacles:
            raise Failed("\n".join(obstacles))
        replaced = [one for one in self._others if one.installed]
        for other in replaced:
            if other.needs_root and not other.machine.root:
                raise Failed(
                    f"The mode {other.name} is installed already and would be in the way: "
                    f"sudo lanrelay service uninstall --mode {other.name}"
                )
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
        for hint in self.mode.hints(self._run):
            self._tell(hint)

    def wait(self, running: Running) -> None:
        """
        Wait until the relay answers on its control socket.

        @raise Failed: it does not.
        """
        waited = 0.0
        while not running.answers():
            if waited >= _WAIT:
                state = self.mode.state(self._run)
                raise Failed(
                    f"The relay was started and does not answer; the system says: {state}.\n"
                    f"What it says itself: {self.mode.log}"
                )
            self._pause(0.5)
            waited += 0.5
        self._tell(f"The relay runs: {self.mode.state(self._run)}.")

    def reach(self, running: Running, upstreams: Sequence[str]) -> bool:
        """
        Have the relay reach each of these, and say what came of it.

        @return: C{False} where macOS keeps it from the LAN.
        """
        blocked = False
        for upstream in upstreams:
            try:
                probed = running.probe(upstream)
            except RelayError as error:
                self._tell(f"  {upstream}: could not be tried: {error}")
                continue
            if probed.error:
                self._tell(f"  {upstream}: {probed.error}: {probed.said}")
                blocked = blocked or (self.mode.platform == "darwin" and is_blocked(probed))
            else:
                self._tell(f"  {upstream}: reached")
        return not blocked

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
            raise Failed(
                f"`{shown(step.words)}` failed: {answer.reason}\nWhat the relay says: {self.mode.log}"
            )
        if step.otherwise:
            self._tell(f"`{shown(step.words)}` failed: {answer.reason}. By hand: {step.otherwise}.")


def shown(words: Sequence[str]) -> str:
    """A command as one would type it."""
    import shlex

    return shlex.join(words)


def is_blocked(probed: Probed) -> bool:
    """
    Whether a failure looks as macOS' local network privacy: no route to a private address, at once.

    A host that is down looks the same, except that it takes seconds.
    """
    if probed.error != Unroutable.proxy_status or probed.elapsed >= _AT_ONCE:
        return False
    host = probed.address.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return is_private(address) or is_link_local(address)


def upstreams(config: model.Config) -> list[str]:
    """The URLs of all that enabled listeners lead to, each once."""
    found: dict[str, None] = {}
    for listener in config.listeners:
        if not listener.enabled:
            continue
        groups: list[model.Upstreams] = []
        if isinstance(listener, model.TcpForward):
            groups.append(listener.upstreams)
        elif isinstance(listener, model.ReverseProxy):
            groups += [route.upstreams for route in listener.routes]
        for group in groups:
            found.update(dict.fromkeys(str(member.url) for member in group.members))
    return list(found)
