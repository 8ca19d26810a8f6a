"""The log, beside the protocol: lines on standard error, or in a file."""

from __future__ import annotations

import os
import select
import time

from lanrelay.bridge.messages import Note


class Log:
    """
    Never waits: a line that nobody takes is left out.

    @param descriptor: standard error, mostly.
    @param dated: each line begins with the time.
    """

    def __init__(self, descriptor: int, *, verbose: bool, dated: bool = False) -> None:
        self._descriptor = descriptor
        self._verbose = verbose
        self._dated = dated

    def note(self, note: Note) -> None:
        if not note.warning and not self._verbose:
            return
        text = "".join(letter if letter.isprintable() else "?" for letter in note.text)[:2000]
        begin = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} " if self._dated else "lanrelay stdio: "
        look = select.poll()
        try:
            look.register(self._descriptor, select.POLLOUT)
            if look.poll(0):
                os.write(self._descriptor, f"{begin}{text}\n".encode()[: select.PIPE_BUF])
        except OSError:
            pass  # nobody reads it

    def warn(self, text: str) -> None:
        self.note(Note(text, warning=True))


def opened(file: str | None, *, verbose: bool) -> Log:
    """
    @param file: is added to; made with mode 0600.
    @raise OSError: it cannot be.
    """
    if file is None:
        return Log(2, verbose=verbose)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return Log(descriptor, verbose=verbose, dated=True)
