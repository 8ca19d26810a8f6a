"""A machine that is none, and commands with recorded answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lanrelay.commands import Output
from lanrelay.setup.mode import Machine


def machine(home: Path, platform: str = "linux", **more: object) -> Machine:
    given: dict[str, object] = {
        "platform": platform,
        "macos": (15, 5) if platform == "darwin" else (),
        "root": False,
        "user": "ann",
        "uid": 501,
        "home": home,
        "config_home": home / ".config",
        **more,
    }
    return Machine(**given)  # type: ignore[arg-type]


class Commands:
    """
    Answers as C{answers} has it, by the beginning of the command; else with success.

    @ivar ran: what was run, as one line each.
    """

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.answers: dict[str, list[Output]] = {}

    def __call__(self, words: Sequence[str]) -> Output:
        line = " ".join(words)
        self.ran.append(line)
        for beginning, answers in self.answers.items():
            if line.startswith(beginning):
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return Output(0)
