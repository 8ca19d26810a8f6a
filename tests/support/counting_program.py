"""L{tests.support.stdio.CountingServer} in a process of its own, for tests that kill it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.program import run
from tests.support.stdio import CountingServer

running: list[CountingServer] = []


async def serve(options: dict[str, Any]) -> int:
    running.append(CountingServer(port=options["port"], record=Path(options["record"])))
    return running[0].port


if __name__ == "__main__":
    run(serve)
