"""C{lanrelay stdio} as its own process, and the client that has started it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bridge.scene import CONFIRMATION, HELLO, Json, request
from tests.support.progress import PATIENCE


class Client:
    """
    Whoever makes it adds C{stop} as a cleanup.

    @param home: its state and its configuration.
    """

    def __init__(self, words: Sequence[str], home: Path, **environment: str) -> None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "LANRELAY_"))
        }
        self._errors: list[bytes] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lanrelay.cli.main", "stdio", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**kept, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), **environment},
        )
        self._lines: queue.Queue[Json | None] = queue.Queue()
        self._held: list[Json] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._hear)]
        for each in self._threads:
            each.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def _hear(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._errors.append(line)

    @property
    def log(self) -> str:
        """What it wrote to its standard error up to now."""
        return b"".join(self._errors).decode()

    def say(self, message: Json) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, **wanted: Any) -> Json:
        """The first message that has these members, of those that no one has heard."""
        for message in self._held:
            if wanted.items() <= message.items():
                self._held.remove(message)
                return message
        while True:
            found = self._lines.get(timeout=PATIENCE)
            if found is None:
                raise AssertionError(f"it said no more; its log:\n{self.log}")
            if wanted.items() <= found.items():
                return found
            self._held.append(found)

    def ask(self, id: Any, method: str, params: Json | None = None) -> Json:
        self.say(request(id, method, params))
        return self.hear(id=id)

    def call(self, id: Any, tool: str, **arguments: Any) -> Json:
        """The result of a tool."""
        answer = self.ask(id, "tools/call", {"name": tool, "arguments": arguments})
        result: Json = answer["result"]
        return result

    def greet(self) -> Json:
        """The handshake of the session eras; the answer of C{initialize}."""
        self.say(HELLO)
        answer = self.hear(id=0)
        self.say(CONFIRMATION)
        return answer

    def end(self) -> int:
        """The client closes standard input; the exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(PATIENCE)
        for each in self._threads:
            each.join(PATIENCE)
        return status

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for each in self._threads:
            each.join(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass


def text_of(result: Json) -> str:
    """What a tool has said."""
    text: str = result["content"][0]["text"]
    return text
