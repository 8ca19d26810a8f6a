"""The relay as a unit of systemd, of its user or of the system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from lanrelay.commands import Runner
from lanrelay.setup import units
from lanrelay.setup.files import File
from lanrelay.setup.mode import Mode, Step


class SystemdUser(Mode):
    """A user unit: it runs while its user is logged in, or from boot on with lingering."""

    name = "systemd-user"
    platform = "linux"
    _systemctl: ClassVar[tuple[str, ...]] = ("systemctl", "--user")

    @property
    def path(self) -> Path:
        return self.machine.config_home / "systemd/user/lanrelay.service"

    @property
    def log(self) -> str:
        return "journalctl --user -u lanrelay"

    def files(self, command: Sequence[str]) -> list[File]:
        head = "# Written by `lanrelay service install --mode systemd-user`.\n\n"
        text = head + units.user_unit(units.command_line(command))
        return [File(path=self.path, content=text.encode())]

    def start(self) -> list[Step]:
        return [
            Step((*self._systemctl, "daemon-reload")),
            Step((*self._systemctl, "enable", "lanrelay.service")),
            Step((*self._systemctl, "restart", "lanrelay.service")),
        ]

    def stop(self) -> list[Step]:
        return [Step((*self._systemctl, "disable", "--now", "lanrelay.service"), needed=False)]

    def after_removal(self) -> list[Step]:
        return [Step((*self._systemctl, "daemon-reload"), needed=False)]

    def state(self, run: Runner) -> str:
        shown = run((*self._systemctl, "show", "lanrelay.service", "-p", "ActiveState,SubState,StatusText"))
        if not shown.good:
            return f"unknown ({shown.reason})"
        fields = dict(line.split("=", 1) for line in shown.output.splitlines() if "=" in line)
        state = f"{fields.get('ActiveState', 'unknown')} ({fields.get('SubState', '')})"
        return f"{state}: {fields['StatusText']}" if fields.get("StatusText") else state

    def hints(self, run: Runner) -> list[str]:
        lingers = run(("loginctl", "show-user", self.machine.user, "--property=Linger"))
        if lingers.good and lingers.output.strip() == "Linger=yes":
            return []
        return ["It runs while you are logged in. `loginctl enable-linger` has it run from boot on."]


class SystemdSystem(SystemdUser):
    """A system unit that may do nothing but relay."""

    name = "systemd"
    needs_root = True
    _systemctl = ("systemctl",)

    @property
    def path(self) -> Path:
        return Path("/etc/systemd/system/lanrelay.service")

    @property
    def log(self) -> str:
        return "journalctl -u lanrelay"

    def files(self, command: Sequence[str]) -> list[File]:
        head = "# Written by `lanrelay service install --mode systemd`.\n\n"
        text = head + units.system_unit(units.command_line(command))
        return [File(path=self.path, content=text.encode())]

    def obstacles(self, config: Path, command: Sequence[str]) -> list[str]:
        found = []
        hidden = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # ProtectHome=, PrivateTmp=
        for path, remedy in (
            (config, "copy it, and the files that it names, to /etc/lanrelay"),
            (
                Path(command[0]),
                "install lanrelay into a virtual environment at /opt/lanrelay, and run that one",
            ),
        ):
            above = next((folder for folder in hidden if path.is_relative_to(folder)), None)
            if above:
                found.append(f"{path} is below {above}, which the system unit cannot see: {remedy}.")
        if not found and not _others_can_read(config):
            found.append(
                f"{config} must be readable for the user that systemd makes: `chmod o+r` it, its secrets "
                "in files that LoadCredential= of the unit names."
            )
        return found

    def hints(self, run: Runner) -> list[str]:
        return []


def _others_can_read(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o004) and all(one.stat().st_mode & 0o001 for one in path.parents)
    except OSError:
        return False
