"""What is wrong with a configuration file, and where."""

from __future__ import annotations

from lanrelay.errors import RelayError


class Complaint:
    """
    One thing that is wrong.

    @ivar file: the file as the user named it.
    @ivar line: from 1, as C{column}.
    @ivar key_path: C{listeners.lan-mcp.upstream.tls.ca}; empty for the file as a whole.
    @ivar message: what was found and what was expected; no secret is in it.
    """

    __slots__ = ("column", "file", "key_path", "line", "message")

    def __init__(self, *, file: str, line: int, column: int, key_path: str, message: str) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.key_path = key_path
        self.message = message

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"

    @property
    def place(self) -> str:
        """C{"relay.yaml:7:11: listeners.web.upstream.tls.ca"}."""
        key = f": {printable(self.key_path)}" if self.key_path else ""
        return f"{printable(self.file)}:{self.line}:{self.column}{key}"

    def __repr__(self) -> str:
        return f"<Complaint {self}>"


class ConfigErrors(RelayError):
    """
    The configuration file is not right; C{str} is one line for each complaint.

    @ivar complaints: all of them, in the file's order.
    """

    proxy_status = "proxy_configuration_error"  # RFC 9209 section 2.3.32

    def __init__(self, complaints: tuple[Complaint, ...]) -> None:
        super().__init__("\n".join(map(str, complaints)))
        self.complaints = complaints


def printable(text: str) -> str:
    """The text on one line, without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def excerpt(text: str) -> str:
    """The text in quotes, cut when it is long."""
    short = text if len(text) <= 80 else f"{text[:77]}..."
    return f'"{printable(short)}"'
