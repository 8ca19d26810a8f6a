"""What a command and the person at the terminal say to each other."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lanrelay.cli.difference import difference
from lanrelay.cli.home import home, homely
from lanrelay.cli.streams import write
from lanrelay.cli.waiting import is_terminal, waiting
from lanrelay.cli.wrapping import wrapped
from lanrelay.config.complaints import printable


class Refused(Exception):
    """The person said no, or could not be asked; the text is a sentence for them."""


class Conversation:
    """
    Results go to standard output; questions, progress and complaints go to standard error.

    @ivar interactive: whether there is somebody to ask.
    @param yes: every question is answered with yes.
    @param dry_run: everything is shown, no question is asked, and the answer to each is no.
    @param as_json: standard output gets one JSON document and nothing else.
    @ivar wrote: whether something was written since.
    @ivar part: this is a step of a greater command, which says itself what comes before and after it.
    @param shown: the differences were shown before, and are not shown again.
    """

    def __init__(
        self,
        command: str,
        *,
        yes: bool = False,
        dry_run: bool = False,
        as_json: bool = False,
        shown: bool = False,
        part: bool = False,
        stdin: IO[str] | None = None,
        stdout: IO[str] | None = None,
        stderr: IO[str] | None = None,
    ) -> None:
        self.command = command
        self.yes = yes
        self.dry_run = dry_run
        self.as_json = as_json
        self.part = part
        self.wrote = False
        self._shown = shown
        self._in = sys.stdin if stdin is None else stdin
        self._out = sys.stdout if stdout is None else stdout
        self._err = sys.stderr if stderr is None else stderr
        self.interactive = is_terminal(self._in) and is_terminal(self._err)

    # --- telling ---

    def say(self, text: str = "") -> None:
        """A result. Under C{--json} it is left out, for the document says it."""
        if not self.as_json:
            self._write(self._out, text)

    def tell(self, text: str = "") -> None:
        """Progress, or what a question is about."""
        self._write(self._err, homely(text))

    def complain(self, text: str) -> None:
        """Say what is wrong, with the command's name before it."""
        self._write(self._err, f"lanrelay {self.command}: {homely(text)}")

    def json(self, document: Any) -> None:
        """The one document of C{--json}; nothing without it."""
        if self.as_json:
            write(self._out, json.dumps(document, indent=2, ensure_ascii=True) + "\n")

    def diff(self, path: Path, before: bytes | None, after: bytes | None) -> None:
        """
        What a file will change in, as a unified difference with secrets masked: the result of C{--dry-run},
        else what the next question is about.
        """
        if self._shown:
            return
        text = _printable_lines(difference(home(path), before, after)) + "\n"
        if not self.dry_run:
            write(self._err, text)
        elif not self.as_json:
            write(self._out, text)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Says at a terminal what the command waits for, once that takes longer than half a second."""
        with waiting(text, stream=self._err, tell=self.tell):
            yield

    # --- asking ---

    def agree(self, question: str, *, option: str = "--yes") -> bool:
        """
        Whether the person agrees.

        @param option: what answers the question where nobody can be asked.
        @return: C{False} under C{--dry-run}, without a question.
        @raise Refused: nobody can be asked, and C{--yes} is not given.
        """
        if self.dry_run:
            return False
        if self.yes:
            return True
        while True:
            answer = self.ask(f"{question} [y/N] ", option=option).strip().lower()
            if answer in ("y", "yes"):
                return True
            if answer in ("", "n", "no"):
                return False
            self.tell("Please answer yes or no.")

    def ask(self, question: str, *, option: str) -> str:
        """
        A line that the person types, without its end.

        @raise Refused: nobody can be asked; the sentence names C{option}.
        """
        if not self.interactive:
            raise Refused(
                f"{question.removesuffix(' [y/N] ').rstrip()} Nobody can be asked here, so nothing was "
                f"written: {option} answers it."
            )
        try:  # from the first letter on: who reads it may press Ctrl-C before we wait for an answer
            asked = question.rstrip()
            self._err.write(wrapped(_printable_lines(asked), self._err) + question[len(asked) :])
            self._err.flush()
            line = self._in.readline()
        except KeyboardInterrupt:
            if not self.part:
                more = " more" if self.wrote else ""
                self.tell(f"\nNothing{more} was written.")
            raise
        if not line:  # the end of input, Ctrl-D
            self._err.write("\n")
            raise Refused("No answer came, so nothing was written.")
        return line.rstrip("\r\n")

    @staticmethod
    def _write(stream: IO[str], text: str) -> None:
        write(stream, wrapped(_printable_lines(text), stream) + "\n")


def _printable_lines(text: str) -> str:
    """
    The text without anything that a terminal obeys, which a peer or a file may have put in; lines and tabs
    stay.
    """
    return "\n".join(
        "\t".join(printable(part) for part in line.removesuffix("\r").split("\t"))
        for line in text.split("\n")
    )
