"""Asks the running relay over its control socket; with the standard library alone, so it is quick."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from lanrelay.cli.waiting import waiting

Json = dict[str, Any]

LONGEST = 64 * 1024 * 1024
"""Bytes of a line of the answer: the status of some ten thousand sessions is 5 MB."""


class NotAsked(Exception):
    """
    The relay could not be asked, or refused; the text is a sentence for the person at the terminal.

    @ivar advice: another, of what to do, where there is one.
    """

    advice = ""


class NotRunning(NotAsked):
    """No relay runs with that file."""

    def __init__(self, file: Path) -> None:
        from shlex import quote

        super().__init__(f"No relay is running with {file}.")
        self.advice = (
            f"`lanrelay run -c {quote(str(file))}` starts one; "
            "`lanrelay service install` has the system do it."
        )


class NotOurs(NotAsked):
    """There is a relay, of another user."""


class NotDone(NotAsked):
    """The relay was asked, and refused."""


def ask(
    file: Path, request: Json, *, timeout: float = 30.0, shown: bool = False
) -> Iterator[tuple[bool, Any]]:
    """
    Ask the relay that runs with a configuration file.

    @param timeout: seconds of silence.
    @param shown: somebody at a terminal is told of a wait for the first word.
    @return: what it says on the way, each with C{False}, and the result with C{True}.
    @raise NotAsked: it does not run, may not be asked, or cannot do it.
    """
    with connect(file) as asking:
        asking.settimeout(timeout)
        try:
            asking.sendall(json.dumps(request).encode("ascii") + b"\n")
            with asking.makefile("rb") as answer:
                with waiting("Waiting for the relay") if shown else nullcontext():
                    line = answer.readline(LONGEST)
                while line:
                    said = json.loads(line)
                    if "progress" in said:
                        yield False, said["progress"]
                        line = answer.readline(LONGEST)
                    elif "error" in said:
                        raise NotDone(str(said["error"]))
                    else:
                        yield True, said["result"]
                        return
        except TimeoutError:
            raise NotAsked(f"The relay has said nothing for {timeout:g} s.") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NotAsked(f"The relay's answer broke off: {error}.") from None
    raise NotAsked("The relay ended the connection without an answer; perhaps it is stopping.")


def result(file: Path, request: Json, *, timeout: float = 30.0, shown: bool = False) -> Any:
    """
    The result alone.

    @raise NotAsked: as L{ask}.
    """
    for last, said in ask(file, request, timeout=timeout, shown=shown):
        if last:
            return said
    raise AssertionError


def connect(file: Path) -> socket.socket:
    """
    A connection to the control socket.

    @raise NotAsked: there is none.
    """
    from lanrelay.config.control import is_believable, is_served, paths_of_file

    if not file.exists():
        raise NotAsked(f"There is no file {file}.")
    paths = paths_of_file(file)
    if not paths:
        raise NotAsked(f"{file} says `control: off`, so a relay with it cannot be asked.")
    others: Path | None = None
    busy = False
    for path in paths:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        found.settimeout(10.0)
        try:
            if os.path.lexists(path) and not is_believable(path, config=file):
                raise PermissionError
            found.connect(os.fspath(path))
        except PermissionError:
            found.close()
            others = others or path
        except OSError:
            found.close()
            with suppress(OSError):
                busy = busy or is_served(path)
        else:
            return found
    if others is not None:
        raise NotOurs(
            f"The relay with {file} belongs to another user; ask as that one, or with sudo. "
            f"(Others than this user and root can have put {others} there, so it is not believed.)"
        )
    if busy:
        raise NotAsked(f"The relay with {file} has too many who ask it already: try again in a moment.")
    raise NotRunning(file)
