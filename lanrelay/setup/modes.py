"""All ways in which a system can start the relay, and which to take."""

from __future__ import annotations

from lanrelay.setup.launchd import Agent, AppAgent, Daemon, LoginItem, OsascriptAgent
from lanrelay.setup.mode import Machine, Mode
from lanrelay.setup.systemd import SystemdSystem, SystemdUser

MODES: dict[str, type[Mode]] = {
    mode.name: mode
    for mode in (Daemon, Agent, OsascriptAgent, AppAgent, LoginItem, SystemdUser, SystemdSystem)
}


def default_mode(machine: Machine) -> str:
    """What to take where nobody said."""
    if machine.platform == "darwin":
        if machine.root:
            return Daemon.name
        # macOS 15 brought local network privacy; 10.16 is how it calls itself to old programs.
        return Agent.name if machine.macos < (15,) else OsascriptAgent.name
    return SystemdSystem.name if machine.root else SystemdUser.name
