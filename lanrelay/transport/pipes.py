"""The pipes of a program as a stream, and its standard error as lines."""

from __future__ import annotations

import codecs
import errno
import os
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IHalfCloseableDescriptor, IHalfCloseableProtocol, IReadWriteDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.transport.abilities import Abilities
from lanrelay.transport.stream import Parked

_DONE = Failure(CONNECTION_DONE)
_PORTION: Final = 64 * 1024  # what a pipe holds
_LATER = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR})

LINE_MAX: Final = 2000
"""Characters of a line of standard error that are logged; the rest is counted."""


@implementer(IReadWriteDescriptor, IHalfCloseableDescriptor)
class _Watched:
    """One descriptor that the reactor watches, on behalf of its owner."""

    __slots__ = ("__weakref__", "_number", "ready")

    def __init__(self, number: int, ready: Callable[[], object]) -> None:
        os.set_blocking(number, False)
        self._number, self.ready = number, ready

    def fileno(self) -> int:
        return self._number

    def close(self) -> None:
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)

    def doRead(self) -> None:
        self.ready()

    doWrite = doRead

    def connectionLost(self, reason: Failure) -> None:
        self.ready()  # a hang-up: the next system call finds it

    readConnectionLost = writeConnectionLost = connectionLost

    def logPrefix(self) -> str:
        return "-"


class PipeStream(Abilities):
    """
    A L{Stream<lanrelay.transport.stream.Stream>} over two pipes; made parked and paused.

    It writes through, as L{TcpStream<lanrelay.transport.tcp.TcpStream>} does. When the program has closed its
    input, writes are dropped, but its output is still read. The program's end is no loss of the stream: see
    C{finished}.

    @param input_ended: called once when the program's input has ended.
    @param spoke: called when something has come.
    @ivar finished: called when the program has ended and the protocol has heard all its output,
        C{readConnectionLost} included: nothing happens here any more, and the stream's owner may close it.
    @ivar disconnected: C{connectionLost} was told.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        reading: int,
        writing: int,
        *,
        input_ended: Callable[[], None],
        spoke: Callable[[], None],
        name: str,
    ) -> None:
        self._reactor, self.name = reactor, name
        self._input_ended, self._spoke = input_ended, spoke
        self.protocol: Any = Parked()
        self.finished: Callable[[], None] = _nobody
        self._reader, self._writer = _Watched(reading, self._read), _Watched(writing, self._send)
        self._unsent = bytearray()
        self._reading = self._writing = self._read_ended = self._write_ended = False
        self._half_closing = self._closing = self._aborting = self.disconnected = False
        self._exited = self._alone = False
        self._producer: Any = None
        self._producer_paused = False
        self._refused: Callable[[bytes], bool | None] | None = None
        self._when_refused: Callable[[], None] = _nobody
        self._judged = b""

    # --- what is known of it

    @property
    def unsent(self) -> int:
        """How many bytes wait for the program to read."""
        return len(self._unsent)

    @property
    def held_back(self) -> bool:
        """Whether the program's output waits because the protocol has paused."""
        return not (self._reading or self._read_ended or self.disconnected)

    def getPeer(self) -> str:
        return self.name

    getHost = getPeer

    # --- writing

    def judge_input(self, refused: Callable[[bytes], bool | None], then: Callable[[], None]) -> None:
        """
        Hold what is written until it was judged.

        @param refused: gets all that was written so far, and says whether it is refused; C{None}: it needs
            more.
        @param then: called when it is refused; the program gets nothing of it.
        """
        self._refused, self._when_refused = refused, then

    def _judge(self, data: bytes) -> bytes:
        """The part of the input that may go to the program now."""
        self._judged += data
        verdict = None if self._refused is None else self._refused(self._judged)
        if verdict is None and self._refused is not None:
            return b""
        self._refused = None
        data, self._judged = self._judged, b""
        if verdict:
            self._reactor.callLater(0, self._when_refused)
            return b""
        return data

    def write(self, data: bytes) -> None:
        if self._write_ended or self._half_closing or self._closing or self._aborting or not data:
            return
        if self._refused is not None:
            data = self._judge(data)
            if not data:
                return
        if self._unsent:
            self._unsent += data
        else:
            sent = self._try(data)
            if sent < 0 or sent == len(data):
                return
            self._unsent += memoryview(data)[sent:]
        if not self._writing:
            self._writing = True
            self._reactor.addWriter(self._writer)
        if self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def _try(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._writer.fileno(), data)
        except OSError as error:
            if error.errno in _LATER:
                return 0
            self._unsent.clear()
            self._end_writing()  # it has closed its input
            return -1

    def _send(self) -> None:
        if not self._writing:
            return
        if self._unsent:
            sent = self._try(self._unsent)
            if sent < 0:
                return
            del self._unsent[:sent]
            if self._unsent:
                return
        self._stop_writing()
        if self._producer is not None and self._producer_paused:
            self._producer_paused = False
            self._producer.resumeProducing()
        elif self._half_closing or self._closing:
            self._end_writing()

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._reactor.removeWriter(self._writer)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError("there is a producer already")
        if not streaming:
            raise RuntimeError("a producer that is pulled")
        if self.disconnected:
            producer.stopProducing()
            return
        self._producer, self._producer_paused = producer, False

    def unregisterProducer(self) -> None:
        self._producer, self._producer_paused = None, False

    def loseWriteConnection(self) -> None:
        if self._half_closing or self._closing or self._aborting:
            return
        if self._judged:  # the judge sees no more of it
            self._refused, rest, self._judged = None, self._judged, b""
            self.write(rest)
        self._half_closing = True
        if self._write_ended:  # by the program; the protocol was not told
            self._reactor.callLater(0, self._tell_write_ended)
        elif not self._unsent:
            self._end_writing()

    def _end_writing(self) -> None:
        if self._write_ended:
            return
        self._write_ended = True
        self._stop_writing()
        self._writer.close()
        self._input_ended()
        producer, paused = self._producer, self._producer_paused
        self._producer_paused = False
        if self._closing:
            self._lose(_DONE)
        elif self._half_closing:
            self._tell_write_ended()
        elif producer is not None and paused:
            producer.resumeProducing()

    def _tell_write_ended(self) -> None:
        if not self.disconnected and IHalfCloseableProtocol.providedBy(self.protocol):
            self._tell(self.protocol.writeConnectionLost)

    # --- reading

    def pauseProducing(self) -> None:
        if self._reading:
            self._reading = False
            self._reactor.removeReader(self._reader)

    def resumeProducing(self) -> None:
        if self._reading or self._read_ended or self._closing or self._aborting or self.disconnected:
            return
        self._reading = True
        self._reactor.addReader(self._reader)
        if self._alone:
            self._reactor.callLater(0, self._read)

    def stopProducing(self) -> None:
        self.loseConnection()

    def _read(self) -> None:
        if not self._reading:
            return
        try:
            data = os.read(self._reader.fileno(), _PORTION)
        except OSError as error:
            if error.errno in _LATER:
                if self._alone:
                    self._end_reading()
                return
            data = b""
        if not data:
            self._end_reading()
            return
        self._spoke()
        self._tell(self.protocol.dataReceived, data)
        if self._alone and self._reading:
            self._reactor.callLater(0, self._read)

    def _end_reading(self) -> None:
        self.pauseProducing()
        self._read_ended = True
        self._reader.close()
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self._tell(self.protocol.readConnectionLost)
        else:
            self.loseConnection()
        if self._exited:
            self.finished()

    # --- ends

    def exited(self) -> None:
        """The program has ended: its output is still to be read, and its input is dropped."""
        self._exited = True
        if self._read_ended or self.disconnected:
            self.finished()

    def abandoned(self) -> None:
        """
        Nothing is left of the program's group. A process that still has the output open has left the group on
        purpose; the stream does not wait for it.
        """
        self._alone = True
        if self._reading:
            self._reactor.callLater(0, self._read)

    def loseConnection(self) -> None:
        if self._closing or self._aborting or self.disconnected:
            return
        self._closing = True
        self.pauseProducing()
        if self._write_ended:
            self._reactor.callLater(0, self._lose, _DONE)
        elif not self._unsent:
            self._reactor.callLater(0, self._end_writing)

    def abortConnection(self) -> None:
        if self._aborting or self.disconnected:
            return
        self._aborting = True
        self.pauseProducing()
        self._stop_writing()
        self._unsent.clear()
        self._reactor.callLater(0, self._lose, Failure(ConnectionAborted()))

    def _lose(self, reason: Failure) -> None:
        if self.disconnected:
            return
        self.disconnected = True
        self.pauseProducing()
        self._stop_writing()
        self._reader.close()
        self._writer.close()
        if not self._write_ended:
            self._write_ended = True
            self._input_ended()
        self._unsent.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        protocol = self.protocol
        if not isinstance(protocol, Parked):
            self.protocol = None
        protocol.connectionLost(reason)

    def _tell(self, event: Callable[..., object], *arguments: object) -> None:
        try:
            event(*arguments)
        except Exception:
            failure = Failure()
            self.log.failure("bug in {protocol}", failure, protocol=type(self.protocol).__name__)
            self._lose(failure)


