"""What is logged while a test runs."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase


class Logged:
    """
    Listens from now to the end of C{test}.

    @ivar events: as Twisted's logger has them.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)  # type: ignore[arg-type]
        test.addCleanup(globalLogPublisher.removeObserver, self.events.append)  # type: ignore[arg-type]

    def at(self, level: Any) -> list[str]:
        """The lines of a level."""
        return [formatEvent(event) for event in self.events if event.get("log_level") is level]

    @property
    def warnings(self) -> list[str]:
        """The lines of level C{warn}."""
        return self.at(LogLevel.warn)

    @property
    def infos(self) -> list[str]:
        """The lines of level C{info}, of ours."""
        return [
            formatEvent(event)
            for event in self.events
            if event.get("log_level") is LogLevel.info and event["log_namespace"].startswith("lanrelay")
        ]
