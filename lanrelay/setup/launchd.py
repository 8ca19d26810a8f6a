"""The relay as a job of launchd, or as a login item. Not seen on a Mac yet."""

from __future__ import annotations

import plistlib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from lanrelay.commands import Output, Runner
from lanrelay.errors import StartError
from lanrelay.setup import plists
from lanrelay.setup.bundle import IDENTIFIER, Python, ask_python, bundle_files, command_of, is_ours, try_copy
from lanrelay.setup.files import File, remove, remove_folder
from lanrelay.setup.mode import Mode, Step
from lanrelay.version import __version__

# macOS asks the user before a program may look into these, and into disks and shares below /Volumes. It
# refuses a job of launchd's without a word.
_GUARDED = ("Desktop", "Documents", "Downloads", "Library/Mobile Documents", "Library/CloudStorage")


class _Launchd(Mode):
    label: ClassVar[str]

    @property
    def domain(self) -> str:
        return f"gui/{self.machine.uid}"

    @property
    def path(self) -> Path:
        return self.machine.home / f"Library/LaunchAgents/{self.label}.plist"

    @property
    def log_file(self) -> Path:
        return self.machine.home / "Library/Logs/lanrelay.log"

    @property
    def log(self) -> str:
        return f"tail {self.log_file}"

    def plist(self, command: Sequence[str]) -> dict[str, Any]:
        raise NotImplementedError

    def files(self, command: Sequence[str]) -> list[File]:
        return [File(path=self.path, content=plistlib.dumps(self.plist(command), sort_keys=False))]

    def obstacles(self, config: Path, command: Sequence[str]) -> list[str]:
        guarded = [*(self.machine.home / folder for folder in _GUARDED), Path("/Volumes")]
        return [
            f"{path} is below {folder}, where macOS lets no job of launchd's read: "
            "move it, to ~/.config/lanrelay for one."
            for path in dict.fromkeys((config, Path(command[0])))
            for folder in guarded
            if path.is_relative_to(folder)
        ]

    def start(self) -> list[Step]:
        return [
            *self._logs_that_it_can_open(),
            Step(("launchctl", "bootout", f"{self.domain}/{self.label}"), needed=False),
            # One that was disabled once stays so, over removals and restarts, and bootstrap fails with 5.
            Step(("launchctl", "enable", f"{self.domain}/{self.label}"), needed=False),
            # While the job before it is still ending, this fails with "5: Input/output error".
            Step(("launchctl", "bootstrap", self.domain, str(self.path)), tries=6),
        ]

    def _logs_that_it_can_open(self) -> list[Step]:
        """
        A log that its user cannot open ends a job with 78, EX_CONFIG, before it has begun.

        They are made as that user: a file that root makes, or gives away, in somebody's folder may lead
        elsewhere.
        """
        machine = self.machine
        become = ("sudo", "-u", machine.user) if machine.root else ()
        steps = []
        for log in self.logs:
            steps.append(Step((*become, "mkdir", "-p", str(log.parent)), needed=False))
            otherwise = f"{log} must be {machine.user}'s: sudo chown {machine.user} {shlex.quote(str(log))}"
            steps.append(Step((*become, "touch", str(log)), otherwise=otherwise))
        return steps

    @property
    def logs(self) -> list[Path]:
        """The files into which launchd has it write."""
        return [self.log_file]

    def why(self, answer: Output) -> str:
        number = _number(answer)
        if number is None:
            return answer.reason
        line, said = number[0], _NUMBERS.get(number[1], "")
        return f"{line}\n{said}" if said else line

    def stop(self) -> list[Step]:
        return [Step(("launchctl", "bootout", f"{self.domain}/{self.label}"), needed=False)]

    def state(self, run: Runner) -> str:
        shown = run(("launchctl", "print", f"{self.domain}/{self.label}"))
        if not shown.good:
            nobody = "Could not find domain" in shown.errors + shown.output
            return "not loaded: nobody is logged in at the screen" if nobody else "not loaded"
        return _launchd_state(shown)


# What launchctl says beside the number is the same for very different things.
_NUMBERS = {
    5: (
        "The job before it may still be ending (try again in a moment), or System Settings, General, Login"
        " Items does not let it run."
    ),
    37: "The job before it is still ending: try again in a moment.",
    125: (
        "An agent needs somebody who is logged in at the screen, not by ssh alone, and whom System Settings,"
        " General, Login Items let run things in the background. The mode daemon needs neither."
    ),
}


def _number(answer: Output) -> tuple[str, int] | None:
    """The line with the number, and that; another line may come after it and say nothing about the reason."""
    for line in (answer.errors or answer.output).splitlines():
        found = re.search(r" failed: (\d+): ", line)
        if found is not None:
            return line.strip(), int(found[1])
    return None


def _launchd_state(shown: Output) -> str:
    """From the first level of what C{launchctl print} says; Apple calls its format no interface."""
    fields = {}
    for line in shown.output.splitlines():
        name, equals, value = line.strip().partition(" = ")
        if equals and name not in fields:
            fields[name] = value
    state = fields.get("state", "loaded")
    if state == "running" and "pid" in fields:
        return f"running (process {fields['pid']})"
    code = fields.get("last exit code", "(never exited)")
    if not code.startswith("("):
        # The program never ran: launchd could not do before it what the property list asks for.
        why = ": its user cannot open its log, or its folders" if code.partition(":")[0] == "78" else ""
        return f"{state} (last exit code {code}{why})"
    if "last exit reason" in fields:
        return f"{state} ({fields['last exit reason']})"
    return state


