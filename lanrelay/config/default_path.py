"""
Where the configuration file is when nobody names it, and where lanrelay keeps what it has to remember.

Commands that should answer at once import this module: it needs the standard library alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SYSTEM = Path("/etc/lanrelay/relay.yaml")
"""What is looked for last: the machine's own."""


class NotFound(Exception):
    """
    There is no configuration file; the text is a sentence for the person at the terminal.

    @ivar command: what to do about it, and C{advice}, the sentence with it.
    """

    def __init__(self, sentence: str, command: str = "lanrelay setup", does: str = "makes one") -> None:
        super().__init__(sentence)
        self.command = command
        self.advice = f"`{command}` {does}."


def find(
    given: Path | None = None, *, environment: Mapping[str, str] = os.environ, system: Path = SYSTEM
) -> Path:
    """
    The configuration file that a command works with.

    @param given: what C{-c} names; whether it is there is for its reader to say.
    @return: C{given}; else C{$LANRELAY_CONFIG}; else the user's own; else C{system}: the first that exists.
    @raise NotFound: none of them is there, or C{$LANRELAY_CONFIG} names a file that is not.
    """
    if given is not None:
        return given
    named = environment.get("LANRELAY_CONFIG", "")
    if named:
        if not os.path.exists(named):
            raise NotFound(
                f"LANRELAY_CONFIG names {named}, and there is no such file.",
                "unset LANRELAY_CONFIG",
                "has it looked for where it is by default",
            )
        return Path(named)
    own = users_own(environment=environment)
    for candidate in (own, system):
        if os.path.exists(candidate):
            return candidate
    raise NotFound(
        f"There is no configuration: -c names one, and so does LANRELAY_CONFIG; "
        f"{own} and {system} are not there."
    )


def users_own(*, environment: Mapping[str, str] = os.environ) -> Path:
    """The user's own configuration file, whether it exists or not."""
    return _base("XDG_CONFIG_HOME", ".config", environment) / "lanrelay" / "relay.yaml"


def state_folder(*, environment: Mapping[str, str] = os.environ) -> Path:
    """
    The folder of what is remembered from one command to the next. Whatever writes there makes it, mode 0700.
    """
    return _base("XDG_STATE_HOME", ".local/state", environment) / "lanrelay"


def _base(variable: str, below_home: str, environment: Mapping[str, str]) -> Path:
    named = environment.get(variable, "")
    # "If an implementation encounters a relative path in any of these variables it should consider the path
    # invalid and ignore it." (XDG Base Directory Specification)
    if os.path.isabs(named):
        return Path(named)
    home = environment.get("HOME") or os.path.expanduser("~")
    return Path(home) / below_home
