"""A byte pipe between standard input and output and a target; each direction ends by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from lanrelay.bridge.bridge import HIGH, LAST, LOW, PARENT
from lanrelay.bridge.carrier import CONNECT_WITHIN, Destination, Explain
from lanrelay.bridge.dial import dial
from lanrelay.bridge.lines import Writer
from lanrelay.bridge.loop import READ, Loop, Steps, Task, now
from lanrelay.bridge.messages import Note
from lanrelay.bridge.stream import Stream

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
"""Seconds between two tries of a target that is down; the pause doubles."""


class Pipe:
    """
    One run. It waits for the target; a pipe that broke is not begun anew, for what went through it is lost.

    @ivar status: of the process: 1 where the pipe broke.
    """

    def __init__(
        self,
        target: Destination,
        explain: Explain,
        note: Callable[[Note], None],
        *,
        input: int = 0,
        output: int = 1,
    ) -> None:
        self.loop = Loop()
        self.status = 0
        self._target = target
        self._explain = explain
        self._note = note
        self._input = input
        self._writer = Writer(self.loop, output, gone=self._reader_gone, moved=self._balance)
        self._output = output
        self._stream: Stream | None = None
        self._pause = FIRST_PAUSE
        self._said = ""
        self._input_ended = False
        self._target_ended = False
        self._reading = False

    def run(self) -> int:
        """Until both directions have ended."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.loop.post(self.loop.stop))
        self._parent = os.getppid()
        self._look_at_parent()
        self._dial()
        self.loop.run()
        if self._stream is not None:
            self._stream.close()
        self._writer.flush(LAST)
        self.loop.close()
        return self.status

    def _look_at_parent(self) -> None:
        if os.getppid() != self._parent:
            self.loop.stop()
        else:
            self.loop.at(now() + PARENT, self._look_at_parent)

    def _dial(self) -> None:
        Task(self.loop, self._steps(), self._dialed)

    def _steps(self) -> Steps[Stream]:
        approach = yield from self._target.approach(now() + CONNECT_WITHIN)
        return (yield from dial(self.loop, approach, within=CONNECT_WITHIN))

    def _dialed(self, stream: Stream | None, error: Exception | None) -> None:
        if stream is None:
            assert error is not None
            self._target.failed()
            said = str(self._explain(error, False))
            if said != self._said:
                self._said = said
                self._note(Note(said, warning=True))
            self.loop.at(now() + self._pause, self._dial)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            return
        self._stream = stream
        stream.received = self._received
        stream.ended = self._ended
        stream.flushed = self._balance
        self._balance()

    # --- from the target ---

    def _received(self, data: bytes) -> None:
        self._writer.write(data)
        self._balance()

    def _ended(self, error: Exception | None) -> None:
        self._target_ended = True
        if error is not None:
            self.status = 1
            self._note(Note(str(self._explain(error, True)), warning=True))
            self.loop.stop()
            return
        self._maybe_close_output()

    def _maybe_close_output(self) -> None:
        if not self._target_ended or self._writer.unsent:
            return
        if self._input_ended:
            self.loop.stop()
        elif not self._writer.broken:
            self._writer.end()

    def _reader_gone(self) -> None:
        self.loop.stop()

    # --- from standard input ---

    def _seen(self, seen: int) -> None:
        assert self._stream is not None
        try:
            data = os.read(self._input, 65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._stream.write(data)
            self._balance()
            return
        self._input_ended = True
        self.loop.forget(self._input)
        self._reading = False
        self._stream.end()
        self._maybe_close_output()

    def _balance(self) -> None:
        """A side that sends more than the other takes has to wait."""
        stream = self._stream
        if stream is None:
            return
        if self._writer.unsent > HIGH:
            stream.pause()
        elif self._writer.unsent < LOW:
            stream.resume()
        self._maybe_close_output()
        wanted = not self._input_ended and stream.unsent < HIGH
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self.loop.watch(self._input, READ, self._seen)
            else:
                self.loop.forget(self._input)