def _nobody() -> None:
    """Do nothing, where no callback was given."""


class ErrorLines:
    """
    Reads a program's standard error for as long as the program lives, even while its output is not read.

    @param said: called with each line without its end; control characters are made visible, and a line that
        is too long is cut.
    """

    def __init__(self, reactor: Any, number: int, said: Callable[[str], None]) -> None:
        self._reactor, self._said = reactor, said
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._left_out = 0
        self._reader = _Watched(number, self._read)
        self._open = True
        reactor.addReader(self._reader)

    def finish(self) -> None:
        """Read what there is, and no more."""
        while self._open and self._read():
            pass
        self._close()

    def _read(self) -> bool:
        """Read once; whether there was something."""
        if not self._open:
            return False
        try:
            data = os.read(self._reader.fileno(), _PORTION)
        except OSError as error:
            if error.errno in _LATER:
                return False
            data = b""
        self._take(self._decoder.decode(data, final=not data))
        if not data:
            self._close()
        return bool(data)

    def _take(self, text: str) -> None:
        *whole, rest = text.split("\n")
        for line in whole:
            self._add(line)
            self._tell()
        self._add(rest)

    def _add(self, text: str) -> None:
        room = LINE_MAX - len(self._line)
        self._line += text[:room]
        self._left_out += max(len(text) - room, 0)

    def _tell(self) -> None:
        line, left_out = self._line.rstrip("\r"), self._left_out
        self._line, self._left_out = "", 0
        if line or left_out:
            shown = "".join(each if each.isprintable() or each == "\t" else "?" for each in line)
            self._said(f"{shown}...(+{left_out})" if left_out else shown)

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._reactor.removeReader(self._reader)
            self._reader.close()
            self._tell()
