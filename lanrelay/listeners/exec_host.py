"""Stands between a program that speaks MCP and the sessions that it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.mcp.lines import Lines, TooLong
from lanrelay.mcp.sessions import Carrier
from lanrelay.transport.program import Program, outcome
from lanrelay.transport.stream import hand_over


@implementer(IPushProducer)
class Host(Protocol):
    """
    One program.

    If it serves one client, the program waits while that client does not read. If it serves several, the
    others go on, and of what one leaves unread, the newest messages are kept.

    @param ended: called once, with the reason, when no more will come from the program.
    @ivar stuffed: the program does not read, so no more should be sent for now.
    """

    def __init__(
        self, note: Callable[[str], None], ended: Callable[[Host, str], None], *, shared: bool
    ) -> None:
        self._ended = ended
        self.carrier = Carrier(self._say, note, shared=shared)
        self.ending = self.stuffed = self._over = False
        self._lines = Lines()
        self._full: set[Any] = set()
        self._waiting: set[Callable[[], None]] = set()
        self.program: Program | None = None

    def begin(self, program: Program) -> None:
        """Begin to speak with the program."""
        self.program = program
        program.stream.finished = self._finished
        hand_over(program.stream, self)
        program.stream.registerProducer(self, True)
        program.stream.resumeProducing()

    def _say(self, line: bytes) -> None:
        if self.program is not None:
            self.program.stream.write(line)

    def end(self) -> None:
        """End its input, and so the program. Its last output is read and thrown away."""
        self.ending = True
        if self.program is None:
            return
        stream = self.program.stream
        stream.unregisterProducer()
        self.resumeProducing()
        if stream.unsent:  # it does not read, so it would never see the end
            stream.abortConnection()
        else:
            stream.loseWriteConnection()
            stream.resumeProducing()

    # --- what it says

    def dataReceived(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            if isinstance(line, TooLong):
                self.carrier.too_long(line.length, line.id)
            else:
                self.carrier.program_says(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ending = True
        self.resumeProducing()

    def _finished(self) -> None:
        if not self._over:
            self._over = self.ending = True
            assert self.program is not None
            self.resumeProducing()
            cause = outcome(self.program.status) or "the program ended"
            self.carrier.ended(cause)
            self._ended(self, cause)

    def full(self, listener: object) -> None:
        """A client does not keep up."""
        self._full.add(listener)
        if not self.carrier.shared and self.program is not None:
            self.program.stream.pauseProducing()

    def free(self, listener: object) -> None:
        """That client keeps up again, or has gone."""
        if listener in self._full:
            self._full.discard(listener)
            if not self._full and self.program is not None:
                self.program.stream.resumeProducing()

    # --- what it is told: as the producer of its input

    def pauseProducing(self) -> None:
        self.stuffed = True

    def resumeProducing(self) -> None:
        self.stuffed = False
        waiting, self._waiting = self._waiting, set()
        for call in waiting:
            call()

    def stopProducing(self) -> None:
        self.resumeProducing()

    def when_free(self, call: Callable[[], None]) -> None:
        """Call C{call} when the program reads again."""
        self._waiting.add(call)
