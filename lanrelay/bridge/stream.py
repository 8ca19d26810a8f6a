"""A connected stream, plain or TLS, that never blocks."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from lanrelay.bridge.loop import GONE, READ, WRITE, Loop

if TYPE_CHECKING:
    from lanrelay.bridge.secure import Tls

_PIECE = 256 * 1024
_READ_AT_ONCE = 64 * 1024


class Stream:
    """
    @ivar received: is called with what came.
    @ivar ended: is called when the other side sends no more, with C{None} for an end in order, else with why.
    @ivar heard: how many bytes have come.
    @ivar flushed: is called when all that was written has gone to the kernel.
    """

    def __init__(self, loop: Loop, connected: socket.socket, tls: Tls | None = None) -> None:
        self.received: Callable[[bytes], None] = _nothing
        self.ended: Callable[[Exception | None], None] = _nothing
        self.flushed: Callable[[], None] = _nobody
        self._loop = loop
        self._socket = connected
        self._tls = tls
        self._out: deque[memoryview] = deque()
        self.unsent = 0
        self._reading = False
        self._read_ended = False
        self._ending = False
        self.closed = False
        self.heard = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def is_plain(self) -> bool:
        return self._tls is None

    def resume(self) -> None:
        """Read, from here on; before the first call nothing is read."""
        if not self._reading and not self.closed:
            self._reading = True
            self._ask()
            if self._tls is not None and self._tls.holds:
                self._loop.post(self._read_held)

    def pause(self) -> None:
        if self._reading:
            self._reading = False
            self._ask()

    def write(self, *pieces: bytes) -> None:
        """Keep C{pieces} until they have gone; C{unsent} tells how much there is."""
        if self.closed or self._ending:
            return
        had = bool(self._out)
        self._out.extend(memoryview(piece) for piece in pieces if piece)
        self.unsent += sum(map(len, pieces))
        if not had:
            self._send()
            self._ask()

    def end(self) -> None:
        """Send no more: once all has gone the other side is told, and reading goes on."""
        if not self._ending and not self.closed:
            self._ending = True
            if not self._out:
                self._say_end()
            self._ask()

    def close(self) -> None:
        """Close at once; nothing is called any more."""
        if self.closed:
            return
        self.closed = True
        self.received = self.ended = _nothing
        self.flushed = _nobody
        self._loop.forget(self._socket.fileno())
        if self._tls is not None and not self._ending:
            self._tls.end()
            try:
                self._socket.send(self._tls.outgoing(_PIECE))
            except OSError:
                pass
        self._socket.close()
        self._out.clear()

    # ------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        if self.closed:
            return
        mask = READ if self._reading and not self._read_ended else 0
        if self._out or (self._tls is not None and self._tls.has_outgoing):
            mask |= WRITE
        if self._read_ended and not mask:
            self._loop.forget(self._socket.fileno())  # else poll tells of the hang-up without end
        else:
            self._loop.watch(self._socket.fileno(), mask, self._seen)

    def _seen(self, seen: int) -> None:
        if seen & WRITE:
            self._send()
        if not self.closed and seen & (READ | GONE):
            if self._reading and not self._read_ended:
                self._read()
            elif seen & GONE and not self._read_ended:
                self._loop.forget(self._socket.fileno())  # poll reports it again once somebody reads
                return
        self._ask()

    def _send(self) -> None:
        had = bool(self._out)
        try:
            while True:
                if self._tls is not None:
                    if not self._tls.has_outgoing and self._out:
                        self._encrypt(self._tls)
                    if not self._tls.has_outgoing:
                        break
                    if not self._tls.send_to(self._socket):
                        break
                elif self._out:
                    sent = self._socket.send(self._out[0][:_PIECE])
                    self._took(sent)
                else:
                    break
        except BlockingIOError:
            return
        except OSError as error:
            self._out.clear()
            self.unsent = 0
            self._hear_why()
            self._fail(error)
            return
        if had and not self._out:
            if self._ending:
                self._say_end()
            self.flushed()

    def _hear_why(self) -> None:
        """Read what came before the connection broke: an alert, or an answer to half a request."""
        before = -1
        while self._reading and not self._read_ended and not self.closed and before != self.heard:
            before = self.heard
            self._read()

    def _encrypt(self, tls: Tls) -> None:
        self._took(tls.write(self._out[0][:_PIECE]))

    def _took(self, count: int) -> None:
        self.unsent -= count
        left = self._out[0][count:]
        if len(left):
            self._out[0] = left
        else:
            self._out.popleft()

    def _say_end(self) -> None:
        try:
            if self._tls is not None:
                self._tls.end()
                self._tls.send_to(self._socket)
            else:
                self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the connection is gone: reading says so

    def _read_held(self) -> None:
        if self._reading and not self.closed and not self._read_ended:
            assert self._tls is not None
            self._take(self._tls)
            self._ask()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_AT_ONCE)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(error)
            return
        self.heard += len(data)
        if self._tls is not None:
            if data:
                self._tls.incoming(data)
            else:
                self._tls.incoming_ended()
            self._take(self._tls)
        elif data:
            self.received(data)
        else:
            self._fail(None)

    def _take(self, tls: Tls) -> None:
        """Pass on what was decrypted, as long as somebody reads."""
        while self._reading and not self.closed:
            try:
                plain = tls.read(_READ_AT_ONCE)
            except Exception as error:
                self._fail(error)
                return
            if plain is None:
                break
            if not plain:
                self._fail(None)
                return
            self.received(plain)

    def _fail(self, error: Exception | None) -> None:
        if not self._read_ended and not self.closed:
            self._read_ended = True
            self.ended(error)


def _nothing(_: object) -> None:
    """Nobody listens."""


def _nobody() -> None:
    """The same."""
