"""Accepts connections on bound sockets, up to a limit."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.transport.bind import BoundSocket, FamilyMissing, bind, bind_all
from lanrelay.transport.choice import OWN
from lanrelay.transport.connect import Socket
from lanrelay.transport.stream import Parked, Stream, tune
from lanrelay.transport.tcp import TcpStream
from lanrelay.transport.twisteds import let_tell

__all__ = ["BoundSocket", "FamilyMissing", "Gate", "Port", "adopt", "bind", "bind_all"]

_BATCH = 100  # connections accepted in one turn of the reactor, so that those already open are served too
_LONGEST_QUEUE = 4096  # the kernels' own limit for what we ask of listen()
_SHORTAGE_PAUSE = 0.5  # seconds; descriptors come back only when connections end
_COMPLAINT_INTERVAL = 60.0
_DROPS = sys.platform == "darwin"  # what cannot be accepted for want of a descriptor
_INHERITED = sys.platform == "linux"  # the options of a listening socket, by what it accepts: five calls less


class Gate:
    """
    Counts the open connections of a listener; at the limit its ports leave new ones in the kernel's queue.

    @param within: another gate that all have to pass, too: that of the process.
    @param stirred: called before a connection enters while no other is open.
    @ivar open: how many connections have entered and not left.
    """

    def __init__(
        self, limit: int, within: Gate | None = None, *, stirred: Callable[[], object] | None = None
    ) -> None:
        self.limit = limit
        self.within = within
        self._stirred = stirred
        self.open = 0
        self._waiting: list[Callable[[], None]] = []

    @property
    def full(self) -> bool:
        """Whether a limit is reached."""
        return self.open >= self.limit or self.full_around

    @property
    def full_around(self) -> bool:
        """Whether the limit of the gate around it is reached, and not its own."""
        return self.within is not None and self.within.full

    def enter(self) -> bool:
        """Take a place; C{False} when there is none. A caller that got one owes a L{leave}."""
        if self.open >= self.limit or (self.within is not None and not self.within.enter()):
            return False
        if not self.open and self._stirred is not None:
            self._stirred()
        self.open += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self.open -= 1
        if self.within is not None:
            self.within.leave()
        if self._waiting:
            self._let_in()

    def resize(self, limit: int) -> None:
        """Set another limit; connections that have entered stay."""
        self.limit = limit
        self._let_in()

    def when_free(self, go_on: Callable[[], None]) -> None:
        """Call C{go_on} once, as soon as there is a place."""
        if self.open < self.limit and self.within is not None:
            self.within.when_free(go_on)
        elif go_on not in self._waiting:
            self._waiting.append(go_on)

    def forget(self, go_on: Callable[[], None]) -> None:
        """Undo L{when_free}."""
        if go_on in self._waiting:
            self._waiting.remove(go_on)
        if self.within is not None:
            self.within.forget(go_on)

    def _let_in(self) -> None:
        if self.open < self.limit:  # those for whom the gate around it is full wait there
            waiting, self._waiting = self._waiting, []
            for go_on in waiting:
                go_on()


Accepted = Callable[[Stream, Any, Any], None]


@implementer(IReadDescriptor)
class Port:
    """
    Accepts on a bound socket, from L{start} to L{stop}.

    @param gate: entered for each connection; the owner to whom C{accepted} gives the stream leaves it at the
        stream's end.
    @param accepted: called with each new stream, parked, paused and tuned, and with its C{getpeername()} and
        C{getsockname()}. Should it raise, the stream is reset and the gate is left here. A client that reset
        its connection in the queue is left out where the system does not name it any more (macOS, on IPv6).
    @param eager: when C{accepted} resumes a stream, the stream may deliver what has come from within that
        call.
    """

    log = Logger()

    lean = True
    """
    L{lanrelay.transport.reactor_turn} hands out its events; the port itself finds out whether there is
    anything.
    """

    def __init__(
        self, reactor: Any, bound: BoundSocket, gate: Gate, accepted: Accepted, *, eager: bool = False
    ) -> None:
        self._reactor = reactor
        self.bound = bound
        self.gate = gate
        self._accepted = accepted
        self._family = int(bound.socket.family)
        self._eager = eager
        self._listening = False
        self._pause: IDelayedCall | None = None
        self._complained: float | None = None
        self._name: Any = None  # the local name of all accepted sockets; C{None} where each has its own
        self._tuned = False  # sockets accepted from now on have inherited all options

    def logPrefix(self) -> str:
        return self.bound.name

    def fileno(self) -> int:
        return self.bound.socket.fileno()

    def start(self) -> None:
        """Accept from now on, also what waits in the queue."""
        if not self._listening and self.fileno() != -1:
            self._listening = True
            tune(self.bound.socket)
            name = self.bound.socket.getsockname()
            self._name = None if isinstance(name, tuple) and name[0] in _WILDCARDS else name
            self._reactor.addReader(self)

    def empty_queue(self) -> None:
        """Before the socket is closed, accept all that waits in the queue, as far as the gate lets it in."""
        for _ in range(0, _LONGEST_QUEUE, _BATCH):
            if self._accept_some():
                return

    def release(self) -> BoundSocket:
        """Stop accepting, and give the socket back as it is; what comes waits in its queue."""
        self._listening = False
        self.gate.forget(self._go_on)
        pause, self._pause = self._pause, None
        if pause is not None:
            pause.cancel()
        if self.fileno() != -1:
            self._reactor.removeReader(self)
        return self.bound

    def stop(self) -> None:
        """Close the socket at once; a second call does nothing."""
        self.release().close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The reactor drops all descriptors at its end."""
        self.stop()

    def doRead(self) -> None:
        self._accept_some()

    def doWrite(self) -> None:
        """Do nothing: a port never writes, and one with an error is readable, too."""

    def _accept_some(self) -> bool:
        """Accept a batch; C{True} if there is no more, or no more can be accepted now."""
        gate = self.gate
        for _ in range(_BATCH):
            if not self._listening:
                return True  # `accepted` stopped us
            if not gate.enter():
                self._reactor.removeReader(self)
                gate.when_free(self._go_on)
                if gate.full_around:
                    self._complain("the limit of open files leaves no room for more (ulimit -n)")
                return True
            try:
                sock, address = _accept(self.bound.socket, self._family)
            except BlockingIOError:
                gate.leave()
                self._tuned = _INHERITED  # no connection is left that came before the socket was tuned
                return True
            except OSError as error:
                gate.leave()
                if error.errno in _HARMLESS:
                    continue
                self._out_of_something(error)
                return True
            if not address and self._family != socket.AF_UNIX:
                sock.close()  # without a name it would count as the peer of a unix socket, which is let in
                gate.leave()
                continue
            self._arrived(sock, address)
        return False

    def _arrived(self, sock: socket.SocketType, address: Any) -> None:
        stream: Stream | None = None
        try:
            if not self._tuned:
                tune(sock)
            stream = adopt(self._reactor, sock, address, may_have_data=self._eager)
            self._accepted(stream, address, sock.getsockname() if self._name is None else self._name)
        except Exception:  # else the reactor would drop the port instead of the one connection
            self.log.failure("bug while accepting on {name}", name=self.bound.name)
            if stream is None:
                sock.close()
            else:
                stream.abortConnection()
            self.gate.leave()

    def _out_of_something(self, error: OSError) -> None:
        """
        Descriptors or memory: the connection stays in the queue, so the socket stays readable. When
        descriptors run out, XNU takes it out all the same, and closes it.
        """
        reason = error.strerror or str(error)
        dropped = _DROPS and error.errno in (errno.EMFILE, errno.ENFILE)
        self._complain(reason, "are dropped by macOS" if dropped else "wait")
        self._reactor.removeReader(self)
        if self._pause is None:
            self._pause = self._reactor.callLater(_SHORTAGE_PAUSE, self._pause_over)

    def _complain(self, reason: str, what: str = "wait") -> None:
        now = self._reactor.seconds()
        if self._complained is None or now - self._complained >= _COMPLAINT_INTERVAL:
            self._complained = now
            self.log.warn(
                "{name}: new connections {what}: {reason}", name=self.bound.name, what=what, reason=reason
            )

    def _pause_over(self) -> None:
        self._pause = None
        self._go_on()

    def _go_on(self) -> None:
        if self._listening and self._pause is None:
            self._reactor.addReader(self)


