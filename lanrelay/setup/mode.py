"""A way in which a system can start the relay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lanrelay.commands import Output, Runner
from lanrelay.setup.files import File


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """
    Where a service is put, and whose it is.

    @ivar root: the command runs as root.
    @ivar user: who the relay shall run as; under C{sudo} the one who called it.
    @ivar config_home: C{$XDG_CONFIG_HOME}, or what stands for it.
    """

    platform: str
    macos: tuple[int, ...]
    root: bool
    user: str
    uid: int
    home: Path
    config_home: Path


@dataclass(frozen=True, slots=True)
class Step:
    """
    A command, and whether the rest depends on it.

    @ivar otherwise: what to do by hand where it fails.
    @ivar tries: it may be too early for it, so that a second later it works.
    """

    words: tuple[str, ...]
    needed: bool = True
    otherwise: str = ""
    tries: int = 1


class Mode:
    """
    One way. C{command} is what starts the relay in the foreground, as words with absolute paths.

    @cvar next: the mode to try when macOS keeps this one from the LAN.
    """

    name: ClassVar[str]
    platform: ClassVar[str] = "darwin"
    needs_root: ClassVar[bool] = False
    next: ClassVar[str] = ""

    def __init__(self, machine: Machine, *, drain: float = 0.0) -> None:
        """
        @param drain: seconds that the relay takes at most to end what is under way.
        """
        self.machine = machine
        self.drain = drain

    @property
    def path(self) -> Path:
        """The file that makes the service."""
        raise NotImplementedError

    @property
    def log(self) -> str:
        """Where to read what the relay says, as a command."""
        raise NotImplementedError

    def look_at(self, python: Path, run: Runner) -> None:
        """
        Find out what must be known of the Python that the relay is installed in, before L{files}.

        @raise StartError: it does not say.
        """

    def files(self, command: Sequence[str]) -> list[File]:
        """
        What has to be there.

        @raise StartError: a path cannot be written into such a file.
        """
        raise NotImplementedError

    def obstacles(self, config: Path, command: Sequence[str]) -> list[str]:
        """Why the relay could not start in this way though it can here, as sentences."""
        return []

    def start(self) -> list[Step]:
        """Start it, now and from now on; what runs already is started anew."""
        raise NotImplementedError

    def stop(self) -> list[Step]:
        """End it, now and for good."""
        raise NotImplementedError

    def remove_more(self) -> list[str]:
        """
        Remove what L{path} is not; what was done, as sentences.

        @raise StartError: something cannot be removed.
        """
        return []

    def after_removal(self) -> list[Step]:
        """What remains to be done once the file is gone."""
        return []

    def why(self, answer: Output) -> str:
        """Why a command of L{start} has failed, and what to do, in lines."""
        return answer.reason

    def kept_from_lan(self) -> str:
        """What to do first where macOS keeps it from the LAN, before another mode is tried; a sentence."""
        return ""

    def state(self, run: Runner) -> str:
        """Whether it runs, as a phrase."""
        raise NotImplementedError

    def hints(self, run: Runner) -> list[str]:
        """What else should be known once it is installed, as sentences."""
        return []

    @property
    def installed(self) -> bool:
        return self.path.exists()
