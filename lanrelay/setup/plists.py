"""launchd's property lists, as what C{plistlib} writes, and the command file of a login item."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

AGENT = "lanrelay.agent"
OSASCRIPT_AGENT = "lanrelay.agent-osascript"
APP_AGENT = "lanrelay.agent-app"
DAEMON = "lanrelay.daemon"


LEAST_EXIT_TIMEOUT = 20  # seconds; launchd.plist(5) has long named it as the default; by reports Macs take 5


def agent(command: Sequence[str], log: Path, *, drain: float = 0.0) -> dict[str, Any]:
    """
    An agent that starts the relay itself, as macOS up to 14 lets it reach the LAN.

    @param drain: seconds that the relay takes at most to end what is under way.
    """
    return {
        "Label": AGENT,
        "ProgramArguments": list(command),
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
        **_always(drain),
    }


def app_agent(
    command: Sequence[str], log: Path, *, bundle: str, prefix: str, drain: float = 0.0
) -> dict[str, Any]:
    """
    An agent that starts the relay in an app bundle of its own.

    @param bundle: its identifier; TN3179 wants it named by an agent that no app has registered.
    @param prefix: of the Python whose interpreter is in the bundle.
    """
    return {
        "Label": APP_AGENT,
        "ProgramArguments": list(command),
        "AssociatedBundleIdentifiers": [bundle],
        "EnvironmentVariables": {"PYTHONHOME": prefix},
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
        **_always(drain),
    }


def osascript_agent(command: Sequence[str], log: Path, *, drain: float = 0.0) -> dict[str, Any]:
    """
    An agent whose responsible process is C{/usr/bin/osascript}.

    The relay is osascript's child, so it is no job of launchd's and gets no C{launchd:} sockets.
    """
    shell = f"exec {shlex.join(command)} >> {shlex.quote(str(log))} 2>&1"
    return {
        "Label": OSASCRIPT_AGENT,
        "ProgramArguments": ["/usr/bin/osascript", "-e", f"do shell script {applescript_string(shell)}"],
        "StandardErrorPath": str(osascript_log(log)),
        **_always(drain),
    }


def osascript_log(log: Path) -> Path:
    """Where osascript itself complains."""
    return log.with_name("osascript.log")


def daemon(command: Sequence[str], log: Path, user: str, *, drain: float = 0.0) -> dict[str, Any]:
    """
    A daemon that runs as C{user}; access to the LAN comes from being a daemon, not from being root.

    C{Umask} is a number: 63 is 0077.
    """
    return {
        "Label": DAEMON,
        "UserName": user,
        "ProgramArguments": list(command),
        "StandardOutPath": str(log),
        "StandardErrorPath": str(log),
        "Umask": 0o077,
        **_always(drain),
    }


def _always(drain: float) -> dict[str, Any]:
    return {
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        # Then comes SIGKILL. Some seconds more than the relay takes by itself.
        "ExitTimeOut": max(LEAST_EXIT_TIMEOUT, math.ceil(drain) + 5),
        "ProcessType": "Interactive",
    }


def applescript_string(text: str) -> str:
    """A literal of AppleScript."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def command_file(command: Sequence[str]) -> str:
    """What Terminal runs for a login item: it becomes the relay, so that a closing window stops it."""
    return f"""\
#!/bin/bash
# lanrelay in a Terminal window: macOS gives what Terminal starts access to the LAN.
# Written by `lanrelay service install --mode login-item`. Closing the window stops the relay.
exec {shlex.join(command)}
"""
