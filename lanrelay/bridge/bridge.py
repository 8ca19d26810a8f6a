"""Connects the client, the dialogue and the carrier, and ends them all."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from lanrelay.bridge.lines import Reader, Writer
from lanrelay.bridge.loop import Loop, Timer, now
from lanrelay.bridge.messages import Action, Ask, Done, Drop, Event, Failure, Fields, Note, Say, Wake

if TYPE_CHECKING:
    from lanrelay.bridge.seams import CarrierSink

HIGH, LOW = 1024 * 1024, 256 * 1024
"""
Bytes that wait for the client, or the target: above the first no more is read, until they are below the
second.
"""

LAST = 2.0
"""Seconds from the end of standard input, or a signal, to the end of the process."""

PARENT = 1.0
"""Seconds between two looks at whether the parent lives: not every parent's end closes standard input."""


class Dialogue(Protocol):
    """What L{lanrelay.bridge.dialogue} is; time is C{time.monotonic}."""

    @property
    def full(self) -> bool: ...

    def begin(self, now: float) -> Iterable[Action]: ...
    def said(self, line: bytes, now: float) -> Iterable[Action]: ...
    def too_long(self, beginning: bytes, now: float) -> Iterable[Action]: ...
    def ended(self, now: float) -> Iterable[Action]: ...
    def answered(
        self, number: int, status: int, reason: str, fields: Fields, now: float
    ) -> Iterable[Action]: ...
    def event(self, number: int, event: Event, now: float) -> Iterable[Action]: ...
    def content(self, number: int, data: bytes, now: float) -> Iterable[Action]: ...
    def finished(self, number: int, now: float) -> Iterable[Action]: ...
    def failed(self, number: int, failure: Failure, now: float) -> Iterable[Action]: ...
    def woken(self, now: float) -> Iterable[Action]: ...


class Carries(Protocol):
    """What L{lanrelay.bridge.carrier.Carrier} is: it makes asks come true, and tells its sink."""

    @property
    def backlog(self) -> int: ...
    def ask(self, ask: Ask) -> None: ...
    def drop(self, number: int) -> None: ...
    def hold(self, held: bool) -> None: ...
    def close(self) -> None: ...


class Bridge:
    """
    One run.

    @param carrier: makes the carrier, for this loop and this sink.
    @param note: the log.
    @param input: the descriptor of the client's lines.
    @param output: that of ours.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        carrier: Callable[[Loop, CarrierSink], Carries],
        note: Callable[[Note], None],
        *,
        input: int = 0,
        output: int = 1,
    ) -> None:
        self.loop = Loop()
        self.loop.bug = self._bug
        self._dialogue = dialogue
        self._note = note
        self._carrier = carrier(self.loop, self)
        self._reader = Reader(
            self.loop,
            input,
            said=self._said,
            too_long=self._too_long,
            ended=self._ended,
            hung_up=lambda: self.loop.at(now() + LAST / 2, self._ended),
        )
        self._writer = Writer(self.loop, output, gone=self._reader_gone, moved=self._balance)
        self._wake: Timer | None = None
        self._last: Timer | None = None
        self._until = 0.0

    def run(self) -> None:
        """Run until all is said, or the client is gone."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.loop.post(self._ended))
        self._parent = os.getppid()
        self._look_at_parent()
        self._do(self._dialogue.begin(now()))
        self._balance()
        self.loop.run()
        self._carrier.close()
        self._writer.flush(max(0.2, self._until - now()))
        self.loop.close()

    def _bug(self, error: Exception) -> None:
        """
        Say where, and go on, for a host would not start us again. The error's own text may hold a piece of a
        message.
        """
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = (
            ""
            if place is None
            else f"{os.path.basename(place.tb_frame.f_code.co_filename)}:{place.tb_lineno}"
        )
        self._note(Note(f"a bug, which should be reported: {type(error).__name__} at {where}", warning=True))

    # --- the client ---

    def _said(self, line: bytes) -> None:
        self._do(self._dialogue.said(line, now()))
        self._balance()

    def _too_long(self, beginning: bytes) -> None:
        self._do(self._dialogue.too_long(beginning, now()))

    def _ended(self) -> None:
        """No more comes from the client: a dialogue that does not end by itself is ended."""
        if self._last is None:
            self._until = now() + LAST
            self._last = self.loop.at(self._until - 0.2, self.loop.stop)
            self._reader.pause()
            self._do(self._dialogue.ended(now()))

    def _reader_gone(self) -> None:
        """The client reads no more: all that is left is to take leave of the server."""
        self._note(Note("The client does not read any more."))
        self._ended()

    def _look_at_parent(self) -> None:
        if os.getppid() != self._parent:
            self._ended()
        else:
            self.loop.at(now() + PARENT, self._look_at_parent)

    # --- the carrier ---

    def answered(self, number: int, status: int, reason: str, fields: Fields) -> None:
        self._do(self._dialogue.answered(number, status, reason, fields, now()))

    def event(self, number: int, event: Event) -> None:
        self._do(self._dialogue.event(number, event, now()))

    def content(self, number: int, data: bytes) -> None:
        self._do(self._dialogue.content(number, data, now()))

    def finished(self, number: int) -> None:
        self._do(self._dialogue.finished(number, now()))
        self._balance()

    def failed(self, number: int, failure: Failure) -> None:
        self._do(self._dialogue.failed(number, failure, now()))
        self._balance()

    def moved(self) -> None:
        self._balance()

    # --- what is to be done ---

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Say):
                self._writer.say(action.line)
            elif isinstance(action, Ask):
                self._carrier.ask(action)
            elif isinstance(action, Drop):
                self._carrier.drop(action.number)
            elif isinstance(action, Wake):
                self._set_wake(action.at)
            elif isinstance(action, Note):
                self._note(action)
            elif isinstance(action, Done):
                self.loop.stop()
        if self._writer.unsent > HIGH:
            self._carrier.hold(True)

    def _set_wake(self, at: float | None) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake = None if at is None else self.loop.at(at, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._do(self._dialogue.woken(now()))
        self._balance()

    def _balance(self) -> None:
        """A side that sends more than the other takes has to wait."""
        if self._writer.unsent > HIGH:
            self._carrier.hold(True)
        elif self._writer.unsent < LOW:
            self._carrier.hold(False)
        if self._last is not None:
            return
        if self._dialogue.full or self._writer.unsent > HIGH or self._carrier.backlog > HIGH:
            self._reader.pause()
        else:
            self._reader.resume()
