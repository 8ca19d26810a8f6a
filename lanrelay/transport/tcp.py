"""A connected socket, TCP or unix, that writes through: the stream that costs least."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IPushProducer,
    IReadWriteDescriptor,
    ITCPTransport,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.transport.abilities import Abilities, hearer_of
from lanrelay.transport.connected_socket import ConnectedSocket
from lanrelay.transport.reactor_turn import DEPARTURES, FORGET, Departures
from lanrelay.transport.splice import SharedPipe, discard, shared_pipe, unable
from lanrelay.transport.stream import PARKED, Parked

# All streams read into one buffer. A pump sends from there, so only the rest of a short send is copied. Its
# reads may be as large as the buffer. The relay's CPU on loopback, in one run, with 64 KiB, 256 KiB and 1
# MiB: 0.66, 0.47 and 0.26 s/GB; HAProxy's with its 16 KB and with 256 KB: 0.67 and 0.39.
_SHARED = memoryview(bytearray(1024 * 1024))
# Bytes of one read for protocols that keep what they get, as Twisted's transports have it. A pump begins with
# as many, too, also after each pause, so that less is held for a slow reader.
_PORTION = 64 * 1024
_ALL = len(_SHARED)

# Bytes that may wait for the end of the reactor's turn; a larger send takes long enough to go alone.
_SMALL = 16 * 1024

_AT_ONCE = Departures()  # never open: for reactors that have none
_DONE = Failure(CONNECTION_DONE)
_LOST = Failure(CONNECTION_LOST)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, of 0 s: close() sends RST

# The kernel takes nothing now. ENOBUFS is macOS's word when the interface's queue is full.
_LATER = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR, errno.ENOBUFS})


@implementer(ITCPTransport, IReadWriteDescriptor, IHalfCloseableDescriptor, IPushProducer, IConsumer)
class TcpStream(ConnectedSocket, Abilities):
    """
    A L{Stream<lanrelay.transport.stream.Stream>} over a connected socket; made parked and paused.

    It tells the same events as Twisted's transports, at the same moments. The way of the bytes differs:
    C{write} tries to send at once instead of on the next turn of the reactor (a ping-pong costs 30 to 40 %
    less), or at the end of this turn when others have something to send, too (L{Departures}). The producer is
    paused by the first short send, and not only when 64 KiB wait. C{loseWriteConnection} takes effect, and
    tells so, at once if nothing waits.

    A L{Hearer<lanrelay.transport.abilities.Hearer>} may be given views of the shared buffer, or where much
    comes a L{SharedPipe}.

    @ivar disconnected: C{connectionLost} was told.
    """

    __slots__ = (
        "__weakref__",
        "_aborting",
        "_broken",
        "_closing",
        "_departures",
        "_early",
        "_half_closes",
        "_half_closing",
        "_lent_at_most",
        "_may_have_data",
        "_most",
        "_producer",
        "_producer_paused",
        "_protocol",
        "_pulls",
        "_reactor",
        "_reading",
        "_unsent",
        "_waiting",
        "_watched",
        "_write_ended",
        "_writing",
        "disconnected",
    )

    log = Logger()

    lean = True
    """
    L{lanrelay.transport.reactor_turn} hands out its events: C{doRead} and C{doWrite} find out what there is.
    """

    lent_at_most = _ALL
    takes_views = True
    takes_pipes = True

    def __init__(
        self, reactor: Any, sock: socket.SocketType, peer: Any, *, may_have_data: bool = False
    ) -> None:
        """
        @param sock: connected; this stream closes it.
        @param peer: its C{getpeername()}.
        @param may_have_data: data may have come already, so the first C{resumeProducing} looks for it.
        """
        if sock.gettimeout() != 0.0:
            sock.setblocking(False)
        self._reactor = reactor
        self._socket = sock
        self._peer = peer
        self._unsent: bytearray | None = None  # the rest of a short send, or a pull producer's
        self._waiting: bytes | None = None  # is sent at the end of this turn
        self._departures: Departures | None = None  # until something has been sent
        self._producer: Any = None
        self._producer_paused = False
        self._pulls = False  # the producer is a pull producer
        self._reading = False  # not paused
        self._watched = self._writing = False  # registered with the reactor
        self._may_have_data = may_have_data
        self._early = b""  # was read before there was a protocol
        self._most = _PORTION  # bytes of one read; doubled after a full one if the buffer is lent
        self._closing = self._half_closing = self._write_ended = False
        self._aborting = False
        self._broken = False  # a send failed; the next turn of the reactor tells
        self.disconnected = False
        self._protocol: Any = PARKED
        self._lent_at_most = 0
        self._half_closes = False

    @property
    def protocol(self) -> Any:
        """The protocol that hears of this stream."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        # Looked up once, not for each event; 0: the protocol is not lent the buffer.
        self._lent_at_most = min(hearer_of(protocol).lent_at_most, _ALL)
        self._half_closes = IHalfCloseableProtocol.providedBy(protocol)
        self._most = _PORTION

    def getHandle(self) -> socket.SocketType:
        """The socket."""
        if self._waiting is not None:
            self.send_waiting()
        return self._socket

    # writing -------------------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """How many bytes wait for the kernel to take them."""
        return len(self._unsent or b"") + len(self._waiting or b"")

    def write(self, data: bytes | memoryview) -> None:
        departures = self._departures
        if departures is None:
            self._departures = getattr(self._reactor, DEPARTURES, _AT_ONCE)
        elif departures.open:
            waiting = self._waiting
            if waiting is not None and len(waiting) + len(data) <= _SMALL:
                self._waiting = waiting + data
                return
            if waiting is None and self._unsent is None and len(data) <= _SMALL:
                self._waiting = bytes(data)  # a view's buffer soon has other content
                departures.add(self)
                return
            departures.leave()  # what waits does not have to wait for this long send
            self.send_waiting()  # if this is called from within a `leave` that has not come to us yet
        self._write_now(data)

    def send_waiting(self) -> None:
        """Send what waits for the end of the turn, if anything does."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._write_now(waiting)

    def _write_now(self, data: bytes | memoryview) -> None:
        if self._unsent is not None:
            self._unsent += data
            self._wait_for_room()
            return
        if self._write_ended or self._aborting or self.disconnected or not data:
            return
        try:
            sent = self._socket.send(data)
        except OSError as error:
            sent = 0
            # Not told from here, for the protocol is in the middle of something. The next turn of the reactor
            # reads what there still is, then tells, as Twisted's transports do. The kernel reports an error
            # once: the next read may find an orderly end, but `_broken` knows better.
            self._broken = error.errno not in _LATER
        if sent != len(data):
            self._unsent = bytearray(memoryview(data)[sent:])  # never a view: its buffer is reused soon
            self._wait_for_room()

    def write_pipe(self, pipe: SharedPipe) -> None:
        """L{write} what C{pipe} holds, and empty it."""
        if self._departures is not None and self._departures.open:
            self._departures.leave()
            self.send_waiting()
        if self._unsent is not None or self._write_ended or self._aborting or self.disconnected:
            self.write(pipe.rest())
            return
        try:
            pipe.send(self._socket.fileno())
        except OSError as error:
            self._broken = not (error.errno in _LATER or unable(error))  # as in `write`
            self._unsent = bytearray(pipe.rest())
            self._wait_for_room()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def _wait_for_room(self) -> None:
        self._start_writing()
        if self._producer is not None and not (self._producer_paused or self._pulls):
            self._producer_paused = True
            self._producer.pauseProducing()

    def doWrite(self) -> Exception | None:  # type: ignore[override]  # as all of Twisted's do
        if not self._writing:
            return None  # closed by a `doRead` in the same turn
        if self._broken:
            return self._send_failed()
        unsent = self._unsent
        if unsent:
            try:
                sent = self._socket.send(unsent)
            except OSError as error:
                return None if error.errno in _LATER else self._send_failed()
            del unsent[:sent]
            if unsent:
                return None
        if not self._pulls:
            self._unsent = None
        self._stop_writing()
        producer = self._producer
        if producer is not None and (self._pulls or self._producer_paused):
            self._producer_paused = False
            producer.resumeProducing()
        elif self._closing:
            return CONNECTION_DONE
        elif self._half_closing and not self._write_ended:
            self._end_writing()
        return None

    def _send_failed(self) -> Exception | None:
        """
        Nothing can be sent any more. A protocol that wants what has come already gets it: as it goes on
        reading, the stream is read to its end, and then the loss is told.
        """
        self._broken = True
        if not hearer_of(self._protocol).sending_failed():
            return CONNECTION_LOST
        self._unsent = None
        self._write_ended = True
        self._stop_writing()
        return None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError("there is a producer already")
        if self.disconnected:
            producer.stopProducing()
            return
        if self._waiting is not None:
            self.send_waiting()
        self._producer = producer
        self._producer_paused = False
        if not streaming:
            self._pulls = True
            if self._unsent is None:
                self._unsent = bytearray()  # so that `doWrite` sends, and asks for more when all has left
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer = None
        self._producer_paused = self._pulls = False
        if not self._unsent:
            self._unsent = None
        if self._closing and not self.disconnected:
            self._start_writing()

    # ends ----------------------------------------------------------------------------------------------

    def loseWriteConnection(self) -> None:
        if self._half_closing or self._closing or self._aborting or self.disconnected:
            return
        if self._waiting is not None:
            self.send_waiting()
        self._half_closing = True
        if self._unsent is None and not self._broken:
            self._end_writing()
        else:
            self._start_writing()

    def _end_writing(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._broken = True  # a reset by the peer, which no read tells after its end was read
            self._start_writing()
            return
        self._write_ended = True
        if self._half_closes:
            self._tell(self._protocol.writeConnectionLost)

    def loseConnection(self) -> None:
        if self._closing or self.disconnected or self._aborting:
            return
        if self._waiting is not None:
            self.send_waiting()
        self._closing = True
        if self._write_ended:
            self.connectionLost(_DONE)
        else:
            self.pauseProducing()
            self._start_writing()  # even with nothing to write, for `connectionLost` on the next turn

    def abortConnection(self) -> None:
        if not (self._aborting or self.disconnected):
            self.send_waiting()
            self.pauseProducing()
            self._stop_writing()
            self._aborting = True
            self._unsent = None
            self._reactor.callLater(0, self.connectionLost, Failure(ConnectionAborted()))

    def connectionLost(self, reason: Failure) -> None:
        """The stream ends, for whatever reason; the reactor calls it, too."""
        if self.disconnected:
            return
        if self._waiting is not None:
            self.send_waiting()
        if (
            self._writing
            and not (self._reading or self._aborting)
            and reason.check(ConnectionLost)
            and self._send_failed() is None
        ):
            return  # so reactors other than ours report a hang-up while nothing is read
        self.disconnected = True
        self._unsent = None
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self._reading = False
        if self._watched or self._writing:
            forget = getattr(self._reactor, FORGET, None)
            if forget is None:
                self._stop_reading()
                self._stop_writing()
            else:
                self._watched = self._writing = False
                forget(self._socket.fileno())
        try:
            if self._aborting:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            elif not self._write_ended:
                # First a FIN: close() of a socket that holds unread bytes sends only RST.
                self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer has ended it already
        self._socket.close()
        protocol = self._protocol
        if protocol is PARKED:
            protocol = self._protocol = Parked()  # its own, to tell later why it was lost
        elif not isinstance(protocol, Parked):
            self._protocol = None  # they refer to each other, and shall not wait for the collector of cycles
        protocol.connectionLost(reason)

    def _tell(self, event: Any) -> None:
        try:
            event()
        except Exception:
            failure = Failure()
            self.log.failure("bug in {protocol}", failure, protocol=type(self.protocol).__name__)
            self.connectionLost(failure)

    # reading -------------------------------------------------------------------------------------------

    def early(self) -> bytes:
        """
        What has come before this stream has a protocol, if there may be anything. A caller that does not take
        it has to give it to L{put_back}. An end or an error is left for the next read to tell.
        """
        if not self._may_have_data or self.disconnected:
            return b""
        self._may_have_data = False
        try:
            count = self._socket.recv_into(_SHARED, _PORTION)
        except OSError as error:
            self._broken = error.errno not in _LATER
            return b""
        return _SHARED[:count].tobytes()

    def put_back(self, early: bytes) -> None:
        """Have the next C{resumeProducing} deliver it, as if it had just been read."""
        self._may_have_data, self._early = True, early

    def doRead(self) -> Exception | None:  # type: ignore[override]
        if not self._reading:
            return None  # paused by an earlier event of the same turn
        if self._most == _ALL and hearer_of(self._protocol).takes_pipes:
            pipe = shared_pipe()
            if pipe is not None:
                return self._read_pipe(pipe)
        try:
            count = self._socket.recv_into(_SHARED, self._most)
        except OSError as error:
            if error.errno in _LATER and (self._writing or not self._broken):
                return None
            return CONNECTION_LOST
        if count == 0:
            return self._read_the_end()
        lent_at_most = self._lent_at_most
        if not lent_at_most:
            self._protocol.dataReceived(_SHARED[:count].tobytes())
        else:
            if count == self._most < lent_at_most:
                self._most *= 2
            self._protocol.view_received(_SHARED[:count])
        return None

    def _read_the_end(self) -> Exception | None:
        if self._broken:
            return CONNECTION_LOST
        self._reading = False
        if self._half_closes:
            self._tell(self._protocol.readConnectionLost)
            # Not before: if this was the second of the two ends, the stream is closed now, and out of epoll's
            # set.
            if not self._reading:
                self._stop_reading()
        else:
            self.connectionLost(_DONE)
        return None

    def _read_pipe(self, pipe: SharedPipe) -> Exception | None:
        """Read by the pipe, after several full reads in a row, when a copy would be large."""
        try:
            count = pipe.fill(self._socket.fileno())
        except OSError as error:
            if error.errno not in _LATER and not unable(error):
                return CONNECTION_LOST
            count = 0
        if count == 0:
            # `recv` tells what that means: nothing, the end, or a byte out of band, at which splice() stops
            # for ever while the socket stays readable.
            self._most = _PORTION
            return self.doRead()
        if count < _PORTION:
            self._most = _PORTION  # when little comes, a copy costs less
        try:
            self._protocol.pipe_received(pipe)
        finally:
            if pipe.held:
                discard(pipe)
        return None

    def readConnectionLost(self, reason: Failure) -> None:
        """
        The reactor saw a hang-up without input. Look, for it may concern a socket that had the same number
        earlier in this turn.
        """
        self._reading = self._watched = False  # the reactor has removed us
        self.resumeProducing()
        self._tell(self._look)

    def _look(self) -> None:
        early, self._early = self._early, b""
        if early:
            self._protocol.dataReceived(early)
        elif self.doRead() is not None:
            self.connectionLost(_LOST)

    def writeConnectionLost(self, reason: Failure) -> None:
        """Part of C{IHalfCloseableDescriptor}; never called."""

    def pauseProducing(self) -> None:
        self._most = _PORTION
        self._stop_reading()

    def resumeProducing(self) -> None:
        if self._reading or self._closing or self._aborting or self.disconnected:
            return
        self._reading = True
        if self._may_have_data:
            # Clients that speak first have spoken by now. For a CONNECT this leaves out a turn of the
            # reactor, two changes of what it waits for, and the timer for the head: 6 % of its CPU.
            self._may_have_data = False
            self._tell(self._look)
            if self._watched or not self._reading:
                return
        self._watched = True
        self._reactor.addReader(self)

    def stopProducing(self) -> None:
        self.loseConnection()

    # ------------------------------------------------------------------------------------------------

    def _stop_reading(self) -> None:
        self._reading = False
        if self._watched:
            self._watched = False
            self._reactor.removeReader(self)

    def _start_writing(self) -> None:
        if not self._writing:
            self._reactor.addWriter(self)
            self._writing = True

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._reactor.removeWriter(self)

    def logPrefix(self) -> str:
        return "-"