class Agent(_Launchd):
    """An agent that starts the relay itself: enough up to macOS 14."""

    name = "agent"
    next = "agent-osascript"
    label = plists.AGENT

    def plist(self, command: Sequence[str]) -> dict[str, Any]:
        return plists.agent(command, self.log_file, drain=self.drain)


class OsascriptAgent(_Launchd):
    """An agent that goes through osascript, which is reported to have access to the LAN."""

    name = "agent-osascript"
    next = "app"
    label = plists.OSASCRIPT_AGENT

    def plist(self, command: Sequence[str]) -> dict[str, Any]:
        return plists.osascript_agent(command, self.log_file, drain=self.drain)

    @property
    def logs(self) -> list[Path]:
        return [self.log_file, plists.osascript_log(self.log_file)]


class AppAgent(_Launchd):
    """An agent that starts the relay in an app bundle of its own, about which macOS can ask."""

    name = "app"
    next = "login-item"
    label = plists.APP_AGENT

    _python: Python | None = None

    @property
    def bundle(self) -> Path:
        return self.machine.home / "Applications/lanrelay.app"

    @property
    def marker(self) -> Path:
        """Says that the LAN was touched."""
        return self.machine.home / "Library/Application Support/lanrelay/lan-touched"

    def look_at(self, python: Path, run: Runner) -> None:
        self._python = ask_python(python, run)
        try_copy(self._python, run)

    def plist(self, command: Sequence[str]) -> dict[str, Any]:
        return plists.app_agent(
            command_of(self.bundle, command[1:]),
            self.log_file,
            bundle=IDENTIFIER,
            prefix=self.python.prefix,
            drain=self.drain,
        )

    @property
    def python(self) -> Python:
        assert self._python is not None, "look_at comes first"
        return self._python

    def files(self, command: Sequence[str]) -> list[File]:
        return [*bundle_files(self.bundle, self.python, self.marker, __version__), *super().files(command)]

    def obstacles(self, config: Path, command: Sequence[str]) -> list[str]:
        found = super().obstacles(config, command)
        if self.bundle.exists() and not is_ours(self.bundle):
            found.append(f"{self.bundle} is there, and another app: move it away.")
        return found

    def start(self) -> list[Step]:
        check = ("env", f"PYTHONHOME={self.python.prefix}", *command_of(self.bundle, ["--check"]))
        return [
            Step(
                ("codesign", "--force", "--sign", "-", str(self.bundle)),
                needed=False,
                otherwise=f"codesign --force --sign - {shlex.quote(str(self.bundle))}",
            ),
            Step(check, otherwise="This Python does not run from a copy: take another mode."),
            Step(("rm", "-f", str(self.marker)), needed=False),
            *super().start(),
        ]

    def remove_more(self) -> list[str]:
        said = [remove_folder(self.bundle)] if is_ours(self.bundle) else []
        return [*said, *([remove(self.marker)] if self.marker.exists() else [])]

    def hints(self, run: Runner) -> list[str]:
        return [
            "macOS may ask now whether lanrelay may find devices on your network: allow it. The answer can be"
            " changed in System Settings > Privacy & Security > Local Network."
        ]

    def kept_from_lan(self) -> str:
        return (
            "If macOS asks whether lanrelay may find devices on your network, allow it (or switch lanrelay on"
            " in System Settings > Privacy & Security > Local Network), and run the same command again."
        )


class Daemon(_Launchd):
    """A daemon with C{UserName}."""

    name = "daemon"
    needs_root = True
    next = "login-item"
    label = plists.DAEMON

    @property
    def domain(self) -> str:
        return "system"

    @property
    def path(self) -> Path:
        return Path(f"/Library/LaunchDaemons/{self.label}.plist")

    def plist(self, command: Sequence[str]) -> dict[str, Any]:
        if self.machine.user == "root":
            raise StartError(
                "the daemon would run as root",
                remedy="run this with sudo from your own account, or say --user NAME",
            )
        return plists.daemon(command, self.log_file, self.machine.user, drain=self.drain)


class LoginItem(Mode):
    """A command file that Terminal runs at each login."""

    name = "login-item"
    next = "daemon"

    @property
    def path(self) -> Path:
        return self.machine.home / "Library/Application Support/lanrelay/lanrelay.command"

    @property
    def log(self) -> str:
        return "look at the Terminal window that says lanrelay"

    def files(self, command: Sequence[str]) -> list[File]:
        return [File(path=self.path, content=plists.command_file(command).encode(), mode=0o755)]

    def start(self) -> list[Step]:
        item = f"{{path:{plists.applescript_string(str(self.path))}, hidden:false}}"
        return [
            self._forget(),
            Step(
                _system_events(f"make login item at end with properties {item}"),
                needed=False,
                otherwise=f"add {self.path} under System Settings, General, Login Items",
            ),
            Step(("open", "-a", "Terminal", str(self.path))),
        ]

    def stop(self) -> list[Step]:
        return [self._forget()]

    def _forget(self) -> Step:
        return Step(
            _system_events('delete (every login item whose name is "lanrelay.command")'), needed=False
        )

    def state(self, run: Runner) -> str:
        found = run(("pgrep", "-f", "twistd.* lanrelay -c "))
        numbers = found.output.split()
        return f"running (process {', '.join(numbers)})" if found.good and numbers else "not running"

    def hints(self, run: Runner) -> list[str]:
        return ["It runs in a Terminal window, from each login on; closing the window stops it."]


def _system_events(what: str) -> tuple[str, ...]:
    return ("osascript", "-e", f'tell application "System Events" to {what}')
