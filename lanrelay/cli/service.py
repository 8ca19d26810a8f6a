"""C{lanrelay service}: has the system start the relay, and sees whether it reaches the LAN."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lanrelay import commands
from lanrelay.commands import Runner
from lanrelay.config import model
from lanrelay.config.complaints import printable
from lanrelay.errors import StartError
from lanrelay.setup.installer import Failed, Installer, Running, Tried, leading, shown
from lanrelay.setup.mode import Machine, Mode
from lanrelay.setup.modes import MODES, default_mode

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """\
Have the system start the relay, at login or at boot. `install` writes the file that this takes, starts
the relay and asks it to reach each upstream of its configuration; `status` says what is installed;
`uninstall` takes it away."""


INSTALL_EXAMPLES = """
    lanrelay service install  with your own configuration, as fits this system
    lanrelay service install -c relay.yaml  with this file
    lanrelay service install --dry-run  show the files and commands, do nothing
    lanrelay service install --force  without a copy of files that say something else
    sudo lanrelay service install --mode systemd -c /etc/lanrelay/relay.yaml
    sudo lanrelay service install --mode daemon --user me  on a Mac, with access to the LAN
"""
STATUS_EXAMPLES = """
    lanrelay service status  every way that is installed
    lanrelay service status --mode agent  this one
"""
UNINSTALL_EXAMPLES = """
    lanrelay service uninstall  every way that is installed
    lanrelay service uninstall --mode login-item  this one
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import add_config, parser, subparser

    made = parser("service", DESCRIPTION, examples=INSTALL_EXAMPLES + STATUS_EXAMPLES + UNINSTALL_EXAMPLES)
    actions = made.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = subparser(
        actions, "install", "write the files, start the relay, try its upstreams", examples=INSTALL_EXAMPLES
    )
    add_config(install)
    install.add_argument("--dry-run", action="store_true", help="show the files and commands, do nothing")
    install.add_argument("--force", action="store_true", help="overwrite files without keeping a copy")
    install.add_argument("--user", help="who the relay runs as, for a launchd daemon that root installs")
    status = subparser(
        actions, "status", "say which modes are installed and whether they run", examples=STATUS_EXAMPLES
    )
    uninstall = subparser(
        actions, "uninstall", "stop the relay and remove the files", examples=UNINSTALL_EXAMPLES
    )
    for action in (install, status, uninstall):
        action.add_argument(
            "--mode", metavar="MODE", choices=list(MODES), help=f"the way to start it: {', '.join(MODES)}"
        )
    return made


def run(arguments: Sequence[str]) -> int:
    """0 when all is well, 1 when it is not, 2 for a wrong command line."""
    from lanrelay.cli.options import NoConfiguration, config_of, failed

    options = parser().parse_args(arguments)
    try:
        service = Service(user=getattr(options, "user", None))
        if options.action == "install":
            file = config_of(options, told=False)
            return service.install(file, options.mode, dry_run=options.dry_run, force=options.force)
        if options.action == "status":
            return service.status(options.mode)
        return service.uninstall(options.mode)
    except NoConfiguration as error:
        return failed(options, error)
    except (Failed, StartError) as error:
        _say(str(error), file=sys.stderr)
        return 1


def _say(text: str, *, file: TextIO | None = None) -> None:
    """Print lines that hold what others have said, so that none of it speaks to the terminal."""
    for line in text.splitlines() or [""]:
        print(printable(line), file=file)