def _accept(listening: socket.socket, family: int) -> tuple[Any, Any]:
    if not OWN:
        return listening.accept()
    # As Python's own accept() does, without the class around the socket: see C{connect.Socket}.
    descriptor, address = listening._accept()  # type: ignore[attr-defined]
    return Socket(family, socket.SOCK_STREAM, 0, descriptor), address


_WILDCARDS = ("0.0.0.0", "::")

# The client left while it was in the queue, or the firewall took it (EPERM on Linux).
_HARMLESS = frozenset({errno.ECONNABORTED, errno.EPERM, errno.EINTR, errno.EPROTO})


def adopt(reactor: Any, sock: socket.SocketType, address: Any, *, may_have_data: bool = False) -> Stream:
    """Make a stream, parked and paused, of a socket that was accepted from C{address}."""
    if OWN:
        return TcpStream(reactor, sock, address, may_have_data=may_have_data)
    protocol = Parked()
    # The transports' own classes: adoptStreamConnection would duplicate the descriptor for each connection.
    transport: Any
    if sock.family == socket.AF_UNIX:
        transport = unix.Server(sock, protocol, address or "", None, 0, reactor)
        transport.repstr = "<unix connection>"
    else:
        transport = tcp.Server(sock, protocol, address, None, 0, reactor)  # type: ignore[arg-type]
        transport.repstr = f"<connection from {address[0]}:{address[1]}>"
    let_tell(transport)
    transport.pauseProducing()
    protocol.makeConnection(transport)  # type: ignore[no-untyped-call, unused-ignore]
    stream: Stream = transport
    return stream