class Service:
    """
    The three actions, on this machine.

    @param machine: found out where it is not given.
    @param running: makes the client of the control socket; C{None} where the configuration has none.
    """

    def __init__(
        self,
        *,
        user: str | None = None,
        machine: Machine | None = None,
        runner: Runner = commands.run,
        running: Callable[[Path], Running] | None = None,
        pause: Callable[[float], None] = time.sleep,
        python: Path | None = None,
    ) -> None:
        self._machine = machine or this_machine(user)
        self._run = runner
        self._running = running or Asked
        self._pause = pause
        # Not resolved: through its link a virtual environment's Python knows which one it is of.
        self._python = python or Path(os.path.abspath(sys.executable))

    # --- install ---

    def install(self, file: Path, name: str | None, *, dry_run: bool, force: bool) -> int:
        """
        @raise Failed: it does not run.
        @raise StartError: a path cannot be written into the files.
        """
        path = Path(os.path.abspath(file))
        _nameable(path)
        _nameable(self._python)
        config = self._checked(path)
        mode = self._mode(name or default_mode(self._machine), of_any_system=dry_run)
        mode.drain = max((listener.timeouts.drain for listener in config.listeners), default=0.0)
        mode.look_at(self._python, self._run)
        installer = self._installer(mode)
        command = [str(self._python.with_name("twistd")), "-n", "--pidfile=", "lanrelay", "-c", str(path)]
        running = self._running(path) if config.control is not None else None
        if dry_run:
            for line in installer.describe(command):
                print(line)
            if any(one.name == mode.name for one in self._here()):
                self._findable()
                installer.refuse(command, path, running)
            else:
                installer.refuse(command, path, None)
            return 0
        if mode.needs_root and not self._machine.root:
            raise Failed(f"The mode {mode.name} needs root:\n{self._command('install', mode.name, path)}")
        self._findable()
        installer.install(command, path, running, force=force)
        if running is None:
            print("The configuration says `control: off`, so the relay cannot be asked what it reaches.")
            return 0
        return self._try(installer, running, config, path)

    def _checked(self, path: Path) -> model.Config:
        """
        The configuration, with a word about variables that are set in this shell only.

        @raise Failed: it is wrong.
        """
        from lanrelay.config.load import ConfigErrors, load

        try:
            config = load(path)
        except ConfigErrors as errors:
            raise Failed(str(errors)) from None
        try:
            load(path, environment=self._environment())
        except ConfigErrors as errors:
            print(
                f"{errors}\nThe service will not have this shell's environment variables. Put what is secret "
                "into a file, as in ${file:token}, or set the variable in the file that starts the service.",
                file=sys.stderr,
            )
        return config

    def _environment(self) -> Mapping[str, str]:
        machine = self._machine
        return {"HOME": str(machine.home), "USER": machine.user, "LOGNAME": machine.user, "PATH": os.defpath}

    def _findable(self) -> None:
        # Without what a shell adds: PYTHONPATH, and the folder that we are in.
        program = "import sys; sys.path[:] = [one for one in sys.path if one]; import lanrelay.tap"
        answer = self._run(("env", "-u", "PYTHONPATH", str(self._python), "-c", program))
        if not answer.good:
            raise Failed(
                f"{self._python} finds lanrelay only from here, a service would not ({answer.reason}): "
                f"`{self._python} -m pip install .` in the checkout installs it."
            )
        if not self._python.with_name("twistd").exists():
            raise Failed(
                f"There is no twistd beside {self._python}: install lanrelay into a virtual environment."
            )

    def _try(self, installer: Installer, running: Running, config: model.Config, path: Path) -> int:
        listeners = leading(config)
        if not listeners:
            print("None of its listeners has an upstream of its own, so what it reaches was not tried.")
        if installer.reach(running, listeners):
            return 0
        mode = installer.mode
        if mode.kept_from_lan():
            print(mode.kept_from_lan())
        print(
            "No route, at once, to an address of this network: so macOS keeps a program from the LAN, and "
            f"the mode {mode.name} seems to be kept from it. The one to try next, which takes its place:\n"
            f"{self._command('install', mode.next, path)}"
        )
        return 1

    def _command(self, action: str, mode: str, path: Path | None = None) -> str:
        sudo = ["sudo"] if MODES[mode].needs_root else []
        words = [*sudo, str(self._python.with_name("lanrelay")), "service", action, "--mode", mode]
        return "  " + shown([*words, "-c", str(path)] if path else words)

    # --- status and uninstall ---

    def status(self, name: str | None) -> int:
        """0 where something is installed."""
        modes = [self._mode(name)] if name else self._here()
        installed = [mode for mode in modes if mode.installed]
        for mode in installed:
            _say(f"{mode.name}: {mode.state(self._run)}\n  file: {mode.path}\n  log:  {mode.log}")
        if not installed:
            print(f"Not installed{f' as {name}' if name else ''}.")
        return 0 if installed else 1

    def uninstall(self, name: str | None) -> int:
        """
        @raise Failed: something cannot be removed.
        """
        modes = [self._mode(name)] if name else self._here()
        installed = [mode for mode in modes if mode.installed]
        for mode in installed:
            if mode.needs_root and not self._machine.root:
                raise Failed(f"The mode {mode.name} needs root:\n{self._command('uninstall', mode.name)}")
        for mode in installed:
            self._installer(mode).uninstall()
        if not installed:
            print(f"Not installed{f' as {name}' if name else ''}.")
        return 0 if installed else 1

    # --- modes ---

    def _here(self) -> list[Mode]:
        platform = "darwin" if self._machine.platform == "darwin" else "linux"
        return [mode(self._machine) for mode in MODES.values() if mode.platform == platform]

    def _mode(self, name: str, *, of_any_system: bool = False) -> Mode:
        for mode in self._here():
            if mode.name == name:
                return mode
        if of_any_system:
            return MODES[name](self._machine)
        names = ", ".join(mode.name for mode in self._here())
        raise Failed(f"The mode {name} is not for this system; there are: {names}")

    def _installer(self, mode: Mode) -> Installer:
        others = [one for one in self._here() if one.name != mode.name]
        return Installer(mode, others, run=self._run, tell=_say, pause=self._pause)


def _nameable(path: Path) -> None:
    """
    @raise Failed: no file of a service's could hold this path.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise Failed(
            f"{path} is not UTF-8, so the file that starts a service cannot name it: give it another name."
        ) from None


def this_machine(
    user: str | None, *, environment: Mapping[str, str] = os.environ, runner: Runner = commands.run
) -> Machine:
    """
    What we run on, and for whom: under C{sudo} the one who called it.

    @raise Failed: there is no such user.
    """
    import platform
    import pwd

    root = os.geteuid() == 0
    try:
        if user is None and root and environment.get("SUDO_USER"):
            user = environment["SUDO_USER"]
        account = pwd.getpwnam(user) if user is not None else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise Failed(f"There is no user {user or os.geteuid()}.") from None
    home = Path(account.pw_dir)
    own = user is None and bool(environment.get("XDG_CONFIG_HOME"))
    release = platform.mac_ver()[0] or "0"
    if release.startswith("10.16"):  # what macOS calls itself to a program that was built for an older one
        answer = runner(("env", "SYSTEM_VERSION_COMPAT=0", "sw_vers", "-productVersion"))
        release = answer.output.strip() if answer.good else release
    return Machine(
        platform=sys.platform,
        macos=tuple(int(part) for part in release.split(".") if part.isdigit()),
        root=root,
        user=account.pw_name,
        uid=account.pw_uid,
        home=home,
        config_home=Path(environment["XDG_CONFIG_HOME"]) if own else home / ".config",
    )


class Asked:
    """
    The relay with this configuration file.

    @param file: its path as the relay has it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def pid(self) -> int | None:
        from lanrelay.cli.asking import NotAsked, result

        try:
            return int(result(self._file, {"method": "hello"}, timeout=5.0)["pid"])
        except NotAsked:
            return None

    def probe(self, listener: str) -> list[Tried]:
        from lanrelay.cli.asking import NotAsked, result

        try:
            outcomes = result(self._file, {"method": "probe", "upstream": listener}, timeout=180.0)
        except NotAsked as error:
            raise Failed(str(error)) from None
        return [
            Tried(
                upstream=one["upstream"],
                error=one.get("error", ""),
                address=one.get("address", ""),
                elapsed=one.get("elapsed", 0.0),
                errno=one.get("errno"),
                said=f"{one.get('what', '')} {one.get('remedy', '')}".strip(),
            )
            for one in outcomes
        ]
